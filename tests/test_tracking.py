"""Run files → MLflow: the store shows what lies on disk, whatever happened in between."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stembench import tracking
from stembench.errors import StembenchError
from stembench.tracking import SyncReport

START = 1_790_000_000.0
TASKS = ("like", "love")
ROOT = Path(__file__).parents[1]


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()


def spec(model: str, seed: int) -> dict[str, Any]:
    return {
        "dataset": "movielens",
        "model": model,
        "class": f"{model}.Model",
        "args": {"num_experts": 8, "expert_units": [64, 32]},
        "train": {"lr": 0.001, "clip_norm": None},
        "seed": seed,
        "protocol": "equal",
    }


def history(epochs: int, offset: float = 0.0) -> str:
    lines = ["epoch,time,seconds,samples_per_s,train_loss,valid_auc,valid_auc_like,valid_auc_love"]
    for epoch in range(1, epochs + 1):
        auc = 0.6 + 0.01 * epoch + offset
        lines.append(f"{epoch},{START + epoch!r},1.5,1000.0,{0.7 / epoch!r},{auc},{auc},{auc}")
    return "\n".join(lines) + "\n"


class Project:
    """A results tree of one suite and its store."""

    def __init__(self, root: Path) -> None:
        self.results = root / "results"
        self.suite = self.results / "demo"
        self.uri = f"sqlite:///{root / 'mlflow.db'}"

    def write_run(self, model: str, seed: int, epochs: int = 3, auc: float = 0.7) -> Path:
        path = self.suite / "runs/movielens" / model / str(seed)
        path.mkdir(parents=True, exist_ok=True)
        metrics = {
            task: {"auc": auc, "gauc": None, "logloss": 0.5, "calibration": float("nan")}
            | {"n_rows": 10, "n_pos": 3, "n_users": 4}
            for task in TASKS
        }
        run = {
            "suite": "demo",
            "spec": spec(model, seed),
            "spec_sha256": f"{model}{seed}",
            "data": {
                "dataset": "movielens",
                "split": "movielens_t1",
                "sha256": "a" * 64,
                "rows": {"train": 80, "valid": 10, "test": 10},
                "fields": 8,
            },
            "tasks": list(TASKS),
            "metrics": {"valid": metrics, "test": metrics},
            "best_epoch": epochs - 1,
            "epochs_run": epochs,
            "stopped": "early",
            "timing": {
                "started_at": iso(START),
                "finished_at": iso(START + epochs + 1),
                "fit_s": float(epochs),
            },
            "peak_memory_mb": None,
            "parameters": {"embedding": 100, "dense": 20, "total": 120},
            "provenance": {"git_commit": None},
        }
        (path / "history.csv").write_text(history(epochs))
        (path / "run.json").write_text(json.dumps(run))
        return path

    def write_partial(self, model: str, seed: int, epochs: int, pid: int) -> Path:
        path = self.suite / "runs/movielens" / model / f".{seed}.partial-{pid}"
        path.mkdir(parents=True, exist_ok=True)
        content = {"spec": spec(model, seed), "spec_sha256": f"{model}{seed}", "suite": "demo"}
        content |= {"started_at": iso(START), "tasks": list(TASKS)}
        (path / "spec.json").write_text(json.dumps(content))
        (path / "history.csv").write_text(history(epochs))
        return path

    def finish(self, partial: Path, model: str, seed: int, epochs: int) -> None:
        """What the trainer does at its end: the partial directory becomes the run directory."""
        self.write_run(model, seed, epochs)
        shutil.rmtree(partial)

    def write_tables(self, text: str = "| model |") -> None:
        (self.suite / "tables").mkdir(parents=True, exist_ok=True)
        (self.suite / "figures").mkdir(exist_ok=True)
        (self.suite / "tables/main.md").write_text(text)
        (self.suite / "tables/metrics.csv").write_text(
            "dataset,task,metric,model,mean\n"
            "movielens,like,auc,stem,0.75\nmovielens,like,auc,ple,\nmovielens,like,gauc,stem,0.7\n"
        )
        (self.suite / "tables/inputs.json").write_text('{"n_ok": 2, "n_cells": 3, "alpha": 0.05}')
        (self.suite / "figures/forest.svg").write_text("<svg/>")
        (self.suite / "report.html").write_text("<html></html>")

    def sync(self) -> SyncReport:
        return tracking.sync(self.results, self.uri)

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.uri)

    def runs(self) -> dict[str, Any]:
        """The experiment's active runs by name; a name must stand once."""
        experiment = self.client.get_experiment_by_name("demo")
        found = self.client.search_runs([experiment.experiment_id])
        runs = {run.info.run_name: run for run in found}
        assert len(runs) == len(found)
        return runs

    def steps(self, run: Any, metric: str = "train_loss") -> list[int]:
        return [point.step for point in self.client.get_metric_history(run.info.run_id, metric)]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store: making one takes seconds, copying it none."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    tracking.init_database(f"sqlite:///{path}")
    return path


