"""The command line: one subcommand per workflow rule, plus `list` and `show` for people.

Heavy imports stand inside the commands, so that each pays only for its own.
"""

from __future__ import annotations

import atexit
import errno
import gc
import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from stembench import __version__
from stembench.cli import analysis as cli_analysis
from stembench.cli import checks as cli_checks
from stembench.cli import data as cli_data
from stembench.cli.data import entry_of
from stembench.cli.options import RESULTS, SPLITS, DatasetName, SuiteName
from stembench.errors import StembenchError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A reproducible benchmark of multi-task recommendation models. Run from the project's "
    "folder; `snakemake --cores N` calls these commands in the right order.",
)

DATABASE = "sqlite:///mlflow.db"


def main() -> None:
    """Run the command line; an expected error is one line on stderr and exit code 1."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    # Python would take torch's modules apart object by object, .4 s of each cell.
    atexit.register(gc.freeze)
    try:
        app()
    except StembenchError as error:
        sys.exit(f"stembench: error: {error}")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(
                f"stembench: error: the disk is full ({error}): free some space and run the same "
                f"command again; what was finished is kept"
            )
        raise


cli_data.register(app)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def train(
    dataset: DatasetName,
    model: Annotated[str, typer.Argument(help="a model of params.yaml", show_default=False)],
    seed: Annotated[int, typer.Argument(help="the replicate's seed", show_default=False)],
    suite: SuiteName = None,
    spec: Annotated[
        str | None, typer.Option(help="the resolved spec as JSON, in place of params.yaml's")
    ] = None,
    tuned_file: Annotated[
        Path | None,
        typer.Option("--tuned", help="the outcome of `stembench tune`, whose values replace some"),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="torch threads")] = 1,
) -> None:
    """Train and evaluate one cell into results/SUITE/runs/DATASET/MODEL/SEED."""
    from stembench.cells.train import train_cell
    from stembench.params import tuned
    from stembench.params.resolve import Run
    from stembench.training.memory import keep_freed_memory

    if spec is not None and suite is None:
        raise StembenchError("--spec needs --suite, the folder of results the cell belongs to")
    if spec is None:
        from stembench.params import load as params
        from stembench.params import resolve

        settings = params.load()
        chosen = settings.select(suite)
        suite = chosen.name
        entry_of(dataset, settings)
        if model not in settings.models:
            raise StembenchError(f"unknown model {model!r}: one of {', '.join(settings.models)}")
        run_of = resolve.resolve(settings, chosen, dataset, model, seed)
        if run_of not in resolve.expand(settings, chosen):
            logging.getLogger(__name__).warning(
                "%s/%s/%d is no cell of the suite %s: its tables will not count it",
                dataset, model, seed, suite,
            )  # fmt: skip
        spec = run_of.json
        if chosen.protocol == "tuned" and tuned_file is None:
            tuned_file = tuned.file(RESULTS / suite, dataset, model)
    assert suite is not None
    try:
        resolved = json.loads(spec)
        same = (resolved["dataset"], resolved["model"], resolved["seed"]) == (dataset, model, seed)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise StembenchError(f"--spec is not the JSON of a run's spec: {error}") from None
    if not same:
        raise StembenchError("--spec is of another cell than the arguments name")
    if (resolved["protocol"] == "tuned") != (tuned_file is not None):
        raise StembenchError("--tuned is for suites with `protocol: tuned`, and needed there")
    cell = Run(dataset, model, seed, spec)
    search = None
    if tuned_file is not None:
        found = tuned.read(tuned_file)
        cell, search = tuned.apply(cell, found), tuned.record(found)
    out = RESULTS / suite / "runs" / dataset / model / str(seed)
    keep_freed_memory()
    run = train_cell(cell.spec, cell.sha256, suite, SPLITS / dataset, out, threads, search)
    aucs = "  ".join(f"{task} {m['auc']:.4f}" for task, m in run["metrics"]["test"].items())
    typer.echo(f"{out}: epoch {run['best_epoch']}, test AUC {aucs}")


@app.command()
def tune(
    dataset: DatasetName,
    model: Annotated[str, typer.Argument(help="a model of params.yaml", show_default=False)],
    suite: SuiteName = None,
    plan: Annotated[
        str | None, typer.Option(help="the plan of the search as JSON, in place of params.yaml's")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="torch threads")] = 1,
) -> None:
    """Search a model's settings on the validation part into results/SUITE/tuned/DATASET."""
    from stembench.cells import search as tuning
    from stembench.params import tuned
    from stembench.training.memory import keep_freed_memory

    if plan is None:
        from stembench.params import load as params

        settings = params.load()
        chosen = settings.select(suite)
        suite = chosen.name
        entry_of(dataset, settings)
        if model not in settings.models:
            raise StembenchError(f"unknown model {model!r}: one of {', '.join(settings.models)}")
        plan = tuned.plan(settings, chosen, dataset, model)
    if suite is None:
        raise StembenchError("--plan needs --suite, the folder of results the search belongs to")
    out = tuned.file(RESULTS / suite, dataset, model)
    keep_freed_memory()
    found = tuning.tune(plan, SPLITS / dataset, out, threads)
    typer.echo(
        f"{out}: trial {found.best + 1} of {found.trials} ({found.failed} failed), validation AUC "
        f"{found.valid_auc:.4f}"
    )


