"""A benchmark's table: as CSV, and as a page with its command and machine."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any


def command(name: str) -> str:
    """The command line of the benchmark that runs, for its page."""
    return " ".join([f"python -m benchmarks.{name}", *sys.argv[1:]])


def save(out: Path, name: str, table: list[dict[str, Any]], page: str) -> None:
    """Write OUT/NAME.csv and NAME.md, and print the page."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    (out / f"{name}.md").write_text(page)
    sys.stdout.write(page)
