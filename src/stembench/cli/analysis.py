"""The commands that analyse finished runs, beyond the tables of `compare`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stembench.cli.options import RESULTS, SPLITS, Partial, SuiteName
from stembench.errors import StembenchError

if TYPE_CHECKING:
    from stembench.analysis.runs import Group
    from stembench.params.load import Params, Suite

logger = logging.getLogger(__name__)

#: Metrics of the comparable samples: over pairs of rows, and within users.
METRICS = ("auc", "gauc")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (evidence, comparable, power, validate):
        app.command()(command)


def evidence(suite: SuiteName = None, partial: Partial = False) -> None:
    """Test all metrics with robustness columns, power, ranks over data sets (part of compare)."""
    from stembench.training.memory import keep_freed_memory

    keep_freed_memory()
    write_evidence(suite, partial)


def write_evidence(suite: str | None, partial: bool, status: dict[str, str] | None = None) -> None:
    """The tables of evidence, power and ranks over data sets; status: of cells, by their id."""
    from stembench.analysis import comparison as run
    from stembench.analysis.across import across
    from stembench.stats import Family

    settings, chosen, groups = _groups(suite, partial)
    for cell in (cell for group in groups for cell in group.cells):
        cell.status = (status or {}).get(cell.id, cell.status)
    analysis = settings.analysis_of(chosen)
    families = {key: Family(*value) for key, value in analysis.adjustments().items()}
    ask = run.Question(
        analysis.reference, analysis.alpha, analysis.margin, analysis.power, analysis.bootstrap,
        families,
    )  # fmt: skip
    rows, plans = [], []
    for group in groups:
        tested, planned = run.evidence(group, ask)
        rows += tested
        plans += planned
    over = (analysis.reference, analysis.baseline, analysis.alpha, analysis.bootstrap)
    found = across([group for group in groups if group.sound()], *over)
    for path in run.write(RESULTS / chosen.name / "tables", rows, plans, found, families):
        typer.echo(path)


def comparable(suite: SuiteName = None, partial: Partial = False) -> None:
    """Transfer gap to the baseline on comparable samples: tables, figures and sensitivity."""
    from stembench.analysis import transfer
    from stembench.records.writing import write_csv
    from stembench.report.tables.comparable import write_comparable
    from stembench.stats import Family

    settings, chosen, groups = _groups(suite, partial)
    if not settings.has_comparable(chosen):
        raise StembenchError(
            f"the suite {chosen.name} has no comparable samples: they need a data set of two tasks "
            f"or more, the model {settings.analysis.baseline} (analysis.baseline) and another one"
        )
    analysis, results = settings.analysis_of(chosen), RESULTS / chosen.name
    primary = transfer.Setting(**analysis.comparable.model_dump(exclude={"alternatives"}))
    others = transfer.alternatives(primary, analysis.comparable.alternatives.model_dump())
    families = {key: Family(*value) for key, value in analysis.adjustments().items()}
    rows, tried = [], []
    for group in groups:
        ours = (group, analysis.baseline)
        gaps = transfer.transfer_gaps(*ours, primary, analysis.alpha, METRICS, families)
        rows += gaps
        tried += _sensitive(gaps)
        for setting in others:
            if "item" in setting.definition and not transfer.has_items(group):
                logger.warning("%s has no item field: %s is left out", group.dataset, setting)
                continue
            again = transfer.transfer_gaps(*ours, setting, analysis.alpha, families=families)
            tried += _sensitive(again)
    for name, table in (("comparable", rows), ("comparable_sensitivity", tried)):
        typer.echo(write_csv(results / "tables" / f"{name}.csv", table, transfer.COLUMNS))
    for path in write_comparable(results, analysis.reference):
        typer.echo(path)


def _sensitive(gaps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that are told for every setting: AUC on comparable samples, and the interaction."""
    from stembench.analysis.transfer import INTERACTION

    buckets = ("comparable", INTERACTION)
    return [row for row in gaps if row["metric"] == "auc" and row["bucket"] in buckets]


