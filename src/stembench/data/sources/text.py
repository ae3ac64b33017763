"""Tables of text (CSV, TSV) as lazy frames of known columns, checked for ragged lines first."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from stembench.data.sources.ragged import Ragged, ragged_lines
from stembench.errors import StembenchError

_LINE = "__line"
#: Types of the columns of a table, in its order.
Types = Mapping[str, type[pl.DataType]]


def first_line(path: Path, separator: str, quote: str | None = None) -> list[str]:
    """Cells of the first line. Raises StembenchError for no file, none in it, or no text."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            line = file.readline()
    except FileNotFoundError:
        raise StembenchError(f"{path} is missing: fetch the data set again") from None
    except UnicodeDecodeError:
        raise StembenchError(f"{path} is not UTF-8 text: convert it, or get it again") from None
    if not line:
        raise StembenchError(f"{path} is empty: get it again, or remove it")
    line = line.rstrip("\r\n")
    if quote is None:
        return line.split(separator)
    return next(csv.reader([line], delimiter=separator, quotechar=quote), [""])


def header(path: Path, separator: str, quote: str | None = None) -> list[str]:
    """Names of the columns, as the first line says; StembenchError where one stands twice."""
    names = first_line(path, separator, quote)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise StembenchError(f"{path}: two columns are called {twice[0]!r}")
    return names


def check_columns(path: Path, seen: Sequence[str], wanted: Sequence[str]) -> None:
    """Raises StembenchError when a wanted column is not in the header."""
    absent = [name for name in wanted if name not in seen]
    if absent:
        raise StembenchError(f"{path}: no column {', '.join(absent)}, only {', '.join(seen)}")


def ragged(path: Path, separator: str, quote: str | None = None) -> Ragged:
    """`files.ragged_lines`, counted once for a file as it stands."""
    state = path.stat()
    return _ragged(path, state.st_size, state.st_mtime_ns, separator, quote)


@lru_cache(maxsize=256)
def _ragged(path: Path, size: int, time: int, separator: str, quote: str | None) -> Ragged:
    del size, time  # they tell a changed file from the one counted before
    return ragged_lines(path, separator, quote)


def scan(
    path: Path,
    types: Types,
    *,
    separator: str,
    quote: str | None = None,
    has_header: bool = True,
    skip_rows: int = 0,
    null_values: list[str] | None = None,
    max_ragged: int = 0,
) -> pl.LazyFrame:
    """The table's rows, in its order; empty cells are null.

    Lines with another number of cells than the first are left out when they are at most
    `max_ragged`; more raise StembenchError, as polars would fill or cut them in silence. A cell
    of another type than `types` says raises polars' ComputeError when the frame is collected.
    """
    found = ragged(path, separator, quote)
    if found.expected != len(types):
        raise StembenchError(
            f"{path}: {found.expected} columns, expected {len(types)}: {', '.join(types)}"
        )
    if found.odd > min(max_ragged, len(found.lines)):
        line, cells = found.lines[0]
        allowed = f", of which {max_ragged} may be dropped" if max_ragged else ""
        raise StembenchError(
            f"{path}, line {line}: {cells} cells where the first line has {found.expected}"
            f" ({found.odd} such lines in all{allowed}); correct or remove them, or get the file "
            "again"
        )
    options: dict[str, Any] = {
        "separator": separator,
        "quote_char": quote,
        "has_header": has_header,
        "skip_rows": skip_rows,
        "null_values": null_values,
    }
    if not found.odd:
        return pl.scan_csv(path, schema=dict(types), **options)
    # As text first: what stands in a ragged line need not have its column's type.
    first = 1 + int(has_header) + skip_rows
    return (
        pl.scan_csv(
            path,
            schema=dict.fromkeys(types, pl.String),
            extra_columns="ignore",
            truncate_ragged_lines=True,
            row_index_name=_LINE,
            row_index_offset=first,
            **options,
        )
        .filter(pl.all_horizontal(pl.col(_LINE) != line for line, _ in found.lines))
        .select(pl.col(name).cast(kind) for name, kind in types.items())
    )


def facts(paths: Sequence[Path], separator: str, quote: str | None = None) -> dict[str, Any]:
    """For the manifest: lines left out as ragged, by file, where there are some."""
    counted = {path.name: ragged(path, separator, quote) for path in paths}
    return {
        "ragged_lines_dropped": {
            name: {"count": found.odd, "lines": [line for line, _ in found.lines]}
            for name, found in counted.items()
            if found.odd
        }
    }


def one_line_each(features: pl.LazyFrame, key: str, where: str) -> pl.LazyFrame:
    """The features of users or items, found to have each id once; raises StembenchError else."""
    rows, ids = features.select(pl.len(), pl.col(key).n_unique()).collect(engine="streaming").row(0)
    if rows != ids:
        raise StembenchError(f"{where}: some {key} stands on two lines; keep one of each")
    return features
