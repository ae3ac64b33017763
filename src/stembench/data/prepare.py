"""Raw files to the split directory: schema.json, manifest.json and the arrays of the parts.

The table is read once, into a column store beside the split directory; the rule gives every row
its part; vocabularies are counted over the training rows; then rows are encoded and appended to
the arrays of their part, in the table's order. Memory: some bytes a row for the rule, and what
the vocabularies take.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stembench.data import encode, split
from stembench.data import source as sources
from stembench.data.files import replace_folder, scratch
from stembench.data.progress import Progress
from stembench.data.raw import RawFiles
from stembench.data.rows import Reader, needs_time, unbiased
from stembench.data.schema import OUT_OF_VOCABULARY, PADDING, Role, Schema
from stembench.data.splits import PARTS, UNBIASED
from stembench.data.store import Store
from stembench.data.users import Users
from stembench.data.vocabulary import (
    Buckets,
    Vocabulary,
    fit_buckets,
    fit_values,
    numbers_of,
    tokens_of,
)
from stembench.data.writer import PartWriter
from stembench.errors import StembenchError
from stembench.params_schema import Dataset, DaySplit, Table

logger = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Fitted:
    """All that turns a chunk of the store into arrays; `encoders` by the column they read."""

    schema: Schema
    encoders: dict[str, Vocabulary | Buckets]
    users: Users
    user: str


def split_dataset(name: str, dataset: Dataset, raw: Path, out: Path) -> dict[str, Any]:
    """Make the split directory `out` of data set `name` from its raw files in `raw`.

    `out` exists whole or not at all: all is written beside it and renamed at the end. The same
    input gives the same bytes. Returns the manifest.

    Raises StembenchError when a raw file is absent or not the one params.yaml names, a column is
    unknown, leaks the outcome or lacks values, a label is not 0 or 1, a part is empty or holds
    one class of a task, or `out` cannot be written.
    """
    started = time.monotonic()
    with RawFiles(name, dataset.source, raw) as files, scratch(out) as folder:
        with Store(folder / "store") as store:
            reader, facts = _read(name, dataset, raw, store)
            rows = split.Rows(
                store, reader.coders, dataset.table.user, dataset.table.time,
                reader.repeats, reader.unbiased(),
            )  # fmt: skip
            codes = split.assign(rows, dataset.split, folder / "users")
            fitted = _fit(name, dataset.table, reader, codes)
            logger.info("%s: %d fields, %d ids", name, len(fitted.schema.fields),
                        fitted.schema.num_rows)  # fmt: skip
            made = folder / "split"
            written = _write(name, made, dataset, store, fitted, codes)
            manifest: dict[str, Any] = {
                "dataset": name,
                "split": dataset.split.name,
                "rule": dataset.split.model_dump(),
                "rows": written.rows,
                "rows_read": store.rows,
                "duplicates_dropped": int((codes == split.REPEATED).sum()),
                "dropped_after_end": int((codes == split.DROPPED).sum()),
                "users": fitted.users.counts,
                "unseen_users": fitted.users.unseen,
                "positive_rates": written.positive_rates,
                "fields": written.fields,
                "sources": files.sha256(),
            }
            if unbiased(dataset.split) is not None:
                manifest["unbiased_dropped"] = int((codes == split.OUTSIDE).sum())
            if facts:
                manifest["source_facts"] = facts
            manifest |= _times(dataset, reader, rows, codes)
        manifest["sha256"] = written.sha256
        (made / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
        replace_folder(made, out)
    seconds = time.monotonic() - started
    sizes = " / ".join(f"{count:,} {part}" for part, count in manifest["rows"].items())
    rate = manifest["rows_read"] / seconds
    logger.info("%s: %s rows in %s, %.1f s, %.0f rows/s", name, sizes, out, seconds, rate)
    return manifest


def _read(name: str, dataset: Dataset, raw: Path, store: Store) -> tuple[Reader, dict[str, Any]]:
    """Read the source's table into the store, and what the source tells of its files."""
    source, table = dataset.source, dataset.table
    try:
        lazy = sources.load(source, raw)
        columns = lazy.collect_schema().names()
        facts = sources.facts(source, raw)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StembenchError(f"{raw} cannot be read: {error}") from None
    column = dataset.split.column if isinstance(dataset.split, DaySplit) else None
    text = unbiased(dataset.split)
    also = encode.row_expression("split.unbiased", text).meta.root_names() if text else []
    needed = encode.needed_columns(table, column, columns, sources.leaks(source), also)
    reader = Reader(table, dataset.split, store)
    with Progress(f"{name}: reading", source.rows or 0, "rows") as progress:
        reader.read(lazy, needed, progress)
    if source.rows is not None and source.rows != store.rows:
        raise StembenchError(
            f"{raw} holds {store.rows:,} rows, source.rows of params.yaml says {source.rows:,}: "
            f"the files are not the published ones, or not whole; get them again"
        )
    repeats = 0 if reader.repeats is None else int(reader.repeats.sum())
    logger.info("%s: %d rows read, %d duplicates dropped", name, store.rows, repeats)
    return reader, facts


