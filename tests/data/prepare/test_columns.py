"""Columns that are used, and labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from stembench.data.prepare import columns as encode
from stembench.data.prepare import labels
from stembench.errors import StembenchError
from stembench.params.data import Bag, Table


def table(**changes: Any) -> Table:
    entry = {
        "user": "user",
        "fields": {"user": ["user"], "item": ["item"]},
        "tasks": {"like": "rating >= 4"},
    }
    return Table.model_validate(entry | changes)


def test_labels() -> None:
    frame = pl.DataFrame({"rating": [1.0, 5.0, 4.0], "hit": [True, False, True], "n": [0, 1, 1]})
    tasks = {"like": "rating >= 4", "hit": "hit", "n": "n", "both": "rating = 5 AND n = 1"}
    found = labels.labels(frame, table(tasks=tasks))
    assert found.dtype == np.uint8
    assert found.tolist() == [[0, 1, 0, 0], [1, 0, 1, 1], [1, 1, 1, 0]]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("holes >= 4", r"task like \(holes >= 4\): 1 of 3 rows .* \(row 2 gives null\)"),
        ("nan >= 4", r"column nan: 1 of 3 rows .* \(row 3 gives nan\)"),
        ("nan", r"row 3 gives nan"),
        ("rating", r"3 of 3 rows are neither 0 nor 1 \(row 1 gives 2\.0\)"),
        ("text", "gives String, must give 0 or 1"),
        ("SUM(rating) > 3", "from the row's own columns"),
        ("1", "from the row's own columns"),
        ("rating > AVG(rating)", "from the row's own columns"),
        ("LAG(rating) OVER (ORDER BY rating) = 2", "from the row's own columns"),
        ("rating >=", "is not an SQL expression"),
        ("text >= 4", r"task like \(text >= 4\): "),
    ],
)
def test_bad_labels(expression: str, message: str) -> None:
    frame = pl.DataFrame(
        {
            "rating": [2.0, 3.0, 4.0],
            "holes": [5, None, 2],
            "nan": [5.0, 2.0, float("nan")],
            "text": ["a", "b", "c"],
        }
    )
    with pytest.raises(StembenchError, match=message):
        labels.labels(frame, table(tasks={"like": expression}))


def test_faults_are_counted_over_batches_and_the_first_row_is_told() -> None:
    """The same message whatever the batches, and the first task's before the second's."""
    frame = pl.DataFrame(
        {"a": [0.0, 1.0, None, 0.0, None, 1.0], "b": [0, 7, 1, 7, 0, 1]},
    )
    wanted = table(tasks={"a": "a", "b": "b"}, fields={"user": ["user"]})
    messages = set()
    for size in (1, 2, 4, 6):
        reader = labels.Labels(wanted)
        reader.check(frame.head(0))
        for batch in frame.iter_slices(size):
            reader.read(batch)
        with pytest.raises(StembenchError) as caught:
            reader.finish()
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert messages.pop().startswith("task a (a): 2 of 6 rows are neither 0 nor 1 (row 3 gives")


def test_tokens_are_cut_padded_and_never_empty() -> None:
    column = pl.Series(["a,b,,c", None, "", ",", "d"])
    found = encode.tokens(column, Bag(separator=",", length=2))
    assert found.to_list() == ["a", "b", *[None] * 6, "d", None]


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
