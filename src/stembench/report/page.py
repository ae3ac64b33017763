"""One self-contained HTML file: no network, no fonts, no scripts from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from stembench.records.writing import write_text
from stembench.report import blocks, names, numbers
from stembench.report import sentences as content
from stembench.report.blocks import DECIMALS, Block, Cell
from stembench.report.cards import facts as card
from stembench.report.figures.embed import Figure, figure
from stembench.report.numbers import number
from stembench.report.render import render
from stembench.report.results import Results, read_results
from stembench.report.sections import (
    answers,
    assumptions,
    comparable,
    cost,
    diagnostics,
    evidence,
    factors,
    protocol,
    run_details,
    seeds,
    selection,
    sources,
    verdicts,
)
from stembench.report.sections import calibration as reliability
from stembench.report.tables import markdown as tables

#: Symbol and spoken words of a mark.
MARKS = {
    "": ("", ""),
    "beats_all": ("*", "better than every other model"),
    "below": ("↓", "significantly below the reference"),
    "above": ("↑", "significantly above the reference"),
    "equivalent": ("≈", "equivalent to the reference"),
}


def toc(body: str) -> list[tuple[str, str]]:
    """(id, title) of the sections of a page that have an h2, by data-nav where the h2 is long."""
    found = re.findall(r'<section id="([^"]+)"([^>]*)>\s*<h2[^>]*>(.*?)</h2>', str(body), re.DOTALL)
    short = [re.search(r'data-nav="([^"]*)"', attributes) for _, attributes, _ in found]
    return [
        (id_, Markup(nav[1] if nav else title).striptags())
        for (id_, _, title), nav in zip(found, short, strict=True)
    ]


def _figures(results: Results) -> list[Figure]:
    reference, margin = names.model(results.reference), f"{results.margin:g}"
    words = " ".join(answers.summary(results)[:3])
    return [
        figure(
            results,
            "forest",
            "Differences with their uncertainty",
            f"Forest plot: test AUC of {reference} minus that of each other model, by data set and "
            f"task. {words} The numbers are in the comparison table.",
            f"Right of zero {reference} is better. Line: {content.level(results)} confidence "
            f"interval (seeds and users both counted). Shaded: ±{margin}, too small to matter. "
            "Colour and marker show the verdict after adjustment; the scale differs between data "
            "sets.",
        ),
        figure(
            results,
            "learning_curves",
            "Learning curves",
            "Learning curves: validation AUC by epoch for each model, by data set and task.",
            "Mean over seeds up to the epoch at which the first seed stopped; faint lines are "
            "single seeds, dots the epochs whose weights were kept.",
        ),
    ]


def _factors_figure(results: Results) -> Figure:
    return figure(
        results,
        "factors",
        "Factor analysis",
        "Effects of the ingredients on test AUC, by data set and task. The table has the numbers.",
        f"Line: {content.level(results)} confidence interval. Coloured diamond: adjusted p below "
        f"{results.alpha:g}. Shaded: ±{results.margin:g}, too small to matter.",
    )


def _comparable(results: Results) -> tuple[dict[str, Any] | None, list[Figure]]:
    """The section on comparable samples and its figures; None for a suite without one."""
    found = comparable.section(results)
    titles = ("Transfer on comparable samples", "Other definitions of comparable samples")
    figures = (
        [
            figure(results, key, title, f"{title}: {caption}", caption)
            for title, (key, caption) in zip(titles, found["figures"], strict=True)
        ]
        if found
        else []
    )
    return found, figures


def _diagnostics(results: Results) -> dict[str, Any] | None:
    """Figures and table of the diagnostics; None where no run holds any."""
    if not len(results.diagnostics):
        return None
    figures = [
        figure(results, key, title, f"{title}: {caption}", caption)
        for key, (title, caption) in diagnostics.CAPTIONS.items()
    ]
    return {"figures": figures, "header": diagnostics.HEADER, "rows": diagnostics.rows(results)}


def _code(text: str) -> Markup:
    """A sentence with `code` in backquotes, as HTML."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts)
    )


