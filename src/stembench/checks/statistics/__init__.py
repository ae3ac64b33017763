"""`stembench validate`: the statistics tested by themselves, as a table with pass or fail.

Deterministic by seed. The full form holds the bounds as they stand: .06 for the type-I error, .935
and .965 for coverage and alpha for the family-wise error by the estimate itself, and alpha plus two
Monte-Carlo standard errors for the nulls. The quick form widens all by three more, as its few
repetitions cannot tell .06 from .07.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from stembench.analysis.runs import Group
from stembench.checks.statistics.checks import (
    COLUMNS,
    family_wise,
    grid,
    grid_rows,
    planned_power,
    real_nulls,
    simulated_nulls,
)
from stembench.checks.statistics.oracles import oracle_rows
from stembench.checks.statistics.simulate import tally
from stembench.records.writing import markdown, write_csv, write_text

#: Of the full and of the quick form; none of those on which the degrees of freedom were chosen.
_SEEDS = {False: 9_471_203, True: 20_230}
#: The suite whose runs the nulls on real runs take, and how to get them.
NULLS = "nulls"
HOW = f"`snakemake --cores all --config suite={NULLS}` makes the runs, 20 seeds of two models."
#: Monte-Carlo standard errors by which the bounds of the quick form are widened.
_QUICK_SLACK = 3.0


def run(groups: list[Group], quick: bool, cores: int, folder: Path) -> list[dict[str, Any]]:
    """Run all checks, write validation.csv and validation.md into the folder, return the rows.

    groups: finished runs for the nulls on real runs, may be empty; cores: processes.
    """
    slack, seed = _QUICK_SLACK if quick else 0.0, _SEEDS[quick]
    cells = grid(quick, seed + 100)
    rows = oracle_rows(seed)
    with ProcessPoolExecutor(cores) as pool:
        # The long ones first.
        others = [
            pool.submit(check, seed + i, quick, slack)
            for i, check in enumerate((simulated_nulls, family_wise, planned_power))
        ]
        tallies = [pool.submit(tally, *cell) for cell in reversed(cells)]
        for cell, future in zip(cells, reversed(tallies), strict=True):
            rows += grid_rows(cell, future.result(), slack)
        for other in others:
            rows += other.result()
    rows += real_nulls(groups, seed, quick)
    write_csv(folder / "validation.csv", rows, COLUMNS)
    write_text(
        folder / "validation.md", to_markdown(rows, quick, any(group.sound() for group in groups))
    )
    return rows


def to_markdown(rows: list[dict[str, Any]], quick: bool, real: bool) -> str:
    """The table with what it says."""
    results = [row["result"] for row in rows]
    tested = len(results) - results.count("info")
    lines = [
        "# Validation of the statistics",
        "",
        f"{results.count('pass')} of {tested} checks pass, {results.count('FAIL')} fail. "
        f"`stembench validate{' --quick' if quick else ''}` makes this table.",
        "",
        "Type-I error is the share of repetitions in which the two-way test of level .05 rejects "
        "the true difference. Simulated benchmarks have skewed seeds, heavy-tailed users and, as "
        "test parts, 1% positives. estimate: a rate, or the largest error of an oracle; mc_se: its "
        "Monte-Carlo standard error; lower, upper: the bounds, held by the estimate itself: 0.06 "
        "for the type-I error, alpha for the family-wise error, and for the nulls alpha plus two "
        "Monte-Carlo standard errors, from above alone: where both sources count, the test is "
        "cautious and rejects less often than alpha."
        + (" Here all are widened by three such errors." if quick else ""),
    ]
    if not real:
        lines += [
            "",
            f"No finished runs were at hand: the nulls are on simulated test parts alone. {HOW}",
        ]
    body = [[row.get(name) for name in COLUMNS] for row in rows]
    return "\n".join(lines) + "\n\n" + markdown(COLUMNS, body)
