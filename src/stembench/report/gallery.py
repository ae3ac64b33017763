"""Each figure of the report, written as SVG and PNG."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from stembench.report.figures.style import save, style
from stembench.report.results import Results, read_results
from stembench.report.sections import calibration as reliability
from stembench.report.sections import cost, seeds
from stembench.report.sections.curves import learning_curves
from stembench.report.sections.factors import factor_effects
from stembench.report.sections.forest import forest

Draw = Callable[[Results], Figure]
#: Name of the file -> what draws it.
FIGURES: dict[str, Draw] = {
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
    return _write(read_results(results), FIGURES)


def write_figures(results: Path) -> list[Path]:
    """Write the figures of the main tables and, with a factor design, factors, into figures/.

    results: results/<suite>. Learning curves are read from runs/<dataset>/<model>/<seed>/
    history.csv; what is missing is shown as missing. Returns the paths, SVG and PNG. Raises
    StembenchError if a table of `stembench compare` is not there or unreadable.
    """
    tables = read_results(results)
    drawn: dict[str, Draw] = {"forest": forest, "learning_curves": learning_curves}
    if len(tables.factors):
        drawn["factors"] = factor_effects
    return _write(tables, drawn)


def _write(tables: Results, drawn: Mapping[str, Draw]) -> list[Path]:
    paths = []
    for name, draw in drawn.items():
        figure = draw(tables)
        # Hash salt and font settings count when the file is written, not when it is drawn.
        with style():
            paths += save(figure, tables.root / "figures" / name)
    return paths
