"""Columns to ids and labels. Vocabularies come from the training part only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stembench.data.schema import (
    FIRST_ID,
    MISSING,
    OUT_OF_VOCABULARY,
    PADDING,
    Field,
    Kind,
    Role,
)
from stembench.errors import StembenchError
from stembench.params_schema import Bag, Table

#: Number of a row in the source's table, for messages. Counts from 1.
ROW = "__row"


@dataclass(frozen=True)
class Vocabulary:
    """The values of one field that have an id of their own; that of `values[i]` is FIRST_ID + i.

    `values` stand by falling count in the training part, then rising. For a bag they are tokens.
    """

    name: str
    role: Role
    values: pl.Series
    bag: Bag | None = None

    @property
    def field(self) -> Field:
        """The field as the schema has it."""
        kind: Kind = "bag" if self.bag else "categorical"
        columns = self.bag.length if self.bag else 1
        return Field(self.name, self.role, kind, len(self.values) + FIRST_ID, columns)

    def encode(self, column: pl.Series) -> NDArray[np.int32]:
        """Ids (N, columns): MISSING for null or empty, OUT_OF_VOCABULARY for unknown values.

        A bag keeps its first `length` tokens, then PADDING; an empty one is MISSING, PADDING, ….
        """
        if self.bag is None:
            return self._ids(_clean(column), MISSING).reshape(-1, 1)
        tokens = _tokens(column, self.bag)
        ids = [
            self._ids(tokens.list.get(place, null_on_oob=True), PADDING if place else MISSING)
            for place in range(self.bag.length)
        ]
        return np.stack(ids, axis=1)

    def decode(self, ids: NDArray[np.int32]) -> list[Any]:
        """Values of ids (N,); None for the reserved ones."""
        known = self.values.to_list()
        return [known[i - FIRST_ID] if i >= FIRST_ID else None for i in ids.tolist()]

    def _ids(self, values: pl.Series, absent: int) -> NDArray[np.int32]:
        if len(self.values):
            ids = values.replace_strict(
                self.values,
                pl.int_range(FIRST_ID, len(self.values) + FIRST_ID, dtype=pl.Int32, eager=True),
                default=OUT_OF_VOCABULARY,
                return_dtype=pl.Int32,
            )
        else:
            ids = pl.repeat(OUT_OF_VOCABULARY, len(values), dtype=pl.Int32, eager=True)
        # Copied: polars hands out arrays that may not be written to.
        array: NDArray[np.int32] = ids.to_numpy().astype(np.int32)
        array[values.is_null().to_numpy()] = absent
        return array


def fit(name: str, role: Role, column: pl.Series, min_count: int, bag: Bag | None) -> Vocabulary:
    """The vocabulary of a training column: its values that occur at least `min_count` times."""
    values = _tokens(column, bag).explode() if bag else _clean(column)
    counts = (
        values.drop_nulls().alias("value").to_frame().group_by("value").len("count")
        .filter(pl.col("count") >= min_count)
        .sort(["count", "value"], descending=[True, False])
    )  # fmt: skip
    return Vocabulary(name, role, counts["value"], bag)


def roles(table: Table) -> dict[str, Role]:
    """Field -> role, in the order of the field matrix."""
    by_role: dict[Role, list[str]] = {
        "user": table.fields.user,
        "item": table.fields.item,
        "context": table.fields.context,
    }
    return {name: role for role, names in by_role.items() for name in names}


def task_expressions(table: Table) -> dict[str, pl.Expr]:
    """Task -> expression, read by polars' SQL parser: `rating >= 4`, `a = 1 AND b = 0`.

    Raises StembenchError for text that is no expression.
    """
    expressions = {}
    for task, text in table.tasks.items():
        try:
            expressions[task] = pl.sql_expr(text)
        except pl.exceptions.PolarsError as error:
            raise StembenchError(
                f"task {task}: {text!r} is not an SQL expression on columns ({error})"
            ) from None
    return expressions


def needed_columns(
    table: Table, split_column: str | None, columns: list[str], leaks: Mapping[str, str]
) -> list[str]:
    """Columns the split directory is made from, each once.

    `columns` are those of the source, `leaks` its columns (or patterns such as `p_*`) that tell
    the outcome. Raises StembenchError for an unknown column and for a field that leaks.
    """
    fields = roles(table)
    in_tasks = {
        column: task
        for task, expression in task_expressions(table).items()
        for column in expression.meta.root_names()
    }
    probabilities = dict.fromkeys((table.probabilities or {}).values())
    wanted = [table.user, table.time, split_column, *fields, *in_tasks, *probabilities]
    names = list(dict.fromkeys(name for name in wanted if name is not None))
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise StembenchError(
            f"no column {', '.join(map(repr, unknown))} in the data, only {', '.join(columns)}"
        )
    for name in fields:
        reason = _leak(name, in_tasks, probabilities, leaks)
        if reason:
            raise StembenchError(
                f"field {name} leaks the outcome: {reason}; take it out of table.fields"
            )
    return names


def _leak(
    name: str,
    in_tasks: Mapping[str, str],
    probabilities: Mapping[str, Any],
    leaks: Mapping[str, str],
) -> str | None:
    if name in in_tasks:
        return f"task {in_tasks[name]} is made from it"
    if name in probabilities:
        return "it is the true probability of a label"
    return next((why for pattern, why in leaks.items() if fnmatchcase(name, pattern)), None)


def labels(frame: pl.DataFrame, table: Table) -> NDArray[np.uint8]:
    """Labels (N, T) of the tasks, each exactly 0 or 1.

    Raises StembenchError when an expression fails, is no function of the row alone, or gives
    null, NaN or another value; and when a column it reads holds NaN (which compares as large).
    """
    out = np.empty((len(frame), len(table.tasks)), np.uint8)
    for place, (task, expression) in enumerate(task_expressions(table).items()):
        where = f"task {task} ({table.tasks[task]})"
        try:
            # An aggregate or a constant gives one row even for none.
            by_row = not len(frame.head(0).select(expression))
            values = frame.select(expression.alias("label"))["label"] if by_row else None
        except pl.exceptions.PolarsError as error:
            raise StembenchError(f"{where}: {error}") from None
        if values is None or len(values) != len(frame):
            raise StembenchError(f"{where}: must be computed from the row's own columns")
        for column in expression.meta.root_names():
            if frame[column].dtype.is_float():
                _refuse(frame, frame[column], frame[column].is_nan(), f"{where}: column {column}")
        if not (values.dtype == pl.Boolean or values.dtype.is_numeric()):
            raise StembenchError(f"{where}: gives {values.dtype}, must give 0 or 1")
        number = values.cast(pl.Float64)
        _refuse(frame, values, ~number.is_in([0.0, 1.0]).fill_null(False), where)
        out[:, place] = number.to_numpy()
    return out


def _refuse(frame: pl.DataFrame, values: pl.Series, bad: pl.Series, where: str) -> None:
    count = int(bad.sum())
    if count:
        at = int(bad.to_numpy().argmax())
        row = frame[ROW][at] if ROW in frame.columns else at + 1
        value = values[at]
        raise StembenchError(
            f"{where}: {count} of {len(frame)} rows are neither 0 nor 1 (row {row} gives "
            f"{'null' if value is None else value}): labels must be complete; correct the "
            "data or the expression"
        )


def _clean(column: pl.Series) -> pl.Series:
    """Empty text and NaN are missing."""
    if column.dtype == pl.String:
        return pl.select(pl.when(column != "").then(column)).to_series()
    return column.fill_nan(None) if column.dtype.is_float() else column


def _tokens(column: pl.Series, bag: Bag) -> pl.Series:
    """Lists of at most `length` tokens, empty tokens left out."""
    lists = column.cast(pl.String).str.split(bag.separator)
    return lists.list.eval(pl.element().filter(pl.element() != "")).list.head(bag.length)
