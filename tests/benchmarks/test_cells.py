"""The benchmarks of whole cells run through at tiny sizes, and their tables add up."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import cells, growth, orchestration
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
    table = run("memory", tmp_path, "--models", "stem", *sizes)
    assert len(table) == 5 + 3
    copies = {row["what"]: float(row["each"]) for row in table if "copies" in row["unit"]}
    assert len(copies) == 5
    # Weights, gradients and two moments; by rows no gradient of a whole table.
    expected = {what: 3 if "rows of the batch" in what else 4 for what in copies}
    assert copies == pytest.approx(expected, abs=0.6)


@pytest.mark.workflow
def test_orchestration(tmp_path: Path) -> None:
    sizes = ["--cells", 2, "--suites", 5, "--repeats", 1, "--rows", 500, "--each", 1]
    table = run("orchestration", tmp_path, "--models", "shared_bottom", *sizes)
    parts = [row for row in table if row["what"].startswith("cell: ")]
    assert len(parts) == 5
    assert all(float(row["min"]) >= 0 for row in parts)
    assert [row["size"] for row in table if row["what"].startswith("no-op")] == ["5"]
    assert sum(row["what"].startswith("packing: ") for row in table) >= 3
    assert all(float(row["median"]) > 0 for row in table if row["unit"] == "cells / h")


def test_the_parts_of_a_cell_add_up_to_its_time(tmp_path: Path) -> None:
    cells.write_split(tmp_path, cells.schema(800), {"train": 3000, "valid": 500, "test": 500})
    outcome = cells.train(cells.spec("shared_bottom", epochs=2, patience=3), tmp_path)
    found = orchestration.parts(outcome)
    assert sum(found.values()) == pytest.approx(outcome.wall_s, abs=0.01)
    assert all(seconds >= 0 for seconds in found.values())
    assert outcome.cpu_s < outcome.wall_s + 1


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


def crossover(dense: list[float], lazy: list[float]) -> str:
    sizes = [1000 * 16**i for i in range(len(dense))]
    return growth.crossover(
        [
            growth.row(f"a step by rows of the tables, {kind}", size, [seconds], "step")
            for kind, times in {"dense": dense, "rows": lazy}.items()
            for size, seconds in zip(sizes, times, strict=True)
        ]
    )


def test_the_crossover_lies_between_the_sizes_around_it() -> None:
    assert "as long at about 4,000 rows" in crossover([1.0, 4.0], [2.0, 2.0])


def test_the_crossover_is_the_last_one_where_noise_makes_several() -> None:
    told = crossover([2.1, 1.9, 1.0, 4.0], [2.0, 2.0, 2.0, 2.0])
    assert "as long at about 1,024,000 rows" in told
    assert "as long at none of the sizes" in crossover([3.0, 4.0], [2.0, 2.0])


def test_products(tmp_path: Path) -> None:
    table = run("products", tmp_path, "--seconds", 0)
    assert len(table) == 9 * 3
    assert all(float(row[name]) > 0 for row in table for name in ("torch", "oneDNN", "numpy"))


def test_train(tmp_path: Path) -> None:
    table = run("train", tmp_path, "--models", "shared_bottom", "--rounds", 1, "--batch-size", 64)
    variants = {row["variant"]: row for row in table}
    assert {"reference", "float32"} <= set(variants)
    assert float(variants["reference"]["times_reference"]) == 1
    assert all(float(row["of_ceiling"]) > 0 for row in table)
