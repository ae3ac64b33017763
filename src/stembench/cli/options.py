"""What the commands share: folders and options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RAW, SPLITS, RESULTS = Path("data/raw"), Path("data/splits"), Path("results")

SuiteName = Annotated[
    str | None, typer.Option("--suite", help="a suite of params.yaml [default: the chosen one]")
]
Partial = Annotated[bool, typer.Option("--partial", help="accept missing cells, and name them")]
DatasetName = Annotated[str, typer.Argument(help="a data set of params.yaml", show_default=False)]
