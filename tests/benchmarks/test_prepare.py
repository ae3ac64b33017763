"""The benchmark of the preparation, on few rows."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "benchmarks" / "prepare.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_prepare", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_tiny_run_writes_its_table(tmp_path: Path) -> None:
    arguments = ["--rows", "20000", "40000", "--scratch", tmp_path / "scratch"]
    arguments += ["--results", tmp_path / "results"]
    subprocess.run([sys.executable, SCRIPT, *arguments], check=True, cwd=ROOT)
    with (tmp_path / "results" / "prepare.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [int(row["rows"]) for row in table] == [20_000, 40_000]
    for row in table:
        rate = int(row["rows"]) / float(row["seconds"])
        assert int(row["rows_per_s"]) == pytest.approx(rate, rel=0.02)
        assert 50 < int(row["peak_rss_mb"]) < 4000
    text = (tmp_path / "results" / "prepare.md").read_text()
    assert "| 40,000 |" in text
    assert "R^2 = 1.0" in text  # through two points
    assert not any((tmp_path / "scratch").iterdir())


def test_the_file_has_the_shape_of_the_log(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve integers a line, long-tailed, the same bytes each time; chunks lose no row."""
    monkeypatch.setattr(benchmark, "_CHUNK", 7000)
    for name in ("a", "b"):
        benchmark.generate(tmp_path / name, 20_000)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    names = list(benchmark.COLUMNS)
    frame = pl.read_csv(tmp_path / "a", separator="\t", has_header=False, new_columns=names)
    assert frame.shape == (20_000, 12)
    assert all(dtype == pl.Int64 for dtype in frame.dtypes)
    counts = frame["music_id"].value_counts(sort=True)["count"]
    assert counts.head(len(counts) // 10).sum() > 0.3 * len(frame)
    for task, rate in benchmark.RATES.items():
        assert frame[task].mean() == pytest.approx(rate, rel=0.2)


def test_the_fit(benchmark: ModuleType) -> None:
    start, slope, r2 = benchmark.fit([1_000_000, 2_000_000, 4_000_000], [2.5, 4.5, 8.5])
    assert (start, slope, r2) == pytest.approx((0.5, 2.0, 1.0))
