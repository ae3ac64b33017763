"""Snakemake and DVC for real, on a suite of eight small cells: what runs, what runs again.

The tests of this file share one project and follow one another: a full run, partial reruns by
either entry point, a failing cell, a kill.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.workflow

PARTS = [
    "Snakefile", "dvc.yaml", "data/dvc.yaml", "params.yaml", "profiles", "workflow", "src",
    "requirements.lock", ".dvc/config", ".dvcignore", ".gitignore",
]  # fmt: skip
SUITE = """
  tiny: &tiny
    name: tiny
    datasets: [tiny_a, tiny_b]
    models: [shared_bottom, stem]
    seeds: 2
    train: {epochs: 2, batch_size: 256}
    args: {embedding_dim: 4, bottom_units: [8], expert_units: [8], gate_units: [4],
           tower_units: [4]}
"""
DATASETS = """
  tiny_a:
    source: {kind: synthetic, options: {<<: *generator, rows: 2000, users: 60, items: 40, seed: 1}}
    table: *synthetic_table
    split: {name: tiny_r1, rule: random, valid: 0.2, test: 0.3, seed: 1}
  tiny_b:
    source: {kind: synthetic, options: {<<: *generator, rows: 2000, users: 60, items: 40, seed: 2}}
    table: *synthetic_table
    split: {name: tiny_r2, rule: random, valid: 0.2, test: 0.3, seed: 2}