@pytest.fixture
def project(tmp_path: Path, template: Path) -> Project:
    shutil.copy(template, tmp_path / "mlflow.db")
    return Project(tmp_path)


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_import_shows_what_the_files_say(project: Project) -> None:
    project.write_run("stem", 76)
    assert project.sync() == SyncReport(imported=1)
    run = project.runs()["stem · movielens · seed 76"]
    assert run.info.status == "FINISHED"
    assert run.info.start_time == START * 1000
    assert run.info.end_time == (START + 4) * 1000
    tags = run.data.tags
    expected = {"suite": "demo", "dataset": "movielens", "model": "stem", "seed": "76"}
    expected |= {"protocol": "equal", "split": "movielens_t1", "spec_sha256": "stem76"}
    expected |= {"stembench.key": "movielens/stem/76", "kind": "cell"}
    assert expected.items() <= tags.items()
    assert run.data.params["args.expert_units"] == "[64, 32]"
    assert run.data.params["train.lr"] == "0.001"
    assert run.data.params["train.clip_norm"] == "null"
    metrics = run.data.metrics
    assert metrics["test_auc_like"] == metrics["best_valid_auc_love"] == metrics["test_auc"] == 0.7
    assert metrics["best_epoch"] == 2
    assert metrics["parameters_total"] == 120
    assert not {"test_gauc_like", "test_calibration_like", "peak_memory_mb"} & set(metrics)
    assert "test_n_rows_like" not in metrics
    points = project.client.get_metric_history(run.info.run_id, "valid_auc_like")
    assert [(p.step, p.value) for p in points] == [(1, 0.61), (2, 0.62), (3, 0.63)]
    assert points[0].timestamp == (START + 1) * 1000
    inputs = [
        (i.dataset.name, i.dataset.digest, i.tags[0].value) for i in run.inputs.dataset_inputs
    ]
    assert sorted(inputs) == [
        ("movielens", "aaaaaaaa", "training"),
        ("movielens test", "aaaaaaaa", "testing"),
    ]


def test_experiment_has_a_description_and_views(project: Project) -> None:
    project.write_run("stem", 76)
    project.sync()
    experiment = project.client.get_experiment_by_name("demo")
    assert "demo" in experiment.tags["mlflow.note.content"]
    view = json.loads(experiment.tags["mlflow.sharedViewState.table"])
    assert "metrics.`test_auc_like`" in json.loads(view["state"])["selectedColumns"]
    assert "mlflow.sharedViewState.curves-movielens" in experiment.tags
    address = tracking.addresses(project.uri)["demo"]
    assert f"/#/experiments/{experiment.experiment_id}/runs?" in address
    assert "viewStateShareKey=table" in address


def test_second_sync_changes_nothing(project: Project, dead_pid: int) -> None:
    project.write_run("stem", 76)
    project.write_partial("ple", 76, 2, os.getpid())
    project.write_partial("mmoe", 76, 2, dead_pid)
    project.write_tables()
    project.sync()
    before = {name: run.to_dictionary() for name, run in project.runs().items()}
    assert project.sync() == SyncReport(unchanged=2, running=1)
    assert {name: run.to_dictionary() for name, run in project.runs().items()} == before


