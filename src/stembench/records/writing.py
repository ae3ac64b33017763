"""Files replaced as a whole: JSON, text, CSV (the same bytes from the same rows)."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def text(value: Any, digits: int = 10) -> str:
    """A cell: numbers to that many digits, NaN and None empty, integers whole."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return str(value)


def write_csv(path: Path, rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> Path:
    """Write the columns of all rows, what a row lacks empty; replaces the file as a whole."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([text(row.get(name)) for name in columns])
    return write_text(path, buffer.getvalue())


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]], digits: int = 4) -> str:
    """A Markdown table; numbers are set right."""
    body = [[text(value, digits) for value in row] for row in rows]
    numeric = [all(_is_number(row[i]) for row in body) for i in range(len(header))]
    rule = ["---:" if number else "---" for number in numeric]
    lines = [f"| {' | '.join(row)} |" for row in (list(header), rule, *body)]
    return "\n".join(lines) + "\n"


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Show a table in the terminal, as wide as it needs where the output is no terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    table = Table(title=title, title_justify="left")
    for name in header:
        table.add_column(name, overflow="fold", min_width=max(map(len, name.split())))
    for row in rows:
        table.add_row(*(text(value, 3) for value in row))
    console.print(table)


def _is_number(cell: str) -> bool:
    try:
        float(cell or 0)
    except ValueError:
        return False
    return True


def write_json(path: Path, value: Any) -> None:
    """Write sorted JSON through a temporary file; NaN is refused (ValueError)."""
    write_text(path, json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> Path:
    """Replace a file as a whole: a reader never sees half of it, a failure leaves nothing.

    Returns the path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