@app.command()
def track(
    suite: SuiteName = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="follow running suites until interrupted")
    ] = False,
    init: Annotated[bool, typer.Option("--init", help="only make the database")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="seconds between looks")] = 2.0,
    stamp: Annotated[Path | None, typer.Option(help="write what was imported here")] = None,
) -> None:
    """Show finished and running cells in MLflow (mlflow.db, a copy of the run files)."""
    from stembench.records.writing import write_json
    from stembench.tracking import sync as tracking

    if init:
        tracking.init_database(DATABASE)
    elif watch:
        tracking.watch(RESULTS, DATABASE, interval_s=interval, suites=[suite] if suite else None)
    else:
        report = tracking.sync(RESULTS, DATABASE, [suite] if suite else None)
        typer.echo(str(report))
    if stamp is not None:
        write_json(stamp, {"database": DATABASE})


@app.command()
def compare(
    suite: SuiteName = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="accept missing cells, and name them")
    ] = False,
) -> None:
    """Test the runs against each other and write the tables (CSV, Markdown, LaTeX)."""
    from stembench.analysis.suite import compare as run
    from stembench.params import load as params
    from stembench.params import tuned
    from stembench.report.tables.markdown import write_tables
    from stembench.report.tables.side import write_side_tables
    from stembench.stats import Family
    from stembench.training.memory import keep_freed_memory

    settings = params.load()
    chosen = settings.select(suite)
    analysis = settings.analysis_of(chosen)
    results = RESULTS / chosen.name
    expected = tuned.cells(settings, chosen, results)
    keep_freed_memory()
    tables = run(
        results, SPLITS, expected, analysis.reference, analysis.alpha, analysis.margin, partial,
        {key: design.effects() for key, design in settings.designs_of(chosen).items()},
        tuned.protocol(settings, chosen, results),
        {key: Family(*value) for key, value in analysis.adjustments().items()},
    )  # fmt: skip
    write_tables(results)
    # A run may be found damaged only when it is measured.
    status = {f"{c.dataset}/{c.model}/{c.seed}": str(c.status) for c in tables.cells.itertuples()}
    cli_analysis.write_evidence(chosen.name, partial, status)
    write_side_tables(results)
    typer.echo(f"tables: {results / 'tables' / 'main.md'}")


@app.command()
def protocols(
    series: Annotated[
        str, typer.Argument(help="a series of analysis.protocols", show_default=False)
    ],
) -> None:
    """Compare suites that differ in their settings: ranks by protocol, learning rate both ways."""
    from stembench.analysis.protocols import Member, compare_protocols
    from stembench.params import load as params
    from stembench.params import tuned
    from stembench.report.tables.protocols import write_protocols

    settings = params.load()
    analysis = settings.analysis
    if series not in analysis.protocols:
        known = ", ".join(analysis.protocols) or "none"
        raise StembenchError(f"unknown series {series!r} of analysis.protocols: known: {known}")
    members = [
        Member(name, suite.protocol, RESULTS / name, tuned.cells(settings, suite, RESULTS / name))
        for name, suite in ((n, settings.suites[n]) for n in analysis.protocols[series])
    ]
    out = RESULTS / series
    compare_protocols(out, SPLITS, members, analysis.reference, analysis.alpha, analysis.margin)
    for path in write_protocols(out):
        typer.echo(str(path))


@app.command()
def report(suite: SuiteName = None) -> None:
    """Draw the figures and write the self-contained HTML report from the tables."""
    from stembench.params import load as params
    from stembench.report.gallery import write_figures, write_gallery
    from stembench.report.page import write_report
    from stembench.report.sections.diagnostics import write_diagnostic_figures

    results = RESULTS / params.load().select(suite).name
    write_figures(results)
    write_gallery(results)
    write_diagnostic_figures(results)
    typer.echo(f"report: {write_report(results)}")


@app.command(name="list")
def list_(suite: SuiteName = None) -> None:
    """List suites, data sets and models, and which cells of a suite are done."""
    from stembench.cli.people import overview
    from stembench.params import load as params

    settings = params.load()
    typer.echo(overview(settings, settings.select(suite), RESULTS, SPLITS))


@app.command(hidden=True)
def where(suite: SuiteName = None) -> None:
    """Say where the results of a suite are."""
    from stembench.params import load as params

    results = RESULTS / params.load().select(suite).name
    typer.echo(f"tables  {results / 'tables' / 'main.md'}")
    typer.echo(f"report  {results / 'report.html'}  (open it in a browser)")
    typer.echo("MLflow  make ui")


@app.command()
def show(
    run: Annotated[
        str, typer.Argument(help="DATASET/MODEL/SEED, or a run directory", show_default=False)
    ],
    suite: SuiteName = None,
) -> None:
    """Print one run: spec, metrics, curve, fingerprints."""
    from stembench.cli.people import describe

    folder = Path(run)
    if not (folder / "run.json").exists():
        from stembench.params import load as params

        folder = RESULTS / params.load().select(suite).name / "runs" / run
    typer.echo(describe(folder))


cli_analysis.register(app)
cli_checks.register(app)


def _quiet_threads() -> None:
    """One thread per numerical library unless the caller says otherwise."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")


_quiet_threads()
