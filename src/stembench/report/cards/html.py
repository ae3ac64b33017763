"""The data card as one self-contained HTML file, in the report's style."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from stembench.records.writing import write_text
from stembench.report import names
from stembench.report.cards import facts as card
from stembench.report.cards.facts import Facts, percent
from stembench.report.figures import svg as plots
from stembench.report.render import render


def write_card(facts: Facts, path: Path) -> Path:
    """Write the card of `facts` (see `data.card.facts`); the same bytes from the same facts."""
    page = render("card.html.j2", _context(facts))
    return write_text(path, page.lstrip())


def _context(facts: Facts) -> dict[str, Any]:
    """Everything the template shows."""
    parts = [part["part"] for part in facts["parts"]]
    about = names.describe(facts["dataset"])
    return {
        "dataset": facts["dataset"],
        "name": about.name,
        "note": about.note,
        "kind": card.kind_line(facts),
        "split": facts["split"],
        "sha256": facts["sha256"],
        "rule": card.rule_line(facts),
        "key_facts": card.key_facts(facts),
        "parts": parts,
        "later": [part for part in parts if part != "train"],
        "rates": _rates(facts),
        "parts_grid": card.parts_grid(facts),
        "items_line": card.items_line(facts),
        "days": _days(facts, parts) if facts["days"] else "",
        "days_grid": card.days_grid(facts),
        "mean": f"{facts['activity']['mean']:.4g}",
        "activity": _activity(facts),
        "users_grid": card.users_grid(facts),
        "histogram_grid": card.histogram_grid(facts),
        "heat": _heat(facts),
        "pairs_grid": card.pairs_grid(facts),
        "unknown": _unknown(facts, parts),
        "fields_grid": card.fields_grid(facts),
        "left_out_grid": card.left_out_grid(facts),
        "archives": card.archive_lines(facts),
        "sources_grid": card.sources_grid(facts),
    }


def _rates(facts: Facts) -> Markup:
    rows = [
        (
            names.task(task),
            [(part["rates"][task], percent(part["rates"][task])) for part in facts["parts"]],
        )
        for task in facts["tasks"]
    ]
    told = ", ".join(f"{names.task(t)} {percent(r)}" for t, r in card.rates_of(facts).items())
    return plots.bars(rows, f"Bars: rate of positives by task and part. Over all parts: {told}.")


def _activity(facts: Facts) -> Markup:
    users = max(facts["users"], 1)
    bins = [
        (card.span(step), step["users"] / users, percent(step["users"] / users, 2), 0)
        for step in facts["activity"]["histogram"]
    ]
    median = facts["activity"]["quantiles"].get("p50", "n/a")
    return plots.columns(bins, f"Bars: share of users by number of rows; the median is {median}.")


def _days(facts: Facts, parts: list[str]) -> Markup:
    rows = card.day_rows(facts)
    bins = [
        (day[-5:] if "-" in day else f"{day[4:6]}-{day[6:]}", float(n), "", parts.index(part))
        for day, part, n in rows
    ]
    return plots.columns(bins, f"Bars: rows per day and part, {rows[0][0]} to {rows[-1][0]}.")


def _heat(facts: Facts) -> Markup:
    tasks, rates = facts["tasks"], card.rates_of(facts)
    given: dict[tuple[str, str], float | None] = {(task, task): rates[task] for task in tasks}
    for pair in facts["pairs"]:
        given[pair["a"], pair["b"]] = pair["b_given_a"]
        given[pair["b"], pair["a"]] = pair["a_given_b"]
    cells = [[(given[row, to], percent(given[row, to])) for to in tasks] for row in tasks]
    return plots.heat(
        [names.task(task) for task in tasks],
        cells,
        "Heat map: share of rows positive for the task above among those positive for the task on "
        "the left. The numbers are in the table of two labels together.",
    )


def _unknown(facts: Facts, parts: list[str]) -> Markup:
    later = [part for part in parts if part != "train"]
    rows = [
        (
            field["name"],
            [(field["unknown"][part], percent(field["unknown"][part])) for part in later],
        )
        for field in facts["fields"]
        if any(field["unknown"][part] for part in later)
    ]
    if not rows:
        return Markup("<p>None: every value of the later parts has an id of its own.</p>")
    return plots.bars(
        rows,
        "Bars: share of values without an id of their own, by field and part; fields without any "
        "are left out. The numbers are in the table of fields.",
        first=1,  # the colours that the parts have in the other charts
    )
