"""The part of `stembench verify` that trains: one cell again, and its code against today's."""

from __future__ import annotations

import json
import math
import random
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from stembench import provenance
from stembench.cells import train as training
from stembench.checks.verify import Finding, read_inputs, rows_of
from stembench.errors import StembenchError

#: Least tolerance of a test AUC where the platform differs, the usual `analysis.margin`.
LEAST = 1e-3
#: Level of the interval that two seeds of a model differ by, which bounds it from above.
LEVEL = 0.99
#: What decides the order of float32 sums: key of run.json's environment.
PLATFORM = ("cpu", "instructions", "torch", "numpy", "threads", "device", "precision")


def draw(results: Path, seed: int, cell: str | None = None) -> str:
    """A random cell of those that the tables count, or the one named, `DATASET/MODEL/SEED`."""
    there: list[str] = sorted(read_inputs(results)["runs"])
    if cell is not None:
        if cell not in there:
            few = ", ".join(there[:3])
            raise StembenchError(f"--cell {cell} is no cell of these tables: e.g. {few}")
        return cell
    if not there:
        raise StembenchError("the tables count no run: nothing can be trained again")
    return random.Random(seed).choice(there)


def allowed(results: Path, cell: str, task: str) -> float:
    """Tolerance of a test AUC on another platform: the difference of two seeds of the model.

    Float32 sums are then taken in another order. Training carries the last bits on, and may choose
    another epoch, so that at worst the run is like one of another seed: t sqrt(2) SD over seeds
    at LEVEL, and no less than LEAST.
    """
    dataset, model, _ = cell.split("/")
    values = [
        float(row["value"])
        for row in rows_of(results / "tables" / "runs.csv")
        if (row["dataset"], row["model"], row["task"]) == (dataset, model, task)
        and (row["part"], row["metric"]) == ("test", "auc")
        and row["value"]
    ]
    if len(values) < 2:
        return LEAST
    t = float(student.ppf((1 + LEVEL) / 2, len(values) - 1))
    return max(LEAST, t * math.sqrt(2) * statistics.stdev(values))


def retrain(
    results: Path, splits: Path, cell: str, tolerance: float | None = None
) -> Iterator[Finding]:
    """Train the cell as its run.json says, in a temporary folder, and compare its test logits.

    Bitwise where the platform is the same, else by each task's test AUC within the tolerance, that
    of `allowed` if it is None.
    """
    folder = results / "runs" / cell
    try:
        run: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        spec, recorded = run["spec"], run["environment"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        note = f"run.json cannot be read ({error!r})"
        yield Finding("training", cell, "not verified", note)
        return
    yield from fingerprints(run, cell)
    split = splits / spec["dataset"]
    if not (split / "manifest.json").exists():
        note = f"{split} is not there: `stembench data make {spec['dataset']}`"
        yield Finding("training", cell, "not verified", note)
        return
    with tempfile.TemporaryDirectory(prefix="stembench-verify-") as name:
        out = Path(name) / cell
        digest, threads = run["spec_sha256"], recorded.get("threads", 1)
        try:
            again = training.train_cell(
                spec, digest, run["suite"], split, out, threads, run.get("tuned")
            )
        except (KeyError, TypeError) as error:  # a spec of before a key was added
            note = (
                f"the code here cannot train the spec of that run ({error!r}): check out its commit"
            )
            yield Finding("training", cell, "not verified", note)
            return
        differs = [key for key in PLATFORM if again["environment"].get(key) != recorded.get(key)]
        largest = 0.0
        same = True
        for file in sorted(f for f in run["files"] if f.endswith(".npy")):
            old = np.load(folder / file, allow_pickle=False)
            new = np.load(out / file, allow_pickle=False)
            same &= old.shape == new.shape and old.tobytes() == new.tobytes()
            if old.shape == new.shape:
                largest = max(largest, float(np.abs(old.astype(np.float64) - new).max(initial=0)))
    gaps = {
        task: abs(again["metrics"]["test"][task]["auc"] - values["auc"])
        for task, values in run["metrics"]["test"].items()
        if values["auc"] is not None and again["metrics"]["test"][task]["auc"] is not None
    }
    gap = max(gaps.values(), default=0.0)
    measured = f"logits differ by at most {largest:.3g}, test AUC by {gap:.3g}"
    if same:
        yield Finding("training", cell, "ok", "logits are the same bit for bit")
    elif not differs:
        note = f"same platform, yet {measured}: bit for bit was expected"
        yield Finding("training", cell, "MISMATCH", note)
    else:
        limits = {
            task: allowed(results, cell, task) if tolerance is None else tolerance for task in gaps
        }
        told = ", ".join(f"{task} {limit:.3g}" for task, limit in limits.items())
        where = f"another platform ({', '.join(differs)}): {measured}; allowed AUC: {told}"
        good = all(gaps[task] <= limits[task] for task in gaps)
        yield Finding("training", cell, "ok" if good else "MISMATCH", where)


def fingerprints(run: dict[str, Any], cell: str) -> Iterator[Finding]:
    """The code and the lock file of a run against those here; only the former is decisive."""
    spec, old = run["spec"], run["provenance"]
    new = provenance.code(spec["class"], spec["objective"]["class"])
    if new["source_sha256"] == old["source_sha256"]:
        yield Finding("code", cell, "ok", "the source files of the run are those here")
    else:
        note = "source_sha256: the source files of the run are not those here"
        changed = _changed(old["git_commit"], spec)
        note += f" (since commit {old['git_commit'][:12]}: {', '.join(changed)})" if changed else ""
        yield Finding("code", cell, "not verified", note)
    if new["lock_sha256"] != old["lock_sha256"]:
        note = "lock_sha256: requirements.lock is not that of the run"
        yield Finding("code", cell, "not verified", note)


def _changed(commit: str | None, spec: dict[str, Any]) -> list[str]:
    """Source files of a run that differ from its commit; empty where git does not know it."""
    if not commit:
        return []
    sources = provenance.training_sources(spec["class"], spec["objective"]["class"])
    try:
        done = subprocess.run(
            ["git", "diff", "--name-only", commit, "--", *map(str, sources)],
            cwd=provenance.PACKAGE, capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    return [Path(line).name for line in done.stdout.split()]
