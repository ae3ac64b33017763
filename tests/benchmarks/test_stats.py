import csv
import os
import subprocess
import sys

from tests.conftest import ROOT


def test_the_benchmark_runs_small_and_saves_its_table(tmp_path):
    sizes = ["--rows", "3000", "--compare-rows", "1000", "--models", "3", "--seeds", "2"]
    where = ["--tasks", "1", "--repeat", "1", "--out", str(tmp_path), "--scratch", str(tmp_path)]
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "stats.py"), *sizes, *where],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "stats.csv").open()))
    assert [row["rows"] for row in rows] == ["3000"] * 4 + ["1000"]
    assert all(
        float(row["median_s"]) > 0 and float(row["cpu_s"]) > 0 and float(row["peak_mb"]) > 20
        for row in rows
    )
    assert not list(tmp_path.glob("stembench-*"))
    assert "gAUC, two models" in done.stdout
    assert "numpy" in (tmp_path / "stats.md").read_text()
