"""Differences between two models of a suite, user by user, streamed run by run.

In memory are the influences of one model (kept as the other side of each pair) and those of one
more, never those of the suite.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stembench.analysis.runs import Cell, Group
from stembench.data.directory import Part
from stembench.errors import StembenchError
from stembench.stats import INFLUENCES, Influence

#: (task, metric) -> what the users contribute to it in one run
Measured = dict[tuple[str, str], Influence]


class Pair(NamedTuple):
    """Two models on one task and metric, over the S seeds that both have.

    a, b: the metric of each seed (S,); d: a - b by seed and user (S, G); n_rows and n_pos: of the
    test part.
    """

    dataset: str
    task: str
    metric: str
    model_a: str
    model_b: str
    seeds: list[int]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    d: NDArray[np.float64]
    n_rows: int
    n_pos: int


def test_part(group: Group) -> Part:
    """The test part of a data set; raises StembenchError where its split is not there."""
    return part_of(group, "test")


def part_of(group: Group, name: str) -> Part:
    """The part `test` or `unbiased` of a data set; raises StembenchError where it is not there."""
    if group.split is None or name not in ("test", *group.parts):
        raise StembenchError(
            f"the split of {group.dataset} has no part {name}: make it with `stembench data`"
        )
    return group.parts.get(name) or group.split.part("test")


def read_logits(cell: Cell, part: Part, name: str = "test") -> NDArray[np.float32]:
    """Logits (N, T) of a run on the part of that name, mapped.

    Raises StembenchError if they are not of that part.
    """
    path = cell.path / f"{name}_logits.npy"
    try:
        logits: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StembenchError(
            f"{path} cannot be read ({error}): delete the run, repeat it"
        ) from None
    if logits.dtype != np.float32 or logits.shape != part.labels.shape:
        raise StembenchError(f"{path} is not of the present split: delete the run, repeat it")
    return logits


def pairs(
    group: Group, reference: str, metrics: Sequence[str], name: str = "test"
) -> Iterator[Pair]:
    """The reference against each other model that shares two or more sound runs' seeds with it.

    metrics: keys of `stats.INFLUENCES`; name: of the part of the split.
    """
    part = part_of(group, name)
    ours = {
        cell.seed: _measure(cell, part, name, group.tasks, metrics)
        for cell in group.sound(reference)
    }
    for model in group.models:
        cells = [cell for cell in group.sound(model) if cell.seed in ours]
        if model == reference or len(cells) < 2:
            continue
        theirs = {cell.seed: _measure(cell, part, name, group.tasks, metrics) for cell in cells}
        seeds = list(theirs)
        for t, task in enumerate(group.tasks):
            for metric in metrics:
                a = [ours[seed][task, metric] for seed in seeds]
                b = [theirs[seed][task, metric] for seed in seeds]
                yield Pair(
                    dataset=group.dataset,
                    task=task,
                    metric=metric,
                    model_a=reference,
                    model_b=model,
                    seeds=seeds,
                    a=np.array([x.value for x in a]),
                    b=np.array([x.value for x in b]),
                    d=np.stack([x.d - y.d for x, y in zip(a, b, strict=True)]),
                    n_rows=len(part),
                    n_pos=int(part.labels[:, t].sum()),
                )


def _measure(
    cell: Cell, part: Part, name: str, tasks: Sequence[str], metrics: Sequence[str]
) -> Measured:
    logits = read_logits(cell, part, name)
    return {
        (task, metric): INFLUENCES[metric](part.labels[:, t], logits[:, t], part.users)
        for t, task in enumerate(tasks)
        for metric in metrics
    }
