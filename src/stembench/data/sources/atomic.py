"""RecBole's atomic files: <prefix>.inter, and optionally <prefix>.user and <prefix>.item.

Tab-separated with a header of `name:type`. token and token_seq become text (a sequence keeps its
spaces between tokens), float becomes a number, float_seq stays text (a bag of its numbers as they
are written). Interactions in parts, <prefix>.<part>.inter, are one table in the order of
`parts`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
from pydantic import Field

from stembench.data.sources import text
from stembench.errors import StembenchError

Text = Annotated[str, Field(min_length=1)]

#: Columns that tell the outcome, by RecBole's names for them; a data set's own stand in the option
#: `leaks`. Those of task expressions are refused anyway.
LEAKS: dict[str, str] = dict.fromkeys(["rating", "label"], "it is the user's answer")

_TYPES = {"token": pl.String, "token_seq": pl.String, "float": pl.Float64, "float_seq": pl.String}


def leaks(*, leaks: dict[Text, Text] | None = None) -> dict[str, str]:
    """The entry's own: column (or a pattern such as `after_*`) -> why."""
    return leaks or {}


def load(
    root: Path, *, prefix: Text, parts: Annotated[list[str], Field(min_length=1)] | None = None
) -> pl.LazyFrame:
    """Interactions with the features of their user and item.

    The id of a feature file is the one column that it shares with the interactions. Raises
    StembenchError for a missing .inter file, an unknown type, a ragged line, parts of different
    columns or an id that stands twice.
    """
    files = [root / f"{prefix}.{part}.inter" for part in parts or []] or [root / f"{prefix}.inter"]
    tables = [_scan(path) for path in files]
    for path, other in zip(files, tables, strict=True):
        if other.collect_schema() != tables[0].collect_schema():
            raise StembenchError(f"{path}: its header is not that of {files[0].name}")
    table = pl.concat(tables)
    for ending in ("user", "item"):
        path = root / f"{prefix}.{ending}"
        if not path.exists():
            continue
        features = _scan(path)
        key = _key(path, features, table)
        features = text.one_line_each(features, key, str(path))
        table = table.join(features, on=key, how="left", maintain_order="left")
    return table


def _key(path: Path, features: pl.LazyFrame, table: pl.LazyFrame) -> str:
    names = features.collect_schema().names()
    common = [name for name in names if name in table.collect_schema().names()]
    if len(common) != 1:
        raise StembenchError(
            f"{path}: must share exactly its id column with the .inter file, "
            f"shares {', '.join(common) or 'none'}"
        )
    return common[0]


def _scan(path: Path) -> pl.LazyFrame:
    if not path.is_file():
        raise StembenchError(
            f"{path} is missing: fetch the data set, or correct options.prefix or options.parts"
        )
    types: dict[str, type[pl.DataType]] = {}
    for cell in text.first_line(path, "\t"):
        name, _, kind = cell.rpartition(":")
        if not name or kind not in _TYPES:
            raise StembenchError(
                f"{path}: header {cell!r} is not `name:type` with one of {', '.join(_TYPES)}"
            )
        if name in types:
            raise StembenchError(f"{path}: two columns are called {name}")
        types[name] = _TYPES[kind]
    return text.scan(path, types, separator="\t", has_header=False, skip_rows=1)
