"""Training speed against a plain reference and against the machine's own limit.

    python -m benchmarks.train --threads 2

The shape is that of the paper's TikTok: 8 categorical fields, 53,000 rows of embeddings of 16,
batches of 4096, experts of [512, 512, 512] (8 shared and, where a model has them, 1 for each of 2
tasks), gates and towers of [128, 64]. One step of each variant in turn, in one process, so that a
busy machine slows all alike: the reference (`benchmarks/reference.py`), float32, `precision: auto`,
and with --compile the latter under `compile: true`. The ceiling is the rate of a matrix product
(4096 x 512 by 512 x 512) in that precision, by the faster of torch's libraries, timed in the same
rounds. Writes results/benchmarks/train.csv and .md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import reference
from benchmarks.output import save
from stembench import objectives, provenance
from stembench.data.batches import Batches, stream
from stembench.data.directory import Part
from stembench.data.schema import FIRST_ID, Field, Schema
from stembench.models.linear import prefers_onednn, times_transposed
from stembench.params import load as params
from stembench.params import resolve
from stembench.training import compiled, precision
from stembench.training.build import build
from stembench.training.device import choose
from stembench.training.diagnostics import Flops
from stembench.training.memory import keep_freed_memory
from stembench.training.optimizer import Optimizer

FIELDS, ROWS, TASKS = 8, 53_000, 2
MODELS = ("shared_bottom", "mmoe", "ple", "stem")
ARGS = {
    "num_experts": 8,
    "num_shared_experts": 8,
    "num_specific_experts": 1,
    "expert_units": [512, 512, 512],
    "bottom_units": [512, 512, 512],
    "gate_units": [128, 64],
    "tower_units": [128, 64],
    "embedding_dim": 16,
}
Step = Callable[[], None]
#: Rounds that are not counted: they make buffers, and record what is compiled.
WARM = 3


def shape(rows: int = ROWS, tasks: int = TASKS) -> Schema:
    """Categorical fields of one size, `rows` in all."""
    fields = (Field(f"f{i}", "item", "categorical", rows // FIELDS) for i in range(FIELDS))
    return Schema("random", tuple(fields), tuple(f"t{t}" for t in range(tasks)))


def random_rows(schema: Schema, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids (rows, F) and labels (rows, T)."""
    rng = np.random.default_rng(0)
    size = schema.fields[0].size
    fields = rng.integers(FIRST_ID, size, (rows, len(schema.fields)), dtype=np.int32)
    return fields, rng.integers(0, 2, (rows, schema.num_tasks)).astype(np.uint8)


def ours(
    schema: Schema,
    model: str,
    data: tuple[np.ndarray, np.ndarray],
    batch: int,
    device: torch.device = reference.CPU,
    **train: Any,
) -> tuple[Step, float, nn.Module]:
    """A step of `stembench.training.fit.fit` on the next batch, its FLOPs per sample, the model."""
    settings = params.load()
    spec = resolve.resolve(settings, settings.select("demo"), "movielens", model, 1).spec
    spec["args"] |= {key: value for key, value in ARGS.items() if key in spec["args"]}
    spec["train"] |= train
    network = build(schema, spec).to(device)
    precision.train_in(network, precision.choose(spec["train"]["precision"], device))
    optimizer = Optimizer(network, spec["train"])
    batches = Batches(Part(*data, np.zeros(len(data[1]), np.int32), None), batch, device)
    objective = objectives.build(spec, schema.tasks, network, batches.fields[:64])
    order = stream(1, "batches")
    epochs = chain.from_iterable(batches.shuffled(order) for _ in repeat(None))
    network.train()

    def step() -> None:
        fields, labels = next(epochs)
        optimizer.zero_grad()
        objective.backward(fields, labels)
        optimizer.step()
        objective.after_step(fields, labels)

    with Flops() as counter:
        objective.backward(batches.fields[:64], batches.labels[:64].float())
    network.zero_grad(set_to_none=True)
    if spec["train"]["compile"]:
        compiled.compile_steps(network, objective, batch, device)
    return step, counter.total / 64, network


def product(dtype: torch.dtype, batch: int, device: torch.device) -> Step:
    """The product whose rate is the ceiling, on a CPU by the faster of torch's two libraries."""
    left, right = (torch.randn(rows, 512).to(device, dtype) for rows in (batch, 512))
    out = torch.empty(batch, 512, dtype=dtype, device=device)
    by_onednn = device.type == "cpu" and dtype == torch.float32 and prefers_onednn()

    def step() -> None:
        for _ in range(8):
            if by_onednn:
                times_transposed(left, right)
            else:
                torch.mm(left, right, out=out)

    return step


