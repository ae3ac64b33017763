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

#: Files whose change can change a trained cell, besides its model's own file.
TRAINING_SOURCES = (
    "training/memory.py",
    "cells/train.py",
    "training/checkpoints.py",
    "training/compiled.py",
    "data/batches.py",
    "data/schema.py",
    "data/directory.py",
    "training/device.py",
    "training/diagnostics.py",
    "cells/evaluate.py",
    "metrics.py",
    "models/embeddings.py",
    "models/layers.py",
    "models/linear.py",
    "objectives/__init__.py",
    "objectives/base.py",
    "objectives/shared.py",
    "training/optimizer.py",
    "training/precision.py",
    "training/selection.py",
    "training/fit.py",
)
#: Files whose change can change a split, besides its source's own file.
SPLIT_SOURCES = (
    "data/prepare/columns.py",
    "data/files.py",
    "data/store/keys.py",
    "data/prepare/parts.py",
    "data/store/places.py",
    "data/prepare/make.py",
    "data/store/ranks.py",
    "data/prepare/raw.py",
    "data/prepare/reader.py",
    "data/schema.py",
    "data/sources/base.py",
    "data/store/spill.py",
    "data/prepare/rules.py",
    "data/directory.py",
    "data/store/columns.py",
    "data/sources/text.py",
    "data/prepare/users.py",
    "data/prepare/vocabulary.py",
    "data/prepare/writer.py",
    "params/data.py",
    "params/train.py",
)
#: Files whose change can change the tables, and the report made from them.
COMPARISON_SOURCES = (
    *(
        PACKAGE / name
        for name in (
            *(
                "analysis/across.py",
                "cli/analysis.py",
                "analysis/suite.py",
                "analysis/comparison.py",
                "analysis/factors.py",
            ),
            *(
                "metrics.py",
                "analysis/pairs.py",
                "analysis/power.py",
                "analysis/selection.py",
                "analysis/calibration.py",
                "analysis/runs.py",
            ),
            *("records/writing.py", "params/tuned.py"),
        )
    ),
    *sorted((PACKAGE / "stats").glob("*.py")),
)
COMPARABLE_SOURCES = (
    *(
        PACKAGE / name
        for name in (
            "analysis/buckets.py",
            "metrics.py",
            "analysis/pairs.py",
            "analysis/runs.py",
            "records/writing.py",
            "analysis/transfer.py",
        )
    ),
    PACKAGE / "report" / "analysis/buckets.py",
    *sorted((PACKAGE / "stats").glob("*.py")),
)
#: Files whose change can change the verdicts on published numbers.
VERDICT_SOURCES = tuple(
    PACKAGE / name
    for name in (
        "analysis/pairs.py",
        "checks/published.py",
        "records/writing.py",
        "checks/verdicts.py",
        "checks/verdicts_text.py",
    )
)
REPORT_SOURCES = tuple(
    sorted(path for path in (PACKAGE / "report").iterdir() if path.suffix in (".py", ".j2"))
)
#: Files whose change can change a data card.
CARD_SOURCES = (
    PACKAGE / "data" / "card.py",
    *sorted((PACKAGE / "report").glob("card*")),
    *(PACKAGE / "report" / name for name in ("names.py", "pages.py", "plots.py", "style.css.j2")),
)
#: Files whose change can change what MLflow shows.
TRACKING_SOURCES = tuple(sorted((PACKAGE / "tracking").glob("*.py")))


def split_sources(kind: str) -> list[Path]:
    """Source files the split of a data set of that source kind depends on."""
    return [PACKAGE / name for name in (*SPLIT_SOURCES, f"data/sources/{kind}.py")]


def training_sources(class_path: str, objective: str) -> list[Path]:
    """Source files a run of the model and the objective, both `<module>.<Class>`, depends on."""
    module, method = class_path.split(".")[0], objective.split(".")[0]
    own = [f"models/{module}.py", f"objectives/{method}.py"]
    if method == "gradients":
        own.append("objectives/solvers.py")
    return [PACKAGE / name for name in (*TRAINING_SOURCES, *own)]


def tuning_sources(class_path: str, objective: str) -> list[Path]:
    """Source files that a search depends on: those of a run, less its test."""
    evaluating = {PACKAGE / "cells/train.py", PACKAGE / "cells/evaluate.py"}
    trained = [path for path in training_sources(class_path, objective) if path not in evaluating]
    return [*trained, PACKAGE / "cells/search.py"]


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
