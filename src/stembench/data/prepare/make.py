"""Raw files to the split directory: schema.json, manifest.json and the arrays of the parts.

The table is read once, into a column store beside the split directory; the rule gives every row
its part; vocabularies are counted over the training rows; then rows are encoded and appended to
the arrays of their part, in the table's order. Memory: some bytes a row for the rule, and what
the vocabularies take.
"""

from __future__ import annotations

import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stembench.data.files import replace_folder, scratch
from stembench.data.prepare import columns as encode
from stembench.data.prepare import labels
from stembench.data.prepare import rules as split
from stembench.data.prepare.parts import Fitted, workers, write
from stembench.data.prepare.raw import RawFiles
from stembench.data.prepare.reader import Reader, needs_time, unbiased
from stembench.data.prepare.users import Users
from stembench.data.prepare.vocabulary import (
    Buckets,
    Vocabulary,
    fit_buckets,
    fit_values,
    numbers_of,
    tokens_of,
)
from stembench.data.schema import Role, Schema
from stembench.data.sources import base as sources
from stembench.data.store.columns import Store
from stembench.errors import StembenchError
from stembench.params.data import Dataset, DaySplit, Table
from stembench.progress import Bar

logger = logging.getLogger(__name__)


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
            written = write(name, made, dataset, store, fitted, codes)
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
            manifest |= _times(dataset, reader, rows, codes) | _days(dataset, reader, rows, codes)
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
    also = labels.row_expression("split.unbiased", text).meta.root_names() if text else []
    needed = encode.needed_columns(table, column, columns, sources.leaks(source), also)
    reader = Reader(table, dataset.split, store)
    with Bar(f"{name}: reading", source.rows or 0, unit="rows") as progress:
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

    with ThreadPoolExecutor(workers()) as pool:
        jobs = {field: pool.submit(one, field, role) for field, role in encode.roles(table).items()}
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


def _days(dataset: Dataset, reader: Reader, rows: split.Rows, codes: split.Codes) -> dict[str, Any]:
    """Rows of each part by day, where the rule goes by days."""
    if not isinstance(dataset.split, DaySplit):
        return {}
    coder = reader.coders[dataset.split.column]
    counted = split.rows_per_day(rows, codes, dataset.split.column)
    return {
        "days": {
            part: {
                str(day): count
                for day, count in zip(
                    coder.values(np.array(list(days), np.int64)).to_list(),
                    days.values(),
                    strict=True,
                )
            }
            for part, days in counted.items()
        }
    }
