"""Markdown and LaTeX tables from the CSV tables of a suite."""

from __future__ import annotations

import re
from pathlib import Path

from stembench.records.writing import write_text
from stembench.report import blocks, names, numbers
from stembench.report import sentences as content
from stembench.report.blocks import DECIMALS, Block, Cell
from stembench.report.numbers import number
from stembench.report.results import Results, read_results, records, unique
from stembench.report.sections import factors, protocol, selection
from stembench.report.tables import latex

MARKS = {"": "", "beats_all": " *", "below": " ↓", "above": " ↑", "equivalent": " ≈"}


def escape(text: str) -> str:
    """Text that Markdown shows as it is, also inside a table."""
    return re.sub(r"[\\|*`]|<(?=[A-Za-z/!?])", lambda match: f"\\{match[0]}", text)


def legend(results: Results) -> list[str]:
    """What the marks mean, as plain sentences."""
    reference = names.model(results.reference)
    return [
        f"Bold: best mean of the column; underlined: second best. Beside the AUC of {reference}: "
        f"* better than every other model with adjusted p < {results.alpha:g}. Beside the AUC of "
        f"another model: ↓ significantly below {reference}, ↑ significantly above it, "
        f"≈ equivalent; no mark: nothing can be said, or not compared. gAUC carries no marks.",
        content.test_line(results),
        content.seeds_line(results),
        protocol.line(results),
    ]


