"""Columns on disk, places of keys, order statistics and repeated rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stembench.data.store import places, ranks
from stembench.data.store.columns import Column, Keys
from stembench.data.store.keys import float_keys, floats
from stembench.data.store.spill import Duplicates
from tests.conftest import EXAMPLES

BIG = 2**63
keys = st.one_of(st.integers(-3, 300), st.integers(-BIG, BIG - 1))
chunks = st.lists(st.lists(st.one_of(st.none(), keys), max_size=12), max_size=6)


def column(folder: Path, content: list[list[int | None]]) -> Column:
    made = Column(folder / "column")
    for chunk in content:
        holes = np.array([key is None for key in chunk], np.bool_)
        made.append(np.array([key or 0 for key in chunk], np.int64), holes if any(holes) else None)
    return made


@given(content=chunks)
@example(content=[[-BIG, None], [BIG - 1, 0]])
@example(content=[[-BIG, None, BIG - 1]])
@example(content=[[-BIG, BIG - 1]])
def test_a_column_gives_back_its_keys(content: list[list[int | None]]) -> None:
    every = [key for chunk in content for key in chunk if key is not None]
    with TemporaryDirectory() as folder:
        made = column(Path(folder), content)
        assert (made.low, made.high) == ((min(every), max(every)) if every else (None, None))
        assert made.holes == sum(key is None for chunk in content for key in chunk)
        for index, chunk in enumerate(content):
            piece = made.read(index)
            found = piece.keys().tolist()
            assert piece.holes.tolist() == [key is None for key in chunk]
            assert all(key is None or key == f for key, f in zip(chunk, found, strict=True))
        made.close()


def test_small_keys_take_a_byte(tmp_path: Path) -> None:
    made = column(tmp_path, [[10**12 + i for i in range(255)]])
    assert made.read(0).offsets.dtype == np.uint8


def test_keys_64_bits_apart_leave_room_for_holes(tmp_path: Path) -> None:
    """The number that stands for a hole is one that no key of the chunk has."""
    content: list[int | None] = [None, -BIG, 2 - BIG, None, 1 - BIG, BIG - 1]
    piece = column(tmp_path, [content]).read(0)
    assert piece.hole == 3
    assert piece.holes.tolist() == [key is None for key in content]
    assert piece.keys()[~piece.holes].tolist() == [key for key in content if key is not None]


def test_a_column_that_was_cut_is_no_column(tmp_path: Path) -> None:
    made = column(tmp_path, [[1, 2, 3]])
    (tmp_path / "column").write_bytes(b"")
    with pytest.raises(OSError, match="shorter than what was written"):
        made.read(0)


@given(content=chunks)
@example(content=[[-BIG]])
@example(content=[[-BIG, None, BIG - 1]])
@example(content=[[-BIG], [BIG - 1, None]])
@example(content=[[-BIG], [None]])
def test_every_key_has_a_place(content: list[list[int | None]]) -> None:
    """Dense or by hash: 0 for a hole, else one place a key, in the order of the keys."""
    with TemporaryDirectory() as folder:
        made = column(Path(folder), content)
        table = places.places_of(made, len(content))
        seen: dict[int, int] = {}
        for index, chunk in enumerate(content):
            for key, place in zip(chunk, table.of(made.read(index)).tolist(), strict=True):
                assert (place == 0) == (key is None)
                assert place < table.size
                if key is not None:
                    assert seen.setdefault(key, place) == place
        made.close()
    ranked = sorted(seen)
    assert sorted(seen.values()) == [seen[key] for key in ranked]
    assert table.keys(np.array([seen[key] for key in ranked], np.intp)).tolist() == ranked


def test_many_wide_keys_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Collisions in the hash table, and more distinct keys than one merge takes."""
    monkeypatch.setattr(places, "_BUFFER", 1000)
    random = np.random.default_rng(0)
    distinct = np.unique(random.integers(-BIG, BIG - 1, 20_000)) & ~np.int64(0xFFFF)
    drawn = random.choice(distinct, (10, 5000))
    made = Column(tmp_path / "column")
    for chunk in drawn:
        made.append(chunk, None)
    table = places.places_of(made, len(drawn))
    assert isinstance(table, places.Sparse)
    assert table.size == len(np.unique(drawn)) + 1
    for index, chunk in enumerate(drawn):
        np.testing.assert_array_equal(table.keys(table.of(made.read(index))), chunk)


@given(
    content=st.lists(st.lists(keys, min_size=1, max_size=30), min_size=1, max_size=4),
    gather=st.sampled_from([0, 3, 1000]),
    data=st.data(),
)
@example(content=[[-BIG, BIG - 1, 0]], gather=0, data=None)
def test_order_statistics_are_those_of_a_sort(
    content: list[list[int]], gather: int, data: Any
) -> None:
    ranked = sorted(key for chunk in content for key in chunk)
    wanted = range(len(ranked))
    if data is not None:
        wanted = data.draw(st.lists(st.sampled_from(wanted), max_size=4, unique=True))

    def give() -> Iterator[Keys]:
        return (np.array(chunk, np.int64) for chunk in content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "GATHER", gather)
        found = ranks.order_statistics(give, list(wanted), ranked[0], ranked[-1])
    assert found == {rank: ranked[rank] for rank in wanted}


def test_a_rank_that_is_not_there() -> None:
    with pytest.raises(IndexError, match="ranks 3 to 3 of 3 keys"):
        ranks.order_statistics(lambda: [np.array([1, 2, 9])], [3], 1, 9)


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=30))
def test_keys_of_numbers_stand_in_their_order(numbers: list[float]) -> None:
    array = np.array(numbers)
    np.testing.assert_array_equal(floats(float_keys(array)), array + 0.0)
    order = np.argsort(float_keys(array), kind="stable")
    np.testing.assert_array_equal(order, np.argsort(array, kind="stable"))


@settings(max_examples=40 * EXAMPLES)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(["a", "", None]),
            st.sampled_from([0.0, -0.0, 1.5, float("nan"), None]),
        ),
        max_size=60,
    ),
    batch=st.integers(1, 20),
)
def test_the_first_of_equal_rows_is_kept(rows: list[tuple[Any, ...]], batch: int) -> None:
    """As polars' unique says, whatever the batches; NaN is equal to NaN, -0.0 to 0.0."""
    schema = {"a": pl.Int64, "b": pl.String, "c": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_row_index("row")
    kept = frame.unique(["a", "b", "c"], keep="first", maintain_order=True)["row"].to_list()
    with TemporaryDirectory() as folder:
        finder = Duplicates(Path(folder) / "rows")
        for part in frame.drop("row").iter_slices(batch) if rows else ():
            finder.add(part)
        assert np.flatnonzero(~finder.found()).tolist() == kept


def test_hashes_of_many_like_rows_differ(tmp_path: Path) -> None:
    numbers = np.arange(1 << 18)
    frame = pl.DataFrame({"a": numbers % 1024, "b": numbers // 1024, "c": ["x"] * len(numbers)})
    finder = Duplicates(tmp_path / "rows")
    finder.add(frame)
    finder.add(frame.head(3))
    assert np.flatnonzero(finder.found()).tolist() == [1 << 18, (1 << 18) + 1, (1 << 18) + 2]
