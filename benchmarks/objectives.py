"""Time of one training step under each objective, relative to the plain sum.

    python benchmarks/objectives.py --model shared_bottom --tasks 3 --batch-size 4096

All objectives run in one process on the same random batch, interleaved (one step of each in turn),
so that a busy machine slows all alike. A step is all that training does with a batch: forward,
gradients, penalty on the tables, clip, Adam, what the objective learns. Prints a Markdown table of
medians and of the median of the ratios to `equal` in the same round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch

from stembench import objectives, params
from stembench.data.schema import FIRST_ID, Field, Schema
from stembench.models.layers import EmbeddingBank
from stembench.training import build


def schema(fields: int, vocabulary: int, tasks: int) -> Schema:
    """Categorical fields of one size."""
    return Schema(
        dataset="random",
        fields=tuple(Field(f"f{i}", "item", "categorical", vocabulary) for i in range(fields)),
        tasks=tuple(f"t{t}" for t in range(tasks)),
    )


def stepper(
    spec: dict[str, object], layout: Schema, fields: torch.Tensor, labels: torch.Tensor
) -> Callable[[], None]:
    """One training step on the batch, as in stembench.training.fit."""
    model = build(layout, spec)
    tables = [m.weight for m in model.modules() if isinstance(m, EmbeddingBank)]
    every = list(model.parameters())
    optimizer = torch.optim.Adam(every, lr=1e-3, fused=True)
    objective = objectives.build(spec, layout.tasks, model, fields[:64])
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        objective.backward(fields, labels)
        with torch.no_grad():
            for table in tables:
                table.grad.add_(table, alpha=1e-6)
        torch.nn.utils.clip_grad_norm_(every, 10.0)
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
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = params.load()
    suite = settings.select()
    layout = schema(options.fields, options.vocabulary, options.tasks)
    spec = params.resolve(settings, suite, options.dataset, options.model, 1).spec
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
    lines = [
        f"{options.model}, T = {options.tasks}, batch {options.batch_size}, {options.fields} "
        f"fields, widths of {options.dataset}, {options.device}, {options.rounds} rounds",
        "",
        "| objective | ms per step | relative to equal |",
        "| --- | ---: | ---: |",
    ]
    for name, values in times.items():
        ratio = statistics.median(v / e for v, e in zip(values, times["equal"], strict=True))
        lines.append(f"| {name} | {1e3 * statistics.median(values):.1f} | {ratio:.2f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
