"""Columns to ids and labels."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stembench.data import encode
from stembench.data.schema import FIRST_ID, MISSING, OUT_OF_VOCABULARY, PADDING
from stembench.errors import StembenchError
from stembench.params_schema import Bag, Table

TAGS = Bag(separator=",", length=3)

words = st.one_of(st.none(), st.just(""), st.text("abcdé", min_size=1, max_size=2))
numbers = st.one_of(st.none(), st.integers(-5, 5))
bags = st.one_of(
    st.none(), st.lists(st.sampled_from(["a", "b", "c", "d", ""]), max_size=5).map(",".join)
)


def table(**changes: Any) -> Table:
    entry = {
        "user": "user",
        "fields": {"user": ["user"], "item": ["item"]},
        "tasks": {"like": "rating >= 4"},
    }
    return Table.model_validate(entry | changes)


@given(
    train=st.one_of(st.lists(words, max_size=40), st.lists(numbers, max_size=40)),
    least=st.integers(1, 3),
)
def test_every_known_value_round_trips(train: list[Any], least: int) -> None:
    column = pl.Series("c", train, dtype=pl.String if _has_text(train) else pl.Int64)
    vocabulary = encode.fit("c", "item", column, least, None)
    counts = Counter(value for value in train if value not in (None, ""))
    kept = sorted((v for v in counts if counts[v] >= least), key=lambda v: (-counts[v], v))
    assert vocabulary.values.to_list() == kept
    ids = vocabulary.encode(column)
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


@given(train=st.lists(words, max_size=20), other=st.lists(words, max_size=20))
def test_unseen_is_out_of_vocabulary_and_missing_is_missing(
    train: list[str | None], other: list[str | None]
) -> None:
    vocabulary = encode.fit("c", "item", pl.Series("c", train, dtype=pl.String), 1, None)
    ids = vocabulary.encode(pl.Series("c", other, dtype=pl.String))[:, 0]
    for value, code in zip(other, ids, strict=True):
        if value in (None, ""):
            assert code == MISSING
        else:
            assert (code == OUT_OF_VOCABULARY) == (value not in train)


@given(train=st.lists(bags, max_size=20), other=st.lists(bags, max_size=20))
def test_bags(train: list[str | None], other: list[str | None]) -> None:
    vocabulary = encode.fit("tag", "item", pl.Series("tag", train, dtype=pl.String), 1, TAGS)
    known = {token for value in train for token in _tokens(value)}
    assert set(vocabulary.values) == known
    assert vocabulary.field.kind == "bag"
    assert vocabulary.field.columns == 3
    ids = vocabulary.encode(pl.Series("tag", other, dtype=pl.String))
    assert ids.shape == (len(other), 3)
    for value, row in zip(other, ids, strict=True):
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


def test_nan_is_missing_and_floats_are_categories() -> None:
    column = pl.Series("c", [0.5, float("nan"), 0.5, 1.5])
    ids = encode.fit("c", "user", column, 1, None).encode(column)[:, 0]
    assert ids.tolist() == [FIRST_ID, MISSING, FIRST_ID, FIRST_ID + 1]


def test_labels() -> None:
    frame = pl.DataFrame({"rating": [1.0, 5.0, 4.0], "hit": [True, False, True], "n": [0, 1, 1]})
    tasks = {"like": "rating >= 4", "hit": "hit", "n": "n", "both": "rating = 5 AND n = 1"}
    found = encode.labels(frame, table(tasks=tasks))
    assert found.dtype == np.uint8
    assert found.tolist() == [[0, 1, 0, 0], [1, 0, 1, 1], [1, 1, 1, 0]]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("holes >= 4", r"task like \(holes >= 4\): 1 of 3 rows .* \(row 12 gives null\)"),
        ("nan >= 4", r"column nan: 1 of 3 rows .* \(row 13 gives nan\)"),
        ("nan", r"row 13 gives nan"),
        ("rating", r"3 of 3 rows are neither 0 nor 1 \(row 11 gives 2\.0\)"),
        ("text", "gives String, must give 0 or 1"),
        ("SUM(rating) > 3", "from the row's own columns"),
        ("1", "from the row's own columns"),
        ("rating >=", "is not an SQL expression"),
        ("text >= 4", r"task like \(text >= 4\): "),
    ],
)
def test_bad_labels(expression: str, message: str) -> None:
    frame = pl.DataFrame(
        {
            encode.ROW: [11, 12, 13],
            "rating": [2.0, 3.0, 4.0],
            "holes": [5, None, 2],
            "nan": [5.0, 2.0, float("nan")],
            "text": ["a", "b", "c"],
        }
    )
    with pytest.raises(StembenchError, match=message):
        encode.labels(frame, table(tasks={"like": expression}))


def test_needed_columns() -> None:
    wanted = table(time="t", probabilities={"like": "p"})
    columns = ["user", "item", "rating", "t", "day", "p", "more"]
    needed = encode.needed_columns(wanted, "day", columns, {})
    assert needed == ["user", "t", "day", "item", "rating", "p"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fields": {"user": ["age"]}}, "no column 'age' in the data, only user, item, rating"),
        ({"tasks": {"like": "stars > 3"}}, "no column 'stars'"),
        ({"fields": {"user": ["rating"]}}, "field rating leaks .*: task like is made from it"),
        ({"fields": {"item": ["play"]}}, "field play leaks the outcome: measured afterwards"),
        ({"fields": {"item": ["p_x"]}}, "field p_x leaks the outcome: the truth"),
        (
            {"fields": {"item": ["truth"]}, "probabilities": {"like": "truth"}},
            "field truth leaks .* true probability",
        ),
    ],
)
def test_refused_columns(changes: dict[str, Any], message: str) -> None:
    leaks = {"play": "measured afterwards", "p_*": "the truth"}
    columns = ["user", "item", "rating", "play", "p_x", "truth"]
    with pytest.raises(StembenchError, match=message):
        encode.needed_columns(table(**changes), None, columns, leaks)


def _has_text(values: list[Any]) -> bool:
    return any(isinstance(value, str) for value in values)


def _tokens(value: str | None) -> list[str]:
    return [token for token in (value or "").split(",") if token][:3]
