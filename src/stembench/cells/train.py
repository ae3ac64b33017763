"""One cell of the grid: train, evaluate, and leave a run directory, whole or not at all."""

from __future__ import annotations

import logging
import os
import platform
import resource
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stembench import processes, provenance
from stembench.cells import evaluate as evaluation
from stembench.data.directory import SplitDirectory
from stembench.errors import StembenchError
from stembench.models.base import count_parameters
from stembench.records import writing
from stembench.training import checkpoints
from stembench.training import fit as training
from stembench.training.device import choose as device_of
from stembench.training.device import instructions
from stembench.training.selection import Choice

logger = logging.getLogger(__name__)


def train_cell(
    spec: dict[str, Any],
    spec_sha256: str,
    suite: str,
    split_path: Path,
    out: Path,
    threads: int = 1,
    tuned: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train and evaluate one cell; returns the content of `out`/run.json.

    tuned: what is recorded of the search that set some values of the spec, if there was one.

    All files are written to `.<seed>.partial-<pid>` beside `out`, which is renamed at the end; what
    is in `out` stays until then. Raises StembenchError for bad data or a loss
    that is not finite, and OSError when the disk is full; both leave `out` as it was.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    # Of what runs, not of what is there when it ends.
    code = provenance.code(spec["class"], spec["objective"]["class"])
    torch.set_num_threads(threads)
    device = device_of(spec["train"]["device"])
    split = SplitDirectory(split_path)
    train, valid = split.part("train"), split.part("valid")
    load_s = time.perf_counter() - clock

    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    _clear_partials(out)
    partial.mkdir(parents=True)
    try:
        head = {
            "spec": spec,
            "spec_sha256": spec_sha256,
            "suite": suite,
            "tasks": list(split.schema.tasks),
        } | ({"tuned": tuned} if tuned else {})
        writing.write_json(
            partial / "spec.json",
            head | {"started_at": started.isoformat(), "host": platform.node()},
        )
        result = training.fit(split.schema, train, valid, spec, partial / "history.csv", device)
        clock_evaluate = time.perf_counter()
        batch_size, tasks = spec["train"]["batch_size"], split.schema.tasks
        model, choices, own = result.model, result.choices, result.choice.rule
        on_valid = evaluation.evaluate(model, choices, valid, tasks, batch_size, device)
        on_test = evaluation.evaluate_test(model, choices, split, batch_size, device)
        for rule, (_, logits) in on_test.items():
            name = "test_logits" if rule == own else f"test_logits_{rule}"
            np.save(partial / f"{name}.npy", logits, allow_pickle=False)
        found = {"valid": on_valid[own][0], "test": on_test[own][0]}
        if split.has_unbiased:
            found["unbiased"], logits = evaluation.evaluate_unbiased(
                model, result.choice, split, batch_size, device
            )
            np.save(partial / "unbiased_logits.npy", logits, allow_pickle=False)
        if spec["train"]["keep_weights"]:
            _keep(result.choice, tasks, partial)
        checkpoints.keep_only(partial, ())
        evaluate_s = time.perf_counter() - clock_evaluate
        (partial / "spec.json").unlink()
        run = head | {
            "format": 1,
            "data": {
                "dataset": spec["dataset"],
                "split": split.manifest["split"],
                "sha256": split.manifest["sha256"],
                "rows": split.manifest["rows"],
                "fields": len(split.schema.fields),
            },
            "metrics": found,
            "selection": {
                rule: {
                    "epochs": dict(zip(tasks, choice.epochs, strict=True)),
                    "epochs_run": choice.epochs_run,
                    "stopped": choice.stopped,
                    "metrics": {"valid": on_valid[rule][0], "test": on_test[rule][0]},
                }
                for rule, choice in choices.items()
            },
            "best_epoch": result.best_epoch,
            "epochs_run": result.epochs_run,
            "stopped": result.stopped,
            "timing": {
                "started_at": started.isoformat(),
                "finished_at": datetime.now(UTC).isoformat(),
                "load_s": load_s,
                "fit_s": result.seconds,
                "evaluate_s": evaluate_s,
                "total_s": time.perf_counter() - clock,
                "samples_per_s": result.samples_per_s,
            },
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "parameters": count_parameters(result.model),
            "diagnostics": result.diagnostics,
            "provenance": code,
            "environment": provenance.machine()
            | {
                "torch": torch.__version__,
                "numpy": np.__version__,
                "threads": threads,
                "device": _device_name(device),
                "precision": result.precision,
                "instructions": instructions(),
            },
            "files": {
                path.name: provenance.sha256_file(path) for path in sorted(partial.iterdir())
            },
        }
        writing.write_json(partial / "run.json", run)
        _put_in_place(partial, out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return run


def _put_in_place(partial: Path, out: Path) -> None:
    """Rename; an older run moves aside first and is deleted last."""
    old = out.with_name(f".{out.name}.old-{os.getpid()}")
    if out.exists():
        out.rename(old)
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _clear_partials(out: Path) -> None:
    """Delete what killed processes of this cell left; a living one is an error."""
    for leftover in out.parent.glob(f".{out.name}.*-*"):
        pid = leftover.name.rpartition("-")[2]
        living = pid.isdigit() and int(pid) != os.getpid()
        if living and processes.runs(int(pid), "train", *out.parts[-3:]):
            raise StembenchError(
                f"process {pid} is already training {out}: wait for it, or end it with kill {pid}"
            )
        shutil.rmtree(leftover)


def _keep(choice: Choice, tasks: tuple[str, ...], folder: Path) -> None:
    """best.safetensors, or best_<task>.safetensors where each task has its own checkpoint."""
    names = ["best"] if choice.rule == "mean" else [f"best_{task}" for task in tasks]
    for name, weights in zip(names, choice.weights, strict=False):
        weights.copy_to(folder / f"{name}.safetensors")


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
