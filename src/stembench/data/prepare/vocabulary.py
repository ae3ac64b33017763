"""Ids of the values of a field, fitted on the training rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
    Role,
)
from stembench.data.store.columns import Keys, Piece, Store
from stembench.data.store.keys import Coder, float_keys, floats
from stembench.data.store.places import Places, places_of
from stembench.data.store.ranks import order_statistics
from stembench.errors import StembenchError
from stembench.params.data import Bag, Numeric

Ids = NDArray[np.int32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Vocabulary:
    """The values of one field that have an id of their own; that of `values[i]` is FIRST_ID + i.

    `values` stand by falling count in the training part, then rising. For a bag they are tokens.
    `ids` has the id of every place.
    """

    field: Field
    values: pl.Series
    places: Places
    ids: Ids

    def encode(self, piece: Piece) -> Ids:
        """Ids (N, columns): MISSING for a hole, OUT_OF_VOCABULARY for unknown values.

        A bag has its tokens, then PADDING; an empty one is MISSING, PADDING, ….
        """
        ids = self.ids.take(self.places.of(piece)).reshape(-1, self.field.columns)
        if self.field.columns > 1:
            ids[:, 1:][piece.holes.reshape(ids.shape)[:, 1:]] = PADDING
        return ids

    def decode(self, ids: Ids) -> list[Any]:
        """Values of ids (N,); None for the reserved ones."""
        known = self.values.to_list()
        return [known[i - FIRST_ID] if i >= FIRST_ID else None for i in ids.tolist()]


@dataclass(frozen=True)
class Buckets:
    """A field of numbers; that between `edges[i - 1]` (included) and `edges[i]` is FIRST_ID + i."""

    field: Field
    edges: Keys

    def encode(self, piece: Piece) -> Ids:
        """Ids (N, 1), MISSING for a hole. No number is out of vocabulary."""
        ids = np.searchsorted(self.edges, piece.keys(), side="right").astype(np.int32) + FIRST_ID
        if piece.has_holes:
            ids[piece.holes] = MISSING
        return ids.reshape(-1, 1)


def fit_values(
    store: Store, name: str, role: Role, coder: Coder, train: Mask, min_count: int, bag: Bag | None
) -> Vocabulary:
    """The values of a field that occur at least `min_count` times in the rows `train` (N,)."""
    key = tokens_of(name) if bag else name
    column = store.columns[key]
    places = places_of(column, store.chunks)
    counts = np.zeros(places.size, np.int64)
    for piece in _pieces(store, key, train):
        np.add.at(counts, places.of(piece), 1)
    counts[0] = 0
    kept = np.flatnonzero(counts >= min_count)
    ranked = (
        pl.DataFrame(
            {"place": kept, "count": counts[kept], "value": coder.values(places.keys(kept))}
        )
        .sort(["count", "value"], descending=[True, False])
    )  # fmt: skip
    ids = np.full(places.size, OUT_OF_VOCABULARY, np.int32)
    ids[0] = MISSING
    ids[ranked["place"].to_numpy()] = np.arange(FIRST_ID, FIRST_ID + len(ranked), dtype=np.int32)
    size = len(ranked) + FIRST_ID
    if bag:
        return Vocabulary(Field(name, role, "bag", size, bag.length), ranked["value"], places, ids)
    field = Field(name, role, "categorical", size)
    return Vocabulary(field, ranked["value"], places, ids)


def fit_buckets(store: Store, name: str, role: Role, numeric: Numeric, train: Mask) -> Buckets:
    """Bucket edges from the rows `train` (N,) of a column of numbers.

    quantile: the numbers at ranks n i / buckets of the n sorted ones, exactly; equal edges are
    one, so that few distinct numbers give fewer buckets. log: equal steps of sign(x) log(1 + |x|)
    from the smallest to the largest. Raises StembenchError for an infinite number.
    """

    def chunks() -> Iterator[Keys]:
        for piece in _pieces(store, numbers_of(name), train):
            yield piece.keys()[~piece.holes] if piece.has_holes else piece.keys()

    rows, low, high = 0, 0, 0
    for keys in chunks():
        if len(keys):
            low = min(int(keys.min()), low) if rows else int(keys.min())
            high = max(int(keys.max()), high) if rows else int(keys.max())
            rows += len(keys)
    edges: Keys = np.empty(0, np.int64)
    if rows:
        ends = floats(np.array([low, high], np.int64))
        if not np.isfinite(ends).all():
            raise StembenchError(f"numeric field {name} holds infinite numbers in training")
        if numeric.scale == "quantile":
            ranks = [rows * i // numeric.buckets for i in range(1, numeric.buckets)]
            found = order_statistics(chunks, sorted(set(ranks)), low, high)
            edges = np.unique(np.array(list(found.values()), np.int64))
        else:
            first, last = np.sign(ends) * np.log1p(np.abs(ends))
            steps = np.linspace(first, last, numeric.buckets + 1)[1:-1]
            edges = np.unique(float_keys(np.sign(steps) * np.expm1(np.abs(steps))))
        edges = edges[edges > low]  # none below the smallest: its bucket would stay empty
    return Buckets(Field(name, role, "numeric", FIRST_ID + len(edges) + 1), edges)


def tokens_of(name: str) -> str:
    """Name in the store of the tokens of a bag; no column of a table is called so."""
    return f"{name}\0tokens"


def numbers_of(name: str) -> str:
    """Name in the store of the numbers of a numeric field."""
    return f"{name}\0numbers"


def _pieces(store: Store, name: str, mask: Mask) -> Iterator[Piece]:
    column = store.columns[name]
    for index, span in store.spans():
        mine = mask[span]
        if mine.any():
            piece = column.read(index)
            yield piece if mine.all() else piece.where(mine)
