"""Whole cells on generated rows, each in a process of its own as the workflow runs them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stembench import provenance
from stembench.data.directory import PARTS
from stembench.data.schema import Field, Schema
from stembench.params import load as params
from stembench.params import resolve
from stembench.planning.speed import random_part

#: Narrow nets, and the suite that benchmarks' cells are written to.
NARROW = {
    "embedding_dim": 16,
    "bottom_units": [64, 32],
    "expert_units": [64, 32],
    "gate_units": [32],
    "tower_units": [16],
}
SUITE, SEED = "benchmark", 1


@dataclass(frozen=True)
class Outcome:
    """A cell's process: when it was started and had ended (Unix time), CPU seconds, run.json."""

    began: float
    ended: float
    cpu_s: float
    run: dict[str, Any]
    folder: Path

    @property
    def wall_s(self) -> float:
        """Seconds by the clock."""
        return self.ended - self.began


def schema(rows: int, tasks: int = 2, fields: int = 8) -> Schema:
    """Categorical fields of one size, `rows` in all."""
    each = (Field(f"f{i}", "item", "categorical", rows // fields) for i in range(fields))
    return Schema("generated", tuple(each), tuple(f"t{t}" for t in range(tasks)))


def write_split(project: Path, schema: Schema, rows: dict[str, int]) -> None:
    """data/splits/generated in a project's folder: random ids and labels, `rows` by part."""
    split = project / "data/splits/generated"
    shutil.rmtree(split, ignore_errors=True)
    for seed, name in enumerate(PARTS):
        part = random_part(schema, rows[name], seed)
        (split / name).mkdir(parents=True)
        for array in ("fields", "labels", "users"):
            np.save(split / name / f"{array}.npy", getattr(part, array))
    (split / "schema.json").write_text(json.dumps(schema.to_json()))
    manifest = {"dataset": "generated", "split": "generated", "rows": rows, "sha256": "0" * 64}
    (split / "manifest.json").write_text(json.dumps(manifest))


def spec(model: str, dataset: str = "generated", **train: Any) -> dict[str, Any]:
    """A model's resolved spec with narrow nets."""
    settings = params.load()
    found = resolve.resolve(settings, settings.select("demo"), "movielens", model, SEED).spec
    found["args"] |= {key: value for key, value in NARROW.items() if key in found["args"]}
    found["train"] |= train
    return found | {"dataset": dataset}


def train(spec: dict[str, Any], project: Path = Path(), threads: int = 1) -> Outcome:
    """Run a cell in a project's folder; raises CalledProcessError when it fails."""
    cell = [spec["dataset"], spec["model"], str(spec["seed"])]
    command = [sys.executable, "-m", "stembench", "train", *cell, "--suite", SUITE]
    command += ["--threads", str(threads), "--spec", json.dumps(spec, sort_keys=True)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.time()
    # By way of a shell: a direct child would begin with this process's peak memory.
    subprocess.run(
        ["/bin/sh", "-c", '"$@"; exit $?', "sh", *command],
        check=True, capture_output=True, cwd=project, env=environment,
    )  # fmt: skip
    ended, after = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    folder = project / "results" / SUITE / "runs" / "/".join(cell)
    return Outcome(began, ended, cpu, json.loads((folder / "run.json").read_text()), folder)


def page(title: str, command: str, text: str, note: str, tables: list[str]) -> str:
    """A benchmark's page: what was run, on what, how to read it, and its tables."""
    machine = provenance.machine()
    head = f"`{command}` on {machine['cpu']}, {machine['cores']} cores. {text}"
    return "\n\n".join([f"# {title}", f"{head} {note}".strip(), *tables]) + "\n"


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Markdown; the first column is text, the others are numbers."""
    lines = [f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) - 1)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])
