"""Values of a column as 64-bit integer keys and back: equal values, equal keys.

Keys of numbers stand in the order of the numbers. Text gets the number under which it was first
seen, so its keys mean nothing outside the process that made them, and nothing is made to depend
on their order.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stembench.data.store.columns import Holes, Keys
from stembench.errors import StembenchError

_SIGN = np.uint64(1 << 63)
_MAGNITUDE = np.int64((1 << 63) - 1)


class Coder(Protocol):
    """Between the values of one column and keys. Null, NaN and empty text are holes."""

    #: Whether the keys stand in the order of the values.
    ordered: bool

    def keys(self, column: pl.Series) -> tuple[Keys, Holes | None]:
        """Keys (N,), and where there is no value (None: everywhere is one)."""
        ...

    def values(self, keys: Keys) -> pl.Series:
        """The values of keys, of the column's type."""
        ...

    def bound(self, number: int) -> int:
        """The key that stands among the keys as `number` among the values; ordered coders only."""
        ...


def coder(name: str, dtype: pl.DataType) -> Coder:
    """The coder for a column; raises StembenchError for a type that holds no single value."""
    if dtype.is_integer() or dtype == pl.Boolean or dtype.is_temporal():
        return Integers(dtype)
    if dtype in (pl.Float32, pl.Float64):
        return Floats(dtype)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return Texts()
    raise StembenchError(f"column {name!r} holds {dtype}: neither numbers, text nor times")


class Integers:
    """Integers, truth values, dates and times."""

    ordered = True

    def __init__(self, dtype: pl.DataType) -> None:
        self.dtype = dtype

    def keys(self, column: pl.Series) -> tuple[Keys, Holes | None]:
        physical = column.to_physical()
        if physical.dtype == pl.UInt64:
            values, holes = _split(physical)
            return (values ^ _SIGN).view(np.int64), holes
        values, holes = _split(physical.cast(pl.Int64))
        return values, holes

    def values(self, keys: Keys) -> pl.Series:
        if self.dtype == pl.UInt64:
            return pl.Series(keys.view(np.uint64) ^ _SIGN)
        if self.dtype == pl.Boolean:
            return pl.Series(keys != 0)
        series = pl.Series(keys)
        if self.dtype == pl.Date:
            series = series.cast(pl.Int32)
        return series.cast(self.dtype)

    def bound(self, number: int) -> int:
        return number - (1 << 63) if self.dtype == pl.UInt64 else number


class Floats:
    """Floating-point numbers, by their bits; -0.0 is 0.0."""

    ordered = True

    def __init__(self, dtype: pl.DataType) -> None:
        self.dtype = dtype

    def keys(self, column: pl.Series) -> tuple[Keys, Holes | None]:
        values, holes = _split(column.cast(pl.Float64).fill_nan(None))
        return float_keys(values), holes

    def values(self, keys: Keys) -> pl.Series:
        return pl.Series(floats(keys)).cast(self.dtype)

    def bound(self, number: int) -> int:
        return int(float_keys(np.array([number], np.float64))[0])


def float_keys(values: NDArray[np.float64]) -> Keys:
    """Keys of floating-point numbers, in their order."""
    bits = (values + 0.0).view(np.int64)
    keys: Keys = bits ^ ((bits >> 63) & _MAGNITUDE)
    return keys


def floats(keys: Keys) -> NDArray[np.float64]:
    """The inverse of `float_keys`."""
    values: NDArray[np.float64] = (keys ^ ((keys >> 63) & _MAGNITUDE)).view(np.float64)
    return values


class Texts:
    """Text, numbered as it is seen. The dictionary grows with the distinct values only."""

    ordered = False

    def __init__(self) -> None:
        self._categories = pl.Categories.random(physical=pl.UInt32)
        self._dtype = pl.Categorical(self._categories)
        # Polars forgets the numbers as soon as no column has them.
        self._kept = pl.Series([""], dtype=self._dtype)

    def keys(self, column: pl.Series) -> tuple[Keys, Holes | None]:
        text = column.cast(pl.String)
        text = pl.select(pl.when(text != "").then(text)).to_series()
        values, holes = _split(text.cast(self._dtype).to_physical().cast(pl.Int64))
        return values, holes

    def values(self, keys: Keys) -> pl.Series:
        return self._categories.to_series().gather(keys).cast(pl.String)

    def bound(self, number: int) -> int:
        raise TypeError("the keys of text have no order")


def _split(column: pl.Series) -> tuple[NDArray[Any], Holes | None]:
    """The numbers of a column and where it has none."""
    if not column.null_count():
        return column.rechunk().to_numpy(), None
    return column.fill_null(0).rechunk().to_numpy(), column.is_null().to_numpy()
