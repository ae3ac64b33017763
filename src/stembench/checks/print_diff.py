"""What `stembench diff` prints: counts, what moved, what else differs."""

from __future__ import annotations

from collections import Counter

from stembench.checks.diff import Rows, Side, differences, verdict_changes
from stembench.records.writing import markdown

SHOWN = ("dataset", "part", "task", "metric", "model", "n_a", "n_b", "mean_a", "mean_b", "delta",
         "ci_lo", "ci_hi", "p_adj", "test", "moved")  # fmt: skip
#: Rows that a person is shown; all are in the CSV.
NOTABLE = ("beyond noise", "not testable")


def render(a: Side, b: Side, rows: Rows, alpha: float) -> str:
    """The whole comparison as Markdown, which also reads well as text."""
    counts = Counter(row["moved"] for row in rows)
    told = ", ".join(f"{n} {moved}" for moved, n in sorted(counts.items())) or "none"
    out = f"# A: {a.name}, B: {b.name}\n\n"
    out += f"{len(rows)} means (data set x task x metric x model): {told}. delta is B - A, with "
    out += f"its {100 * (1 - alpha):g}% confidence interval over seeds, the test users being "
    out += "given; p_adj is Benjamini-Hochberg's over all that were tested.\n\n"
    notable = [row for row in rows if row["moved"] in NOTABLE]
    out += "## Moved beyond noise\n\n"
    out += _table(notable, SHOWN) if notable else "Nothing.\n"
    alone = list(
        dict.fromkeys(
            f"{row['moved']}: {row['dataset']}, {row['task']}, {row['model']} ({row['part']})"
            for row in rows
            if row["moved"].startswith("only")
        )
    )
    if alone:
        out += "\n## On one side only\n\n" + "".join(f"- {line}\n" for line in alone)
    within = [row for row in rows if row["moved"] == "within noise"]
    if within:
        out += "\n## Moved within noise\n\n" + _table(within, SHOWN)
    changed = verdict_changes(a, b)
    if changed:
        out += "\n## Verdicts that are others\n\n" + _table(changed, tuple(changed[0]))
    out += "\n## What else differs\n\n" + "".join(f"- {line}\n" for line in differences(a, b))
    return out


def _table(rows: Rows, columns: tuple[str, ...]) -> str:
    return markdown(columns, [[row.get(name) for name in columns] for row in rows])
