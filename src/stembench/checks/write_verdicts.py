"""Verdicts as files: verdicts.csv and .md, assumptions.csv, of one suite."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from stembench.checks.verdicts import ASSUMPTIONS, COLUMNS, NO_MATCH, Rows
from stembench.records.writing import markdown, text, write_csv, write_text

_NUMBERS = (
    *("entry", "dataset", "task", "n_seeds", "ours", "sd_seed", "published", "runs_published"),
    *("delta", "se", "ci_lo", "ci_hi", "p_tost", "verdict", "verdict_half", "verdict_double"),
    *("tag", "table", "row", "deviations"),
)
_CLAIMS = (
    *("entry", "dataset", "task", "where", "model", "relation", "other", "n_seeds", "delta"),
    *("se", "ci_lo", "ci_hi", "p", "p_adj", "p_tost", "verdict", "tag", "scope", "note"),
)


def write(folder: Path, rows: Rows, assumed: Rows, margin: float, alpha: float) -> list[Path]:
    """Write verdicts.csv, assumptions.csv and verdicts.md into a folder of tables."""
    return [
        write_csv(folder / "verdicts.csv", rows, COLUMNS),
        write_csv(folder / "assumptions.csv", assumed, ASSUMPTIONS),
        write_text(folder / "verdicts.md", _markdown(rows, assumed, margin, alpha)),
    ]


def summary(rows: Rows) -> list[str]:
    """A line for each claim and data set: in how many comparisons its order holds."""
    claims: dict[tuple[str, str, str], Counter[str]] = {}
    for row in rows:
        if row["kind"] == "claim" and row["verdict"] != NO_MATCH:
            key = row["entry"], row["statement"], row["dataset"]
            claims.setdefault(key, Counter())[row["verdict"]] += 1
    return [
        f"{statement} ({entry}) on {dataset}: "
        + ", ".join(f"{verdict} {n}" for verdict, n in sorted(counts.items()))
        + f" of {sum(counts.values())}"
        for (entry, statement, dataset), counts in claims.items()
    ]


def _markdown(rows: Rows, assumed: Rows, margin: float, alpha: float) -> str:
    compared = [row for row in rows if row["verdict"] != NO_MATCH]
    out = "# Verdicts on published numbers and claims\n\n"
    if not compared:
        out += (
            f"None of the {len({row['entry'] for row in rows})} entries of workflow/published.yaml "
            "is of a data set, task and model of this suite: nothing is compared.\n\n"
        )
    claims = [row for row in compared if row["kind"] == "claim"]
    numbers = [row for row in compared if row["kind"] == "number"]
    if claims:
        out += "## Claims\n\n" + "".join(f"- {line}\n" for line in summary(rows))
        out += (
            f"\nOrder at level {alpha:g}: delta is model minus other, tested over seeds and users; "
            "p_adj is Holm's over the comparisons of a claim on a data set; p_tost is of a "
            f"difference within ±{margin:g} AUC. Where data or split differ, or are not known to "
            "be the same, this is about sign and order only.\n\n"
        ) + _table(claims, _CLAIMS)
    if numbers:
        out += (
            "\n## Numbers\n\ndelta is ours minus published, ± the prediction interval of level "
            f"{1 - alpha:g}: se = sd_seed √(1/runs_published + 1/n_seeds), which assumes that the "
            f"published runs vary over seeds as ours do. Margin ±{margin:g}; verdict_half and "
            "verdict_double are at half and at double of it. reproduced: TOST passes; consistent: "
            "inside the prediction interval; inconsistent: outside; underpowered: inside one wider "
            "than twice the margin; not comparable: data or split are not known to be "
            "the same, or the features differ.\n\n"
        ) + _table(numbers, _NUMBERS)
    absent = [row for row in rows if row["verdict"] == NO_MATCH]
    if absent:
        shown = ("entry", "statement", "tag", "source", "table", "row")
        out += "\n## Entries that this suite has no data set, task or model for\n\n"
        out += _table(absent, shown)
    if assumed:
        out += "\n## Assumptions\n\n" + _table(assumed, ASSUMPTIONS)
    return out


def _table(rows: Rows, columns: tuple[str, ...]) -> str:
    body = [[_safe(row.get(name)) for name in columns] for row in rows]
    return markdown(columns, body)


def _safe(value: Any) -> Any:
    """A bar would end the cell."""
    return text(value).replace("|", "\\|") if isinstance(value, str) else value
