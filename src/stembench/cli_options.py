"""What the commands share: folders, options, and the cells of a suite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from stembench.params import Params, Suite

RAW, SPLITS, RESULTS = Path("data/raw"), Path("data/splits"), Path("results")

SuiteName = Annotated[
    str | None, typer.Option("--suite", help="a suite of params.yaml [default: the chosen one]")
]
Partial = Annotated[bool, typer.Option("--partial", help="accept missing cells, and name them")]


def expected_cells(settings: Params, suite: Suite) -> list[dict[str, Any]]:
    """The cells of a suite as `runs.read` wants them."""
    from stembench import params

    return [
        {"dataset": r.dataset, "model": r.model, "seed": r.seed, "spec_sha256": r.sha256}
        for r in params.expand(settings, suite)
    ]
