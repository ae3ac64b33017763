"""Records in MLflow. Importing this module imports MLflow (1.5 s): import it where it is used."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from mlflow import MlflowClient
from mlflow.entities import Dataset, InputTag, Metric, Param, RunTag
from mlflow.entities import DatasetInput as MlflowDatasetInput
from mlflow.exceptions import MlflowException
from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError

from stembench.tracking import views
from stembench.tracking.files import Epoch, Record

logger = logging.getLogger(__name__)
for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@event.listens_for(Engine, "connect")
def _relax(connection: Any, _: object) -> None:
    # No wait for the disk at each of MLflow's many commits: the store can be rebuilt.
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


#: What a call of the store may raise.
STORE_ERRORS = (
    MlflowException,
    SQLAlchemyError,
    sqlite3.DatabaseError,
    subprocess.CalledProcessError,
)
#: MLflow's limits on one log_batch call.
MAX_ENTITIES = 1000
MAX_PARAMS = 100
_PAGE = 1000


def migrate(path: Path) -> None:
    """Create the SQLite database at `path`, or bring an older one to the installed version."""
    if path.exists() and path.stat().st_size > 0:
        command = [sys.executable, "-m", "mlflow", "db", "upgrade", database_uri(path)]
        subprocess.run(command, check=True, capture_output=True)
    MlflowClient(database_uri(path)).search_experiments(max_results=1)


def database_uri(path: Path) -> str:
    """SQLAlchemy's address of a SQLite file."""
    return f"sqlite:///{path.resolve()}"


@dataclass(frozen=True)
class StoredRun:
    """What the store holds of a run."""

    run_id: str
    status: str
    tags: dict[str, str]
    metrics: dict[str, float]
    artifacts: Path

    @property
    def finished(self) -> bool:
        """Whether it was written to its end."""
        return self.status == "FINISHED" and "content_sha256" in self.tags

    @property
    def epochs(self) -> int:
        """Rows of history.csv that it has."""
        return int(self.tags.get("stembench.epochs", 0))


