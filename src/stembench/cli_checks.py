"""The commands that hold results against something else: published ones, run files, others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stembench.cli_options import RESULTS, SPLITS, Partial, SuiteName


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(verdicts)


def verdicts(
    suite: SuiteName = None,
    partial: Partial = False,
    published: Annotated[Path, typer.Option(help="the published numbers and claims")] = Path(
        "workflow/published.yaml"
    ),
) -> None:
    """Compare with published numbers and claims: a verdict each, with what was assumed."""
    from stembench import params, tuned, verdicts_text
    from stembench.published import load
    from stembench.runs import read, require_complete
    from stembench.verdicts import Measured
    from stembench.verdicts import verdicts as run

    settings = params.load()
    chosen = settings.select(suite)
    analysis, results = settings.analysis_of(chosen), RESULTS / chosen.name
    entries = load(published)
    groups = read(results, SPLITS, tuned.cells(settings, chosen, results), partial)
    if not partial:
        require_complete(groups)
    readable = [group for group in groups if group.split is not None]
    rows, assumed = run(entries, Measured(results, readable, analysis.alpha), analysis.margin)
    paths = verdicts_text.write(results / "tables", rows, assumed, analysis.margin, analysis.alpha)
    for path in paths:
        typer.echo(path)
