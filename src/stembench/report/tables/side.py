"""Cost and calibration as Markdown and LaTeX, beside the main tables."""

from __future__ import annotations

from pathlib import Path

from stembench.records.writing import write_text
from stembench.report import names
from stembench.report.results import Results, read_results
from stembench.report.sections import calibration as reliability
from stembench.report.sections import cost
from stembench.report.tables import latex
from stembench.report.tables import markdown as tables

#: (header, rows) by data set.
Blocks = dict[str, tuple[list[str], list[list[str]]]]


def _cost(results: Results) -> Blocks:
    rows = cost.rows(results)
    # The first column is the data set, which has a table of its own here.
    return {
        dataset: (
            cost.HEADER[1:],
            [row[1:] for row in rows if row[0] == names.dataset(dataset)],
        )
        for dataset in results.datasets
    }


def _calibration(results: Results) -> Blocks:
    known = set(results.calibration["dataset"])
    return {
        dataset: (
            reliability.header(results, dataset),
            reliability.rows(results, dataset) if dataset in known else [],
        )
        for dataset in results.datasets
    }


def _markdown(results: Results, title: str, note: str, blocks: Blocks) -> str:
    lines = [f"# Suite {tables.escape(results.suite)}: {title}", "", tables.escape(note), ""]
    for dataset, (header, rows) in blocks.items():
        lines += [f"## {tables.escape(names.dataset(dataset))}", ""]
        cells = [[tables.escape(cell) for cell in row] for row in rows]
        shown = tables.grid([tables.escape(cell) for cell in header], cells)
        lines += [*(shown if rows else ["missing: no run of this data set counts."]), ""]
    return "\n".join([*lines, "## Source", "", *tables.footer(results)]) + "\n"


def write_side_tables(results: Path) -> list[Path]:
    """Write cost and calibration as Markdown and LaTeX into `results`/tables; returns the paths.

    results: results/<suite>, as left by `stembench compare`. Raises StembenchError if a table of
    `compare` is not there or unreadable.
    """
    read = read_results(results)
    paths = []
    for name, title, note, blocks in (
        ("cost", "cost", cost.NOTE, _cost(read)),
        ("calibration", "calibration", reliability.NOTE, _calibration(read)),
    ):
        markdown = _markdown(read, title, note, blocks)
        fragment = latex.plain(read, name, title.capitalize(), blocks, [note])
        paths.append(write_text(results / "tables" / f"{name}.md", markdown))
        paths.append(write_text(results / "tables" / f"{name}.tex", fragment))
    return paths
