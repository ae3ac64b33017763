"""Rows to parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from stembench.data.directory import PARTS
from stembench.data.prepare import rules as split
from stembench.errors import StembenchError
from stembench.params import load as params
from stembench.params.data import (
    DaySplit,
    RandomSplit,
    Split,
    TimeSplit,
    TrainTestSplit,
    UserOrderSplit,
)
from tests.conftest import ROOT
from tests.data.conftest import stored

RANDOM = RandomSplit(name="r1", rule="random", valid=0.1, test=0.2, seed=7)
TIME = TimeSplit(name="t1", rule="time", valid=0.1, test=0.2)
DAYS = DaySplit(name="d1", rule="days", column="day", train_until=3, valid_until=5, test_until=6)
PUBLISHED = TrainTestSplit(name="x1", rule="train_test_split", valid=0.1, test=0.1, seed=42)
USERS = UserOrderSplit(name="u1", rule="user_order", valid=0.1, test=0.2)

stamps = st.lists(st.integers(0, 30), min_size=20, max_size=200)
batches = st.integers(1, 40)


def assign(frame: pl.DataFrame, rule: Split, time: str | None = None, **rest: Any) -> split.Codes:
    with stored(frame, time=time, **rest) as rows:
        return split.assign(rows, rule, rows.store.folder / "spill")


@given(rows=st.integers(20, 500), seed=st.integers(0, 1000))
def test_random_parts_are_disjoint_and_complete(rows: int, seed: int) -> None:
    rule = RANDOM.model_copy(update={"seed": seed})
    codes = split.random_codes(rows, rule)
    assert np.bincount(codes, minlength=3).tolist() == [
        rows - round(rows * 0.2) - round(rows * 0.1), round(rows * 0.1), round(rows * 0.2)
    ]  # fmt: skip
    # Membership does not depend on the type of the shuffled numbers.
    wide = np.random.default_rng([seed, *b"split"]).permutation(rows)
    assert set(np.flatnonzero(codes == 2)) == set(wide[: round(rows * 0.2)])
    frame = pl.DataFrame({"a": range(rows)})
    np.testing.assert_array_equal(codes, assign(frame, rule))


def test_random_depends_on_the_seed() -> None:
    other = split.random_codes(100, RANDOM.model_copy(update={"seed": 8}))
    assert (split.random_codes(100, RANDOM) != other).any()


# 11 and 101: fractions round up; 100_003: more than one block of the generator.
@pytest.mark.parametrize("rows", [10, 11, 19, 100, 101, 999, 12_345, 100_003])
@pytest.mark.parametrize(("test", "valid", "seed"), [(0.1, 0.1, 42), (0.25, 0.3, 7)])
def test_the_published_split_is_that_of_scikit_learn(
    rows: int, test: float, valid: float, seed: int
) -> None:
    rule = PUBLISHED.model_copy(update={"test": test, "valid": valid, "seed": seed})
    numbers = np.arange(rows)
    left, tested = train_test_split(numbers, test_size=test, random_state=seed)
    trained, validated = train_test_split(left, test_size=valid, random_state=seed)
    codes = split.train_test_codes(rows, rule)
    for code, expected in enumerate((trained, validated, tested)):
        np.testing.assert_array_equal(np.flatnonzero(codes == code), np.sort(expected))


def test_the_published_sizes() -> None:
    rows = 275_855_531
    test, valid = split.train_test_sizes(rows, PUBLISHED)
    assert (rows - test - valid, valid, test) == (223_442_979, 24_826_998, 27_585_554)


@given(times=stamps, as_float=st.booleans(), batch=batches)
def test_time_never_lets_a_later_row_into_an_earlier_part(
    times: list[int], as_float: bool, batch: int
) -> None:
    frame = pl.DataFrame({"t": times}).cast(pl.Float64 if as_float else pl.Int64)
    column, ranked = np.array(times), sorted(times)
    test = len(times) - round(len(times) * 0.2)
    valid = test - round(len(times) * 0.1)
    with stored(frame, time="t", batch=batch) as rows:
        if not ranked[0] < ranked[valid] < ranked[test]:
            with pytest.raises(StembenchError, match="without rows"):
                split.assign(rows, TIME, rows.store.folder / "spill")
            return
        codes = split.assign(rows, TIME, rows.store.folder / "spill")
        assert split.late_rows(rows, codes) == {"train": 0, "valid": 0}
    parts = [column[codes == code] for code in range(3)]
    assert parts[0].max() < parts[1].min()
    assert parts[1].max() < parts[2].min()
    # At least the rows asked for; beyond them only rows of the boundary's stamp.
    wanted = round(len(times) * 0.2)
    assert len(parts[2]) >= wanted
    assert (parts[2] > parts[2].min()).sum() < wanted


@given(days=st.lists(st.integers(0, 8), min_size=30, max_size=200), batch=batches)
@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt64, pl.Float32])
def test_days_follow_the_boundaries(dtype: Any, days: list[int], batch: int) -> None:
    days = [*days, 1, 4, 6]
    codes = assign(pl.DataFrame({"day": days}).cast(dtype), DAYS, batch=batch)
    for day, code in zip(days, codes, strict=True):
        assert code == (0 if day <= 3 else 1 if day <= 5 else 2 if day <= 6 else split.DROPPED)


@given(
    rows=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=30, max_size=200),
    by_time=st.booleans(),
    batch=batches,
)
def test_user_order_takes_the_last_rows_of_each_user(
    rows: list[tuple[int, int]], by_time: bool, batch: int
) -> None:
    """Against a plain walk over each user's rows; rows of one stamp stay in the table's order."""
    rows = [*rows, *((9, 5) for _ in range(20))]  # a user with enough of them
    frame = pl.DataFrame(rows, schema=["user", "t"], orient="row")
    codes = assign(frame, USERS, "t" if by_time else None, batch=batch)
    for user in {user for user, _ in rows}:
        own = [at for at, row in enumerate(rows) if row[0] == user]
        if by_time:
            own.sort(key=lambda at: rows[at][1])
        test, valid = int(len(own) * 0.2), int(len(own) * 0.1)
        if not test or not valid:
            test = valid = 0
        cut = len(own) - test - valid
        assert codes[own].tolist() == [0] * cut + [1] * valid + [2] * test


def test_user_order_rounds_down_whatever_the_fraction_is_in_binary() -> None:
    frame = pl.DataFrame({"user": [1] * 100})
    codes = assign(frame, USERS.model_copy(update={"test": 0.29, "valid": 0.07}))
    assert np.bincount(codes).tolist() == [64, 7, 29]


DATASETS = params.load(ROOT / "params.yaml").datasets
TEMPORAL = {name: d for name, d in DATASETS.items() if d.split.rule in ("time", "days")}
ORDERED = {name: d for name, d in DATASETS.items() if d.split.rule == "user_order"}


@pytest.mark.parametrize("name", list(TEMPORAL))
def test_every_temporal_entry_cuts_by_time(name: str) -> None:
    rule, time = TEMPORAL[name].split, TEMPORAL[name].table.time
    random = np.random.default_rng(1)
    key = rule.column if isinstance(rule, DaySplit) else time
    assert key is not None
    start = rule.train_until - 2 if isinstance(rule, DaySplit) else 0
    last = max(8, rule.test_until - start) if isinstance(rule, DaySplit) else 8
    values = random.integers(start, start + last, 500)
    frame = pl.DataFrame({key: values}).with_columns(pl.col(key).alias(time or key))
    marks = {} if rule.unbiased is None else {"unbiased": random.random(500) < 0.3}
    codes = assign(frame, rule, time, **marks)
    for code in (0, 1):
        later = (codes > code) & (codes < len(PARTS))
        assert values[codes == code].max() < values[later].min()
    if marks:
        assert (codes[marks["unbiased"]] != 0).all()
        test = values[codes == 2]
        mine = values[codes == len(PARTS)]
        assert test.min() <= mine.min()
        assert mine.max() <= test.max()


@pytest.mark.parametrize("name", list(ORDERED))
def test_every_entry_ordered_by_user_keeps_each_users_order(name: str) -> None:
    rule, table = ORDERED[name].split, ORDERED[name].table
    random = np.random.default_rng(1)
    frame = pl.DataFrame({table.user: random.integers(0, 9, 900)})
    order = np.arange(900)
    if table.time is not None:
        order = random.permutation(900)
        frame = frame.with_columns(pl.Series(table.time, order))
    codes = assign(frame, rule, table.time, user=table.user)
    for user in range(9):
        mine = (frame[table.user] == user).to_numpy()
        for code in (0, 1):
            assert order[mine & (codes == code)].max() < order[mine & (codes > code)].min()


@given(times=stamps, picks=st.data())
def test_unbiased_rows_are_a_part_of_their_own(times: list[int], picks: st.DataObject) -> None:
    """They move no cut, enter no other part, and those before the test period are dropped."""
    times = [*times, *range(31)]
    marks = np.array(picks.draw(st.lists(st.booleans(), min_size=31, max_size=31)))
    marked = np.concatenate([np.zeros(len(times), np.bool_), marks])
    both = np.array([*times, *range(31)])
    with stored(pl.DataFrame({"t": times}), time="t") as rows:
        try:
            plain = split.assign(rows, TIME, rows.store.folder / "spill")
        except StembenchError:
            return
    cut = both[: len(times)][plain == 2].min()
    keep = np.concatenate([np.ones(len(times), np.bool_), marks])
    frame, marked, both = pl.DataFrame({"t": both[keep]}), marked[keep], both[keep]
    if not (both[marked] >= cut).any():
        with pytest.raises(StembenchError, match="unbiased part without rows"):
            assign(frame, TIME, "t", unbiased=marked)
        return
    codes = assign(frame, TIME, "t", unbiased=marked)
    np.testing.assert_array_equal(codes[~marked], plain)
    expected = np.where(both[marked] >= cut, len(PARTS), split.OUTSIDE)
    np.testing.assert_array_equal(codes[marked], expected)


@pytest.mark.parametrize("rule", [RANDOM, TIME, DAYS, PUBLISHED, USERS], ids=lambda r: r.rule)
def test_repeated_rows_count_for_nothing(rule: Split) -> None:
    """The other rows fall as if the repeated ones were not there."""
    random = np.random.default_rng(5)
    frame = pl.DataFrame(
        {"user": random.integers(0, 4, 300), "t": random.permutation(300)}
    ).with_columns(day=pl.col("t") // 50 + 1)
    repeats = random.random(300) < 0.2
    codes = assign(frame, rule, "t", repeats=repeats)
    assert (codes[repeats] == split.REPEATED).all()
    np.testing.assert_array_equal(
        codes[~repeats], assign(frame.filter(pl.Series(~repeats)), rule, "t")
    )


def test_late_rows_are_counted() -> None:
    frame = pl.DataFrame({"day": [3, 3, 4, 4, 6], "t": [10, 31, 30, 50, 40]})
    with stored(frame, time="t", batch=2) as rows:
        codes = split.assign(rows, DAYS, rows.store.folder / "spill")
        assert split.late_rows(rows, codes) == {"train": 1, "valid": 1}
        assert split.time_ranges(rows, codes) == {
            "train": (10, 31), "valid": (30, 50), "test": (40, 40)
        }  # fmt: skip
        assert split.rows_per_day(rows, codes, "day") == {
            "train": {3: 2}, "valid": {4: 2}, "test": {6: 1}
        }  # fmt: skip


def test_faults_of_rules() -> None:
    days = pl.DataFrame({"day": [1, 2, 3]})
    with pytest.raises(StembenchError, match="valid part without rows"):
        assign(days, DAYS)
    with pytest.raises(StembenchError, match="train part without rows"):
        assign(pl.DataFrame({"t": [5, 5, 5]}), TIME, "t")
    for rule in (TIME, RANDOM, PUBLISHED, USERS):
        with pytest.raises(StembenchError, match="without rows"):
            assign(pl.DataFrame({"t": [1], "user": [1]}).head(0), rule, "t")
    with pytest.raises(StembenchError, match="seed must not be negative"):
        assign(days, RANDOM.model_copy(update={"seed": -1}))
