"""RecBole's atomic files: <prefix>.inter, and optionally <prefix>.user and <prefix>.item.

Tab-separated with a header of `name:type`. token and token_seq become text (a sequence keeps its
spaces between tokens), float becomes a number, float_seq stays text.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from stembench.data.files import check_rectangular
from stembench.errors import StembenchError

#: Columns that tell the outcome: unknown here, but those of task expressions are refused anyway.
LEAKS: dict[str, str] = {}

_TYPES = {"token": pl.String, "token_seq": pl.String, "float": pl.Float64, "float_seq": pl.String}


def load(root: Path, *, prefix: str) -> pl.LazyFrame:
    """Interactions with the features of their user and item.

    The id of a feature file is the one column that it shares with the interactions. Raises
    StembenchError for a missing .inter file, an unknown type, a ragged line or an id that stands
    twice.
    """
    table = _scan(root / f"{prefix}.inter")
    for ending in ("user", "item"):
        path = root / f"{prefix}.{ending}"
        if not path.exists():
            continue
        features = _scan(path)
        key = _key(path, features, table)
        repeated = features.select(pl.col(key).is_duplicated().any()).collect().item()
        if repeated:
            raise StembenchError(f"{path}: some {key} stands on two lines; keep one of each")
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
        raise StembenchError(f"{path} is missing: fetch the data set, or correct options.prefix")
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline().rstrip("\r\n").split("\t")
    schema: dict[str, type[pl.DataType]] = {}
    for cell in header:
        name, _, kind = cell.rpartition(":")
        if not name or kind not in _TYPES:
            raise StembenchError(
                f"{path}: header {cell!r} is not `name:type` with one of {', '.join(_TYPES)}"
            )
        if name in schema:
            raise StembenchError(f"{path}: two columns are called {name}")
        schema[name] = _TYPES[kind]
    check_rectangular(path, "\t")
    return pl.scan_csv(
        path, separator="\t", quote_char=None, skip_rows=1, has_header=False, schema=schema
    )
