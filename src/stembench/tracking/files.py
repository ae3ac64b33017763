"""Run files as records that a tracking store can take. Reads only; knows no MLflow."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from stembench import processes
from stembench.errors import StembenchError

#: Version of what a record holds; a change makes the next sync write every run anew.
PROJECTION = "1"
#: Constants of a split rather than results of a run.
_COUNTS = ("n_rows", "n_pos", "n_users")
_PARTIAL = re.compile(r"\.(?P<seed>.+)\.partial-(?P<pid>\d+)")
#: What parsing a damaged file raises.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True)
class Epoch:
    """One row of history.csv: epoch (1-based), end of the epoch in unix ms, its curves."""

    step: int
    time_ms: int
    values: dict[str, float]


@dataclass(frozen=True)
class DatasetInput:
    """A part of a data set as a run used it; `profile` is JSON."""

    name: str
    digest: str
    source: str
    profile: str
    context: str


@dataclass(frozen=True)
class Record:
    """One run as the tracking store shows it. Times in unix ms."""

    name: str
    start_ms: int
    end_ms: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    epochs: list[Epoch] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    datasets: list[DatasetInput] = field(default_factory=list)
    artifacts: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class RunDirectory:
    """A finished cell: results/<suite>/runs/<dataset>/<model>/<seed>."""

    path: Path
    dataset: str
    model: str
    seed: str

    @property
    def key(self) -> str:
        return f"{self.dataset}/{self.model}/{self.seed}"


@dataclass(frozen=True)
class PartialDirectory(RunDirectory):
    """A running cell, or what a killed one left: .../.<seed>.partial-<pid>."""

    pid: int = 0

    @property
    def name(self) -> str:
        """Names this attempt within its suite."""
        return f"{self.dataset}/{self.model}/{self.path.name}"

    def alive(self, host: str | None) -> bool:
        """Whether the writing process lives; that of another host cannot be seen: taken to live."""
        if host is not None and host != platform.node():
            return True
        return processes.alive(self.pid)


def scan(suite: Path) -> tuple[list[RunDirectory], list[PartialDirectory]]:
    """The finished and the running cells of results/<suite>, sorted by path."""
    finished: list[RunDirectory] = []
    partial: list[PartialDirectory] = []
    for path in sorted((suite / "runs").glob("*/*/*")):
        dataset, model = path.parts[-3], path.parts[-2]
        if dataset.startswith(".") or model.startswith("."):
            continue
        if match := _PARTIAL.fullmatch(path.name):
            pid = int(match["pid"])
            partial.append(PartialDirectory(path, dataset, model, match["seed"], pid))
        elif not path.name.startswith(".") and (path / "run.json").is_file():
            finished.append(RunDirectory(path, dataset, model, path.name))
    return finished, partial


def read_cell(suite: str, cell: RunDirectory) -> Record:
    """The record of a finished cell.

    Raises StembenchError, naming the file, when run.json or history.csv cannot be understood.
    """
    path = cell.path / "run.json"
    try:
        content = path.read_bytes()
        return _cell_record(suite, cell, json.loads(content), hashlib.sha256(content).hexdigest())
    except (OSError, *MALFORMED) as error:
        raise StembenchError(
            f"{path} is damaged ({type(error).__name__}: {error}); delete {cell.path} and run the "
            "cell again"
        ) from error


def read_partial(suite: str, cell: PartialDirectory) -> tuple[Record, str | None] | None:
    """The record of a running cell and the host it named; None while it has no spec.json yet."""
    try:
        content = json.loads((cell.path / "spec.json").read_bytes())
        started = str(content["started_at"])
        record = Record(
            name=_name(cell),
            start_ms=_milliseconds(started),
            tags=_tags(suite, cell, content["spec"], content["spec_sha256"])
            | {"stembench.partial": cell.name, "stembench.started_at": started},
            params=dict(_flatten(content["spec"])),
            epochs=read_history(cell.path / "history.csv", missing_ok=True),
        )
        host = content.get("host")
    except (OSError, *MALFORMED):
        # Written a moment from now, or renamed a moment ago: the next look will see which.
        return None
    return record, host


def read_history(path: Path, missing_ok: bool = False) -> list[Epoch]:
    """The whole rows of a history.csv; a last line without its newline is still being written."""
    if missing_ok and not path.exists():
        return []
    content = path.read_text(encoding="utf-8")
    rows = csv.DictReader(content[: content.rfind("\n") + 1].splitlines())
    return [_epoch(row) for row in rows]


def _epoch(row: dict[str, str]) -> Epoch:
    values = {
        metric_name("epoch_seconds" if name == "seconds" else name): float(text)
        for name, text in row.items()
        if name not in ("epoch", "time", "samples_per_s") and text
    }
    return Epoch(int(row["epoch"]), int(float(row["time"]) * 1000), finite(values))


def _cell_record(suite: str, cell: RunDirectory, run: dict[str, Any], sha256: str) -> Record:
    spec, data, timing = run["spec"], run["data"], run["timing"]
    tags = _tags(suite, cell, spec, run["spec_sha256"])
    tags |= {"split": data["split"], "stopped": str(run["stopped"]), "content_sha256": sha256}
    if commit := run.get("provenance", {}).get("git_commit"):
        tags["mlflow.source.git.commit"] = commit
    return Record(
        name=_name(cell),
        start_ms=_milliseconds(timing["started_at"]),
        end_ms=_milliseconds(timing["finished_at"]),
        tags=tags,
        params=dict(_flatten(spec)),
        epochs=read_history(cell.path / "history.csv"),
        metrics=finite(dict(_final_metrics(run))),
        datasets=_datasets(data),
    )


def _final_metrics(run: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Metrics of the best epoch by part, metric and task, and what the run cost.

    The validation ones are prefixed best_valid: valid_auc_<task> names a learning curve, whose
    last point is not the best one.
    """
    for part, prefix in (("test", "test"), ("valid", "best_valid"), ("unbiased", "unbiased")):
        if part == "unbiased" and part not in run["metrics"]:
            continue
        tasks: dict[str, dict[str, Any]] = run["metrics"][part]
        for task, metrics in tasks.items():
            for name, value in metrics.items():
                if name not in _COUNTS:
                    yield metric_name(f"{prefix}_{name}_{task}"), value
        aucs = [metrics["auc"] for metrics in tasks.values()]
        if aucs and None not in aucs:
            yield f"{prefix}_auc", sum(aucs) / len(aucs)
    for name in ("best_epoch", "epochs_run", "peak_memory_mb"):
        yield name, run.get(name)
    for name, value in run["timing"].items():
        if not name.endswith("_at"):
            yield name, value
    for name, value in run["parameters"].items():
        yield f"parameters_{name}", value