def power(
    suite: SuiteName = None,
    difference: Annotated[
        float | None, typer.Option(min=0, help="AUC difference to be seen [default: the margin]")
    ] = None,
    level: Annotated[
        float | None, typer.Option("--power", min=0, max=1, help="chance to see it")
    ] = None,
    alpha: Annotated[float | None, typer.Option(min=0, max=1, help="level of the test")] = None,
    sd_seed: Annotated[
        float | None, typer.Option(help="a pilot's SD of the difference over seeds, without runs")
    ] = None,
    sd_user: Annotated[float, typer.Option(help="and its SD over users")] = 0.0,
    seeds: Annotated[int, typer.Option(min=2, help="seeds of the plan, with --sd-seed")] = 5,
    users: Annotated[int, typer.Option(min=2, help="test users of the plan")] = 10_000,
    csv: Annotated[Path | None, typer.Option("--csv", help="write the table here too")] = None,
) -> None:
    """Seeds and test users a difference needs, and the smallest one that can be seen (MDE)."""
    from stembench.analysis import power as run
    from stembench.params import load as params
    from stembench.records.writing import print_table, write_csv

    settings = params.load()
    analysis = settings.analysis_of(settings.select(suite))
    ask = (
        analysis.margin if difference is None else difference,
        analysis.alpha if alpha is None else alpha,
        analysis.power if level is None else level,
    )
    if sd_seed is not None:
        rows = [run.from_pilot(sd_seed, sd_user, seeds, users, *ask)]
    else:
        _, _, groups = _groups(suite, partial=True)
        rows = [row for group in groups for row in run.from_runs(group, analysis.reference, *ask)]
    if not rows:
        raise StembenchError(
            "no two models share two finished seeds: run the suite, or give a pilot's --sd-seed"
        )
    shown = [name for name in run.COLUMNS if name not in run.SAID_ABOVE]
    if sd_seed is not None:
        shown = [name for name in shown if name in rows[0]]
    title = f"To see an AUC difference of {ask[0]:g} with power {ask[2]:g} at alpha {ask[1]:g}"
    if sd_seed is None:
        title += f", {analysis.reference} against model_b"
    header = [name.replace("_", " ") for name in shown]
    print_table(title, header, [[run.words(row, name) for name in shown] for row in rows])
    if csv is not None:
        typer.echo(write_csv(csv, rows, run.COLUMNS))


def validate(
    quick: Annotated[
        bool, typer.Option("--quick", help="few repetitions, wide bounds: a smoke test")
    ] = False,
    suite: Annotated[
        str, typer.Option("--suite", help="whose runs the nulls on real runs take")
    ] = "nulls",
    cores: Annotated[int, typer.Option(min=1, help="processes")] = 2,
    out: Annotated[Path, typer.Option(help="folder of the table")] = RESULTS / "validation",
) -> None:
    """Test the statistics themselves: error rates, coverage, power and oracles."""
    from stembench.checks.statistics import run

    _, _, groups = _groups(suite, partial=True)
    rows = run(groups, quick, cores, out)
    failed = [row["check"] for row in rows if row["result"] == "FAIL"]
    typer.echo(f"{len(rows)} checks, {len(failed)} failed: {out / 'validation.md'}")
    if failed:
        raise StembenchError(f"the statistics fail their own test: {'; '.join(failed)}")


def _groups(suite: str | None, partial: bool) -> tuple[Params, Suite, list[Group]]:
    """Params, the suite, and its runs by data set; all must be ok unless partial."""
    from stembench.analysis.runs import read, require_complete
    from stembench.params import load as params
    from stembench.params import tuned

    settings = params.load()
    chosen = settings.select(suite)
    results = RESULTS / chosen.name
    groups = read(results, SPLITS, tuned.cells(settings, chosen, results), partial)
    if not partial:
        require_complete(groups)
    elif missing := [cell.id for group in groups for cell in group.cells if cell.status != "ok"]:
        logger.warning(
            "%d cells are not ready and left out: %s", len(missing), ", ".join(missing[:10])
        )
    return settings, chosen, [group for group in groups if group.split is not None]
