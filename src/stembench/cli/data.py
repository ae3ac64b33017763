"""The commands on data sets: fetch, split, show, and what a suite will need."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stembench.cli.options import RAW, SPLITS, DatasetName, SuiteName
from stembench.errors import StembenchError

if TYPE_CHECKING:
    from stembench.params.data import Dataset
    from stembench.params.load import Params


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    data_app = typer.Typer(no_args_is_help=True, help="Make a data set's split, or show it.")
    app.add_typer(data_app, name="data")
    for command in (fetch, split, plan):
        app.command()(command)
    data_app.command("make")(data_make)
    data_app.command("show")(data_show)


def fetch(
    dataset: DatasetName,
    offline: Annotated[
        bool, typer.Option("--offline", help="download nothing, as with STEMBENCH_OFFLINE=1")
    ] = False,
) -> None:
    """Download or generate a data set's raw files into data/raw, checked by checksum."""
    from stembench.data.fetch.fetch import fetch as run
    from stembench.params import load as params

    settings = params.load()
    entry = entry_of(dataset, settings)
    run(dataset, entry.source, RAW / dataset, settings.mirrors, offline=offline or None)


def split(dataset: DatasetName) -> None:
    """Encode a data set and split it into training, validation and test part."""
    from stembench.data.prepare.make import split_dataset
    from stembench.params import load as params

    split_dataset(dataset, entry_of(dataset, params.load()), RAW / dataset, SPLITS / dataset)


def data_make(
    dataset: DatasetName,
    stamp: Annotated[
        Path | None, typer.Option(help="write the split's name and hash here, as JSON")
    ] = None,
) -> None:
    """Bring a data set's split up to date through DVC (fetch and split, what is needed)."""
    from stembench.data.dvc import make_split
    from stembench.params import load as params

    entry_of(dataset, params.load())
    make_split(dataset, SPLITS / dataset, stamp)


def data_show(
    dataset: DatasetName,
    html: Annotated[Path | None, typer.Option(help="write the HTML data card here")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="write the figures here, as JSON")
    ] = None,
) -> None:
    """Show what is in a data set's split: sizes, rates, users, labels, vocabularies, sources."""
    from stembench.data.directory import SplitDirectory
    from stembench.data.facts import dataset_facts
    from stembench.params import load as params
    from stembench.records.writing import write_json

    entry = entry_of(dataset, params.load())
    facts = dataset_facts(SplitDirectory(SPLITS / dataset), entry.source)
    if html is not None:
        from stembench.report.cards.html import write_card

        typer.echo(f"data card: {write_card(facts, html)}")
    if json_file is not None:
        write_json(json_file, facts)
    if html is None and json_file is None:
        from stembench.report.cards.text import print_card

        print_card(facts)


def plan(
    suite: SuiteName = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="cells at a time [default: all cores]")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option(help="measure the speed of each model by a few steps, for the times")
    ] = True,
    seconds: Annotated[float, typer.Option(min=1, help="time for the calibration")] = 30.0,
) -> None:
    """Print what a suite will need: rows, disk, memory, time, and files missing by hand."""
    from stembench.params import load as params
    from stembench.planning import speed as plan_speed
    from stembench.planning.needs import needs, survey
    from stembench.planning.text import print_plan

    settings = params.load()
    chosen = settings.select(suite)
    data = survey(settings, chosen, RAW, SPLITS)
    by_name = {each.name: each for each in data}
    cells = needs(settings, chosen, data)
    work = [(spec, by_name[need.dataset]) for need, spec in cells]
    speeds = plan_speed.calibrate(work, seconds) if calibrate else {}
    sizes = [(need, spec["train"]["batch_size"]) for need, spec in cells]
    print_plan(chosen.name, data, sizes, speeds, cores or os.cpu_count() or 1)
    if chosen.protocol == "tuned":
        typer.echo(
            "Not counted: the searches of the protocol tuned, see its settings in params.yaml."
        )


def entry_of(dataset: str, settings: Params) -> Dataset:
    """The data set's entry; raises StembenchError for an unknown name."""
    if dataset not in settings.datasets:
        known = ", ".join(settings.datasets)
        raise StembenchError(f"unknown data set {dataset!r}: one of {known}")
    return settings.datasets[dataset]
