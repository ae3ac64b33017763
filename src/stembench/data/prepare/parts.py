"""Chunks of the store to the arrays of the parts, each in the table's order."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stembench.data.directory import PARTS
from stembench.data.prepare import rules as split
from stembench.data.prepare.reader import unbiased
from stembench.data.prepare.users import Users
from stembench.data.prepare.vocabulary import Buckets, Vocabulary
from stembench.data.prepare.writer import PartWriter
from stembench.data.schema import OUT_OF_VOCABULARY, PADDING, Schema
from stembench.data.store.columns import Store
from stembench.errors import StembenchError
from stembench.params.data import Dataset
from stembench.progress import Bar

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Fitted:
    """All that turns a chunk of the store into arrays; `encoders` by the column they read."""

    schema: Schema
    encoders: dict[str, Vocabulary | Buckets]
    users: Users
    user: str


@dataclass(frozen=True)
class Written:
    """What was seen of the parts while they were written."""

    rows: dict[str, int]
    positive_rates: dict[str, dict[str, float]]
    fields: dict[str, Any]
    sha256: str


def write(
    name: str, folder: Path, dataset: Dataset, store: Store, fitted: Fitted, codes: split.Codes
) -> Written:
    """Write schema and arrays. The hash is that of the rule, the schema and all arrays.

    Raises StembenchError when a part has one class of a task.
    """
    schema, table = fitted.schema, dataset.table
    parts: tuple[str, ...] = split.EVERY_PART if unbiased(dataset.split) is not None else PARTS
    rows = {part: int((codes == code).sum()) for code, part in enumerate(parts)}
    positives = np.zeros((len(parts), schema.num_tasks), np.int64)
    unknown = np.zeros((len(parts), 2, schema.num_columns), np.int64)
    shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "fields": (np.int32, (schema.num_columns,)),
        "labels": (np.uint8, (schema.num_tasks,)),
        "users": (np.int32, ()),
    }
    if table.probabilities is not None:
        shapes["probabilities"] = (np.float64, (schema.num_tasks,))
    folder.mkdir()
    text = json.dumps(schema.to_json(), indent=2) + "\n"
    (folder / "schema.json").write_text(text)
    writers = [PartWriter(folder / part, rows[part], shapes) for part in parts]

    def encoded(index: int, span: slice) -> list[Arrays]:
        return _encode(store, fitted, index, codes[span], len(parts))

    with Bar(f"{name}: writing", store.rows, unit="rows") as progress:
        for span, blocks in _ahead(encoded, store.spans()):
            for code, arrays in enumerate(blocks):
                if not len(arrays["users"]):
                    continue
                writers[code].append(arrays)
                positives[code] += arrays["labels"].sum(axis=0, dtype=np.int64)
                if code:
                    unknown[code, 0] += (arrays["fields"] == OUT_OF_VOCABULARY).sum(axis=0)
                    unknown[code, 1] += (arrays["fields"] != PADDING).sum(axis=0)
            progress.advance(span.stop - span.start)
    value = hashlib.sha256(json.dumps(dataset.split.model_dump(), sort_keys=True).encode())
    value.update(text.encode())
    for part, writer in zip(parts, writers, strict=True):
        for array, sha256 in writer.close().items():
            value.update(f"{part}/{array} {sha256}".encode())
    counts = dict(zip(parts, positives.tolist(), strict=True))
    _check_classes(rows, counts, list(table.tasks), dataset.split.name)
    rates = {
        part: {task: n / rows[part] for task, n in zip(table.tasks, counts[part], strict=True)}
        for part in parts
    }
    return Written(rows, rates, _field_facts(schema, parts, unknown), value.hexdigest())


def _encode(
    store: Store, fitted: Fitted, index: int, codes: split.Codes, parts: int
) -> list[Arrays]:
    """The arrays of one chunk for each part, rows in the table's order."""
    fields = np.empty((len(codes), fitted.schema.num_columns), np.int32)
    left = 0
    for key, encoder in fitted.encoders.items():
        right = left + encoder.field.columns
        fields[:, left:right] = encoder.encode(store.columns[key].read(index))
        left = right
    whole: Arrays = {
        "fields": fields,
        "labels": store.blocks["labels"].read(index)[:, : fitted.schema.num_tasks],
        "users": fitted.users.encode(store.columns[fitted.user].read(index)),
    }
    if "probabilities" in store.blocks:
        whole["probabilities"] = store.blocks["probabilities"].read(index)
    masks = [codes == code for code in range(parts)]
    return [{key: array[mask] for key, array in whole.items()} for mask in masks]


def _ahead(
    work: Callable[[int, slice], list[Arrays]], spans: Iterator[tuple[int, slice]]
) -> Iterator[tuple[slice, list[Arrays]]]:
    """The results for all chunks in order; a few are worked on at once."""
    most = workers()
    with ThreadPoolExecutor(most) as pool:
        waiting: deque[tuple[slice, Future[list[Arrays]]]] = deque()
        for index, span in spans:
            waiting.append((span, pool.submit(work, index, span)))
            if len(waiting) > most:
                done, job = waiting.popleft()
                yield done, job.result()
        for done, job in waiting:
            yield done, job.result()


def workers() -> int:
    """Threads worth having: the work is numpy's, which holds the interpreter for part of it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(4, cores or 1))


def _check_classes(
    rows: dict[str, int], positives: dict[str, list[int]], tasks: list[str], name: str
) -> None:
    for part, counts in positives.items():
        for task, count in zip(tasks, counts, strict=True):
            if count in (0, rows[part]):
                raise StembenchError(
                    f"split {name}: task {task} has only {'positives' if count else 'negatives'} "
                    f"among the {rows[part]} rows of the {part} part, and so no AUC: widen that "
                    "part, or drop the task"
                )


def _field_facts(schema: Schema, parts: tuple[str, ...], seen: NDArray[np.int64]) -> dict[str, Any]:
    """Per field: vocabulary size, and the share of values (of a bag: tokens) without an own id.

    `seen` (parts, 2, columns): values without one, and all that are no padding.
    """
    facts = {}
    left = 0
    for field in schema.fields:
        own = seen[:, :, left : left + field.columns].sum(axis=2).tolist()
        shares = {
            part: unknown / known for part, (unknown, known) in zip(parts[1:], own[1:], strict=True)
        }
        facts[field.name] = {"size": field.size, "out_of_vocabulary": shares}
        left += field.columns
    return facts
