"""How far the times and memory that `stembench plan` estimates are from those of real cells.

    python -m benchmarks.plan [--suites demo kuairand_pure_sample] [--seconds 40]

Trains one cell of each data set and model of the suites, in a process of its own as the workflow
does, and compares it with the estimate for as many epochs as it ran. Needs the suites' splits
(`stembench data make NAME`). The factor is that of the estimate to the cell's processor time,
which other processes hardly lengthen; wall time stands beside it. Aim: within 30%. Writes
results/benchmarks/plan.csv and .md.
"""

from __future__ import annotations

import argparse
import logging
import math
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks import cells
from benchmarks.output import command, save
from stembench.params import load as params
from stembench.planning import needs as plan
from stembench.planning import speed as plan_speed


def of_suite(
    settings: params.Params, suite: params.Suite, splits: Path, seconds: float
) -> list[dict[str, Any]]:
    """Estimate and measurement of a cell of each data set and model."""
    data = {d.name: d for d in plan.survey(settings, suite, Path("data/raw"), splits)}
    work = plan.needs(settings, suite, list(data.values()))
    speeds = plan_speed.calibrate([(spec, data[need.dataset]) for need, spec in work], seconds)
    table = []
    for need, spec in work:
        done = cells.train(spec)
        batch, speed = spec["train"]["batch_size"], speeds[need.dataset, need.model]
        epochs = done.run["epochs_run"]
        guess = plan.cell_seconds(need, data[need.dataset], batch, speed, epochs)
        table.append(
            {
                "dataset": need.dataset,
                "model": need.model,
                "epochs": epochs,
                "estimate_s": guess,
                "cpu_s": done.cpu_s,
                "factor": guess / done.cpu_s,
                "wall_s": done.wall_s,
                "estimate_mb": need.peak / 1e6,
                "peak_mb": done.run["peak_memory_mb"] * 1.048576,
            }
        )
    return table


def main() -> None:
    """Run the comparison, print and save it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suites", nargs="+", help="[default: the chosen one]")
    parser.add_argument("--seconds", type=float, default=40.0, help="calibration of each suite")
    parser.add_argument("--splits", type=Path, default=Path("data/splits"))
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    settings = params.load()
    table = []
    try:
        for name in options.suites or [None]:
            table += of_suite(settings, settings.select(name), options.splits, options.seconds)
    finally:
        shutil.rmtree(Path("results") / cells.SUITE, ignore_errors=True)
    shown = [
        [f"{r['dataset']}, {r['model']}", str(r["epochs"]), f"{r['estimate_s']:.1f}",
         f"{r['cpu_s']:.1f}", f"{r['factor']:.2f}", f"{r['wall_s']:.1f}", f"{r['estimate_mb']:.0f}",
         f"{r['peak_mb']:.0f}", f"{r['estimate_mb'] / r['peak_mb']:.2f}"]
        for r in table
    ]  # fmt: skip
    columns = ["cell", "epochs", "estimate s", "CPU s", "factor", "wall s"]
    columns += ["estimate MB", "peak MB", "factor"]
    factors = [float(r["factor"]) for r in table]
    middle = math.exp(sum(map(math.log, factors)) / len(factors))
    told = (
        f"Estimate over CPU time: geometric mean {middle:.2f}, {min(factors):.2f} to "
        f"{max(factors):.2f}; within 30%: {sum(1 / 1.3 <= f <= 1.3 for f in factors)} of "
        f"{len(factors)}."
    )
    page = cells.page(
        "Estimates of `stembench plan`",
        command("plan"),
        "One cell each, estimated for the epochs that it ran.",
        "",
        [cells.table(columns, shown), told],
    )
    save(options.out, "plan", table, page)


if __name__ == "__main__":
    main()
