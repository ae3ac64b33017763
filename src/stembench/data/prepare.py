"""Raw files to the split directory: schema.json, manifest.json and the arrays of three parts."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stembench.data import encode, split
from stembench.data import source as sources
from stembench.data.files import digest, replace_folder, scratch
from stembench.data.schema import OUT_OF_VOCABULARY, PADDING, Schema
from stembench.data.splits import PARTS, PartName
from stembench.errors import StembenchError
from stembench.params_schema import Dataset, DaySplit, Source, Table

logger = logging.getLogger(__name__)

#: Part -> name of an array -> the array, rows in the order they are written.
Parts = dict[PartName, dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class Rows:
    """The table, read: `frame` (columns needed, and encode.ROW), and what was left out of it."""

    frame: pl.DataFrame
    read: int
    duplicates: int


def split_dataset(name: str, dataset: Dataset, raw: Path, out: Path) -> dict[str, Any]:
    """Make the split directory `out` of data set `name` from its raw files in `raw`.

    `out` exists whole or not at all: all is written beside it and renamed at the end. The same
    input gives the same bytes. Returns the manifest.

    Raises StembenchError when a raw file is absent or not the one params.yaml names, a column is
    unknown, leaks the outcome or lacks values, a label is not 0 or 1, a part is empty or holds
    one class of a task, or `out` cannot be written.
    """
    started = time.monotonic()
    table, rule = dataset.table, dataset.split
    files = _raw_files(name, dataset.source, raw)
    try:
        rows = _read(dataset, raw)
    except pl.exceptions.PolarsError as error:
        raise StembenchError(f"{raw} cannot be read: {error}") from None
    frame = rows.frame
    logger.info("%s: %d rows read, %d duplicates dropped", name, rows.read, rows.duplicates)

    codes = split.assign(frame, rule, table.time)
    places = split.order(frame, codes, rule, table.time)
    whole: dict[str, NDArray[Any]] = {
        "labels": encode.labels(frame, table),
        "users": _user_codes(frame, table.user, codes),
        **_probabilities(frame, table),
    }
    parts: Parts = {
        part: {key: array[places[part]] for key, array in whole.items()} for part in PARTS
    }
    _check_classes(parts, list(table.tasks), rule.name)
    schema = _encode_fields(name, frame, table, places, parts)
    logger.info("%s: %d fields, %d ids", name, len(schema.fields), schema.num_rows)

    manifest: dict[str, Any] = {
        "dataset": name,
        "split": rule.name,
        "rule": rule.model_dump(),
        "rows": {part: len(places[part]) for part in PARTS},
        "rows_read": rows.read,
        "duplicates_dropped": rows.duplicates,
        "dropped_after_end": int((codes == split.DROPPED).sum()),
        "users": {part: len(np.unique(parts[part]["users"])) for part in PARTS},
        "unseen_users": _unseen_users(parts),
        "positive_rates": {
            part: dict(zip(table.tasks, parts[part]["labels"].mean(axis=0).tolist(), strict=True))
            for part in PARTS
        },
        "fields": _field_facts(schema, parts),
        "sources": files,
    }
    if table.time is not None and rule.rule != "random":
        manifest["late_rows"] = split.late_rows(frame, codes, table.time, rule.name)
    with scratch(out) as folder:
        made = folder / "split"
        manifest["sha256"] = _write(made, schema, parts, manifest["rule"])
        (made / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
        replace_folder(made, out)
    sizes = " / ".join(f"{count:,} {part}" for part, count in manifest["rows"].items())
    logger.info("%s: %s rows in %s, %.1f s", name, sizes, out, time.monotonic() - started)
    return manifest


def _raw_files(name: str, source: Source, raw: Path) -> dict[str, str]:
    """File -> sha256 of the raw folder, compared with what params.yaml says of the members."""
    again = f"run `stembench fetch {name}`"
    files = sorted(path for path in raw.glob("*") if path.is_file() and path.name[0] != ".")
    if not files:
        raise StembenchError(f"no raw files in {raw}: {again}")
    seen = {path.name: digest(path) for path in files}
    named = {
        PurePosixPath(member).name: sha256
        for archive in source.archives
        for member, sha256 in archive.members.items()
    }
    for file, expected in named.items():
        if file not in seen:
            raise StembenchError(f"{raw / file} is missing: {again}")
        if expected is not None and seen[file] != expected:
            raise StembenchError(
                f"{raw / file}: wrong sha256, expected {expected}, seen {seen[file]}: {again}"
            )
    # Left by an older entry, say: a source that reads all logs of the folder would read it too.
    if source.archives and (others := sorted(set(seen) - set(named))):
        raise StembenchError(
            f"{raw} holds files that params.yaml does not name: {', '.join(others)}; remove them"
        )
    return seen


def _read(dataset: Dataset, raw: Path) -> Rows:
    """The columns needed, each row with its number in the source's table.

    Duplicates are rows equal in all columns of the source, not only in those needed: the first
    stays. Features of users and items are functions of their ids, so it is the log that decides.
    """
    table = dataset.table
    lazy = sources.load(dataset.source, raw)
    columns = lazy.collect_schema().names()
    column = dataset.split.column if isinstance(dataset.split, DaySplit) else None
    leaks = sources.leaks(dataset.source)
    needed = encode.needed_columns(table, column, columns, leaks)
    lazy = lazy.with_row_index(encode.ROW, offset=1)
    if table.drop_duplicates:
        read = int(lazy.select(pl.len()).collect().item())
        lazy = lazy.unique(subset=columns, keep="first", maintain_order=True)
    frame = lazy.select(encode.ROW, *needed).collect()
    if not table.drop_duplicates:
        read = len(frame)
    return Rows(frame, read, read - len(frame))


def _user_codes(frame: pl.DataFrame, user: str, codes: split.Codes) -> NDArray[np.int32]:
    """Real users as 0, 1, … in sorted order, over the rows of all parts; -1 for dropped rows."""
    if missing := frame[user].null_count():
        raise StembenchError(f"user column {user!r} is missing in {missing} of {len(frame)} rows")
    known = frame[user].filter(pl.Series(codes != split.DROPPED)).unique().sort()
    numbers = pl.int_range(0, len(known), dtype=pl.Int32, eager=True)
    coded = frame[user].replace_strict(known, numbers, default=-1, return_dtype=pl.Int32)
    result: NDArray[np.int32] = coded.to_numpy()
    return result


def _probabilities(frame: pl.DataFrame, table: Table) -> dict[str, NDArray[np.float64]]:
    """True probabilities (N, T) in the order of the tasks, where the table has them."""
    if table.probabilities is None:
        return {}
    columns = [frame[table.probabilities[task]].cast(pl.Float64) for task in table.tasks]
    values = np.stack([column.to_numpy() for column in columns], axis=1)
    if not ((values >= 0) & (values <= 1)).all():
        raise StembenchError("table.probabilities: values outside [0, 1] or missing")
    return {"probabilities": values}


def _check_classes(parts: Parts, tasks: list[str], name: str) -> None:
    for part, arrays in parts.items():
        rows = len(arrays["labels"])
        positives = arrays["labels"].sum(axis=0, dtype=np.int64)
        for task, count in zip(tasks, positives.tolist(), strict=True):
            if count in (0, rows):
                raise StembenchError(
                    f"split {name}: task {task} has only {'positives' if count else 'negatives'} "
                    f"among the {rows} rows of the {part} part, and so no AUC: widen that part, "
                    "or drop the task"
                )


def _encode_fields(
    name: str,
    frame: pl.DataFrame,
    table: Table,
    places: dict[PartName, NDArray[np.int64]],
    parts: Parts,
) -> Schema:
    """Fit the vocabularies on the training rows and add the array `fields` to each part."""
    vocabularies = [
        encode.fit(
            field,
            role,
            frame[field][places["train"]],
            table.min_counts.get(field, table.min_count),
            table.bags.get(field),
        )
        for field, role in encode.roles(table).items()
    ]
    schema = Schema(name, tuple(v.field for v in vocabularies), tuple(table.tasks))
    for part, at in places.items():
        out = np.empty((len(at), schema.num_columns), np.int32)
        left = 0
        for vocabulary in vocabularies:
            right = left + vocabulary.field.columns
            out[:, left:right] = vocabulary.encode(frame[vocabulary.name][at])
            left = right
        parts[part]["fields"] = out
    return schema


def _field_facts(schema: Schema, parts: Parts) -> dict[str, Any]:
    """Per field: vocabulary size, and the share of values (of a bag: tokens) without an own id."""
    facts = {}
    left = 0
    for field in schema.fields:
        right = left + field.columns
        shares = {}
        for part in PARTS[1:]:
            ids = parts[part]["fields"][:, left:right]
            shares[part] = float((ids == OUT_OF_VOCABULARY).sum() / (ids != PADDING).sum())
        facts[field.name] = {"size": field.size, "out_of_vocabulary": shares}
        left = right
    return facts


def _unseen_users(parts: Parts) -> dict[str, float]:
    """Share of the users of valid and test that the training part does not have."""
    users = {part: np.unique(arrays["users"]) for part, arrays in parts.items()}
    return {part: float(1 - np.isin(users[part], users["train"]).mean()) for part in PARTS[1:]}


def _write(folder: Path, schema: Schema, parts: Parts, rule: dict[str, Any]) -> str:
    """Write schema and arrays; the hash over the rule, the schema and all arrays."""
    value = hashlib.sha256(json.dumps(rule, sort_keys=True).encode())
    folder.mkdir()
    text = json.dumps(schema.to_json(), indent=2) + "\n"
    (folder / "schema.json").write_text(text)
    value.update(text.encode())
    for part in PARTS:
        (folder / part).mkdir()
        for name, array in sorted(parts[part].items()):
            path = folder / part / f"{name}.npy"
            np.save(path, array, allow_pickle=False)
            value.update(f"{part}/{name} {digest(path)}".encode())
    return value.hexdigest()
