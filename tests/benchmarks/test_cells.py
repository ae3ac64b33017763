"""The benchmarks of whole cells run through at tiny sizes, and their tables add up."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import growth
from tests.conftest import ROOT


def run(name: str, out: Path, *arguments: object) -> list[dict[str, str]]:
    """The table that a benchmark wrote."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--out", str(out)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=ROOT, text=True, capture_output=True, timeout=300,
        env=os.environ | {"PYTHONPATH": path, "PATH": tools},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / f"{name}.md").read_text().startswith("# ")
    return list(csv.DictReader((out / f"{name}.csv").open()))


def test_memory(tmp_path: Path) -> None:
    sizes = ["--tables", 1600, 800_000, "--table-rows", 4096, "--rows", 2000, 4000]
    table = run("memory", tmp_path, "--models", "shared_bottom", *sizes)
    assert len(table) == 5 + 3
    copies = {row["what"]: float(row["each"]) for row in table if "copies" in row["unit"]}
    assert len(copies) == 5
    # Loose: 51 MB of tables, with allocations of other sizes beside them.
    assert all(1 < each < 8 for each in copies.values())


@pytest.mark.workflow
def test_orchestration(tmp_path: Path) -> None:
    sizes = ["--cells", 2, "--suites", 5, "--repeats", 1, "--rows", 500, "--each", 1]
    table = run("orchestration", tmp_path, "--models", "shared_bottom", *sizes)
    parts = [float(row["median"]) for row in table if row["what"].startswith("cell: ")]
    assert len(parts) == 6
    assert all(0 <= seconds < 60 for seconds in parts)
    assert [row["size"] for row in table if row["what"].startswith("no-op")] == ["5"]
    assert sum(row["what"].startswith("packing: ") for row in table) >= 3
    assert all(float(row["median"]) > 0 for row in table if row["unit"] == "cells / h")


def test_growth(tmp_path: Path) -> None:
    sizes = ["--rows", 2000, 4000, "--tables", 800, 80_000, "--tasks", 2, 3]
    table = run("growth", tmp_path, "--models", "shared_bottom", "--rounds", 2, *sizes)
    by_tables = [row for row in table if "rows of the tables" in row["what"]]
    assert len(table) == 2 + 2 + 4
    assert len(by_tables) == 4
    assert all(float(row["seconds"]) > 0 for row in by_tables)


def test_a_line_is_found_and_its_residual() -> None:
    a, b, off = growth.line([1, 2, 4], [3.0, 5.0, 9.0])
    assert (a, b, off) == pytest.approx((1.0, 2.0, 0.0), abs=1e-9)
    assert growth.line([1, 2, 4], [3.0, 6.0, 9.0])[2] > 0.05


def test_the_crossover_lies_between_the_sizes_around_it() -> None:
    rows = [
        growth.row(f"a step by rows of the tables, {kind}", size, [seconds], "step")
        for kind, times in {"dense": (1.0, 4.0), "rows": (2.0, 2.0)}.items()
        for size, seconds in zip((1000, 16_000), times, strict=True)
    ]
    assert "as long at about 4,000 rows" in growth.crossover(rows)
