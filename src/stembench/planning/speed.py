"""How fast this machine trains a suite's models: a few real steps each, on random ids.

A step over B rows is taken as B row_s + P table_s, where P counts the embedding parameters: Adam,
the L2 term and the clip go over whole tables. So large tables need not be built to be timed.
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stembench.data.directory import Part
from stembench.data.schema import FIRST_ID, PADDING, Schema
from stembench.models.base import count_parameters
from stembench.planning.needs import Data, Speed, skeleton
from stembench.training.fit import fit

logger = logging.getLogger(__name__)

#: Embedding parameters that are built at most, and those of a table too small to matter.
TABLE, SMALL_TABLE = 8_000_000, 100_000
_PROBE_ROWS, _VALID_ROWS, _MOST_STEPS = 256, 4096, 40
#: Share of a model's time that its own probe leaves to the measurement.
_REPEATS = 2


def calibrate(
    work: list[tuple[dict[str, Any], Data]], seconds: float
) -> dict[tuple[str, str], Speed]:
    """Speed of each (data set, model) of `work`, (spec, data) each, in about `seconds` in all."""
    if not work:
        return {}
    torch.set_num_threads(1)  # as a cell does
    each = seconds / (len(work) + 2)
    with _quietly():
        table_s = _table_seconds(*work[0], each)
    start_s = _start_seconds()
    found = {}
    for i, (spec, data) in enumerate(work, 1):
        started = time.perf_counter()
        with _quietly():
            speed = _speed(spec, data, each, table_s, start_s)
        found[data.name, spec["model"]] = speed
        logger.info(
            "calibration %d of %d: %s on %s, %s rows/s (%.1f s)",
            i, len(work), spec["model"], data.name, f"{1 / speed.row_s:,.0f}",
            time.perf_counter() - started,
        )  # fmt: skip
    return found


def _start_seconds() -> float:
    """Processor seconds of a process that loads what a cell loads, and ends as a cell does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = (
        "import atexit, gc; atexit.register(gc.freeze); import stembench.cli, stembench.cells.train"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _speed(
    spec: dict[str, Any], data: Data, seconds: float, table_s: float, start_s: float
) -> Speed:
    schema = shrunk(data.schema, spec, TABLE)
    parameters = count_parameters(skeleton(schema, spec))["embedding"]
    began = time.perf_counter()
    probe, _ = _measure(spec, schema, _PROBE_ROWS, 1, 1)
    left = max(seconds - (time.perf_counter() - began), 0.0)
    per_row = max(probe - parameters * table_s, 1e-7) / _PROBE_ROWS
    # As large a batch as two epochs of one step allow, then as many steps as there is time for.
    room = int(left / _REPEATS / per_row)
    batch = max(_PROBE_ROWS, min(spec["train"]["batch_size"], room))
    step_s = batch * per_row + parameters * table_s
    steps = max(1, min(_MOST_STEPS, int(left / _REPEATS / step_s)))
    step, eval_row_s = _measure(spec, schema, batch, steps, _REPEATS)
    row_s = max(step - parameters * table_s, 0.05 * step) / batch
    return Speed(row_s, table_s, eval_row_s, start_s)


def _table_seconds(spec: dict[str, Any], data: Data, seconds: float) -> float:
    """Seconds a step spends per embedding parameter, from a small and a large table."""
    times, sizes = [], []
    for size in (SMALL_TABLE, TABLE):
        schema = resized(data.schema, spec, size)
        sizes.append(count_parameters(skeleton(schema, spec))["embedding"])
        steps = 2 if seconds < 1 else 5
        times.append(_measure(spec, schema, _PROBE_ROWS, steps, _REPEATS)[0])
    return max(times[1] - times[0], 0.0) / (sizes[1] - sizes[0])


def shrunk(schema: Schema, spec: dict[str, Any], parameters: int) -> Schema:
    """The schema with vocabularies cut so that the tables have about so many parameters at most."""
    full = count_parameters(skeleton(schema, spec))["embedding"]
    return schema if full <= parameters else resized(schema, spec, parameters)


def resized(schema: Schema, spec: dict[str, Any], parameters: int) -> Schema:
    """The schema with vocabularies scaled so that the tables have about so many parameters."""
    full = count_parameters(skeleton(schema, spec))["embedding"]
    scale = parameters / full
    fields = tuple(replace(f, size=max(FIRST_ID + 1, round(f.size * scale))) for f in schema.fields)
    return replace(schema, fields=fields)


def _measure(
    spec: dict[str, Any], schema: Schema, batch: int, steps: int, epochs: int
) -> tuple[float, float]:
    """(seconds of a step, seconds of a validation row) in the last of so many epochs of `fit`.

    On the CPU they are those of a core to itself: the share of the time that other processes took
    is taken off.
    """
    device = _device(spec)
    train = {"batch_size": batch, "epochs": epochs, "patience": epochs + 1, "device": device}
    spec = spec | {"train": spec["train"] | train}
    parts = random_part(schema, batch * steps), random_part(schema, _VALID_ROWS, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder) / "history.csv"
        wall, used = time.perf_counter(), time.process_time()
        fit(schema, *parts, spec, history, torch.device(device))
        wall, used = time.perf_counter() - wall, time.process_time() - used
        with history.open(newline="") as file:
            last = list(csv.DictReader(file))[-1]
    share = min(used / wall, 1.0) if device == "cpu" else 1.0
    trained = batch * steps / float(last["samples_per_s"])
    validated = max(float(last["seconds"]) - trained, 0.0)
    return share * trained / steps, share * validated / _VALID_ROWS


def random_part(schema: Schema, rows: int, seed: int = 0) -> Part:
    """Random ids in each field's range and labels of both classes, no bag empty."""
    rng = np.random.default_rng(seed)
    columns = []
    for field in schema.fields:
        ids = rng.integers(FIRST_ID, field.size, size=(rows, field.columns))
        lengths = rng.integers(1, field.columns + 1, size=rows)
        ids[np.arange(field.columns) >= lengths[:, None]] = PADDING
        columns.append(ids)
    labels = rng.integers(0, 2, (rows, schema.num_tasks)).astype(np.uint8)
    labels[0], labels[-1] = 0, 1
    users = rng.integers(0, max(rows // 20, 1), rows).astype(np.int32)
    return Part(np.concatenate(columns, axis=1).astype(np.int32), labels, users, None)


def _device(spec: dict[str, Any]) -> str:
    wanted: str = spec["train"]["device"]
    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the progress of each short training."""
    progress = logging.getLogger("stembench.progress")
    level = progress.level
    progress.setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        progress.setLevel(level)