def _cell(cell: Cell) -> str:
    if cell.missing:
        return "missing"
    decimals = DECIMALS[cell.metric]
    text = number(cell.mean, decimals)
    text = {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(cell.place, text)
    if cell.n_seeds > 1:
        text += f" ± {number(cell.sd, decimals)}"
    # A Markdown star must be escaped, or two of them in a row make italics.
    text += MARKS[cell.mark].replace("*", "\\*")
    return f"{text} ({cell.n_seeds} of {cell.n_expected} seeds)" if cell.partial else text


def grid(header: list[str], rows: list[list[str]], text: tuple[int, ...] = (0,)) -> list[str]:
    """A Markdown table; columns in `text` are set left, the others are numbers."""
    rule = ["---" if i in text else "---:" for i in range(len(header))]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


def _block(block: Block) -> list[str]:
    if not block.tasks:
        return ["missing: no run of this data set counts."]
    header = [
        "Model",
        *(f"{escape(names.task(t))} {names.metric(m)}" for t, m in block.columns),
    ]
    rows = [[escape(row.name), *map(_cell, row.cells)] for row in block.rows]
    if block.oracle is not None:
        values = [
            number(value, DECIMALS[metric])
            for value, (_, metric) in zip(block.oracle, block.columns, strict=True)
        ]
        rows.append([f"*{names.ORACLE}*", *values])
    return grid(header, rows)


def _title(results: Results, dataset: str) -> list[str]:
    note = names.describe(dataset).note
    lines = [f"## {escape(names.dataset(dataset))}", ""]
    about = f"{note[:1].upper()}{note[1:]}. " if note else ""
    split = content.split_line(results, dataset)
    return [*lines, escape(f"{about}{split[:1].upper()}{split[1:]}."), ""]


def _alerts(results: Results) -> list[str]:
    lines = [f"> **{escape(line)}**" for line in content.warning_lines(results)]
    if not results.inputs["complete"]:
        lines.append(f"> **{escape(content.cells_line(results))}**")
    return [part for line in lines for part in (line, "")]


def footer(results: Results) -> list[str]:
    """Cells, those that are missing, and the command: the end of every Markdown table."""
    lines = [content.cells_line(results), ""]
    missing = content.missing_lines(results)
    if missing:
        lines += ["Missing cells:", "", *(f"- {escape(line)}" for line in missing), ""]
    # Backquotes stay: the command is code.
    return [*lines, content.provenance_line(results)]


def main_markdown(results: Results) -> str:
    """tables/main.md: AUC and gAUC, then log loss and calibration."""
    lines = [f"# Suite {escape(results.suite)}: test AUC and gAUC", "", *_alerts(results)]
    for dataset in results.datasets:
        lines += [*_title(results, dataset)]
        lines += [*_block(blocks.block(results, dataset, ["auc", "gauc"])), ""]
        kept = content.gauc_line(results, dataset)
        lines += [kept, ""] if kept else []
        if results.has_unbiased(dataset):
            lines += [f"### {escape(names.dataset(dataset))}: on randomly exposed items", ""]
            lines += [content.unbiased_line(results, dataset), ""]
            block = blocks.block(results, dataset, ["unbiased_auc", "unbiased_gauc"])
            lines += [*_block(block), ""]
            kept = content.gauc_line(results, dataset, "unbiased")
            lines += [kept, ""] if kept else []
    lines += ["## Marks", "", *(f"- {escape(line)}" for line in legend(results)), ""]
    lines += [
        "## Log loss and calibration",
        "",
        "Calibration is predicted / observed positives: 1 is best. Tests: evidence.csv.",
        "",
    ]
    for dataset in results.datasets:
        lines += [f"### {escape(names.dataset(dataset))}", ""]
        lines += [*_block(blocks.block(results, dataset, ["logloss", "calibration"])), ""]
    searches = protocol.searches(results)
    if searches:
        cells = [[escape(cell) for cell in row] for row in searches]
        lines += ["## Searches", "", *grid(protocol.HEADER, cells, text=(0, 1, 6)), ""]
    lines += _selection(results)
    return "\n".join([*lines, "## Source", "", *footer(results)]) + "\n"


def _selection(results: Results) -> list[str]:
    """The section on the two selection rules; nothing where the runs were read by one."""
    datasets = selection.datasets(results)
    lines = [f"## {selection.TITLE}", "", selection.note(results), ""] if datasets else []
    for dataset in datasets:
        rows = [[*map(escape, row[:2]), *row[2:]] for row in selection.rows(results, dataset)]
        lines += [f"### {escape(names.dataset(dataset))}", ""]
        lines += [*grid(selection.header(), rows, text=(0, 1)), ""]
        first, *others = selection.changes(results, dataset) or [""]
        lines += [escape(first), "", *(f"- {escape(line)}" for line in others)]
        lines += [""] if others else []
    return lines


def comparison_rows(
    results: Results, dataset: str, bucket: str = "all"
) -> list[tuple[str, str, list[str], str]]:
    """(task, other model, formatted numbers, verdict in words) of each comparison of a data set."""
    table = results.comparison_on(bucket)
    n_seeds = len(results.inputs["seeds"])
    rows = []
    for row in records(table[table["dataset"] == dataset]):
        verdict = names.verdict(row.verdict)
        seeds = int(row.n_seeds) if row.n_seeds == row.n_seeds else 0
        if row.verdict != "missing" and seeds < n_seeds:
            verdict += f" ({seeds} of {n_seeds} seeds)"
        cells = [
            number(row.delta, sign=True),
            numbers.interval(row.ci_lo, row.ci_hi),
            number(row.se_seed, 5),
            number(row.se_user, 5),
            number(row.df, 1),
            numbers.p_value(row.p_total),
            numbers.p_value(row.p_adj),
            numbers.p_value(row.p_tost),
        ]
        rows.append((names.task(row.task), names.model(row.model_b), cells, verdict))
    return rows


def comparison_header(results: Results) -> list[str]:
    """Column titles of the comparison table."""
    return [
        "Task",
        f"{names.model(results.reference)} against",
        "Δ AUC",
        f"{content.level(results)} CI",
        "SE seeds",
        "SE users",
        "df",
        "p",
        "adjusted p",
        "TOST p",
        "Verdict",
    ]


def comparison_note(results: Results) -> str:
    """How to read the comparison table."""
    reference = names.model(results.reference)
    return (
        f"Δ is {reference} minus the other model, test AUC, paired by seed; a positive Δ and "
        f"“significantly better” speak for {reference}. SE seeds and SE users are the two "
        "sources of noise that the interval counts; df weigh them by their shares. The interval "
        "and p are not adjusted, the verdict is. Missing: fewer than 2 common seeds."
    )


def comparison_markdown(results: Results) -> str:
    """tables/comparison.md: each difference with its interval, p-values and verdict."""
    reference = escape(names.model(results.reference))
    lines = [f"# Suite {escape(results.suite)}: {reference} against every other model", ""]
    lines += _alerts(results)
    for note in (comparison_note(results), content.test_line(results), protocol.line(results)):
        lines += [escape(note), ""]
    for dataset in results.datasets:
        lines += _title(results, dataset)
        rows = comparison_rows(results, dataset)
        if not rows:
            lines += ["missing: nothing to compare.", ""]
            continue
        cells = [[escape(task), escape(other), *c, verdict] for task, other, c, verdict in rows]
        header = comparison_header(results)
        lines += [*grid(header, cells, text=(0, 1, len(header) - 1)), ""]
        if rows := comparison_rows(results, dataset, "unbiased"):
            lines += [f"### {escape(names.dataset(dataset))}: on randomly exposed items", ""]
            lines += [content.unbiased_line(results, dataset), ""]
            cells = [[escape(task), escape(other), *c, verdict] for task, other, c, verdict in rows]
            lines += [*grid(header, cells, text=(0, 1, len(header) - 1)), ""]
    return "\n".join([*lines, "## Source", "", *footer(results)]) + "\n"


def factors_markdown(results: Results) -> str:
    """tables/factors.md: main effects and interactions of each design."""
    lines = [f"# Suite {escape(results.suite)}: factor analysis", "", *_alerts(results)]
    if not len(results.factors):
        return "\n".join([*lines, factors.NOTHING, "", *footer(results)]) + "\n"
    lines += [escape(factors.note(results)), "", escape(protocol.line(results)), ""]
    for dataset in results.datasets:
        lines += _title(results, dataset)
        for design in factors.designs(results, dataset):
            cells = [[escape(c) for c in row] for row in factors.rows(results, dataset, design)]
            lines += [f"### {escape(design)}", ""]
            lines += [*grid(factors.header(results), cells, text=(0, 1, 2)), ""]
    lines += ["## Contrasts", ""]
    for design in unique(results.factors["design"]):
        lines += [f"- {escape(design)}: {escape(f)}" for f in factors.formulas(results, design)]
    return "\n".join([*lines, "", "## Source", "", *footer(results)]) + "\n"


def write_tables(results: Path) -> list[Path]:
    """Write main, comparison and factors as Markdown and LaTeX (booktabs) into `results`/tables.

    results: results/<suite>, as left by `stembench compare`. Returns the six paths. Raises
    StembenchError if a table of `compare` is not there or unreadable.
    """
    tables = read_results(results)
    folder = results / "tables"
    return [
        write_text(folder / "main.md", main_markdown(tables)),
        write_text(folder / "main.tex", latex.main(tables, legend(tables))),
        write_text(folder / "comparison.md", comparison_markdown(tables)),
        write_text(
            folder / "comparison.tex",
            latex.comparison(
                tables,
                comparison_header(tables),
                {
                    (dataset, bucket): comparison_rows(tables, dataset, bucket)
                    for dataset in tables.datasets
                    for bucket in ("all", *(["unbiased"] if tables.has_unbiased(dataset) else []))
                },
                comparison_note(tables),
            ),
        ),
        write_text(folder / "factors.md", factors_markdown(tables)),
        write_text(folder / "factors.tex", latex.factors_tables(tables)),
    ]
