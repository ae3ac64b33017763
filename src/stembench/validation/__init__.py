"""`stembench validate`: the statistics tested by themselves, as a table with pass or fail.

Deterministic by seed. The full form holds the bounds as they stand; the quick one widens them by
three Monte-Carlo standard errors, as its few repetitions cannot tell .06 from .07.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from stembench.runs import Group
from stembench.tables import markdown, write_csv, write_text
from stembench.validation.checks import (
    COLUMNS,
    family_wise,
    grid,
    grid_rows,
    planned_power,
    real_nulls,
    simulated_nulls,
)
from stembench.validation.oracles import oracle_rows
from stembench.validation.simulate import tally

_SEED = 20230
#: Monte-Carlo standard errors by which the bounds of the quick form are widened.
_QUICK_SLACK = 3.0


def run(groups: list[Group], quick: bool, cores: int, folder: Path) -> list[dict[str, Any]]:
    """Run all checks, write validation.csv and validation.md into the folder, return the rows.

    groups: finished runs for the nulls on real runs, may be empty; cores: processes.
    """
    slack = _QUICK_SLACK if quick else 0.0
    cells = grid(quick)
    rows = oracle_rows(_SEED)
    with ProcessPoolExecutor(cores) as pool:
        # The long ones first.
        others = [
            pool.submit(check, _SEED + i, quick, slack)
            for i, check in enumerate((simulated_nulls, family_wise, planned_power))
        ]
        tallies = [pool.submit(tally, *cell) for cell in reversed(cells)]
        for cell, future in zip(cells, reversed(tallies), strict=True):
            rows += grid_rows(cell, future.result(), slack)
        for other in others:
            rows += other.result()
    rows += real_nulls(groups, _SEED, quick)
    write_csv(folder / "validation.csv", rows, COLUMNS)
    write_text(folder / "validation.md", to_markdown(rows, quick, bool(groups)))
    return rows


def to_markdown(rows: list[dict[str, Any]], quick: bool, real: bool) -> str:
    """The table with what it says."""
    results = [row["result"] for row in rows]
    tested = len(results) - results.count("info")
    lines = [
        "# Validation of the statistics",
        "",
        f"{results.count('pass')} of {tested} checks pass, {results.count('FAIL')} fail, "
        f"{results.count('short')} fall short in a known way, see their note. `stembench validate"
        f"{' --quick' if quick else ''}` makes this table.",
        "",
        "Type-I error is the share of repetitions in which the two-way test of level .05 rejects "
        "the true difference. Simulated benchmarks have skewed seeds, heavy-tailed users and, as "
        "test parts, 1% positives. estimate: a rate, or the largest error of an oracle; mc_se: its "
        "Monte-Carlo standard error; lower, upper: the bounds"
        + (", here widened by three such errors." if quick else ", held by the estimate itself."),
    ]
    if not real:
        lines += ["", "No finished runs were at hand: the nulls are on simulated test parts alone."]
    body = [[row.get(name) for name in COLUMNS] for row in rows]
    return "\n".join(lines) + "\n\n" + markdown(COLUMNS, body)
