"""Time and memory of the statistics at the size of a real test part.

    python benchmarks/stats.py                       10M rows, and the comparison on 1M rows
    python benchmarks/stats.py --rows 100000 --compare-rows 20000 --models 3 --seeds 2

Metrics of two models on generated rows (about 50 a user, 5% positives); then a whole comparison,
whose runs lie as files and are streamed, as `stembench evidence` streams them. Each figure is the
median of some repetitions in a process of its own, with that process's peak memory. CPU seconds are
beside those of the clock: on a busy machine they are the ones to compare.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from stembench import provenance
from stembench.analysis.comparison import Question, evidence
from stembench.analysis.runs import Cell, Group
from stembench.data.directory import SplitDirectory
from stembench.metrics import delong_components, gauc
from stembench.records.writing import markdown, write_csv, write_text
from stembench.stats import user_influence
from stembench.training.memory import keep_freed_memory

COLUMNS = ("what", "rows", "users", "repeats", "median_s", "cpu_s", "peak_mb", "aim_s")
#: numpy's sort without AVX-512, which on AMD's Zen 4 is the slower one: its compressed stores are.
NO_AVX512 = {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"}
ROWS_PER_USER, POSITIVE_RATE = 50, 0.05


def generate(rows: int, models: int, seed: int) -> tuple[Any, Any, Any]:
    """Labels, users (N,) and float32 logits (models, N)."""
    random = np.random.default_rng(seed)
    users = random.integers(0, max(2, rows // ROWS_PER_USER), rows).astype(np.int32)
    labels = (random.random(rows) < POSITIVE_RATE).astype(np.uint8)
    logits = random.standard_normal((models, rows), dtype=np.float32) + labels
    return labels, users, logits


def metric(name: str, rows: int) -> Callable[[], None]:
    """One metric of two models on the same rows."""
    labels, users, logits = generate(rows, 2, 0)
    functions: dict[str, Callable[[Any], Any]] = {
        "gAUC, two models": lambda z: gauc(labels, z, users),
        "DeLong components, two models": lambda z: delong_components(labels, z),
        "influence of the users on the AUC, two models": lambda z: user_influence(labels, z, users),
    }

    def run() -> None:
        for z in logits:
            functions[name](z)

    return run


def suite(folder: Path, rows: int, models: int, seeds: int, tasks: int) -> Group:
    """Finished runs as `runs.read` would give them, written one at a time."""
    names = [f"task_{t}" for t in range(tasks)]
    test = folder / "split" / "test"
    test.mkdir(parents=True)
    columns = [generate(rows, 0, t)[:2] for t in range(tasks)]
    labels = np.stack([y for y, _ in columns], axis=1)
    np.save(test / "labels.npy", labels)
    np.save(test / "users.npy", columns[0][1])
    np.save(test / "fields.npy", np.zeros((rows, 1), np.int32))
    field = {"name": "item", "role": "item", "kind": "categorical", "size": 2, "columns": 1}
    schema = {"dataset": "generated", "fields": [field], "tasks": names}
    (folder / "split" / "schema.json").write_text(json.dumps(schema))
    manifest = {"sha256": "", "rows": {"train": 0, "valid": 0, "test": rows}}
    (folder / "split" / "manifest.json").write_text(json.dumps(manifest))
    cells = []
    for m in range(models):
        for seed in range(seeds):
            random = np.random.default_rng([m, seed])
            path = folder / "runs" / str(m) / str(seed)
            path.mkdir(parents=True)
            noise = random.standard_normal((rows, tasks), dtype=np.float32)
            np.save(path / "test_logits.npy", labels + noise)
            cells.append(Cell("generated", f"model_{m}", seed, "", path, "ok"))
    return Group("generated", cells, SplitDirectory(folder / "split"))


def measure(task: tuple[Any, ...]) -> tuple[float, float, float]:
    """Median seconds, median CPU seconds and peak RSS in MB of a task, in a fresh process."""
    kind, rows, repeats, *rest = task
    keep_freed_memory()  # as `stembench compare` does
    if kind == "compare":
        models, seeds, _tasks, folder = rest
        # The suite was written by another process, so that its memory does not count here.
        group = Group(
            "generated",
            [
                Cell("generated", f"model_{m}", s, "", folder / "runs" / str(m) / str(s), "ok")
                for m in range(models)
                for s in range(seeds)
            ],
            (split := SplitDirectory(folder / "split")),
            {"test": split.part("test")},
        )

        def run() -> None:
            evidence(group, Question("model_0", 0.05, 1e-3, 0.8, 1000))
    else:
        run = metric(kind, rows)
    times, busy = [], []
    for _ in range(repeats):
        start, start_cpu = time.perf_counter(), time.process_time()
        run()
        times.append(time.perf_counter() - start)
        busy.append(time.process_time() - start_cpu)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return float(np.median(times)), float(np.median(busy)), peak


def machine() -> str:
    """Processor, cores, Python and numpy."""
    found = provenance.machine()
    return (
        f"{found['cpu']}, {found['cores']} cores; Python {found['python']}, numpy {np.__version__}"
    )


def write(folder: Path, given: str, rows: list[dict[str, Any]]) -> None:
    """The table as CSV and Markdown."""
    write_csv(folder / "stats.csv", rows, COLUMNS)
    table = markdown(COLUMNS, [[row[name] for name in COLUMNS] for row in rows], digits=4)
    head = f"# Speed of the statistics\n\n`python benchmarks/stats.py{given and ' '}{given}` on "
    note = (
        "cpu_s is what to compare: the machine had other work, which median_s waits for."
        if any(row["median_s"] > 1.3 * row["cpu_s"] for row in rows)
        else "The machine had nothing else to do."
    )
    write_text(folder / "stats.md", f"{head}{machine()}, one core used. {note}\n\n{table}")


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure, print and save; returns the rows of the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--compare-rows", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    parser.add_argument("--scratch", type=Path, help="folder for the generated runs")
    options = parser.parse_args(arguments)
    context = multiprocessing.get_context("spawn")
    rows: list[dict[str, Any]] = []
    given = " ".join(sys.argv[1:] if arguments is None else arguments)

    def add(
        what: str, task: tuple[Any, ...], n: int, aim: float, env: dict[str, str] | None = None
    ) -> None:
        before = os.environ.copy()
        os.environ.update(env or {})
        try:
            with context.Pool(1) as pool:
                seconds, busy, peak = pool.apply(measure, (task,))
        finally:
            os.environ.clear()
            os.environ.update(before)
        row = {"what": what, "rows": n, "users": n // ROWS_PER_USER, "repeats": task[2]}
        rows.append(row | {"median_s": seconds, "cpu_s": busy, "peak_mb": peak, "aim_s": aim})
        sys.stdout.write(f"{what}: {seconds:.2f} s, CPU {busy:.2f} s, peak {peak:.0f} MB\n")
        write(options.out, given, rows)  # what was measured stays if a later one is broken off

    for name, aim in (
        ("gAUC, two models", 1.5),
        ("DeLong components, two models", 15.0),
        ("influence of the users on the AUC, two models", 15.0),
    ):
        task = (name, options.rows, options.repeat)
        add(name, task, options.rows, aim)
        if name.startswith("gAUC"):
            add(f"{name}, numpy without AVX-512", task, options.rows, aim, NO_AVX512)
    folder = Path(tempfile.mkdtemp(prefix="stembench-", dir=options.scratch))
    try:
        size = (options.models, options.seeds, options.tasks)
        with context.Pool(1) as pool:
            pool.apply(suite, (folder, options.compare_rows, *size))
        what = "comparison, {} models × {} seeds × {} tasks, 4 metrics".format(*size)
        add(what, ("compare", options.compare_rows, 1, *size, folder), options.compare_rows, 600.0)
    finally:
        shutil.rmtree(folder)
    return rows


if __name__ == "__main__":
    main()
