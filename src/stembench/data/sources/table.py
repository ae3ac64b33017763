"""A log of your own: CSV, TSV or Parquet, one file or a folder of files, also hive-partitioned.

All files of the raw folder, in the order of their paths, are one table; names that begin with a
dot or an underscore are passed over. Folders called `key=value` give a column `key`.

Types of CSV columns are inferred so that no id is changed: a column is an integer or a number only
when every cell of a sample is written as one, so that 007, 1e5 or 99999999999999999999 stay text.
`types` says otherwise: int, float, text, date (to yyyymmdd) or datetime (to milliseconds). Dates
and times of Parquet files become the same integers, lists text joined by commas, for a bag.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import polars as pl
from pydantic import Field

from stembench.data.sources import text
from stembench.errors import StembenchError

Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[list[str], Field(min_length=1)]

#: Unknown here: an entry's own stand in the option `leaks`; columns of task expressions are
#: refused anyway.
LEAKS: dict[str, str] = {}

_FORMATS = {".csv": "csv", ".tsv": "tsv", ".txt": "tsv", ".parquet": "parquet", ".pq": "parquet"}
_SEPARATORS = {"csv": ",", "tsv": "\t"}
_TYPES: dict[str, type[pl.DataType]] = {"int": pl.Int64, "float": pl.Float64, "text": pl.String}
_SAMPLE = 10_000  # rows of the first and of the last file that types are inferred from
_INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
_NUMBER = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?$"
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def leaks(*, leaks: dict[Text, Text] | None = None) -> dict[str, str]:
    """The entry's own: column (or a pattern such as `after_*`) -> why."""
    return leaks or {}


def load(
    root: Path,
    *,
    format: Literal["csv", "tsv", "parquet"] | None = None,
    separator: Text | None = None,
    quote: Text | None = None,
    columns: Texts | None = None,
    null_values: Texts | None = None,
    types: dict[Text, Text] | None = None,
    leaks: dict[Text, Text] | None = None,
    max_ragged: Annotated[int, Field(ge=0)] = 0,
) -> pl.LazyFrame:
    """The rows of all files, and the columns of their folders' names.

    format: by default what the files' suffix says. separator: "," or tab by default. quote: '"'
    for CSV by default, none for TSV. columns: names, for text without a header. null_values: cells
    that mean missing, besides empty ones. max_ragged: lines with another number of cells that may
    be dropped from a file.

    Raises StembenchError for no file, an empty one or another format, headers that differ between
    files, an unknown type, or a column of `types` or `leaks` that is not there.
    """
    types, leaks = types or {}, leaks or {}
    for name, mark in (("separator", separator), ("quote", quote)):
        if mark is not None and (len(mark) != 1 or not mark.isascii()):
            raise StembenchError(f"options.{name} must be one ASCII character, not {mark!r}")
    files, kind = _files(root, format)
    if kind == "parquet":
        tables = [pl.scan_parquet(path, hive_partitioning=False) for path in files]
    else:
        dialect: dict[str, Any] = {
            "separator": separator or _SEPARATORS[kind],
            "quote": quote or ('"' if kind == "csv" else None),
            "null_values": null_values,
            "max_ragged": max_ragged,
        }
        tables = _scan_text(files, columns, types, dialect)
    first = tables[0].collect_schema()
    for path, table in zip(files, tables, strict=True):
        if table.collect_schema() != first:
            raise StembenchError(
                f"{path}: its columns are not those of {files[0]}: {_difference(table, first)}"
            )
    table = pl.concat(_with_folders(root, files, tables))
    names = table.collect_schema().names()
    for column, name in types.items():
        if column not in names or name not in (*_TYPES, "date", "datetime"):
            what = f"type {name!r}" if column in names else f"column {column!r}"
            allowed = names if column not in names else [*_TYPES, "date", "datetime"]
            raise StembenchError(f"options.types: unknown {what}, one of {', '.join(allowed)}")
    for column in leaks:
        if not any(fnmatchcase(name, column) for name in names):
            raise StembenchError(f"options.leaks: no column {column!r}, only {', '.join(names)}")
    return table.select(
        _plain(name, dtype, types.get(name)) for name, dtype in table.collect_schema().items()
    )


def facts(
    root: Path,
    *,
    format: Literal["csv", "tsv", "parquet"] | None = None,
    separator: str | None = None,
    quote: str | None = None,
) -> dict[str, Any]:
    """Ragged lines that `load` drops, by file."""
    files, kind = _files(root, format)
    if kind == "parquet":
        return {}
    return text.facts(
        files, separator or _SEPARATORS[kind], quote or ('"' if kind == "csv" else None)
    )


def _files(root: Path, format: str | None) -> tuple[list[Path], str]:
    """Files of the table in the order of their paths, and their common format."""
    # os.walk, because a folder of files may be linked into the raw folder.
    every = (Path(at) / name for at, _, names in os.walk(root, followlinks=True) for name in names)
    files = sorted(
        path for path in every if not any(p[0] in "._" for p in path.relative_to(root).parts)
    )
    if not files:
        raise StembenchError(f"no files in {root}: put the table there, or name it in archives")
    kinds = {format or _FORMATS.get(path.suffix.lower(), path.suffix) for path in files}
    if len(kinds) > 1 or not kinds <= set(_FORMATS.values()):
        raise StembenchError(
            f"{root} holds {', '.join(sorted(kinds)) or 'nothing'}: a table is all csv, all tsv or "
            "all parquet; remove the others, or say options.format"
        )
    return files, kinds.pop()