def _cell(cell: Cell) -> dict[str, Any]:
    decimals = DECIMALS[cell.metric]
    symbol, words = MARKS[cell.mark]
    sort = abs(cell.mean - 1) if cell.metric == "calibration" else cell.mean
    return {
        "missing": cell.missing,
        "sort": "" if cell.missing else repr(sort),
        "mean": number(cell.mean, decimals),
        "sd": number(cell.sd, decimals) if cell.n_seeds > 1 else "",
        "place": cell.place,
        "mark": symbol,
        "words": words,
        "seeds": f"{cell.n_seeds} of {cell.n_expected} seeds" if cell.partial else "",
    }


def _block(block: Block) -> dict[str, Any]:
    metrics = [metric for _ in block.tasks for metric in block.metrics]
    return {
        "tasks": [names.task(task) for task in block.tasks],
        # The first click on a column shows the best first.
        "metrics": [
            (
                names.metric(metric),
                "ascending" if metric in ("logloss", "calibration") else "descending",
            )
            for metric in block.metrics
        ],
        "rows": [
            (row.name, run_details.anchor(block.dataset, row.model), [_cell(c) for c in row.cells])
            for row in block.rows
        ],
        "oracle": None
        if block.oracle is None
        else [number(v, DECIMALS[m]) for v, m in zip(block.oracle, metrics, strict=True)],
    }


def _comparisons(results: Results, dataset: str, bucket: str = "all") -> list[dict[str, Any]]:
    raw = results.comparison_on(bucket)
    verdicts = raw.loc[raw["dataset"] == dataset, "verdict"]
    return [
        {"task": task, "other": other, "numbers": numbers, "words": words, "verdict": verdict}
        for (task, other, numbers, words), verdict in zip(
            tables.comparison_rows(results, dataset, bucket), verdicts, strict=True
        )
    ]


def _unbiased(results: Results, dataset: str) -> dict[str, Any]:
    """The same tables on randomly exposed items."""
    return {
        "line": content.unbiased_line(results, dataset),
        "main": _block(blocks.block(results, dataset, ["unbiased_auc", "unbiased_gauc"])),
        "kept": content.gauc_line(results, dataset, "unbiased"),
        "comparison": _comparisons(results, dataset, "unbiased"),
    }


def _calibration(results: Results) -> dict[str, Any]:
    """Reliability diagram, and the table of each data set that the tables hold any of."""
    caption = reliability.CAPTION
    drawn = figure(results, "calibration", "Calibration", f"Reliability: {caption}", caption)
    known = set(results.calibration["dataset"])
    shown = {
        dataset: {
            "header": reliability.header(results, dataset),
            "rows": reliability.rows(results, dataset),
        }
        if dataset in known
        else None
        for dataset in results.datasets
    }
    return {"figure": drawn, "note": reliability.NOTE, "tables": shown}


def _cost(results: Results) -> dict[str, Any]:
    label = f"Cost against quality: {cost.CAPTION}"
    drawn = figure(results, "cost", "Cost against quality", label, cost.CAPTION)
    return {"figure": drawn, "note": cost.NOTE, "header": cost.HEADER, "rows": cost.rows(results)}


def _noise(results: Results) -> list[Figure]:
    return [
        figure(results, key, title, f"{title}: {caption}", caption)
        for key, (title, caption) in seeds.CAPTIONS.items()
    ]


def _cards(results: Results) -> list[dict[str, Any]]:
    """Key facts of the data sets whose card lies beside the report, and the way to it."""
    return [
        {
            "name": names.dataset(dataset),
            "link": f"data_cards/{dataset}.html",
            "kind": card.kind_line(facts),
            "facts": card.key_facts(facts),
        }
        for dataset, facts in card.read_cards(results.root, results.datasets).items()
    ]


