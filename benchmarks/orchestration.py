"""What a cell costs beside its training, a warm no-op, and how best to pack cells on cores.

    python -m benchmarks.orchestration

Parts of a cell: small cells one after another, bare and then as jobs of Snakemake; what a job has
more is Snakemake's. No-op: `snakemake` where nothing is to be done, by number of cells. Packing:
cells per hour with so many at once on so many threads each. Wall time, so the machine should be
quiet. Writes results/benchmarks/orchestration.csv and .md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import cells
from benchmarks.output import command, save

ROOT = Path(__file__).parents[1]
PROJECT = [
    "Snakefile", "dvc.yaml", "data/dvc.yaml", "params.yaml", "workflow", "src", "requirements.lock",
    ".dvc/config", ".dvcignore", ".gitignore",
]  # fmt: skip
MODELS = ["stem", "single_task", "shared_bottom", "mmoe", "ple"]
SMALL = """
  small:
    source: {kind: synthetic, options: {<<: *generator, rows: 2000, users: 60, items: 40, seed: 1}}
    table: *synthetic_table
    split: {name: small_r1, rule: random, valid: 0.2, test: 0.3, seed: 1}
"""
Row = dict[str, Any]


def row(what: str, size: int, seconds: list[float], unit: str = "s") -> Row:
    """A line of the table: the median and the range of its values."""
    low, high = min(seconds), max(seconds)
    middle = statistics.median(seconds)
    return {"what": what, "size": size, "median": middle, "min": low, "max": high, "unit": unit}


def parts(outcome: cells.Outcome) -> dict[str, float]:
    """Seconds of a cell's process, in order; they add up to its wall time."""
    timing = outcome.run["timing"]
    started, finished = (
        datetime.fromisoformat(timing[name]).timestamp() for name in ("started_at", "finished_at")
    )
    work = timing["fit_s"] + timing["evaluate_s"]  # fit_s begins with the first epoch
    return {
        "Python, imports, arguments": started - outcome.began,
        "opening the split": timing["load_s"],
        "training and evaluation": work,
        "model, optimiser, batches, hashes, run.json": finished - started - timing["load_s"] - work,
        "end of the process": outcome.ended - finished,
    }


