"""Values of fields to ids, fitted over chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stembench.data.prepare import columns as encode
from stembench.data.prepare.vocabulary import (
    Buckets,
    Vocabulary,
    fit_buckets,
    fit_values,
    numbers_of,
    tokens_of,
)
from stembench.data.schema import FIRST_ID, MISSING, OUT_OF_VOCABULARY, PADDING
from stembench.data.store.columns import Store
from stembench.data.store.keys import Texts, coder
from stembench.errors import StembenchError
from stembench.params.data import Bag, Numeric

TAGS = Bag(separator=",", length=3)

words = st.one_of(st.none(), st.just(""), st.text("abcdé", min_size=1, max_size=2))
# Wide ones are looked up by hash, narrow ones in a table.
numbers = st.one_of(st.none(), st.integers(-5, 5))
wide = st.one_of(st.none(), st.integers(-3, 3), st.integers(-(2**63), 2**62))
bags = st.one_of(
    st.none(), st.lists(st.sampled_from(["a", "b", "c", "d", ""]), max_size=5).map(",".join)
)
batches = st.integers(1, 9)


def fitted(
    train: list[Any], other: list[Any], dtype: Any, batch: int, fit: Callable[..., Any]
) -> tuple[Any, NDArray[np.int32]]:
    """What `fit(store, coders, mask)` makes of the training rows, and the ids of all rows."""
    column = pl.Series("c", [*train, *other], dtype=dtype)
    mask = np.arange(len(column)) < len(train)
    with TemporaryDirectory() as folder, Store(Path(folder) / "store") as store:
        coders = {"c": coder("c", dtype()), tokens_of("c"): Texts()}
        coders[numbers_of("c")] = coder("c", pl.Float64())
        for name in coders:
            store.add_column(name, TAGS.length if name == tokens_of("c") else 1)
        for start in range(0, len(column), batch):
            part = column[start : start + batch]
            store.columns["c"].append(*coders["c"].keys(part))
            if dtype == pl.String:
                tokens = encode.tokens(part, TAGS)
                store.columns[tokens_of("c")].append(*coders[tokens_of("c")].keys(tokens))
            else:
                store.columns[numbers_of("c")].append(*coders[numbers_of("c")].keys(part))
            store.end_chunk(len(part))
        encoder: Vocabulary | Buckets = fit(store, coders, mask)
        name = {"bag": tokens_of("c"), "numeric": numbers_of("c")}.get(encoder.field.kind, "c")
        chunks = [encoder.encode(store.columns[name].read(i)) for i in range(store.chunks)]
        empty = np.empty((0, encoder.field.columns), np.int32)
        return encoder, np.concatenate([empty, *chunks])


def values(least: int = 1) -> Callable[..., Any]:
    return lambda store, coders, mask: fit_values(
        store, "c", "item", coders["c"], mask, least, None
    )


def bag_of(store: Store, coders: dict[str, Any], mask: NDArray[np.bool_]) -> Vocabulary:
    return fit_values(store, "c", "item", coders[tokens_of("c")], mask, 1, TAGS)


def buckets(scale: Any, count: int) -> Callable[..., Any]:
    numeric = Numeric(buckets=count, scale=scale)
    return lambda store, coders, mask: fit_buckets(store, "c", "item", numeric, mask)


@given(
    train=st.one_of(*(st.lists(kind, max_size=40) for kind in (words, numbers, wide))),
    least=st.integers(1, 3),
    batch=batches,
)
def test_every_known_value_round_trips(train: list[Any], least: int, batch: int) -> None:
    dtype = pl.String if any(isinstance(value, str) for value in train) else pl.Int64
    vocabulary, ids = fitted(train, [], dtype, batch, values(least))
    counts = Counter(value for value in train if value not in (None, ""))
    kept = sorted((v for v in counts if counts[v] >= least), key=lambda v: (-counts[v], v))
    assert vocabulary.values.to_list() == kept
    assert ids.shape == (len(train), 1)
    assert ids.dtype == np.int32
    assert ((ids >= 0) & (ids < vocabulary.field.size)).all()
    for value, code, back in zip(train, ids[:, 0], vocabulary.decode(ids[:, 0]), strict=True):
        if value in (None, ""):
            assert code == MISSING
        elif counts[value] < least:
            assert code == OUT_OF_VOCABULARY
        else:
            assert code >= FIRST_ID
            assert back == value


@given(train=st.lists(words, max_size=20), other=st.lists(words, max_size=20), batch=batches)
def test_unseen_is_out_of_vocabulary_and_missing_is_missing(
    train: list[str | None], other: list[str | None], batch: int
) -> None:
    _, ids = fitted(train, other, pl.String, batch, values())
    for value, code in zip(other, ids[len(train) :, 0], strict=True):
        if value in (None, ""):
            assert code == MISSING
        else:
            assert (code == OUT_OF_VOCABULARY) == (value not in train)


@given(train=st.lists(bags, max_size=20), other=st.lists(bags, max_size=20), batch=batches)
def test_bags(train: list[str | None], other: list[str | None], batch: int) -> None:
    vocabulary, ids = fitted(train, other, pl.String, batch, bag_of)
    known = {token for value in train for token in _tokens(value)}
    assert set(vocabulary.values) == known
    assert vocabulary.field.kind == "bag"
    assert vocabulary.field.columns == 3
    assert ids.shape == (len(train) + len(other), 3)
    for value, row in zip([*train, *other], ids, strict=True):
        tokens = _tokens(value)
        if not tokens:
            assert row.tolist() == [MISSING, PADDING, PADDING]
        for place in range(3):
            if place < len(tokens):
                known_token = tokens[place] in known
                assert (row[place] >= FIRST_ID) == known_token
                assert known_token or row[place] == OUT_OF_VOCABULARY
                assert not known_token or vocabulary.decode(row)[place] == tokens[place]
            elif place:
                assert row[place] == PADDING


@pytest.mark.parametrize(
    ("dtype", "column"),
    [
        (pl.Float64, [0.5, float("nan"), 0.5, 1.5, -0.0, 0.0, -2.0]),
        (pl.Float32, [0.5, None, 0.5, 1.5]),
        (pl.Boolean, [True, None, False, True]),
        (pl.UInt64, [2**64 - 1, 5, None, 2**63, 2**64 - 1]),
        (pl.Int8, [-128, 127, None, -128]),
        (pl.Date, [0, 19_000, None, 0]),
        (pl.Datetime, [0, 10**15, None]),
        (pl.Int64, [None, None]),
    ],
)
def test_types_of_columns(dtype: Any, column: list[Any]) -> None:
    """NaN is missing, -0.0 is 0.0, and values come back as they were, by count, then in order."""
    vocabulary, ids = fitted(column, [], dtype, 2, values())
    plain = pl.Series(column, dtype=dtype)
    plain = plain.fill_nan(None) + 0.0 if plain.dtype.is_float() else plain
    counts = Counter(plain.drop_nulls().to_list())
    expected = sorted(counts, key=lambda value: (-counts[value], value))
    assert vocabulary.values.dtype == dtype
    assert vocabulary.values.to_list() == expected
    assert vocabulary.decode(ids[:, 0]) == plain.to_list()
    assert ((ids[:, 0] == MISSING) == plain.is_null().to_numpy()).all()


def test_a_column_of_lists_is_no_field() -> None:
    with pytest.raises(StembenchError, match=r"column 'c' holds List.*neither numbers, text"):
        coder("c", pl.List(pl.Int64))


@given(
    train=st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=60),
    other=st.lists(st.floats(allow_nan=False), max_size=5),
    count=st.integers(2, 12),
    batch=batches,
)
def test_quantile_buckets(
    train: list[float | None], other: list[float], count: int, batch: int
) -> None:
    """Edges are the training numbers at ranks n i / count; ids rise with the numbers."""
    encoder, ids = fitted(train, other, pl.Float64, batch, buckets("quantile", count))
    known = sorted(value + 0.0 for value in train if value is not None)
    edges = sorted({known[len(known) * i // count] for i in range(1, count)} if known else set())
    edges = [edge for edge in edges if edge > known[0]]
    assert encoder.field.kind == "numeric"
    assert encoder.field.size == FIRST_ID + len(edges) + 1
    for value, code in zip([*train, *other], ids[:, 0], strict=True):
        if value is None:
            assert code == MISSING
        else:
            assert code == FIRST_ID + sum(edge <= value for edge in edges)


@given(train=st.lists(st.integers(-10_000, 10_000), min_size=2, max_size=60), batch=batches)
def test_log_buckets(train: list[int], batch: int) -> None:
    encoder, ids = fitted(train, [10**9, -(10**9)], pl.Int64, batch, buckets("log", 5))
    x = np.array(train, np.float64)
    y = np.sign(x) * np.log1p(np.abs(x))
    width = (y.max() - y.min()) / 5
    assert encoder.field.size <= FIRST_ID + 5
    if width:
        exact = (y - y.min()) / width
        inside = np.abs(exact - np.round(exact)) > 1e-6  # not on an edge, where rounding decides
        expected = np.minimum(np.floor(exact), 4).astype(int) + FIRST_ID
        np.testing.assert_array_equal(ids[: len(x), 0][inside], expected[inside])
    assert ids[-2, 0] == encoder.field.size - 1
    assert ids[-1, 0] == FIRST_ID


def test_infinite_numbers_have_no_buckets() -> None:
    with pytest.raises(StembenchError, match="numeric field c holds infinite numbers"):
        fitted([1.0, float("inf")], [], pl.Float64, 3, buckets("log", 3))


def _tokens(value: str | None) -> list[str]:
    return [token for token in (value or "").split(",") if token][:3]