def _fit(name: str, table: Table, reader: Reader, codes: split.Codes) -> Fitted:
    """Vocabularies and bucket edges from the training rows, and the users of the parts."""
    train = codes == 0
    store, coders = reader.store, reader.coders

    def one(field: str, role: Role) -> Vocabulary | Buckets:
        if field in table.numeric:
            return fit_buckets(store, field, role, table.numeric[field], train)
        least, bag = table.min_counts.get(field, table.min_count), table.bags.get(field)
        coder = coders[tokens_of(field) if bag else field]
        return fit_values(store, field, role, coder, train, least, bag)

    with ThreadPoolExecutor(_workers()) as pool:
        jobs = {
            field: pool.submit(one, field, role) for field, role in encode.roles(table).items()
        }
        users = Users(store, table.user, coders[table.user], codes)
        fields = {field: job.result() for field, job in jobs.items()}
    encoders = {
        tokens_of(field) if field in table.bags
        else numbers_of(field) if field in table.numeric
        else field: encoder
        for field, encoder in fields.items()
    }  # fmt: skip
    schema = Schema(name, tuple(e.field for e in encoders.values()), tuple(table.tasks))
    return Fitted(schema, encoders, users, table.user)


@dataclass(frozen=True)
class Written:
    """What was seen of the parts while they were written."""

    rows: dict[str, int]
    positive_rates: dict[str, dict[str, float]]
    fields: dict[str, Any]
    sha256: str


def _write(
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

    with Progress(f"{name}: writing", store.rows, "rows") as progress:
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
    workers = _workers()
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[slice, Future[list[Arrays]]]] = deque()
        for index, span in spans:
            waiting.append((span, pool.submit(work, index, span)))
            if len(waiting) > workers:
                done, job = waiting.popleft()
                yield done, job.result()
        for done, job in waiting:
            yield done, job.result()


def _workers() -> int:
    """Threads worth having: the work is numpy's, which holds the interpreter for part of it."""
    return max(1, min(4, len(os.sched_getaffinity(0))))


def _check_classes(
    rows: dict[str, int], positives: dict[str, list[int]], tasks: list[str], name: str
) -> None:
    for part, counts in positives.items():
        for task, count in zip(tasks, counts, strict=True):
            if count in (0, rows[part]) and part != UNBIASED:
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
            part: unknown / known
            for part, (unknown, known) in zip(parts[1:], own[1:], strict=True)
        }
        facts[field.name] = {"size": field.size, "out_of_vocabulary": shares}
        left += field.columns
    return facts


def _times(
    dataset: Dataset, reader: Reader, rows: split.Rows, codes: split.Codes
) -> dict[str, Any]:
    """First and last time stamp of each part; with a temporal rule also what overlaps."""
    if rows.time is None:
        return {}
    coder = reader.coders[rows.time]
    found: dict[str, Any] = {
        "times": {
            part: coder.values(np.array(ends, np.int64)).to_list()
            for part, ends in split.time_ranges(rows, codes).items()
        }
    }
    if needs_time(dataset.split) and dataset.split.rule != "user_order":
        found["late_rows"] = split.late_rows(rows, codes)
    return found
