"""Which row belongs to which part. Temporal rules never let a later row into an earlier part."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stembench.data.splits import PARTS, PartName
from stembench.errors import StembenchError
from stembench.params_schema import DaySplit, RandomSplit, Split, TimeSplit

#: Code of a row that belongs to no part.
DROPPED = -1

Codes = NDArray[np.int8]


def assign(frame: pl.DataFrame, split: Split, time: str | None = None) -> Codes:
    """Part of every row, int8 (N,): an index into PARTS, or DROPPED.

    random: as many rows as the fractions say, drawn with the rule's seed.
    time: the last `test` of the rows by `time`, before them `valid`; a cut is moved back to the
        first row of its time stamp, so that equal stamps stay together.
    days: by the day column, each boundary included; rows after `test_until` are dropped.

    Raises StembenchError when the column is absent, null, not a number, or a part is left empty.
    """
    if isinstance(split, RandomSplit):
        codes = _random(len(frame), split)
    elif isinstance(split, TimeSplit):
        if time is None:
            raise StembenchError(f"split {split.name}: the rule time needs table.time")
        codes = _by_time(_numbers(frame, time, split.name), split)
    elif isinstance(split, DaySplit):
        codes = _by_day(_numbers(frame, split.column, split.name), split)
    else:
        raise StembenchError(f"split {split.name}: the rule {split.rule} is not known here")
    for code, part in enumerate(PARTS):
        if not (codes == code).any():
            raise StembenchError(
                f"split {split.name} leaves the {part} part without rows ({len(frame)} in all): "
                "change the split's boundaries in params.yaml"
            )
    return codes


def order(
    frame: pl.DataFrame, codes: Codes, split: Split, time: str | None = None
) -> dict[PartName, NDArray[np.int64]]:
    """Row positions of each part, in the order they are written.

    By time for temporal rules (by day where there is no time column), rows of one stamp in the
    table's order; the table's order for the others.
    """
    if isinstance(split, RandomSplit):
        ranked = np.arange(len(frame))
    else:
        column = time or (split.column if isinstance(split, DaySplit) else None)
        if column is None:
            raise StembenchError(f"split {split.name}: the rule {split.rule} needs table.time")
        ranked = np.argsort(_numbers(frame, column, split.name), kind="stable")
    return {part: ranked[codes[ranked] == code] for code, part in enumerate(PARTS)}


def late_rows(frame: pl.DataFrame, codes: Codes, time: str, name: str) -> dict[PartName, int]:
    """Rows of train and valid that are no earlier than the first row of a later part.

    None with the rule time. With the rule days there are some where a log's day and time stamp
    disagree around midnight.
    """
    times = _numbers(frame, time, name)
    return {
        part: int((times[codes == code] >= times[codes > code].min()).sum())
        for code, part in enumerate(PARTS[:-1])
    }


def _random(rows: int, split: RandomSplit) -> Codes:
    if split.seed < 0:
        raise StembenchError(f"split {split.name}: seed must not be negative, not {split.seed}")
    # The name keeps this stream apart from others that start from the same seed.
    shuffled = np.random.default_rng([split.seed, *b"split"]).permutation(rows)
    test, valid = round(rows * split.test), round(rows * split.valid)
    codes = np.zeros(rows, np.int8)
    codes[shuffled[:test]] = PARTS.index("test")
    codes[shuffled[test : test + valid]] = PARTS.index("valid")
    return codes


def _by_time(times: NDArray[np.generic], split: TimeSplit) -> Codes:
    codes = np.zeros(len(times), np.int8)
    if not len(times):
        return codes
    test = len(times) - round(len(times) * split.test)
    valid = test - round(len(times) * split.valid)
    ranked = np.sort(times)
    for part, first in (("valid", valid), ("test", test)):
        if first < len(times):
            codes[times >= ranked[max(first, 0)]] = PARTS.index(part)
    return codes


def _by_day(days: NDArray[np.generic], split: DaySplit) -> Codes:
    bounds = [split.train_until, split.valid_until, split.test_until]
    codes = np.searchsorted(bounds, days, side="left").astype(np.int8)
    codes[codes == len(PARTS)] = DROPPED
    return codes


def _numbers(frame: pl.DataFrame, column: str, name: str) -> NDArray[np.generic]:
    """A column of numbers without nulls."""
    if column not in frame.columns:
        raise StembenchError(
            f"split {name}: no column {column!r}, one of {', '.join(frame.columns)}"
        )
    series = frame[column]
    if not series.dtype.is_numeric():
        raise StembenchError(
            f"split {name}: column {column!r} must hold numbers, not {series.dtype}"
        )
    bad = series.null_count()
    if series.dtype.is_float():
        bad += int(series.is_nan().sum())
    if bad:
        raise StembenchError(f"split {name}: column {column!r} is missing in {bad} rows")
    values: NDArray[np.generic] = series.to_numpy()
    return values