def test_retrained_cell_replaces_its_run(project: Project) -> None:
    project.write_run("stem", 76, epochs=3)
    project.write_run("ple", 76)
    project.sync()
    old = project.runs()
    project.write_run("stem", 76, epochs=2, auc=0.8)
    assert project.sync() == SyncReport(updated=1, unchanged=1)
    new = project.runs()
    stem, ple = "stem · movielens · seed 76", "ple · movielens · seed 76"
    assert new[stem].info.run_id != old[stem].info.run_id
    assert new[ple].info.run_id == old[ple].info.run_id
    assert new[stem].data.metrics["test_auc_like"] == 0.8
    assert project.steps(new[stem]) == [1, 2]


def test_run_of_a_deleted_directory_goes(project: Project) -> None:
    shutil.rmtree(project.write_run("stem", 76).parent)
    kept = project.write_run("ple", 76)
    project.write_run("ple", 525)
    project.sync()
    shutil.rmtree(kept)
    assert project.sync() == SyncReport(deleted=1, unchanged=1)
    assert list(project.runs()) == ["ple · movielens · seed 525"]
    shutil.rmtree(project.suite)
    assert project.sync() == SyncReport(deleted=1)


def test_running_cell_is_followed_and_completed(project: Project) -> None:
    name = "stem · movielens · seed 76"
    partial = project.write_partial("stem", 76, 1, os.getpid())
    assert project.sync() == SyncReport(updated=1, running=1)
    started = project.runs()[name]
    assert started.info.status == "RUNNING"
    assert project.steps(started) == [1]
    # A line that is being written does not count yet.
    (partial / "history.csv").write_text(history(3)[:-1])
    assert project.sync() == SyncReport(updated=1, running=1)
    assert project.steps(project.runs()[name]) == [1, 2]
    # The trainer takes spec.json away before it renames the directory.
    (partial / "spec.json").unlink()
    assert project.sync() == SyncReport()
    assert project.runs()[name].info.status == "RUNNING"
    project.finish(partial, "stem", 76, epochs=4)
    assert project.sync() == SyncReport(imported=1)
    finished = project.runs()[name]
    assert finished.info.run_id == started.info.run_id
    assert finished.info.status == "FINISHED"
    assert finished.info.end_time == (START + 5) * 1000
    assert project.steps(finished) == [1, 2, 3, 4]
    assert finished.data.metrics["test_auc_like"] == 0.7
    assert project.sync() == SyncReport(unchanged=1)


def test_attempt_with_other_curves_is_not_completed(project: Project) -> None:
    partial = project.write_partial("stem", 76, 2, os.getpid())
    (partial / "history.csv").write_text(history(2, offset=0.1))
    project.sync()
    (attempt,) = project.runs().values()
    project.finish(partial, "stem", 76, epochs=4)
    assert project.sync() == SyncReport(imported=1, deleted=1)
    (run,) = project.runs().values()
    assert run.info.run_id != attempt.info.run_id
    assert project.steps(run) == [1, 2, 3, 4]


def test_dead_and_vanished_attempts_are_killed(project: Project, dead_pid: int) -> None:
    project.write_partial("stem", 76, 2, dead_pid)
    vanishing = project.write_partial("ple", 76, 2, os.getpid())
    assert project.sync() == SyncReport(updated=2, running=1)
    assert project.runs()["stem · movielens · seed 76"].info.status == "KILLED"
    shutil.rmtree(vanishing)
    assert project.sync() == SyncReport(updated=1)
    assert project.runs()["ple · movielens · seed 76"].info.status == "KILLED"
    assert project.sync() == SyncReport()
    # The cell is trained again elsewhere: what the killed one left is of no more use.
    project.write_run("stem", 76, epochs=1)
    assert project.sync() == SyncReport(imported=1, deleted=1)
    assert project.runs()["stem · movielens · seed 76"].info.status == "FINISHED"
    assert project.sync() == SyncReport(unchanged=1)


