"""How fast and in how much memory a split is made from a raw file, by number of rows.

    python benchmarks/prepare.py          5, 20 and 40 million rows: minutes, 8 GB of disk
    python benchmarks/prepare.py --rows 100000 200000

Files are generated in the shape of TikTok's log: twelve tab-separated integers without a header,
with its numbers of distinct values, long-tailed. From the raw file (checksum and check for ragged
lines included) to the split directory, with the columns, min count and split rule of the released
code. Each size runs in a process of its own, so that the peak of its memory is its own. Written to
results/benchmarks/prepare.csv and .md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stembench import provenance
from stembench.data.prepare.make import split_dataset
from stembench.errors import StembenchError
from stembench.params.schema import Dataset

ROWS = (5_000_000, 20_000_000, 40_000_000)
FILE = "final_track1_train.txt"
#: Column -> (smallest value, distinct values, exponent of the tail: 1 is uniform).
COLUMNS = {
    "uid": (0, 73_974, 2.0),
    "user_city": (-1, 397, 3.0),
    "item_id": (0, 4_122_689, 4.0),
    "author_id": (0, 850_308, 4.0),
    "item_city": (-1, 462, 3.0),
    "channel": (0, 5, 3.0),
    "finish": None,
    "like": None,
    "music_id": (-1, 89_779, 4.0),
    "device_id": (0, 75_085, 2.0),
    "create_time": (53_000_000_000, 600_000_000, 1.0),
    "video_duration": (0, 640, 6.0),
}
RATES = {"finish": 0.39, "like": 0.012}
ENTRY: dict[str, Any] = {
    "source": {"kind": "tiktok"},
    "table": {
        "user": "uid",
        "min_count": 10,
        "fields": {
            "user": ["uid", "device_id"],
            "item": ["item_id", "author_id", "item_city", "music_id", "video_duration"],
            "context": ["channel"],
        },
        "tasks": {"finish": "finish", "like": "like"},
    },
    "split": {
        **{"name": "tiktok_x1", "rule": "train_test_split"},
        **{"test": 0.1, "valid": 0.1, "seed": 42},
    },
}
_CHUNK = 1 << 20
#: Rows per second of the preparation released with the paper, and what this one aims at.
RELEASED, GOAL = 92_000, 1_000_000


def generate(path: Path, rows: int) -> None:
    """Write a file of that many rows, a chunk at a time. Same rows, same bytes."""
    random = np.random.default_rng(20190708)
    with path.open("wb") as file:
        for start in range(0, rows, _CHUNK):
            size = min(_CHUNK, rows - start)
            columns = {name: _column(random, name, size) for name in COLUMNS}
            pl.DataFrame(columns).write_csv(file, separator="\t", include_header=False)


def _column(random: np.random.Generator, name: str, size: int) -> NDArray[np.int64]:
    shape = COLUMNS[name]
    if shape is None:
        return (random.random(size) < RATES[name]).astype(np.int64)
    low, distinct, tail = shape
    rank = (distinct * random.random(size) ** tail).astype(np.int64)
    # Frequent values are not the small ones: a multiplier without common factor spreads them.
    return low + rank * 2_147_483_647 % distinct


def measure(raw: Path, out: Path) -> dict[str, float]:
    """Make the split in this process: seconds, those of its processors, peak of memory in MB."""
    started, worked = time.perf_counter(), time.process_time()
    split_dataset("tiktok", Dataset.model_validate(ENTRY), raw, out)
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "cpu_seconds": time.process_time() - worked,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def fit(rows: list[int], seconds: list[float]) -> tuple[float, float, float]:
    """Least squares of seconds on rows: seconds at 0 rows, seconds a million rows, R^2."""
    x, y = np.array(rows) / 1e6, np.array(seconds)
    slope, intercept = np.polyfit(x, y, 1)
    residual = ((y - intercept - slope * x) ** 2).sum()
    return float(intercept), float(slope), float(1 - residual / ((y - y.mean()) ** 2).sum())


def _child(arguments: list[str]) -> str:
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def run(sizes: list[int], scratch: Path, results: Path) -> None:
    """Measure every size and write the table."""
    scratch.mkdir(parents=True, exist_ok=True)
    table = []
    for rows in sizes:
        folder = Path(tempfile.mkdtemp(prefix="prepare-", dir=scratch))
        try:
            raw, out = folder / "raw", folder / "split"
            raw.mkdir()
            _child(["--generate", str(raw / FILE), "--rows", str(rows)])
            found = json.loads(_child(["--measure", str(raw), str(out)]))
            table.append(
                {
                    "rows": rows,
                    "raw_mb": round(_size(raw) / 1e6, 1),
                    "split_mb": round(_size(out) / 1e6, 1),
                    "seconds": round(found["seconds"], 4),
                    "cpu_seconds": round(found["cpu_seconds"], 4),
                    "rows_per_s": round(rows / found["seconds"]),
                    "peak_rss_mb": round(found["peak_rss_mb"]),
                }
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        _say(str(table[-1]))
    results.mkdir(parents=True, exist_ok=True)
    with (results / "prepare.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    text = _markdown(table)
    (results / "prepare.md").write_text(text)
    _say(text)


def _markdown(table: list[dict[str, Any]]) -> str:
    machine = provenance.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        "# From a raw file to the split directory",
        "",
        f"`python benchmarks/prepare.py --rows {' '.join(str(row['rows']) for row in table)}` on "
        f"{machine['cpu']}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GB; "
        f"Python {machine['python']}, polars {pl.__version__}. "
        "Twelve integer columns, eight fields, min count 10, the split `tiktok_x1`.",
        "",
        "| rows | raw MB | split MB | seconds | CPU seconds | rows/s | peak RSS MB |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['rows']:,} | {row['raw_mb']:,.0f} | {row['split_mb']:,.0f} | "
        f"{row['seconds']:.1f} | {row['cpu_seconds']:.1f} | {row['rows_per_s']:,} | "
        f"{row['peak_rss_mb']:,} |"
        for row in table
    ]
    if len(table) > 1:
        start, slope, r2 = fit([row["rows"] for row in table], [row["seconds"] for row in table])
        grown = table[-1]["peak_rss_mb"] / table[-2]["peak_rss_mb"]
        lines += [
            "",
            f"seconds = {start:.2f} + {slope:.3f} x million rows, R^2 = {r2:.5f}. "
            f"Peak RSS at {table[-1]['rows']:,} rows is {grown:.2f} times that at "
            f"{table[-2]['rows']:,}.",
        ]
    lines += [
        "",
        f"Aim: {GOAL:,} rows/s. The preparation released with the paper runs at about "
        f"{RELEASED:,} rows/s and holds all rows in memory.",
    ]
    return "\n".join(lines) + "\n"


def _say(text: str) -> None:
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--scratch", type=Path, default=Path("data/benchmark"))
    parser.add_argument("--results", type=Path, default=Path("results/benchmarks"))
    parser.add_argument("--generate", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.generate:
        generate(arguments.generate, arguments.rows[0])
    elif arguments.measure:
        _say(json.dumps(measure(*arguments.measure)))
    else:
        try:
            run(arguments.rows, arguments.scratch, arguments.results)
        except (StembenchError, subprocess.CalledProcessError) as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
