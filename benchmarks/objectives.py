"""Time of one training step under each objective, relative to the plain sum.

    python -m benchmarks.objectives --model shared_bottom --tasks 3 --batch-size 4096

All objectives run in one process on the same random batch, interleaved (one step of each in turn),
so that a busy machine slows all alike. A step is all that training does with a batch: forward,
gradients, penalty on the tables, clip, Adam, what the objective learns. Writes medians, and the
median of the ratios to `equal` in the same round, to results/benchmarks/objectives.csv and .md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.output import save
from stembench import objectives, provenance
from stembench.data.schema import FIRST_ID, Field, Schema
from stembench.params import load as params
from stembench.params import resolve
from stembench.training.build import build
from stembench.training.optimizer import Optimizer


def schema(fields: int, vocabulary: int, tasks: int) -> Schema:
    """Categorical fields of one size."""
    return Schema(
        dataset="random",
        fields=tuple(Field(f"f{i}", "item", "categorical", vocabulary) for i in range(fields)),
        tasks=tuple(f"t{t}" for t in range(tasks)),
    )


def stepper(
    spec: dict[str, Any], layout: Schema, fields: torch.Tensor, labels: torch.Tensor
) -> Callable[[], None]:
    """One training step on the batch, as in stembench.training.fit.fit."""
    model = build(layout, spec)
    optimizer = Optimizer(model, spec["train"])
    objective = objectives.build(spec, layout.tasks, model, fields[:64])
    model.train()

    def step() -> None:
        optimizer.zero_grad()
        objective.backward(fields, labels)
        optimizer.step()
        objective.after_step(fields, labels)
        if fields.is_cuda:
            torch.cuda.synchronize()

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="shared_bottom", help="an entry of params.yaml")
    parser.add_argument("--dataset", default="kuairand_pure_sample", help="whose widths are taken")
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--fields", type=int, default=36)
    parser.add_argument("--vocabulary", type=int, default=2000, help="rows of each field's table")
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--note", default="", help="a sentence on the state of the machine")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = params.load()
    suite = settings.select()
    layout = schema(options.fields, options.vocabulary, options.tasks)
    spec = resolve.resolve(settings, suite, options.dataset, options.model, 1).spec
    generator = torch.Generator().manual_seed(0)
    size = (options.batch_size, options.fields)
    fields = torch.randint(FIRST_ID, options.vocabulary, size, generator=generator).int()
    labels = torch.randint(0, 2, (options.batch_size, options.tasks), generator=generator).float()
    fields, labels = fields.to(options.device), labels.to(options.device)
    steps = {}
    with torch.device(options.device):
        for name, entry in settings.objectives.items():
            spec["objective"] = {"name": name, "class": entry.class_, "args": entry.args}
            steps[name] = stepper(spec, layout, fields, labels)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(options.rounds + 2):
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            if round_ >= 2:  # the first steps make buffers
                times[name].append(time.perf_counter() - begun)
    table = [
        {
            "objective": name,
            "ms_per_step": 1e3 * statistics.median(values),
            "times_equal": statistics.median(
                v / e for v, e in zip(values, times["equal"], strict=True)
            ),
        }
        for name, values in times.items()
    ]
    note = f" {options.note}" if options.note else ""
    lines = [
        "# Training steps by objective",
        "",
        f"`python -m benchmarks.objectives --model {options.model} --tasks {options.tasks} "
        f"--batch-size {options.batch_size} --rounds {options.rounds}` on "
        f"{provenance.machine()['cpu']}, {options.threads} thread(s), {options.device}: "
        f"{options.model} with the widths of {options.dataset}, {options.fields} fields of "
        f"{options.vocabulary} rows. Medians over the rounds of one run, objectives taking "
        f"turns.{note}",
        "",
        "| objective | ms per step | relative to equal |",
        "| --- | ---: | ---: |",
    ]
    lines += [
        f"| {r['objective']} | {r['ms_per_step']:.1f} | {r['times_equal']:.2f} |" for r in table
    ]
    save(options.out, "objectives", table, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
