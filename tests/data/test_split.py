"""Rows to parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stembench import params
from stembench.data import split
from stembench.data.splits import PARTS
from stembench.errors import StembenchError
from stembench.params_schema import DaySplit, RandomSplit, TimeSplit

RANDOM = RandomSplit(name="r1", rule="random", valid=0.1, test=0.2, seed=7)
TIME = TimeSplit(name="t1", rule="time", valid=0.1, test=0.2)
DAYS = DaySplit(name="d1", rule="days", column="day", train_until=3, valid_until=5, test_until=6)

stamps = st.lists(st.integers(0, 30), min_size=20, max_size=200)


@given(rows=st.integers(20, 500), seed=st.integers(0, 1000))
def test_random_parts_are_disjoint_and_complete(rows: int, seed: int) -> None:
    rule = RANDOM.model_copy(update={"seed": seed})
    frame = pl.DataFrame({"a": range(rows)})
    codes = split.assign(frame, rule)
    places = split.order(frame, codes, rule)
    assert len(places["test"]) == round(rows * 0.2)
    assert len(places["valid"]) == round(rows * 0.1)
    every = np.concatenate([places[part] for part in PARTS])
    assert sorted(every) == list(range(rows))
    assert all((np.diff(at) > 0).all() for at in places.values())
    np.testing.assert_array_equal(codes, split.assign(frame, rule))


def test_random_depends_on_the_seed() -> None:
    frame = pl.DataFrame({"a": range(100)})
    other = split.assign(frame, RANDOM.model_copy(update={"seed": 8}))
    assert (split.assign(frame, RANDOM) != other).any()


@given(times=stamps, as_float=st.booleans())
def test_time_never_lets_a_later_row_into_an_earlier_part(times: list[int], as_float: bool) -> None:
    frame = pl.DataFrame({"t": times}).cast(pl.Float64 if as_float else pl.Int64)
    column, ranked = np.array(times), sorted(times)
    test = len(times) - round(len(times) * 0.2)
    valid = test - round(len(times) * 0.1)
    if not ranked[0] < ranked[valid] < ranked[test]:
        with pytest.raises(StembenchError, match="without rows"):
            split.assign(frame, TIME, "t")
        return
    codes = split.assign(frame, TIME, "t")
    parts = [column[codes == code] for code in range(3)]
    assert parts[0].max() < parts[1].min()
    assert parts[1].max() < parts[2].min()
    assert split.late_rows(frame, codes, "t", "t1") == {"train": 0, "valid": 0}
    # At least the rows asked for; beyond them only rows of the boundary's stamp.
    wanted = round(len(times) * 0.2)
    assert len(parts[2]) >= wanted
    assert (parts[2] > parts[2].min()).sum() < wanted


@given(days=st.lists(st.integers(0, 8), min_size=30, max_size=200))
def test_days_follow_the_boundaries(days: list[int]) -> None:
    days = [*days, 1, 4, 6]
    frame = pl.DataFrame({"day": days})
    codes = split.assign(frame, DAYS)
    for day, code in zip(days, codes, strict=True):
        assert code == (0 if day <= 3 else 1 if day <= 5 else 2 if day <= 6 else split.DROPPED)
    places = split.order(frame, codes, DAYS)
    assert sum(map(len, places.values())) == sum(day <= 6 for day in days)


@given(times=stamps)
def test_temporal_order_is_stable(times: list[int]) -> None:
    frame = pl.DataFrame({"day": [2 + 2 * (i % 3) for i in range(len(times))], "t": times})
    codes = split.assign(frame, DAYS.model_copy(update={"test_until": 9}), "t")
    for part, at in split.order(frame, codes, DAYS, "t").items():
        keys = [(times[i], i) for i in at]
        assert keys == sorted(keys)
        assert set(at) == set(np.flatnonzero(codes == PARTS.index(part)))


def test_days_without_a_time_column_are_ordered_by_day() -> None:
    frame = pl.DataFrame({"day": [3, 1, 4, 6, 3]})
    places = split.order(frame, split.assign(frame, DAYS), DAYS)
    assert places["train"].tolist() == [1, 0, 4]


TEMPORAL = {
    name: entry
    for name, entry in params.load(Path(__file__).parents[2] / "params.yaml").datasets.items()
    if entry.split.rule != "random"
}


@pytest.mark.parametrize("name", list(TEMPORAL))
def test_every_temporal_entry_cuts_by_time(name: str) -> None:
    rule, time = TEMPORAL[name].split, TEMPORAL[name].table.time
    random = np.random.default_rng(1)
    key = rule.column if isinstance(rule, DaySplit) else time
    assert key is not None
    start = rule.train_until - 2 if isinstance(rule, DaySplit) else 0
    values = random.integers(start, start + 8, 500)
    frame = pl.DataFrame({key: values}).with_columns(pl.col(key).alias(time or key))
    codes = split.assign(frame, rule, time)
    for code in (0, 1):
        assert values[codes == code].max() < values[codes > code].min()
    for at in split.order(frame, codes, rule, time).values():
        assert (np.diff(values[at]) >= 0).all()


def test_late_rows_are_counted() -> None:
    frame = pl.DataFrame({"day": [3, 3, 4, 4, 6], "t": [10, 31, 30, 50, 40]})
    codes = split.assign(frame, DAYS)
    assert split.late_rows(frame, codes, "t", "d1") == {"train": 1, "valid": 1}


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1, None, 3], "missing in 1 rows"),
        ([1.0, float("nan"), 3.0], "missing in 1 rows"),
        (["1", "2", "3"], "must hold numbers"),
        ([5, 5, 5], "train part without rows"),
    ],
)
def test_bad_time_columns(column: list[object], message: str) -> None:
    with pytest.raises(StembenchError, match=message):
        split.assign(pl.DataFrame({"t": column}), TIME, "t")


def test_faults_of_rules() -> None:
    frame = pl.DataFrame({"a": [1, 2, 3], "day": [1, 2, 3]})
    with pytest.raises(StembenchError, match="no column 'when', one of a, day"):
        split.assign(frame, TIME, "when")
    with pytest.raises(StembenchError, match=r"needs table\.time"):
        split.assign(frame, TIME)
    with pytest.raises(StembenchError, match=r"needs table\.time"):
        split.order(frame, np.zeros(3, np.int8), TIME)
    with pytest.raises(StembenchError, match="valid part without rows"):
        split.assign(frame, DAYS)
    with pytest.raises(StembenchError, match="without rows"):
        split.assign(frame.head(0), TIME, "a")
    with pytest.raises(StembenchError, match="seed must not be negative"):
        split.assign(frame, RANDOM.model_copy(update={"seed": -1}))
