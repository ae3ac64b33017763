"""Which columns of a table are used, and the labels computed from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import polars as pl

from stembench.data.prepare.labels import task_expressions
from stembench.data.schema import Role
from stembench.errors import StembenchError
from stembench.params.data import Bag, Table


def roles(table: Table) -> dict[str, Role]:
    """Field -> role, in the order of the field matrix."""
    by_role: dict[Role, list[str]] = {
        "user": table.fields.user,
        "item": table.fields.item,
        "context": table.fields.context,
    }
    return {name: role for role, names in by_role.items() for name in names}


def needed_columns(
    table: Table,
    split_column: str | None,
    columns: list[str],
    leaks: Mapping[str, str],
    also: Iterable[str] = (),
) -> list[str]:
    """Columns the split directory is made from, each once; `also` are more that it must have.

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
    wanted = [table.user, table.time, split_column, *also, *fields, *in_tasks, *probabilities]
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


def tokens(column: pl.Series, bag: Bag) -> pl.Series:
    """The first `length` tokens of each row, empty ones left out; null where there are fewer.

    Row after row, `length` for each.
    """
    lists = column.cast(pl.String).str.split(bag.separator)
    lists = lists.list.eval(pl.element().filter(pl.element() != ""))
    places = [lists.list.get(place, null_on_oob=True) for place in range(bag.length)]
    wide = pl.DataFrame({str(place): values for place, values in enumerate(places)})
    return wide.select(pl.concat_list(pl.all()).explode()).to_series()
