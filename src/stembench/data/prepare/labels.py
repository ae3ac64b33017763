"""Labels of the tasks from their SQL expressions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stembench.errors import StembenchError
from stembench.params.data import Table


def task_expressions(table: Table) -> dict[str, pl.Expr]:
    """Task -> expression, read by polars' SQL parser: `rating >= 4`, `a = 1 AND b = 0`.

    Raises StembenchError for text that is no expression.
    """
    return {task: row_expression(f"task {task}", text) for task, text in table.tasks.items()}


def row_expression(where: str, text: str) -> pl.Expr:
    """The expression of an SQL text; raises StembenchError when it is none."""
    try:
        return pl.sql_expr(text)
    except pl.exceptions.PolarsError as error:
        raise StembenchError(
            f"{where}: {text!r} is not an SQL expression on columns ({error})"
        ) from None


class Labels:
    """Reads the tasks' labels batch by batch, each exactly 0 or 1, and remembers what is wrong."""

    def __init__(self, table: Table, unbiased: str | None = None) -> None:
        self.rows = 0
        # As messages name it -> the expression.
        self._expressions = {
            f"task {task} ({table.tasks[task]})": expression
            for task, expression in task_expressions(table).items()
        }
        if unbiased is not None:
            where = f"split.unbiased ({unbiased})"
            self._expressions[where] = row_expression("split.unbiased", unbiased)
        # Number of the expression and what is wrong -> rows, and number and value of the first.
        self._faults: dict[tuple[int, str], tuple[int, int, Any]] = {}

    @property
    def width(self) -> int:
        """Columns of what `read` gives."""
        return len(self._expressions)

    def check(self, empty: pl.DataFrame) -> None:
        """Whether each expression is a function of the row alone that gives 0 or 1.

        `empty`: the table's columns without rows. Raises StembenchError where it is not.
        """
        for where, expression in self._expressions.items():
            try:
                values = empty.select(expression.alias("label"))["label"]
            except pl.exceptions.PolarsError as error:
                raise StembenchError(f"{where}: {error}") from None
            # An aggregate or a constant gives one row even for none.
            if len(values) or _reads_other_rows(json.loads(_tree(expression))):
                raise StembenchError(f"{where}: must be computed from the row's own columns")
            if not (values.dtype == pl.Boolean or values.dtype.is_numeric()):
                raise StembenchError(f"{where}: gives {values.dtype}, must give 0 or 1")

    def read(self, frame: pl.DataFrame) -> NDArray[np.uint8]:
        """Labels (N, T) of the next rows, last those of `unbiased`; faults are told at the end."""
        out = np.empty((len(frame), len(self._expressions)), np.uint8)
        for place, (where, expression) in enumerate(self._expressions.items()):
            try:
                values = frame.select(expression.alias("label"))["label"]
            except pl.exceptions.PolarsError as error:
                raise StembenchError(f"{where}: {error}") from None
            for column in expression.meta.root_names():
                if frame[column].dtype.is_float():  # NaN compares as large
                    nan = frame[column].is_nan().fill_null(False)
                    self._note((place, f"{where}: column {column}"), frame[column], nan)
            bad = (
                values.is_null() if values.dtype == pl.Boolean
                else ~values.cast(pl.Float64).is_in([0.0, 1.0]).fill_null(False)
            )  # fmt: skip
            self._note((place, where), values, bad)
            out[:, place] = values.cast(pl.Float64).fill_null(0).fill_nan(0).to_numpy() == 1
        self.rows += len(frame)
        return out

    def finish(self) -> None:
        """Raises StembenchError where a label is null, NaN or another value than 0 and 1."""
        if self._faults:
            first = min(self._faults, key=lambda fault: (fault[0], ": column" not in fault[1]))
            count, row, value = self._faults[first]
            raise StembenchError(
                f"{first[1]}: {count} of {self.rows} rows are neither 0 nor 1 (row {row} gives "
                f"{'null' if value is None else value}): labels must be complete; correct the "
                "data or the expression"
            )

    def _note(self, where: tuple[int, str], values: pl.Series, bad: pl.Series) -> None:
        count = int(bad.sum())
        if count:
            at = int(bad.to_numpy().argmax())
            before, row, value = self._faults.get(where, (0, self.rows + at + 1, values[at]))
            self._faults[where] = (before + count, row, value)


def labels(frame: pl.DataFrame, table: Table) -> NDArray[np.uint8]:
    """Labels (N, T) of a table that is in memory; see Labels for what is refused."""
    reader = Labels(table)
    reader.check(frame.head(0))
    found = reader.read(frame)
    reader.finish()
    return found


def _tree(expression: pl.Expr) -> str:
    """The expression's tree as JSON."""
    text: str = expression.meta.serialize(format="json")
    return text


def _reads_other_rows(tree: Any) -> bool:
    """Whether a tree holds an aggregate or a window over rows."""
    if isinstance(tree, dict):
        return bool({"Agg", "Over", "Window"} & tree.keys()) or any(
            map(_reads_other_rows, tree.values())
        )
    return isinstance(tree, list) and any(map(_reads_other_rows, tree))