def project(root: Path, suites: dict[str, int]) -> None:
    """A project of the repository's workflow with suites of so many cells, a model or five."""
    for name in PROJECT:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)
    path = root / "params.yaml"
    more = ""
    for name, count in suites.items():
        models = MODELS if count % len(MODELS) == 0 else MODELS[:1]
        seeds = list(range(1, count // len(models) + 1))
        more += (
            f"\n  {name}:\n    name: {name}\n    datasets: [small]\n"
            f"    models: [{', '.join(models)}]\n    seeds: {seeds}\n"
            f"    train: {{epochs: 1}}\n    args: {json.dumps(cells.NARROW)}\n"
        )
    text = path.read_text()
    for old, new in (("\nsuites:\n", more), ("\nanalysis:\n", SMALL)):
        if text.count(old) != 1:
            raise SystemExit(f"params.yaml: {old!r} stands {text.count(old)} times")
        text = text.replace(old, old + new if "suites" in old else new + old)
    path.write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)


def snakemake(root: Path, suite: str, *options: str) -> str:
    """What it printed; ends the benchmark with that when it fails."""
    command = ["snakemake", "--cores", "1", *options, "--config", f"suite={suite}"]
    places = {"PYTHONPATH": str(root / "src"), "DVC_SITE_CACHE_DIR": str(root / ".dvc/tmp/site")}
    environment = os.environ | places
    done = subprocess.run(
        command, cwd=root, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stdout[-4000:])
    return done.stdout


def gaps(root: Path, suite: str) -> list[float]:
    """Seconds from the end of a cell to the start of the next, cells one after another."""
    runs = [json.loads(p.read_text()) for p in root.glob(f"results/{suite}/runs/*/*/*/run.json")]
    times = sorted(
        tuple(
            datetime.fromisoformat(run["timing"][name]).timestamp()
            for name in ("started_at", "finished_at")
        )
        for run in runs
    )
    return [later[0] - earlier[1] for earlier, later in pairwise(times)]


def of_parts(scratch: Path, count: int) -> list[Row]:
    """The parts of a cell, and what its job costs more."""
    project(scratch, {"jobs": count * len(MODELS)})
    targets = [f"results/jobs/runs/small/stem/{seed}/run.json" for seed in range(1, count + 1)]
    snakemake(scratch, "jobs", *targets)
    between = gaps(scratch, "jobs")
    spec = cells.spec("stem", "small", epochs=1)
    found = [parts(cells.train(spec, scratch)) for _ in range(count)]
    table = [row(f"cell: {name}", 1, [each[name] for each in found]) for name in found[0]]
    bare = table[0]["median"] + table[-1]["median"]  # both lie between two cells
    table.append(row("job: Snakemake between two cells", 1, [gap - bare for gap in between]))
    return table


def of_no_op(scratch: Path, counts: list[int], repeats: int) -> list[Row]:
    """`snakemake` with nothing to do, after marking (empty) files as up to date."""
    suites = {f"cells_{count}": count for count in counts}
    project(scratch, suites)
    found = []
    for suite, count in suites.items():
        lines = snakemake(scratch, suite, "--summary").splitlines()
        head = next(i for i, line in enumerate(lines) if line.startswith("output_file"))
        for line in lines[head + 1 :]:
            path = scratch / line.split("\t")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        snakemake(scratch, suite, "--touch")
        seconds = []
        for _ in range(repeats):
            begun = time.perf_counter()
            told = snakemake(scratch, suite)
            seconds.append(time.perf_counter() - begun)
            if "Nothing to be done" not in told:
                raise SystemExit(f"snakemake found work to do:\n{told[-2000:]}")
        found.append(row("no-op of a suite, by cells", count, seconds))
    return found


def of_packing(scratch: Path, model: str, rows: int, each: int) -> list[Row]:
    """Cells per hour of so many cells at once on so many threads; in turns, one pass each."""
    counts = {"train": rows, "valid": rows // 5, "test": rows // 5}
    cells.write_split(scratch, cells.schema(50_000), counts)
    cores = os.cpu_count() or 1
    plans = dict.fromkeys([(1, 1), (1, cores), (cores, 1), (cores + 1, 1), (2 * cores, 1)])
    found = []
    for jobs, threads in plans:

        def one(seed: int, threads: int = threads) -> float:
            spec = cells.spec(model, epochs=2, patience=3) | {"seed": seed}
            return cells.train(spec, scratch, threads).wall_s

        begun = time.perf_counter()
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(one, range(1, each * jobs + 1)))
        rate = each * jobs / (time.perf_counter() - begun) * 3600
        name = f"packing: {model}, {jobs} at once on {threads} threads each"
        found.append(row(name, jobs * threads, [rate], "cells / h"))
    return found


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=10, help="cells whose parts are timed")
    parser.add_argument("--suites", type=int, nargs="+", default=[100, 500], help="of no-ops")
    parser.add_argument("--repeats", type=int, default=3, help="of each no-op")
    parser.add_argument("--models", nargs="+", default=["shared_bottom", "stem"], help="packed")
    parser.add_argument("--rows", type=int, default=200_000, help="training rows when packed")
    parser.add_argument("--each", type=int, default=3, help="cells per place when packed")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    load = os.getloadavg()[0]  # before this adds its own
    table: list[Row] = []
    for measure, arguments in (
        (of_parts, [(options.cells,)]),
        (of_no_op, [(options.suites, options.repeats)]),
        (of_packing, [(model, options.rows, options.each) for model in options.models]),
    ):
        for each in arguments:
            with tempfile.TemporaryDirectory(prefix="stembench-") as folder:
                table += measure(Path(folder), *each)  # type: ignore[operator]
    shown = [
        [r["what"], f"{r['size']:,}", f"{r['median']:.3g}", f"{r['min']:.3g} to {r['max']:.3g}",
         r["unit"]]
        for r in table
    ]  # fmt: skip
    work = ("cell: training", "no-op", "packing")
    overhead = sum(r["median"] for r in table if not r["what"].startswith(work))
    tables = [
        cells.table(["part", "size", "median", "range", "unit"], shown),
        f"Overhead of a cell, all but training and evaluation: {overhead:.2f} s.",
    ]
    page = cells.page(
        "Orchestration",
        command("orchestration"),
        f"Cells of STEM on 1,000 training rows; packing: {options.rows:,} rows, two "
        f"epochs, narrow nets. Load before {load:.1f}.",
        "",
        tables,
    )
    save(options.out, "orchestration", table, page)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