@pytest.mark.parametrize("content", ["{", "[]", '{"spec": {}}', ""])
def test_damaged_run_is_named_and_skipped(
    project: Project, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    (project.write_run("stem", 76) / "run.json").write_text(content)
    project.write_run("ple", 76)
    with caplog.at_level(logging.WARNING):
        assert project.sync() == SyncReport(imported=1)
    assert "movielens/stem/76/run.json is damaged" in caplog.text
    project.write_run("stem", 76)
    assert project.sync() == SyncReport(imported=1, unchanged=1)


def test_run_cut_off_while_being_written_is_written_anew(project: Project) -> None:
    project.write_run("stem", 76)
    project.sync()
    (run,) = project.runs().values()
    project.client.update_run(run.info.run_id, "RUNNING")
    assert project.sync() == SyncReport(imported=1)
    (run,) = project.runs().values()
    assert project.steps(run) == [1, 2, 3]


def test_comparison_carries_tables_and_figures(project: Project) -> None:
    project.write_run("stem", 76)
    project.write_tables()
    assert project.sync() == SyncReport(imported=2)
    first = project.runs()["comparison"]
    assert first.data.tags["kind"] == "comparison"
    assert first.data.metrics == {"test_auc_movielens_like_stem": 0.75}
    assert first.data.params["n_ok"] == "2"
    listed = {item.path for item in project.client.list_artifacts(first.info.run_id)}
    assert listed == {"tables", "figures", "report.html"}
    project.write_tables("| model | like |")
    assert project.sync() == SyncReport(updated=1, unchanged=1)
    second = project.runs()["comparison"]
    table = project.client.download_artifacts(second.info.run_id, "tables/main.md")
    assert Path(table).read_text() == "| model | like |"
    folders = list((project.results.parent / "mlartifacts/demo").iterdir())
    assert [folder.name for folder in folders] == [second.info.run_id]
    for name in ("tables", "figures"):
        shutil.rmtree(project.suite / name)
    (project.suite / "report.html").unlink()
    assert project.sync() == SyncReport(deleted=1, unchanged=1)


def test_moved_project_gets_a_new_experiment(project: Project, tmp_path: Path) -> None:
    project.write_run("stem", 76)
    project.sync()
    moved = Project(tmp_path / "moved")
    moved.results.parent.mkdir()
    shutil.copy(tmp_path / "mlflow.db", tmp_path / "moved/mlflow.db")
    shutil.copytree(project.results, moved.results)
    assert moved.sync() == SyncReport(imported=1)
    location = moved.client.get_experiment_by_name("demo").artifact_location
    assert location == (tmp_path / "moved/mlartifacts/demo").as_uri()
    assert moved.sync() == SyncReport(unchanged=1)


def test_large_run_is_logged_in_parts(project: Project) -> None:
    project.write_run("stem", 76, epochs=400)
    project.sync()
    (run,) = project.runs().values()
    assert project.steps(run) == list(range(1, 401))
    assert run.data.metrics["test_auc_like"] == 0.7


def test_watch_follows_until_stopped(project: Project) -> None:
    project.write_run("stem", 76)
    stop = threading.Event()
    watcher = threading.Thread(
        target=tracking.watch, args=(project.results, project.uri, 0.05, ["demo"], stop)
    )
    watcher.start()
    try:
        for model in ("stem", "ple"):
            project.write_run(model, 76)
            name = f"{model} · movielens · seed 76"
            for _ in range(200):
                experiment = project.client.get_experiment_by_name("demo")
                if experiment is not None and name in project.runs():
                    break
                stop.wait(0.05)
            else:
                pytest.fail(f"{name} did not appear")
    finally:
        stop.set()
        watcher.join(timeout=30)
    assert not watcher.is_alive()


def test_watch_survives_an_error(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop = threading.Event()
    calls = 0

    def sync(*_: object) -> SyncReport:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise StembenchError("database is locked")
        stop.set()
        return SyncReport()

    monkeypatch.setattr(tracking, "sync", sync)
    project.results.mkdir()
    with caplog.at_level(logging.WARNING):
        tracking.watch(project.results, project.uri, 0.01, stop=stop)
    assert calls == 2
    assert "database is locked" in caplog.text


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "mlruns", "sqlite:///"])
def test_other_stores_are_refused(uri: str) -> None:
    with pytest.raises(StembenchError, match="sqlite:///FILE"):
        tracking.init_database(uri)


def test_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, and long enough to be looked at" * 10)
    with pytest.raises(StembenchError, match="delete it"):
        tracking.init_database(f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_four_processes_make_the_store_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from stembench.tracking import init_database; "
        "init_database('sqlite:///' + sys.argv[1])"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "mlflow.db")],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert (
        tracking.sync(tmp_path / "results", f"sqlite:///{tmp_path / 'mlflow.db'}") == SyncReport()
    )
