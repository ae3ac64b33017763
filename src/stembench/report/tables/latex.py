"""The same tables for LaTeX: fragments to \\input, which need \\usepackage{booktabs} only."""

from __future__ import annotations

from stembench.report import blocks, names
from stembench.report import sentences as content
from stembench.report.blocks import DECIMALS, Block, Cell
from stembench.report.numbers import number
from stembench.report.results import Results
from stembench.report.sections import factors, protocol

MARKS = {
    "": "",
    "beats_all": r"$^{*}$",
    "below": r" $\downarrow$",
    "above": r" $\uparrow$",
    "equivalent": r" $\approx$",
}
_ESCAPES = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "{}$&#_%"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "Δ": r"$\Delta$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "≈": r"$\approx$",
    "“": "``",
    "”": "''",
}


def escape(text: str) -> str:
    """Text that LaTeX sets as it is; math symbols of the report become commands."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def _sentence(text: str) -> str:
    """Like escape, with `code` in backquotes set as code."""
    parts = text.split("`")
    return "".join(rf"\texttt{{{escape(p)}}}" if i % 2 else escape(p) for i, p in enumerate(parts))


def _signed(text: str) -> str:
    """A number, or an interval of numbers: a hyphen in front of a digit is a minus."""
    return escape(text).replace("-", "$-$")


def _cell(cell: Cell) -> str:
    if cell.missing:
        return "missing"
    decimals = DECIMALS[cell.metric]
    text = number(cell.mean, decimals)
    text = {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(cell.place, text)
    if cell.n_seeds > 1:
        text += rf" $\pm$ {number(cell.sd, decimals)}"
    text += MARKS[cell.mark]
    # Short, for the width of the page; the note under the table says what it means.
    return rf"{text} {{\tiny ({cell.n_seeds} of {cell.n_expected})}}" if cell.partial else text


def _tabular(spec: str, head: list[str], body: list[str]) -> list[str]:
    return [
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        *head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _block(block: Block) -> list[str]:
    if not block.tasks:
        return ["missing: no run of this data set counts."]
    width = len(block.metrics)
    groups = [rf"\multicolumn{{{width}}}{{c}}{{{escape(names.task(t))}}}" for t in block.tasks]
    starts = range(2, 2 + width * len(block.tasks), width)
    head = [
        _line(["", *groups]),
        "".join(rf"\cmidrule(lr){{{start}-{start + width - 1}}}" for start in starts),
        _line(["Model", *(escape(names.metric(metric)) for _, metric in block.columns)]),
    ]
    body = [_line([escape(row.name), *map(_cell, row.cells)]) for row in block.rows]
    if block.oracle is not None:
        values = [
            number(value, DECIMALS[metric])
            for value, (_, metric) in zip(block.oracle, block.columns, strict=True)
        ]
        body += [r"\midrule", _line([escape(names.ORACLE), *values])]
    return _tabular("l" + "c" * len(block.columns), head, body)


def _table(label: str, caption: str, tabular: list[str], notes: list[str], wide: bool) -> str:
    """A float over the full width; `wide` ones in smaller type so that three tasks fit."""
    size = r"\scriptsize\setlength{\tabcolsep}{2pt}" if wide else r"\footnotesize"
    lines = [
        r"\begin{table*}[t]",
        rf"\centering{size}",
        rf"\caption{{{caption}}}",
        rf"\label{{{label}}}",
        *tabular,
        r"\par\smallskip",
        r"\parbox{\linewidth}{\scriptsize",
        *notes,
        "}",
        r"\end{table*}",
    ]
    return "\n".join(lines)


def _header(results: Results) -> str:
    lines = [
        "Needs \\usepackage{booktabs}. Generated: do not edit.",
        content.provenance_line(results),
        content.cells_line(results),
        protocol.line(results),
        *content.warning_lines(results),
        *content.missing_lines(results),
    ]
    return "\n".join(f"% {line}" for line in lines)


def _alerts(results: Results) -> list[str]:
    """Faults and missing cells, in bold before the first table: a comment alone would be lost."""
    lines = content.warning_lines(results)
    if not results.inputs["complete"]:
        lines.append(content.cells_line(results))
        lines.append("In the tables, (n of N) beside a mean are its seeds.")
        lines += [f"Missing: {line}." for line in content.missing_lines(results)]
    return [rf"\noindent\textbf{{{escape(line)}}}\par" for line in lines]


def _about(results: Results, dataset: str) -> str:
    note = names.describe(dataset).note
    return escape(f"{names.dataset(dataset)} ({note})" if note else names.dataset(dataset))


def _source(results: Results, dataset: str) -> list[str]:
    split = content.split_line(results, dataset)
    return [
        escape(f"{split[:1].upper()}{split[1:]}."),
        escape(content.cells_line(results)),
        _sentence(content.provenance_line(results)),
    ]


def _metrics(
    results: Results, dataset: str, kind: str, metrics: list[str], caption: str, notes: list[str]
) -> str:
    block = blocks.block(results, dataset, metrics)
    return _table(
        f"tab:{results.suite}-{dataset}-{kind}".replace("_", "-"),
        caption,
        _block(block),
        [*(escape(note) for note in notes if note), *_source(results, dataset)],
        wide=len(block.tasks) > 2,
    )


def main(results: Results, legend: list[str]) -> str:
    """tables/main.tex; `legend` are plain sentences that explain the marks."""
    parts = [_header(results), *_alerts(results)]
    for kind, metrics, notes in (
        ("auc", ["auc", "gauc"], legend),
        (
            "calibration",
            ["logloss", "calibration"],
            [
                "Calibration is predicted / observed positives: 1 is best. Tests: evidence.csv.",
                *legend[-2:],
            ],
        ),
    ):
        what = " and ".join(escape(names.metric(metric)) for metric in metrics)
        for dataset in results.datasets:
            kept = content.gauc_line(results, dataset) if "gauc" in metrics else ""
            caption = f"Test {what}: {_about(results, dataset)}."
            parts.append(_metrics(results, dataset, kind, metrics, caption, [*notes, kept]))
            if kind == "auc" and results.has_unbiased(dataset):
                caption = f"{what} on randomly exposed items: {_about(results, dataset)}."
                notes_there = [
                    content.unbiased_line(results, dataset),
                    *legend,
                    content.gauc_line(results, dataset, "unbiased"),
                ]
                there = ["unbiased_auc", "unbiased_gauc"]
                parts.append(_metrics(results, dataset, "unbiased", there, caption, notes_there))
    return "\n\n".join(parts) + "\n"


def comparison(
    results: Results,
    header: list[str],
    rows: dict[tuple[str, str], list[tuple[str, str, list[str], str]]],
    note: str,
) -> str:
    """tables/comparison.tex; rows by data set and bucket: task, other model, numbers, verdict."""
    parts = [_header(results), *_alerts(results)]
    reference = escape(names.model(results.reference))
    for (dataset, bucket), lines in rows.items():
        unbiased = bucket == "unbiased"
        body = [
            _line([escape(task), escape(other), *map(_signed, numbers), escape(verdict)])
            for task, other, numbers, verdict in lines
        ]
        tabular = _tabular(
            "ll" + "r" * (len(header) - 3) + "l", [_line(list(map(escape, header)))], body
        )
        notes = [escape(note), escape(content.test_line(results))]
        notes += [escape(protocol.line(results)), *_source(results, dataset)]
        where = " on randomly exposed items" if unbiased else ""
        kind = "unbiased-comparison" if unbiased else "comparison"
        notes += [escape(content.unbiased_line(results, dataset))] if unbiased else []
        parts.append(
            _table(
                f"tab:{results.suite}-{dataset}-{kind}".replace("_", "-"),
                f"{reference} against every other model{where}: {_about(results, dataset)}.",
                tabular if lines else ["missing: nothing to compare."],
                notes,
                wide=True,
            )
        )
    return "\n\n".join(parts) + "\n"


def factors_tables(results: Results) -> str:
    """tables/factors.tex: one table per data set and design."""
    parts = [_header(results), *_alerts(results)]
    if not len(results.factors):
        parts.append(escape(factors.NOTHING))
    header = factors.header(results)
    for dataset in results.datasets:
        for design in factors.designs(results, dataset):
            body = [
                _line([*map(escape, row[:3]), *map(_signed, row[3:])])
                for row in factors.rows(results, dataset, design)
            ]
            head = [_line(list(map(escape, header)))]
            parts.append(
                _table(
                    f"tab:{results.suite}-{dataset}-{design}".replace("_", "-"),
                    f"Effects of the design {escape(design)}: {_about(results, dataset)}.",
                    _tabular("lll" + "r" * (len(header) - 3), head, body),
                    [escape(factors.note(results)), *_source(results, dataset)],
                    wide=True,
                )
            )
    return "\n\n".join(parts) + "\n"


def plain(
    results: Results,
    kind: str,
    what: str,
    tables: dict[str, tuple[list[str], list[list[str]]]],
    notes: list[str],
) -> str:
    """Tables of text without marks: (header, rows) by data set; the first column is set left.

    kind: end of the label; what: of the caption; a data set without rows is said to be missing.
    """
    parts = [_header(results), *_alerts(results)]
    for dataset, (header, rows) in tables.items():
        body = [_line([escape(row[0]), *map(_signed, row[1:])]) for row in rows]
        tabular = _tabular("l" + "r" * (len(header) - 1), [_line(list(map(escape, header)))], body)
        parts.append(
            _table(
                f"tab:{results.suite}-{dataset}-{kind}".replace("_", "-"),
                f"{escape(what)}: {_about(results, dataset)}.",
                tabular if rows else ["missing: no run of this data set counts."],
                [*map(escape, notes), *_source(results, dataset)],
                wide=len(header) > 6,
            )
        )
    return "\n\n".join(parts) + "\n"
