"""Real users of a table as 0, 1, …, and which part has them."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stembench.data.directory import PARTS
from stembench.data.prepare.rules import EVERY_PART, Codes
from stembench.data.store.columns import Piece, Store
from stembench.data.store.keys import Coder
from stembench.data.store.places import places_of


class Users:
    """Users of the rows that belong to a part, numbered in sorted order."""

    def __init__(self, store: Store, user: str, coder: Coder, codes: Codes) -> None:
        column = store.columns[user]
        self._places = places_of(column, store.chunks)
        present = np.zeros((len(EVERY_PART), self._places.size), np.bool_)
        for index, span in store.spans():
            piece, mine = column.read(index), codes[span]
            for code in np.unique(mine[mine >= 0]).tolist():
                present[code, self._places.of(piece.where(mine == code))] = True
        known = np.flatnonzero(present.any(axis=0))
        values = coder.values(self._places.keys(known)).alias("user").to_frame()
        order = values.select(pl.arg_sort_by("user")).to_series().to_numpy()
        self._numbers = np.full(self._places.size, -1, np.int32)
        self._numbers[known[order]] = np.arange(len(known), dtype=np.int32)
        counts = present.sum(axis=1)
        unseen = (present & ~present[0]).sum(axis=1)
        parts = [part for code, part in enumerate(EVERY_PART) if counts[code]]
        #: Users of each part, and the share of those that the training part does not have.
        self.counts = {part: int(counts[EVERY_PART.index(part)]) for part in parts}
        self.unseen = {
            part: float(unseen[EVERY_PART.index(part)] / counts[EVERY_PART.index(part)])
            for part in parts
            if part != PARTS[0]
        }

    def encode(self, piece: Piece) -> NDArray[np.int32]:
        """Numbers (N,) of the users of rows; -1 for one that is in no part."""
        return self._numbers.take(self._places.of(piece))
