"""How the cost of training grows with rows, tables, tasks and models, with fits.

    python -m benchmarks.growth

Processor seconds, which other processes hardly lengthen. Rows: an epoch of cells that differ in
their training rows. Tables: a step of Shared-Bottom, dense Adam over all rows and Adam over the
rows of the batch by turns; where the lines cross is where `embedding_optimizer: rows` begins to
pay. Tasks and models: a step. Writes results/benchmarks/growth.csv and .md.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import cells
from benchmarks.output import command, save
from stembench import objectives
from stembench.data.batches import Batches, stream
from stembench.planning.speed import random_part
from stembench.training import precision
from stembench.training.build import build
from stembench.training.memory import keep_freed_memory
from stembench.training.optimizer import Optimizer

MODELS = [
    "single_task",
    "shared_bottom",
    "omoe",
    "mmoe",
    "ple",
    "ple_two_layers",
    "aitm",
    "cross_stitch",
    "adatt",
    "home",
    "pepnet",
    "me_shared_bottom",
    "me_mmoe",
    "me_ple",
    "stem",
]
BATCH = 4096
Row = dict[str, Any]


def stepper(model: str, tables: int, tasks: int, **train: Any) -> Callable[[], float]:
    """A training step on the next batch; returns its processor seconds."""
    schema = cells.schema(tables, tasks)
    spec = cells.spec(model, **train)
    network = build(schema, spec)
    cpu = torch.device("cpu")
    precision.train_in(network, precision.choose(spec["train"]["precision"], cpu))
    optimizer = Optimizer(network, spec["train"])
    batches = Batches(random_part(schema, 8 * BATCH), BATCH, cpu)
    objective = objectives.build(spec, schema.tasks, network, batches.fields[:64])
    order = stream(1, "batches")
    epochs = chain.from_iterable(batches.shuffled(order) for _ in repeat(None))
    network.train()

    def step() -> float:
        fields, labels = next(epochs)
        begun = time.process_time()
        optimizer.zero_grad()
        objective.backward(fields, labels)
        optimizer.step()
        objective.after_step(fields, labels)
        return time.process_time() - begun

    return step


def by_turns(steps: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each in every round but the first, which makes buffers."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(rounds + 1):
        for name, step in steps.items():
            seconds = step()
            if round_:
                found[name].append(seconds)
    return found


def row(what: str, size: int, seconds: Sequence[float], unit: str) -> Row:
    """A line of the table; `spread`: (max - min) / median."""
    median = statistics.median(seconds)
    spread = (max(seconds) - min(seconds)) / median
    found = {"what": what, "size": size, "seconds": median, "unit": unit, "spread": spread}
    return found | {"values": len(seconds)}


def spread(row: Row) -> str:
    """Of several values; a single one has none."""
    return f"{row['spread']:.0%}" if row["values"] > 1 else ""


def line(sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float, float]:
    """(a, b, largest relative residual) of seconds = a + b size; residuals are weighted alike."""
    x, y = np.asarray(sizes, float), np.asarray(seconds)
    a, b = np.linalg.lstsq(np.stack([1 / y, x / y], axis=1), np.ones(len(y)), rcond=None)[0]
    return float(a), float(b), float(np.max(np.abs((a + b * x) / y - 1)))


def of_rows(model: str, sizes: Sequence[int]) -> list[Row]:
    """An epoch over so many rows, from whole cells of one and of two epochs."""
    found = []
    with tempfile.TemporaryDirectory(prefix="stembench-") as folder:
        for size in sizes:
            counts = {"train": size, "valid": 20_000, "test": 20_000}
            cells.write_split(Path(folder), cells.schema(50_000), counts)
            one, two = (
                cells.train(
                    cells.spec(
                        model, epochs=n, patience=n + 1, diagnostics=False, batch_size=BATCH
                    ),
                    Path(folder),
                ).cpu_s
                for n in (1, 2)
            )
            found.append(row(f"{model}, an epoch by rows", size, [two - one], "epoch"))
    return found


def of_tables(sizes: Sequence[int], rounds: int) -> list[Row]:
    """A step by rows of the tables, with either optimiser of the embeddings."""
    found = []
    for size in sizes:
        kinds = {
            kind: stepper("shared_bottom", size, 2, embedding_optimizer=kind)
            for kind in ("dense", "rows")
        }
        found += [
            row(f"shared_bottom, a step by rows of the tables, {kind}", size, seconds, "step")
            for kind, seconds in by_turns(kinds, rounds).items()
        ]
    return found


def of_tasks(models: Sequence[str], tasks: Sequence[int], rounds: int) -> list[Row]:
    """A step by tasks, for each model."""
    found = []
    for model in models:
        steps = {str(t): stepper(model, 50_000, t) for t in tasks}
        for t, seconds in by_turns(steps, rounds).items():
            found.append(row(f"{model}, a step by tasks", int(t), seconds, "step"))
    return found


def fits(rows: list[Row]) -> list[list[str]]:
    """Per series its straight line, and how far the points lie from it."""
    found = []
    for what in dict.fromkeys(r["what"] for r in rows):
        series = [r for r in rows if r["what"] == what]
        if len(series) > 1:
            a, b, off = line([r["size"] for r in series], [r["seconds"] for r in series])
            found.append([what, f"{a:.4g}", f"{b:.3g}", f"{off:.0%}"])
    return found


def crossover(rows: list[Row]) -> str:
    """The rows of tables at which the two optimisers of the embeddings take as long."""
    kinds = []
    for kind in ("dense", "rows"):
        series = [r for r in rows if r["what"].endswith(f"tables, {kind}")]
        kinds.append(np.array([[r["size"], r["seconds"]] for r in series]))
    dense, lazy = kinds
    gain = dense[:, 1] / lazy[:, 1]
    told = ", ".join(
        f"{size:,.0f} rows: {g:.2f}" for size, g in zip(dense[:, 0], gain, strict=True)
    )
    # The last rise through 1: below it the two are alike, and noise crosses more than once.
    rises = [i for i in range(len(gain) - 1) if gain[i] < 1 <= gain[i + 1]]
    if rises:
        here = slice(rises[-1], rises[-1] + 2)
        at = np.exp(np.interp(0.0, np.log(gain[here]), np.log(dense[here, 0])))
        told += f"; as long at about {at:,.0f} rows"
    else:
        told += "; as long at none of the sizes"
    return f"Dense step over a step of the batch's rows: {told}."


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="shared_bottom", help="of the growth with rows")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000, 16_000_000])
    sizes = [10_000, 50_000, 200_000, 1_000_000, 5_000_000, 20_000_000]
    parser.add_argument("--tables", type=int, nargs="+", default=sizes)
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    rows = of_rows(options.model, options.rows)
    torch.set_num_threads(1)
    keep_freed_memory()
    rows += of_tasks(options.models, options.tasks, options.rounds)
    rows += of_tables(options.tables, options.rounds)  # last: what it frees stays
    shown = [
        [r["what"], f"{r['size']:,}", f"{r['seconds']:.4g}", r["unit"], spread(r)] for r in rows
    ]
    tables = [
        cells.table(["series", "size", "CPU s", "of a", "spread"], shown),
        "Straight lines, CPU s = a + b size, each point weighted alike:",
        cells.table(["series", "a", "b", "largest residual"], fits(rows)),
        crossover(rows),
    ]
    text = f"Batches of {BATCH}, 8 fields, embeddings of 16, narrow nets; one thread."
    page = cells.page(
        "Growth of the cost",
        command("growth"),
        text,
        "",
        tables,
    )
    save(options.out, "growth", rows, page)


if __name__ == "__main__":
    main()