class Store:
    """The experiments and runs of one SQLite database; artifacts in mlartifacts/ beside it."""

    def __init__(self, path: Path) -> None:
        self._client = MlflowClient(database_uri(path))
        self._artifacts = path.resolve().parent / "mlartifacts"

    def suites(self) -> list[str]:
        """The suites that have an experiment."""
        experiments = self._client.search_experiments()
        return [e.tags["stembench.suite"] for e in experiments if "stembench.suite" in e.tags]

    def experiment(self, suite: str) -> str:
        """Id of the suite's experiment, made where there is none."""
        location = (self._artifacts / suite).as_uri()
        found = self._client.get_experiment_by_name(suite)
        if found is not None and found.artifact_location != location:
            # The project was moved or copied: artifacts would be written at the old place.
            logger.warning("suite %s: its artifacts were in %s; starting a new experiment",
                           suite, found.artifact_location)  # fmt: skip
            self._client.rename_experiment(
                found.experiment_id, f"{suite} (moved, {found.experiment_id})"
            )
            self._client.delete_experiment(found.experiment_id)
            found = None
        if found is not None and found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        if found is not None:
            return str(found.experiment_id)
        experiment_id = str(self._client.create_experiment(suite, location))
        logger.info("suite %s: %s", suite, views.address(experiment_id))
        return experiment_id

    def describe(
        self,
        experiment_id: str,
        suite: str,
        cells: Sequence[tuple[str, str, Mapping[str, float]]],
    ) -> None:
        """Bring the experiment's description and saved views up to date."""
        experiment = self._client.get_experiment(experiment_id)
        wanted = views.experiment_tags(suite, cells, experiment.creation_time or 0)
        for name, value in wanted.items():
            if experiment.tags.get(name) != value:
                self._client.set_experiment_tag(experiment_id, name, value)

    def runs(self, experiment_id: str) -> Iterator[StoredRun]:
        """All runs of an experiment, by one search per thousand."""
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [experiment_id], max_results=_PAGE, page_token=token, order_by=["start_time"]
            )
            for run in page:
                info, data = run.info, run.data
                artifacts = Path(unquote(urlsplit(info.artifact_uri).path))
                yield StoredRun(info.run_id, info.status, data.tags, data.metrics, artifacts)
            token = page.token
            if not token:
                return

    def write(self, experiment_id: str, record: Record, onto: StoredRun | None = None) -> None:
        """Write a finished record, as a new run or as the completion of the running one `onto`.

        The status FINISHED comes last: a run without it was cut off while being written.
        """
        run_id = onto.run_id if onto else self._create(experiment_id, record)
        datasets = [
            MlflowDatasetInput(
                Dataset(part.name, part.digest, "local", part.source, profile=part.profile),
                [InputTag("mlflow.data.context", part.context)],
            )
            for part in record.datasets
        ]
        if datasets:
            self._client.log_inputs(run_id, datasets)
        for path in record.artifacts:
            if path.is_dir():
                self._client.log_artifacts(run_id, str(path), path.name)
            else:
                self._client.log_artifact(run_id, str(path))
        end = record.end_ms if record.end_ms is not None else record.start_ms
        finals = [Metric(name, value, end, 0) for name, value in record.metrics.items()]
        epochs = record.epochs[onto.epochs if onto else 0 :]
        self._log(run_id, [*_points(epochs), *finals], record.params, record.tags)
        self._client.set_terminated(run_id, "FINISHED", end)

    def follow(
        self, experiment_id: str, record: Record, onto: StoredRun | None
    ) -> tuple[str, bool]:
        """Write what a running cell has so far; the run's id, and whether that was anything new."""
        known = onto.epochs if onto else 0
        if onto is not None and len(record.epochs) <= known:
            return onto.run_id, False
        run_id = onto.run_id if onto else self._create(experiment_id, record)
        count = {"stembench.epochs": str(len(record.epochs))}
        params, tags = ({}, count) if onto else (record.params, record.tags | count)
        self._log(run_id, _points(record.epochs[known:]), params, tags)
        return run_id, True

    def set_status(self, run_id: str, status: str) -> None:
        """RUNNING, KILLED or FAILED; the last two also end the run now."""
        if status == "RUNNING":
            self._client.update_run(run_id, status)
        else:
            self._client.set_terminated(run_id, status)

    def delete(self, run: StoredRun) -> None:
        """Delete a run (MLflow keeps it until `mlflow gc`) and its artifacts."""
        self._client.delete_run(run.run_id)
        if self._artifacts in run.artifacts.parents:
            shutil.rmtree(run.artifacts.parent, ignore_errors=True)

    def _create(self, experiment_id: str, record: Record) -> str:
        # The tags that say what it is, for the case that nothing else gets written.
        tags = {k: v for k, v in record.tags.items() if k.startswith(("kind", "stembench."))}
        run = self._client.create_run(experiment_id, record.start_ms, tags, record.name)
        return str(run.info.run_id)

    def _log(
        self, run_id: str, metrics: list[Metric], params: dict[str, str], tags: dict[str, str]
    ) -> None:
        # One call where it can be: each costs about ten queries. Points already there are
        # recognised by MLflow (same key, time, step and value).
        parameters = [Param(*item) for item in params.items()]
        labels = [RunTag(*item) for item in tags.items()]
        while metrics or parameters or labels:
            some, parameters = parameters[:MAX_PARAMS], parameters[MAX_PARAMS:]
            named, labels = labels[:MAX_PARAMS], labels[MAX_PARAMS:]
            room = MAX_ENTITIES - len(some) - len(named)
            points, metrics = metrics[:room], metrics[room:]
            self._client.log_batch(run_id, points, some, named)


def _points(epochs: Sequence[Epoch]) -> list[Metric]:
    return [
        Metric(name, value, epoch.time_ms, epoch.step)
        for epoch in epochs
        for name, value in epoch.values.items()
    ]