def _splits(results: Results) -> list[list[str]]:
    rows = []
    for dataset in results.datasets:
        split = results.inputs["splits"].get(dataset) or {}
        counts = ", ".join(f"{part} {n:,}" for part, n in (split.get("rows") or {}).items())
        known = [str(split.get(key, "unknown")) for key in ("split", "sha256")]
        rows.append([names.dataset(dataset), dataset, *known, counts or "unknown"])
    return rows


def _context(results: Results) -> dict[str, Any]:
    """Everything the template shows."""
    by_dataset = dict(answers.by_dataset(results))
    datasets = [
        {
            "key": dataset,
            "name": names.dataset(dataset),
            "about": names.describe(dataset),
            "split": content.split_line(results, dataset),
            "kept": content.gauc_line(results, dataset),
            "answer": by_dataset[dataset],
            "main": _block(blocks.block(results, dataset, ["auc", "gauc"])),
            "other": _block(blocks.block(results, dataset, ["logloss", "calibration"])),
            "comparison": _comparisons(results, dataset),
            "unbiased": _unbiased(results, dataset) if results.has_unbiased(dataset) else None,
        }
        for dataset in results.datasets
    ]
    models = list(dict.fromkeys(m for d in results.datasets for m in results.models(d)))
    suite = results.suite
    transfer, transfer_figures = _comparable(results)
    return {
        "suite": suite,
        "reference": names.model(results.reference),
        "oracle_name": names.ORACLE,
        "models": numbers.joined([names.model(model) for model in models]),
        "datasets": datasets,
        "complete": bool(results.inputs["complete"]),
        "cells": content.cells_line(results),
        "warnings": content.warning_lines(results),
        "missing": content.missing_lines(results),
        "question": answers.question(results),
        "summary": answers.summary(results),
        "legend": tables.legend(results),
        "seeds": content.seeds_line(results),
        "comparison_header": tables.comparison_header(results),
        "comparison_note": tables.comparison_note(results),
        "test": content.test_line(results),
        "protocol": protocol.line(results),
        "searches_header": protocol.HEADER,
        "searches": protocol.searches(results),
        "factors": factors.sections(results),
        "factors_header": factors.header(results),
        "factors_note": factors.note(results),
        "factors_figure": _factors_figure(results),
        "figures": _figures(results),
        "evidence": evidence.section(results),
        "validation": evidence.validation(results),
        "comparable": transfer,
        "comparable_figures": transfer_figures,
        "cards": _cards(results),
        "selection": selection.sections(results),
        "selection_title": selection.TITLE,
        "selection_note": selection.note(results),
        "selection_header": selection.header(),
        "diagnostics": _diagnostics(results),
        "verdicts": verdicts.section(results),
        "noise": _noise(results),
        "calibration": _calibration(results),
        "cost": _cost(results),
        "assumptions": assumptions.lines(results),
        "runs": run_details.section(results),
        "sources": {"header": sources.HEADER, "rows": sources.rows(results)},
        "citations": sources.CITATIONS,
        "toc": toc,
        "splits": _splits(results),
        "inputs_sha256": str(results.inputs["inputs_sha256"]),
        "provenance": _code(content.provenance_line(results)),
        "commands": [
            (f"snakemake --cores 8 --config suite={suite}", "whatever is missing or out of date"),
            (str(results.inputs["command"]), "the tables, from the runs"),
            (f"stembench report --suite {suite}", "the figures and this file, from the tables"),
        ],
    }


def write_report(results: Path) -> Path:
    """Write `results`/report.html from the tables and figures in `results` (results/<suite>).

    The same bytes from the same files. Figures that are not there are named as missing. Raises
    StembenchError if a table of `stembench compare` is not there or unreadable.
    """
    read = read_results(results)
    page = render("report.html.j2", _context(read))
    return write_text(results / "report.html", page)
