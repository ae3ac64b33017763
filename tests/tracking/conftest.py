"""A results tree as the trainer leaves it, and an MLflow store beside it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stembench.tracking import sync as tracking
from stembench.tracking.sync import SyncReport

START = 1_790_000_000.0
TASKS = ("like", "love")


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
