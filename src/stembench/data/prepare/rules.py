"""Which row belongs to which part. Temporal rules never let a later row into an earlier part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stembench.data.directory import PARTS, UNBIASED, PartName
from stembench.data.store.columns import Keys, Store
from stembench.data.store.keys import Coder
from stembench.data.store.places import places_of
from stembench.data.store.ranks import order_statistics
from stembench.data.store.spill import Spill
from stembench.errors import StembenchError
from stembench.params.data import (
    DaySplit,
    RandomSplit,
    Split,
    TimeSplit,
    TrainTestSplit,
    UserOrderSplit,
)

#: Codes of rows that belong to no part: after the last day, a repeated row, and a row picked by
#: `unbiased` before the test period.
DROPPED, REPEATED, OUTSIDE = -1, -2, -3
#: The parts by their code.
EVERY_PART: tuple[str, ...] = (*PARTS, UNBIASED)
_TEST, _UNBIASED = PARTS.index("test"), len(PARTS)
_MIX = np.uint64(0x9E3779B97F4A7C15)

Codes = NDArray[np.int8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """What the rules look at.

    `store` has the columns that the rule names, `user` and, where the table has one, `time`;
    `repeats` and `unbiased` (N,) mark rows, None: no row.
    """

    store: Store
    coders: Mapping[str, Coder]
    user: str
    time: str | None = None
    repeats: Mask | None = None
    unbiased: Mask | None = None

    def times(self, codes: Codes | None = None, code: int = 0) -> Callable[[], Iterator[Keys]]:
        """The time keys of all rows, or of those with that code, a chunk at each step."""
        assert self.time is not None
        column = self.store.columns[self.time]

        def chunks() -> Iterator[Keys]:
            for index, span in self.store.spans():
                keys = column.read(index).keys()
                yield keys if codes is None else keys[codes[span] == code]

        return chunks


def assign(rows: Rows, split: Split, folder: Path) -> Codes:
    """Part of every row, int8 (N,): an index into EVERY_PART, or one of the negative codes.

    random: as many rows as the fractions say, drawn with the rule's seed.
    train_test_split: scikit-learn's function of that name, twice.
    time: the last `test` of the rows by time, before them `valid`; a cut is moved back to the
        first row of its time stamp, so that equal stamps stay together.
    days: by the day column, each boundary included; rows after `test_until` are dropped.
    user_order: the last `test` of each user's rows, rounded down, before them `valid`, by time
        (rows of one stamp in the table's order) or, without a time column, in the table's order.
        A user with too few rows for one in each part is wholly in train.

    Rows that `unbiased` picks take no part in this: those of the test period form a part of their
    own. Memory is some bytes a row; `folder` takes what does not fit. Raises StembenchError when
    a part is left empty.
    """
    codes = np.zeros(rows.store.rows, np.int8)
    if rows.unbiased is not None:
        codes[rows.unbiased] = _UNBIASED
    if rows.repeats is not None:
        codes[rows.repeats] = REPEATED
    if isinstance(split, RandomSplit):
        plain = codes == 0
        codes[plain] = random_codes(int(plain.sum()), split)
    elif isinstance(split, TrainTestSplit):
        plain = codes == 0
        codes[plain] = train_test_codes(int(plain.sum()), split)
    elif isinstance(split, TimeSplit):
        _by_time(rows, codes, split)
    elif isinstance(split, DaySplit):
        _by_day(rows, codes, split)
    else:
        _by_user(rows, codes, split, folder)
    for code, part in enumerate(EVERY_PART if rows.unbiased is not None else PARTS):
        if not (codes == code).any():
            raise StembenchError(
                f"split {split.name} leaves the {part} part without rows ({len(codes)} in all): "
                "change the split's boundaries in params.yaml"
            )
    return codes


def late_rows(rows: Rows, codes: Codes) -> dict[PartName, int]:
    """Rows of train and valid that are no earlier than the first row of a later part.

    None with the rule time. With the rule days there are some where a log's day and time stamp
    disagree around midnight.
    """
    ranges = time_ranges(rows, codes)
    found = {}
    for code, part in enumerate(PARTS[:-1]):
        first = min(ranges[later][0] for later in PARTS[code + 1 :])
        found[part] = sum(int((keys >= first).sum()) for keys in rows.times(codes, code)())
    return found


def time_ranges(rows: Rows, codes: Codes) -> dict[str, tuple[int, int]]:
    """Part -> smallest and largest time key, holes left out."""
    assert rows.time is not None
    column = rows.store.columns[rows.time]
    ranges: dict[str, tuple[int, int]] = {}
    for index, span in rows.store.spans():
        piece = column.read(index)
        keys, at = piece.keys(), codes[span]
        if piece.has_holes:
            at = np.where(piece.holes, DROPPED, at)
        for code in np.unique(at[at >= 0]).tolist():
            mine = keys[at == code]
            low, high = int(mine.min()), int(mine.max())
            known = ranges.get(EVERY_PART[code], (low, high))
            ranges[EVERY_PART[code]] = min(low, known[0]), max(high, known[1])
    return {part: ranges[part] for part in EVERY_PART if part in ranges}


def rows_per_day(rows: Rows, codes: Codes, column: str) -> dict[str, dict[int, int]]:
    """Part -> key of each of its days, rising -> its rows."""
    found: dict[str, dict[int, int]] = {}
    for index, span in rows.store.spans():
        keys, at = rows.store.columns[column].read(index).keys(), codes[span]
        for code in np.unique(at[at >= 0]).tolist():
            days = found.setdefault(EVERY_PART[code], {})
            for day, count in zip(*np.unique(keys[at == code], return_counts=True), strict=True):
                days[int(day)] = days.get(int(day), 0) + int(count)
    return {part: dict(sorted(found[part].items())) for part in EVERY_PART if part in found}


def random_codes(rows: int, split: RandomSplit) -> Codes:
    """Part of each of `rows` rows, drawn without replacement."""
    if split.seed < 0:
        raise StembenchError(f"split {split.name}: seed must not be negative, not {split.seed}")
    # The name keeps this stream apart from others that start from the same seed.
    random = np.random.default_rng([split.seed, *b"split"])
    shuffled = np.arange(rows, dtype=_index_type(rows))
    random.shuffle(shuffled)
    test, valid = round(rows * split.test), round(rows * split.valid)
    return _coded(rows, shuffled[:test], shuffled[test : test + valid])


def train_test_codes(rows: int, split: TrainTestSplit) -> Codes:
    """Part of each of `rows` rows as scikit-learn's train_test_split gives them.

    Once for the test part, and once more, from the same seed, for the valid part of what is left.
    Its permutation of the rows left is applied to their numbers in place: a shuffle draws the same
    swaps whatever it shuffles.
    """
    test, valid = train_test_sizes(rows, split)
    shuffled = np.arange(rows, dtype=_index_type(rows))
    np.random.RandomState(split.seed).shuffle(shuffled)
    left = shuffled[test:]
    np.random.RandomState(split.seed).shuffle(left)
    return _coded(rows, shuffled[:test], left[:valid])


def train_test_sizes(rows: int, split: TrainTestSplit) -> tuple[int, int]:
    """Rows of the test and of the valid part: fractions of what there is, rounded up."""
    test = int(np.ceil(split.test * rows))
    return test, int(np.ceil(split.valid * (rows - test)))


def _coded(rows: int, test: NDArray[np.integer], valid: NDArray[np.integer]) -> Codes:
    codes = np.zeros(rows, np.int8)
    codes[test] = _TEST
    codes[valid] = PARTS.index("valid")
    return codes


def _index_type(rows: int) -> type[np.integer]:
    return np.int32 if rows < 2**31 else np.int64


def _by_time(rows: Rows, codes: Codes, split: TimeSplit) -> None:
    count = int((codes == 0).sum())
    test = count - round(count * split.test)
    valid = test - round(count * split.valid)
    column = rows.store.columns[rows.time or ""]
    if not count or column.low is None or column.high is None:
        return
    ranks = [max(first, 0) for first in (valid, test) if first < count]
    cuts = order_statistics(rows.times(codes), sorted(set(ranks)), column.low, column.high)
    for index, span in rows.store.spans():
        keys, mine = column.read(index).keys(), codes[span]
        plain, picked = mine == 0, mine == _UNBIASED
        for code, first in ((PARTS.index("valid"), valid), (_TEST, test)):
            if first < count:
                mine[plain & (keys >= cuts[max(first, 0)])] = code
        if test < count:
            mine[picked & (keys < cuts[max(test, 0)])] = OUTSIDE


def _by_day(rows: Rows, codes: Codes, split: DaySplit) -> None:
    column = rows.store.columns[split.column]
    days = (split.train_until, split.valid_until, split.test_until)
    bounds = np.array([rows.coders[split.column].bound(day) for day in days], np.int64)
    for index, span in rows.store.spans():
        mine = codes[span]
        by_day = np.searchsorted(bounds, column.read(index).keys()).astype(np.int8)
        by_day[by_day == len(PARTS)] = DROPPED
        picked = mine == _UNBIASED
        mine[picked & (by_day != _TEST)] = OUTSIDE
        mine[mine == 0] = by_day[mine == 0]


def _by_user(rows: Rows, codes: Codes, split: UserOrderSplit, folder: Path) -> None:
    """Rows go to files by their user; those of one file are sorted by user, time and number."""
    spill = Spill(folder, 4)
    places = places_of(rows.store.columns[rows.user], rows.store.chunks)
    for index, span in rows.store.spans():
        users = places.of(rows.store.columns[rows.user].read(index)).astype(np.uint64)
        numbers = np.arange(span.start, span.stop, dtype=np.uint64)
        keys = numbers
        if rows.time is not None:
            # From signed to unsigned in the same order.
            times = rows.store.columns[rows.time].read(index).keys()
            keys = times.view(np.uint64) ^ np.uint64(1 << 63)
        plain = codes[span] == 0
        spill.add(np.stack([users * _MIX, users, keys, numbers], axis=1)[plain])
    for records in spill.groups():
        users, keys, numbers = records[:, 1], records[:, 2], records[:, 3]
        order = pl.DataFrame({"user": users, "key": keys, "number": numbers}).select(
            pl.arg_sort_by("user", "key", "number")
        )
        ranked = order.to_series().to_numpy()
        _, starts, counts = np.unique(users[ranked], return_index=True, return_counts=True)
        to_end = np.repeat(starts + counts, counts) - np.arange(len(ranked))  # 1: the last row
        # A hair more than rounding down: 0.29 * 100 is 28.999999999999996.
        test = np.floor(counts * split.test + 1e-9).astype(np.int64)
        valid = np.floor(counts * split.valid + 1e-9).astype(np.int64)
        few = (test == 0) | (valid == 0)
        test[few] = valid[few] = 0
        test, valid = np.repeat(test, counts), np.repeat(valid, counts)
        part = np.zeros(len(ranked), np.int8)
        part[to_end <= test + valid] = PARTS.index("valid")
        part[to_end <= test] = _TEST
        codes[numbers[ranked].astype(np.intp)] = part
    spill.close()