def _datasets(data: dict[str, Any]) -> list[DatasetInput]:
    """Two inputs, one for what was trained on (and selected by) and one for what was tested on.

    MLflow knows an input by name and digest, so that the test part needs a name of its own.
    """
    rows: dict[str, int] = data["rows"]
    source = json.dumps({"uri": f"data/splits/{data['dataset']}"})
    shared = {name: data[name] for name in ("split", "fields", "sha256") if name in data}
    return [
        DatasetInput(name, data["sha256"][:8], source, json.dumps(counts | shared), context)
        for name, counts, context in (
            (data["dataset"], {k: v for k, v in rows.items() if k != "test"}, "training"),
            (f"{data['dataset']} test", {"test": rows.get("test")}, "testing"),
        )
    ]


def _tags(suite: str, cell: RunDirectory, spec: dict[str, Any], sha256: str) -> dict[str, str]:
    return {
        "kind": "cell",
        "suite": suite,
        "dataset": cell.dataset,
        "model": cell.model,
        "seed": cell.seed,
        "protocol": str(spec["protocol"]),
        "spec_sha256": sha256,
        "stembench.key": cell.key,
        "stembench.projection": PROJECTION,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "stembench train",
    }


def _name(cell: RunDirectory) -> str:
    return f"{cell.model} · {cell.dataset} · seed {cell.seed}"


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _flatten(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", text(item)


def text(value: object) -> str:
    """`value` as a parameter shows it: JSON, but strings without quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Without the values that are None, NaN or infinite."""
    return {k: float(v) for k, v in values.items() if v is not None and math.isfinite(v)}


def metric_name(name: str) -> str:
    """`name` with what MLflow refuses in a metric's name replaced."""
    return re.sub(r"[^\w\-./ ]", "_", name, flags=re.ASCII)


def _milliseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)
