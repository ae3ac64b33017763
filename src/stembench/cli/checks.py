"""The commands that hold results against something else: published ones, run files, others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stembench.cli.options import RESULTS, SPLITS, Partial, SuiteName

if TYPE_CHECKING:
    from stembench.checks.verify import Finding


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (verdicts, verify, diff):
        app.command()(command)


def verdicts(
    suite: SuiteName = None,
    partial: Partial = False,
    published: Annotated[Path, typer.Option(help="the published numbers and claims")] = Path(
        "workflow/published.yaml"
    ),
) -> None:
    """Compare with published numbers and claims: a verdict each, with what was assumed."""
    from stembench.analysis.runs import read, require_complete
    from stembench.checks import write_verdicts
    from stembench.checks.published import load
    from stembench.checks.verdicts import Measured
    from stembench.checks.verdicts import verdicts as run
    from stembench.params import load as params
    from stembench.params import tuned

    settings = params.load()
    chosen = settings.select(suite)
    analysis, results = settings.analysis_of(chosen), RESULTS / chosen.name
    entries = load(published)
    groups = read(results, SPLITS, tuned.cells(settings, chosen, results), partial)
    if not partial:
        require_complete(groups)
    readable = [group for group in groups if group.split is not None]
    rows, assumed = run(entries, Measured(results, readable, analysis.alpha), analysis.margin)
    paths = write_verdicts.write(results / "tables", rows, assumed, analysis.margin, analysis.alpha)
    for path in paths:
        typer.echo(path)


def verify(
    results: Annotated[
        str, typer.Argument(help="a suite, or a folder with tables/", show_default=False)
    ],
    cell: Annotated[
        str | None, typer.Option(help="train this cell, DATASET/MODEL/SEED [default: a random one]")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="of the draw of the cell [default: another each time]")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="train a cell again, or none")
    ] = True,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="of a test AUC on another platform [default: as two seeds of the model differ]",
        ),
    ] = None,
    splits: Annotated[Path, typer.Option(help="folder of the splits")] = SPLITS,
) -> None:
    """Check results: tables made again, hashes of the run files, one cell trained again."""
    import secrets

    from stembench.checks import verify as checks

    folder = results_folder(results)
    suite = checks.read_inputs(folder)["suite"]
    typer.echo(f"{folder} (suite {suite})")
    here = [*checks.records(folder)]
    if (folder / "runs").is_dir():
        on_disk = list(checks.splits_there(folder, splits))
        here += [*on_disk, *checks.run_files(folder)]
        if all(found.status == "ok" for found in on_disk):
            here += checks.tables(folder, splits, Path())
        else:
            note = "the splits are not those of the tables"
            here.append(checks.Finding("tables", "all", "not verified", note))
        if train:
            from stembench.checks import retrain as verify_retrain

            seed = secrets.randbelow(2**31) if seed is None else seed
            chosen = verify_retrain.draw(folder, seed, cell)
            typer.echo(f"training {chosen} again" + ("" if cell else f" (--seed {seed})"))
            here += verify_retrain.retrain(folder, splits, chosen, tolerance)
    else:
        note = "there are no runs here: run files, comparison.csv, cost.csv and training cannot be"
        here += [*checks.rendered(folder), checks.Finding("run files", "all", "not verified", note)]
    _tell(here)


def results_folder(text: str) -> Path:
    """The folder of results that is meant: a path with tables/, else a suite's."""
    from stembench.errors import StembenchError

    for folder in (Path(text), RESULTS / text):
        if (folder / "tables").is_dir():
            return folder
    raise StembenchError(
        f"{text} is neither a folder with tables/ nor a suite with results here: run "
        f"`stembench compare --suite {text}` first"
    )


def _tell(findings: list[Finding]) -> None:
    """Counts by check, everything that is not ok in full; raises StembenchError on a mismatch."""
    from stembench.errors import StembenchError

    for check in dict.fromkeys(found.check for found in findings):
        mine = [found for found in findings if found.check == check]
        good = [found for found in mine if found.status == "ok"]
        typer.echo(f"{check:10} {len(good)} of {len(mine)} ok")
        shown = [found for found in mine if found.status != "ok" or check == "training"]
        for found in shown:
            note = f": {found.note}" if found.note else ""
            typer.echo(f"  {found.status:12} {found.subject}{note}")
    bad = [f"{found.subject} ({found.check})" for found in findings if found.status == "MISMATCH"]
    if bad:
        more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
        raise StembenchError(f"{len(bad)} do not match: {', '.join(bad[:10])}{more}")
    if not any(found.status == "ok" for found in findings):
        raise StembenchError("nothing could be verified here: see above for what is needed")


def diff(
    a: Annotated[str, typer.Argument(help="a suite, a folder with tables/, or REVISION:FOLDER",
                                     show_default=False)],
    b: Annotated[str, typer.Argument(help="the same, to compare with", show_default=False)],
    alpha: Annotated[float, typer.Option(min=0, max=1, help="level of the tests")] = 0.05,
    csv: Annotated[Path | None, typer.Option("--csv", help="write all rows here")] = None,
    to: Annotated[
        Path | None, typer.Option("--markdown", help="write what is printed here")
    ] = None,
) -> None:  # fmt: skip
    """Compare two suites or two commits' results: what moved, beyond noise or not."""
    from stembench.checks.diff import COLUMNS, compare_sides, read_side
    from stembench.checks.print_diff import render
    from stembench.records.writing import write_csv, write_text

    old, new = read_side(a, RESULTS), read_side(b, RESULTS)
    rows = compare_sides(old, new, alpha)
    text = render(old, new, rows, alpha)
    typer.echo(text, nl=False)
    if csv is not None:
        typer.echo(write_csv(csv, rows, COLUMNS), err=True)
    if to is not None:
        typer.echo(write_text(to, text), err=True)
