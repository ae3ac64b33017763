"""How far the times and memory that `stembench plan` estimates are from those of real cells.

    python benchmarks/plan.py [--suite demo] [--seconds 40]

Trains one cell of each data set and model of the suite, in a process of its own as the workflow
does, and compares it with the estimate for as many epochs as it ran. Needs the suite's splits
(`stembench data make NAME`). Prints a Markdown table. The factor is that of the estimate to the
cell's processor time, which other processes hardly lengthen; wall time stands beside it. Stated
factor: every cell within 2x.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from stembench import params, plan, plan_speed

SPLITS, OUT = Path("data/splits"), "plan_benchmark"


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite")
    parser.add_argument("--seconds", type=float, default=30.0, help="time for the calibration")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    settings = params.load()
    suite = settings.select(arguments.suite)
    data = {d.name: d for d in plan.survey(settings, suite, Path("data/raw"), SPLITS)}
    cells = plan.needs(settings, suite, list(data.values()))
    speeds = plan_speed.calibrate(
        [(spec, data[need.dataset]) for need, spec in cells], arguments.seconds
    )
    head = "data set | model | epochs | estimate s | CPU s | factor | wall s | RAM MB | measured"
    lines = [f"| {head} |", "|---|---|---:|---:|---:|---:|---:|---:|---:|"]
    factors = []
    try:
        for need, spec in cells:
            wall, seconds, run = train(spec)
            batch, speed = spec["train"]["batch_size"], speeds[need.dataset, need.model]
            guess = plan.cell_seconds(need, data[need.dataset], batch, speed, run["epochs_run"])
            factors.append(guess / seconds)
            times = f"{guess:.1f} | {seconds:.1f} | {factors[-1]:.2f} | {wall:.1f}"
            memory = f"{need.peak / 1e6:.0f} | {run['peak_memory_mb'] * 1.048576:.0f}"
            name = f"{need.dataset} | {need.model} | {run['epochs_run']}"
            lines.append(f"| {name} | {times} | {memory} |")
    finally:
        shutil.rmtree(Path("results") / OUT, ignore_errors=True)
    middle = math.exp(sum(map(math.log, factors)) / len(factors))
    lines.append(
        f"\nestimate / measured: geometric mean {middle:.2f}, range {min(factors):.2f} to "
        f"{max(factors):.2f}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    sys.stdout.write("\n".join(lines) + "\n")


def train(spec: dict) -> tuple[float, float, dict]:  # type: ignore[type-arg]
    """(wall seconds, processor seconds, run.json) of one cell's process."""
    cell = [spec["dataset"], spec["model"], str(spec["seed"])]
    command = [sys.executable, "-m", "stembench", "train", *cell, "--suite", OUT]
    # By way of a shell: a direct child would begin with this process's peak memory.
    command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", *command]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    text = json.dumps(spec, sort_keys=True, ensure_ascii=False)
    subprocess.run([*command, "--spec", text], check=True, capture_output=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    path = Path("results") / OUT / "runs" / "/".join(cell) / "run.json"
    return wall, seconds, json.loads(path.read_text())


if __name__ == "__main__":
    main()
