"""The one pass over a source's table: checks each row and leaves what is needed in a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stembench.data.prepare import columns as encode
from stembench.data.prepare import labels
from stembench.data.prepare.vocabulary import numbers_of, tokens_of
from stembench.data.store.columns import Store
from stembench.data.store.keys import Coder, Texts, coder
from stembench.data.store.spill import Duplicates
from stembench.errors import StembenchError
from stembench.params.data import DaySplit, Split, Table, TimeSplit
from stembench.progress import Bar

#: Rows in memory at once. The split directory does not depend on it.
BATCH = 1 << 18


@dataclass
class Reader:
    """Fills `store` with the rows of a table; `coders` are those of its columns.

    Columns of the store: user, time, the rule's column and the categorical fields by their name,
    `tokens_of` and `numbers_of` the others. Blocks: labels uint8 (N, T), with that of `unbiased`
    behind them, and probabilities float64 (N, T).
    """

    table: Table
    split: Split
    store: Store
    coders: dict[str, Coder] = field(default_factory=dict)
    repeats: NDArray[np.bool_] | None = None

    def read(self, lazy: pl.LazyFrame, needed: list[str], progress: Bar) -> None:
        """Read all rows. `needed` are the columns the split directory is made from.

        Raises StembenchError when the table cannot be read, a label is not 0 or 1, the user is
        missing, or a column of a temporal rule is missing or holds no numbers.
        """
        schema = lazy.collect_schema()
        reader = labels.Labels(self.table, unbiased(self.split))
        reader.check(pl.DataFrame(schema={name: schema[name] for name in needed}))
        self._open(schema, reader.width)
        duplicates = None
        if self.table.drop_duplicates:
            duplicates = Duplicates(self.store.folder / "rows")
        # Equal rows are equal in all columns of the source, not only in those needed.
        for frame in batches(lazy if duplicates else lazy.select(needed)):
            if duplicates:
                duplicates.add(frame)
            self.store.blocks["labels"].append(reader.read(frame))
            self._append(frame)
            self.store.end_chunk(len(frame))
            progress.advance(len(frame))
        self._check_rule()
        reader.finish()
        missing = self.store.columns[self.table.user].holes
        if missing:
            raise StembenchError(
                f"user column {self.table.user!r} is missing in {missing} of {self.store.rows} rows"
            )
        if duplicates:
            self.repeats = duplicates.found()

    def unbiased(self) -> NDArray[np.bool_] | None:
        """Rows (N,) that the rule's `unbiased` picks; None where it has none."""
        if unbiased(self.split) is None:
            return None
        block = self.store.blocks["labels"]
        marks = [block.read(index)[:, -1] == 1 for index in range(self.store.chunks)]
        return np.concatenate(marks) if marks else np.zeros(0, np.bool_)

    def _open(self, schema: pl.Schema, width: int) -> None:
        table = self.table
        rule = self.split.column if isinstance(self.split, DaySplit) else None
        for name in (rule, table.time):
            if name is not None and not schema[name].is_numeric():
                raise StembenchError(
                    f"split {self.split.name}: column {name!r} must hold numbers, "
                    f"not {schema[name]}"
                )
        whole = [name for name in (table.user, table.time, rule) if name is not None]
        fields = list(encode.roles(table))
        whole += [name for name in fields if name not in table.bags and name not in table.numeric]
        for name in dict.fromkeys(whole):
            self.coders[name] = coder(name, schema[name])
            self.store.add_column(name)
        for name, bag in table.bags.items():
            self.coders[tokens_of(name)] = Texts()
            self.store.add_column(tokens_of(name), bag.length)
        for name in table.numeric:
            if not (schema[name].is_numeric() or schema[name] == pl.Boolean):
                raise StembenchError(f"numeric field {name} must hold numbers, not {schema[name]}")
            self.coders[numbers_of(name)] = coder(name, pl.Float64())
            self.store.add_column(numbers_of(name))
        self.store.add_block("labels", width)
        if table.probabilities is not None:
            self.store.add_block("probabilities", len(table.tasks))

    def _append(self, frame: pl.DataFrame) -> None:
        columns = {name: frame[name] for name in self.coders if name in frame.columns}
        for name, bag in self.table.bags.items():
            columns[tokens_of(name)] = encode.tokens(frame[name], bag)
        for name in self.table.numeric:
            columns[numbers_of(name)] = frame[name]
        for name, column in columns.items():
            try:
                self.store.columns[name].append(*self.coders[name].keys(column))
            except OverflowError:
                raise StembenchError(
                    f"column {column.name!r} holds integers 2**64 apart: give it as text"
                ) from None
        if self.table.probabilities is not None:
            self.store.blocks["probabilities"].append(_probabilities(frame, self.table))

    def _check_rule(self) -> None:
        """No holes where a rule looks."""
        name = None
        if isinstance(self.split, DaySplit):
            name = self.split.column
        for column in (name, self.table.time if needs_time(self.split) else None):
            if column is not None and (bad := self.store.columns[column].holes):
                raise StembenchError(
                    f"split {self.split.name}: column {column!r} is missing in {bad} rows"
                )


def needs_time(split: Split) -> bool:
    """Whether the rule orders rows by time, so that none may be without."""
    return split.rule in ("time", "days", "user_order")


def unbiased(split: Split) -> str | None:
    """The expression that picks rows of random exposure."""
    return split.unbiased if isinstance(split, TimeSplit | DaySplit) else None


def batches(lazy: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The rows in the table's order, about BATCH at a time."""
    found = iter(lazy.collect_batches(chunk_size=BATCH, maintain_order=True, engine="streaming"))
    while True:
        try:
            frame = next(found)
        except StopIteration:
            return
        # Raw files, not those that are written: a missing one is no full disk.
        except (pl.exceptions.PolarsError, OSError) as error:
            raise StembenchError(f"the raw files cannot be read: {error}") from None
        if len(frame):
            yield frame


def _probabilities(frame: pl.DataFrame, table: Table) -> NDArray[np.float64]:
    """True probabilities (N, T) in the order of the tasks."""
    assert table.probabilities is not None
    columns = [frame[table.probabilities[task]].cast(pl.Float64) for task in table.tasks]
    values = np.stack([column.to_numpy() for column in columns], axis=1)
    if not ((values >= 0) & (values <= 1)).all():
        raise StembenchError("table.probabilities: values outside [0, 1] or missing")
    return values
