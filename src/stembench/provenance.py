"""Fingerprints: which code, lock, data and machine a number comes from."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent


def _files(*names: str) -> tuple[Path, ...]:
    """Files of the package; a folder stands for all modules and templates below it."""
    found = []
    for name in names:
        path = PACKAGE / name
        inside = path.rglob("*") if path.is_dir() else [path]
        found += [each for each in inside if each.suffix in (".py", ".j2")]
    return tuple(sorted(found))


#: Code whose change can change a trained cell, besides its model's and its objective's own file.
TRAINING_SOURCES = _files(
    "training", "cells/train.py", "cells/evaluate.py",
    "models/base.py", "models/embeddings.py", "models/experts.py", "models/layers.py",
    "models/linear.py", "objectives/__init__.py", "objectives/base.py", "objectives/shared.py",
    "metrics.py", "data/batches.py", "data/directory.py", "data/schema.py",
    "records/writing.py",
)  # fmt: skip
#: Code whose change can change a split, besides its source's own file; as in data/dvc.yaml.
SPLIT = (
    "data/prepare", "data/store", "data/sources/base.py", "data/sources/ragged.py",
    "data/sources/text.py",
    "data/directory.py", "data/files.py", "data/schema.py", "params/data.py",
    "params/train.py", "params/types.py",
)  # fmt: skip
#: Code whose change can change the tables. The command orchestrates part of the analysis.
COMPARISON_SOURCES = _files(
    "analysis",
    "stats",
    "records",
    "metrics.py",
    "params/tuned.py",
    "cli/analysis.py",
    "data/directory.py",
    "data/schema.py",
)
#: The comparable samples are drawn and tabled by their own module of the report.
COMPARABLE_SOURCES = (
    *COMPARISON_SOURCES,
    *_files("report/figures", "report/sections/comparable.py", "report/tables/comparable.py"),
    *_files("report/names.py", "report/numbers.py", "report/results.py"),
)
#: Code whose change can change the verdicts on published numbers.
VERDICT_SOURCES = (
    *COMPARISON_SOURCES,
    *_files("checks/published.py", "checks/verdicts.py", "checks/write_verdicts.py"),
)
REPORT_SOURCES = _files("report", "records")
#: Code whose change can change a data card.
CARD_SOURCES = _files(
    "data/facts.py", "data/schema.py", "data/directory.py", "report/cards", "report/figures",
    "report/names.py", "report/render.py", "report/templates/card.html.j2",
    "report/templates/style.css.j2", "records/writing.py",
)  # fmt: skip
#: Code whose change can change what MLflow shows.
TRACKING_SOURCES = _files("tracking", "records")


def split_sources(kind: str) -> list[Path]:
    """Source files the split of a data set of that source kind depends on."""
    return [*_files(*SPLIT), PACKAGE / f"data/sources/{kind}.py"]


def training_sources(class_path: str, objective: str) -> list[Path]:
    """Source files a run of the model and the objective, both `<module>.<Class>`, depends on."""
    module, method = class_path.split(".")[0], objective.split(".")[0]
    own = [f"models/{module}.py", f"objectives/{method}.py"]
    if method == "gradients":
        own.append("objectives/solvers.py")
    return [*TRAINING_SOURCES, *(PACKAGE / name for name in own)]


def tuning_sources(class_path: str, objective: str) -> list[Path]:
    """Source files that a search depends on: those of a run, less its test."""
    evaluating = set(_files("cells/train.py", "cells/evaluate.py"))
    trained = [path for path in training_sources(class_path, objective) if path not in evaluating]
    return [*trained, PACKAGE / "cells" / "search.py"]


def sha256_file(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_files(paths: Iterable[Path]) -> str:
    """Hex digest over the names and contents of several files, in any order."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(f"{path.name} {sha256_file(path)}\n".encode())
    return total.hexdigest()


def code(class_path: str, objective: str) -> dict[str, Any]:
    """Git commit and state, lock file and source files of a run; None where there is no git."""
    commit = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain", "--untracked-files=no")
    lock = Path("requirements.lock")
    return {
        "git_commit": commit,
        "git_dirty": None if status is None else bool(status),
        "lock_sha256": sha256_file(lock) if lock.exists() else None,
        "source_sha256": sha256_files(training_sources(class_path, objective)),
    }


def machine() -> dict[str, Any]:
    """Python, platform and processor."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
