"""Each figure of the report, written as SVG and PNG."""

from __future__ import annotations

from pathlib import Path

from stembench.report.figures.style import save, style
from stembench.report.results import read_results
from stembench.report.sections import calibration as reliability
from stembench.report.sections import cost, seeds
from stembench.report.sections.curves import learning_curves
from stembench.report.sections.factors import factor_effects
from stembench.report.sections.forest import forest

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


def write_figures(results: Path) -> list[Path]:
    """Write the figures of the main tables and, with a factor design, factors, into figures/.

    results: results/<suite>. Learning curves are read from runs/<dataset>/<model>/<seed>/
    history.csv; what is missing is shown as missing. Returns the paths, SVG and PNG. Raises
    StembenchError if a table of `stembench compare` is not there or unreadable.
    """
    tables = read_results(results)
    folder = results / "figures"
    paths = []
    drawn = {"forest": forest, "learning_curves": learning_curves}
    if len(tables.factors):
        drawn["factors"] = factor_effects
    for name, draw in drawn.items():
        figure = draw(tables)
        # Hash salt and font settings count when the file is written, not when it is drawn.
        with style():
            paths += save(figure, folder / name)
    return paths