def wait(device: torch.device) -> None:
    """Until a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(
    models: list[str],
    rounds: int,
    batch: int,
    device: torch.device = reference.CPU,
    rows: int = ROWS,
    compile_: bool = False,
) -> list[dict[str, Any]]:
    """A row per model and variant; rows: of the tables, in all."""
    keep_freed_memory()
    schema = shape(rows)
    data = random_rows(schema, batch * (rounds + WARM))
    auto = precision.choose("auto", device)
    table = []
    for model in models:
        steps: dict[str, Step] = {}
        plain = reference.steps(schema, model, *data, batch, device)
        steps["reference"] = lambda plain=plain: next(plain)()
        steps["float32"], flops, _ = ours(schema, model, data, batch, device)
        steps["product float32"] = product(torch.float32, batch, device)
        if auto != torch.float32:
            steps["auto"], _, _ = ours(schema, model, data, batch, device, precision="auto")
            steps["product auto"] = product(auto, batch, device)
        if compile_:
            steps["auto, compiled"], _, _ = ours(
                schema, model, data, batch, device, precision="auto", compile=True
            )
        times: dict[str, list[float]] = {name: [] for name in steps}
        first: dict[str, float] = {}
        for round_ in range(rounds + WARM):
            for name, step in steps.items():
                wait(device)
                begun = time.perf_counter()
                step()
                wait(device)
                seconds_ = time.perf_counter() - begun
                first.setdefault(name, seconds_)
                if round_ >= WARM:
                    times[name].append(seconds_)
        for name, seconds in times.items():
            if name.startswith("product"):
                continue
            row: dict[str, Any] = {"model": model, "variant": name}
            in_auto = name.startswith("auto") and auto != torch.float32
            row["precision"] = str(auto if in_auto else torch.float32)[6:]
            row["samples_per_s"] = batch / statistics.median(seconds)
            pairs = zip(times["reference"], seconds, strict=True)
            row["times_reference"] = statistics.median(a / b for a, b in pairs)
            limits = times["product auto" if in_auto else "product float32"]
            share = [
                (flops * batch / s) / (8 * 2 * batch * 512 * 512 / limit)
                for s, limit in zip(seconds, limits, strict=True)
            ]
            row["of_ceiling"] = statistics.median(share)
            row["spread"] = (max(seconds) - min(seconds)) / statistics.median(seconds)
            row["first_s"] = first[name]
            row["mflop_per_sample"] = flops / 1e6
            table.append(row)
    return table


def markdown(table: list[dict[str, Any]], command: str, gpu: str, note: str) -> str:
    """The table with its command and machine."""
    machine = provenance.machine()
    lines = [
        "# Training steps at the shape of TikTok",
        "",
        f"`{command}` on {gpu or machine['cpu']}, {torch.get_num_threads()} thread(s), torch "
        f"{torch.__version__}. Medians over the rounds of one run, variants taking turns; "
        "`times reference`: median of the ratios within a round; `of ceiling`: FLOPs of matrix "
        "products per second, over those of a bare product in the same precision and round; "
        f"`spread`: (max - min) / median of a step; `first`: the first step, which "
        f"compiles.{note}",
        "",
        "| model | variant | precision | samples/s | times reference | of ceiling | spread | "
        "first, s |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['model']} | {r['variant']} | {r['precision']} | {r['samples_per_s']:,.0f} | "
        f"{r['times_reference']:.2f} | {r['of_ceiling']:.0%} | {r['spread']:.0%} | "
        f"{r['first_s']:.1f} |"
        for r in table
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--table-rows", type=int, default=ROWS)
    parser.add_argument("--compile", action="store_true", help="time compiled steps too")
    parser.add_argument("--note", default="", help="a sentence on the state of the machine")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose(options.device)
    table = measure(
        options.models,
        options.rounds,
        options.batch_size,
        device,
        options.table_rows,
        options.compile,
    )
    given = [word for word in sys.argv[1:] if word != options.note]
    command = " ".join(["python -m benchmarks.train", *(w for w in given if w != "--note")])
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    text = markdown(table, command, where, f" {options.note}" if options.note else "")
    save(options.out, "train" if device.type == "cpu" else "train_gpu", table, text)


if __name__ == "__main__":
    main()