"""


class Project:
    """A copy of the repository with the tiny suite chosen."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in PARTS:
            source, target = ROOT / name, root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(source, target, ignore=ignore)
            else:
                shutil.copy(source, target)
        self.edit("\nsuites:\n", "\nsuites:\n" + SUITE)
        self.edit("\nanalysis:\n", DATASETS + "\nanalysis:\n")
        self.edit("suite: *demo", "suite: *tiny")
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
        self.env = os.environ | {
            "PYTHONPATH": str(root / "src"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(root / ".dvc/tmp/site"),
            "OMP_NUM_THREADS": "1",
        }
        self.env.pop("DVC_STAGE", None)

    def edit(self, old: str, new: str) -> None:
        path = self.root / "params.yaml"
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        path.write_text(text.replace(old, new))

    def run(self, *command: str, ok: bool = True) -> str:
        done = subprocess.run(
            command, cwd=self.root, env=self.env, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900,
        )  # fmt: skip
        assert (done.returncode == 0) == ok, done.stdout[-4000:]
        return done.stdout

    def snakemake(self, ok: bool = True) -> str:
        return self.run("snakemake", "--cores", "2", ok=ok)

    @property
    def results(self) -> Path:
        return self.root / "results/tiny"

    def cells(self) -> dict[str, str]:
        """Finished cells and when each was trained."""
        return {
            str(path.parent.relative_to(self.results / "runs")): json.loads(path.read_text())[
                "timing"
            ]["started_at"]
            for path in sorted(self.results.glob("runs/*/*/*/run.json"))
        }

    def trained_since(self, before: dict[str, str]) -> set[str]:
        return {cell for cell, start in self.cells().items() if before.get(cell) != start}

    @contextmanager
    def blocked(self, cell: str) -> Iterator[None]:
        """While this lasts the cell fails: another process is training it already."""
        folder, _, seed = (self.results / "runs" / cell).as_posix().rpartition("/")
        command = [sys.executable, "-c", "import time; time.sleep(300)"]
        with subprocess.Popen([*command, "stembench", "train", *cell.split("/")]) as living:
            partial = Path(folder) / f".{seed}.partial-{living.pid}"
            partial.mkdir()
            try:
                yield
            finally:
                living.kill()

    def inputs(self) -> dict:
        return json.loads((self.results / "tables/inputs.json").read_text())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


def cells_of(model: str = "*", dataset: str = "*") -> set[str]:
    return {
        f"{d}/{m}/{s}"
        for d in ("tiny_a", "tiny_b")
        for m in ("shared_bottom", "stem")
        for s in (2023, 76)
        if model in ("*", m) and dataset in ("*", d)
    }


def nothing_to_do(output: str) -> bool:
    return "Nothing to be done" in output


def test_full_run_makes_cells_tables_report_and_tracking(project: Project) -> None:
    project.snakemake()
    assert set(project.cells()) == cells_of()
    assert project.inputs()["complete"]
    assert project.inputs()["n_ok"] == 8
    tables = (
        "main.md",
        "main.tex",
        "comparison.csv",
        "evidence.csv",
        "across.csv",
        "power.csv",
        "verdicts.md",
    )
    for name in (*(f"tables/{table}" for table in tables), "report.html"):
        assert (project.results / name).stat().st_size > 0
    report = (project.results / "report.html").read_text()
    assert 'id="power"' in report
    assert "stembench compare</code> makes it" not in report
    assert (project.root / "mlflow.db").exists()
    with (project.results / "tables/oracle.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "auc"]
    assert len(rows) == 4
    assert all(row["passed_by"] == "" for row in rows)  # no model beats the true probabilities


def test_second_run_has_nothing_to_do(project: Project) -> None:
    before = project.cells()
    assert nothing_to_do(project.snakemake())
    (project.root / "src/stembench/models/stem.py").touch()  # a time stamp is no change
    assert nothing_to_do(project.snakemake())
    assert not project.trained_since(before)


def test_list_and_show(project: Project) -> None:
    assert "8 cells" in project.run("stembench", "list")
    shown = project.run("stembench", "show", "tiny_a/stem/76")
    assert "stem on tiny_a, seed 76" in shown
    assert "valid_auc" in shown
    missing = project.run("stembench", "show", "tiny_a/stem/5", ok=False)
    assert missing.count("\n") == 1
    assert "no finished run" in missing


def test_mlflow_holds_a_flat_run_per_cell(project: Project) -> None:
    code = (
        "import mlflow; c = mlflow.MlflowClient('sqlite:///mlflow.db');"
        "e = c.get_experiment_by_name('tiny');"
        "r = c.search_runs([e.experiment_id]);"
        "cells = [x for x in r if x.data.tags['kind'] == 'cell'];"
        "print(len(cells), len(r) - len(cells), 'test_auc_click' in cells[0].data.metrics,"
        " len(cells[0].inputs.dataset_inputs) > 0)"
    )
    assert project.run(sys.executable, "-c", code).strip().endswith("8 1 True True")


def test_snakemake_retrains_one_models_cells_and_dvc_then_none(project: Project) -> None:
    before = project.cells()
    project.edit(
        "\n  stem:\n    class: stem.STEM\n",
        "\n  stem:\n    class: stem.STEM\n    train: {lr: 2.0e-3}\n",
    )
    project.snakemake()
    assert project.trained_since(before) == cells_of(model="stem")
    before = project.cells()
    project.run("dvc", "repro")
    assert not project.trained_since(before)
    assert nothing_to_do(project.snakemake())


def test_dvc_retrains_one_models_cells_and_snakemake_then_none(project: Project) -> None:
    before = project.cells()
    project.edit(
        "\n  shared_bottom:\n    class: shared_bottom.SharedBottom\n",
        "\n  shared_bottom:\n    class: shared_bottom.SharedBottom\n    train: {lr: 2.0e-3}\n",
    )
    project.run("dvc", "repro")
    assert project.trained_since(before) == cells_of(model="shared_bottom")
    assert nothing_to_do(project.snakemake())
    assert "up to date" in project.run("dvc", "repro")


def test_dvc_after_a_new_split_retrains_that_data_set_only(project: Project) -> None:
    before = project.cells()
    project.edit("tiny_r2, rule: random, valid: 0.2", "tiny_r3, rule: random, valid: 0.1")
    project.run("dvc", "repro")
    assert project.trained_since(before) == cells_of(dataset="tiny_b")
    assert nothing_to_do(project.snakemake())


def test_snakemake_after_a_new_split_retrains_that_data_set_only(project: Project) -> None:
    before = project.cells()
    project.edit("tiny_r1, rule: random, valid: 0.2", "tiny_r4, rule: random, valid: 0.1")
    project.snakemake()
    assert project.trained_since(before) == cells_of(dataset="tiny_a")
    before = project.cells()
    project.run("dvc", "repro")
    assert not project.trained_since(before)


def test_an_edited_model_file_retrains_that_model_only(project: Project) -> None:
    before = project.cells()
    path = project.root / "src/stembench/models/stem.py"
    path.write_text(path.read_text() + "\n# edited\n")
    project.snakemake()
    assert project.trained_since(before) == cells_of(model="stem")


def test_edited_statistics_make_the_tables_again_and_train_nothing(project: Project) -> None:
    path = project.root / "src/stembench/stats/crossed.py"
    text = path.read_text()
    path.write_text(text + "\n# edited\n")
    plan = project.run("snakemake", "--cores", "2", "-n")
    rules = re.findall(r"^(?:local)?rule (\w+):", plan, flags=re.MULTILINE)
    assert set(rules) == {"compare", "verdicts", "report", "track", "all"}
    path.write_text(text)


def test_one_failing_cell_stops_no_other_and_the_tables_name_it(project: Project) -> None:
    broken, other = "tiny_a/stem/76", "tiny_b/shared_bottom/76"
    for cell in (broken, other):
        shutil.rmtree(project.results / "runs" / cell)
    before = project.cells()
    with project.blocked(broken):
        output = project.snakemake(ok=False)
    assert "is already training" in output
    assert project.trained_since(before) == {other}
    assert not project.inputs()["complete"]
    assert [(c["dataset"], c["model"], c["seed"]) for c in project.inputs()["not_ok"]] == [
        ("tiny_a", "stem", 76)
    ]
    assert "7 of 8 cells" in (project.results / "tables/main.md").read_text()
    with (project.results / "tables/evidence.csv").open() as file:
        lost = [row["dataset"] for row in csv.DictReader(file) if row["verdict"] == "missing"]
    assert lost == ["tiny_a"] * 8
    before = project.cells()
    project.snakemake()
    assert project.trained_since(before) == {broken}
    assert project.inputs()["complete"]
    assert "8 of 8 cells" in (project.results / "tables/main.md").read_text()


def test_tables_of_a_failed_run_do_not_outlive_what_failed(project: Project) -> None:
    before = project.cells()
    project.edit("    seeds: 2\n", "    seeds: [2023, 76, 5]\n")
    with project.blocked("tiny_a/stem/5"):
        project.snakemake(ok=False)
    assert not project.inputs()["complete"]
    project.edit("    seeds: [2023, 76, 5]\n", "    seeds: 2\n")
    project.snakemake()  # nothing to train, but the tables are not those of this suite
    assert project.inputs()["complete"]
    assert project.inputs()["n_cells"] == 8
    assert nothing_to_do(project.snakemake())
    assert all(project.cells()[cell] == start for cell, start in before.items())
    for path in project.results.glob("runs/*/*/5"):
        shutil.rmtree(path)


def test_after_a_kill_only_what_is_missing_runs(project: Project) -> None:
    for cell in cells_of(model="stem"):
        shutil.rmtree(project.results / "runs" / cell)
    snakemake = subprocess.Popen(
        ["snakemake", "--cores", "1"],
        cwd=project.root,
        env=project.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(project.cells()) < 5 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(snakemake.pid, signal.SIGKILL)
    snakemake.wait()
    time.sleep(0.5)
    survived = project.cells()
    assert 5 <= len(survived) < 8
    assert "LockException" in project.snakemake(ok=False)
    project.run("bash", "workflow/scripts/unlock.sh")
    project.snakemake()
    assert set(project.cells()) == cells_of()
    missing, retrained = cells_of() - set(survived), project.trained_since(survived)
    assert missing <= retrained
    assert len(retrained) <= len(missing) + 1  # the one that snakemake had not yet recorded
    assert project.inputs()["complete"]


def test_a_wrong_params_file_is_told_before_anything_runs(project: Project) -> None:
    before = project.cells()
    project.edit("    name: tiny\n", "    name: tiny\n    sedds: 3\n")
    output = project.snakemake(ok=False)
    assert "suites.tiny.sedds: unknown key" in output
    assert "Traceback" not in output
    project.edit("    sedds: 3\n", "")
    assert not project.trained_since(before)


def test_a_new_seed_trains_the_new_cells_only(project: Project) -> None:
    before = project.cells()
    project.edit("    seeds: 2\n", "    seeds: 3\n")
    project.run("dvc", "repro")
    assert len(project.trained_since(before)) == 4
    assert len(project.cells()) == 12


def test_the_readmes_model_is_one_file_and_one_entry(project: Project) -> None:
    readme = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    (entry,) = re.findall(r"^```yaml\n(  wide:\n.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    before = project.cells()
    (project.root / "src/stembench/models/wide.py").write_text(code)
    project.edit("\nmodels:\n", "\nmodels:\n" + entry)
    project.edit("    models: [shared_bottom, stem]\n", "    models: [shared_bottom, stem, wide]\n")
    project.snakemake()
    trained = project.trained_since(before)
    assert {cell.split("/")[1] for cell in trained} == {"wide"}
    assert len(trained) == 6
    assert "| wide |" in (project.results / "tables/main.md").read_text()