def _scan_text(
    files: list[Path], columns: list[str] | None, types: dict[str, str], dialect: dict[str, Any]
) -> list[pl.LazyFrame]:
    """CSV or TSV files by one set of types, inferred from the first and the last."""
    separator, quote = dialect["separator"], dialect["quote"]
    headers = [columns or text.header(path, separator, quote) for path in files]
    for path, names in zip(files, headers, strict=True):
        if names != headers[0]:
            raise StembenchError(
                f"{path}: its header is not that of {files[0]}: {', '.join(names)}"
            )
    names = headers[0]
    has_header = columns is None
    as_text = dict.fromkeys(names, pl.String)
    ends = dict.fromkeys([files[0], files[-1]])
    sample = pl.concat(
        text.scan(path, as_text, has_header=has_header, **dialect).head(_SAMPLE) for path in ends
    ).collect()
    schema = {
        name: _TYPES.get(types[name], pl.String) if name in types else _inferred(sample[name])
        for name in names
    }
    return [text.scan(path, schema, has_header=has_header, **dialect) for path in files]


def _inferred(cells: pl.Series) -> type[pl.DataType]:
    """The type that changes no cell: an integer of up to 18 digits, a decimal number, or text."""
    values = cells.drop_nulls()
    if not len(values):
        return pl.String
    if values.str.contains(_INTEGER).all():
        return pl.Int64
    numbers = values.str.contains(_NUMBER).all() and values.str.contains(".", literal=True).any()
    return pl.Float64 if numbers else pl.String


def _with_folders(root: Path, files: list[Path], tables: list[pl.LazyFrame]) -> list[pl.LazyFrame]:
    """Each table with the columns that its folders' names give."""
    found = [_keys(path.relative_to(root)) for path in files]
    for path, keys in zip(files, found, strict=True):
        if list(keys) != list(found[0]):
            raise StembenchError(
                f"{path}: lies in folders {', '.join(keys) or 'without keys'}, "
                f"{files[0]} in {', '.join(found[0]) or 'such without'}"
            )
        if twice := set(keys) & set(tables[0].collect_schema().names()):
            raise StembenchError(f"{path}: {', '.join(sorted(twice))} is a folder and a column")
    kinds = {
        key: _inferred(pl.Series([keys[key] for keys in found], dtype=pl.String))
        for key in found[0]
    }
    return [
        table.with_columns(
            pl.lit(keys[key], pl.String).cast(kind).alias(key) for key, kind in kinds.items()
        )
        for table, keys in zip(tables, found, strict=True)
    ]


def _keys(path: PurePath) -> dict[str, str | None]:
    """Keys of hive's folders, `day=20240101/`, in their order."""
    pairs = (part.partition("=") for part in path.parts[:-1] if "=" in part)
    return {key: None if value == _NO_VALUE else unquote(value) for key, _, value in pairs}


def _plain(name: str, dtype: pl.DataType, wanted: str | None) -> pl.Expr:
    """The column as integers, numbers or text."""
    column = pl.col(name)
    if isinstance(dtype, pl.List):
        column = column.cast(pl.List(pl.String)).list.join(",")
    elif isinstance(dtype, (pl.Categorical, pl.Enum)):
        column = column.cast(pl.String)
    elif isinstance(dtype, pl.Decimal):
        column = column.cast(pl.Float64)
    elif isinstance(dtype, pl.String) and wanted == "date":
        column = _day(column.str.to_date())
    elif isinstance(dtype, pl.String) and wanted == "datetime":
        column = column.str.to_datetime(time_unit="ms").dt.epoch("ms")
    elif isinstance(dtype, pl.Date) or (isinstance(dtype, pl.Datetime) and wanted == "date"):
        column = _day(column)
    elif isinstance(dtype, pl.Datetime):
        column = column.dt.epoch("ms")
    elif dtype.is_float() and wanted == "int":
        # Ids with gaps, as pandas writes them; by their text, so that 4.5 is refused, not cut.
        column = column.fill_nan(None).cast(pl.String).str.strip_suffix(".0")
    return column.cast(_TYPES[wanted]) if wanted in _TYPES else column


def _day(column: pl.Expr) -> pl.Expr:
    day = column.dt.year().cast(pl.Int64) * 10_000
    return (day + column.dt.month().cast(pl.Int64) * 100 + column.dt.day()).alias(
        column.meta.output_name()
    )


def _difference(table: pl.LazyFrame, first: pl.Schema) -> str:
    seen = table.collect_schema()
    odd = [name for name in {**first, **seen} if seen.get(name) != first.get(name)]
    return ", ".join(f"{name} is {seen.get(name)}, not {first.get(name)}" for name in odd)
