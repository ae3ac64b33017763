"""The figures beside forest plot and learning curves: seeds, variance, calibration, cost."""

from __future__ import annotations

from pathlib import Path

from stembench.report.results import read_results
from stembench.report.sections import calibration as reliability
from stembench.report.sections import cost, seeds
from stembench.report.sections.forest import save, style

#: Name of the file -> what draws it.
FIGURES = {
    "seeds": seeds.strips,
    "variance": seeds.variance,
    "calibration": reliability.curves,
    "cost": cost.scatter,
}


def write_gallery(results: Path) -> list[Path]:
    """Write the figures as SVG and PNG into `results`/figures (results: results/<suite>).

    What is missing is shown as missing. Returns the paths. Raises StembenchError if a table of
    `stembench compare` is not there or unreadable.
    """
    tables = read_results(results)
    paths = []
    for name, draw in FIGURES.items():
        figure = draw(tables)
        with style():
            paths += save(figure, results / "figures" / name)
    return paths
