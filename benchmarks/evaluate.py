"""Time to evaluate predictions, against scikit-learn; forward against training.

    python -m benchmarks.evaluate --rows 1000000

One million rows, two tasks, 50 rows a user on average: AUC, gAUC, log loss and calibration of
`stembench.metrics`, and the same four by scikit-learn, gAUC by a loop over users, which is timed on
some of the users and scaled up to all. Then rows/s of a forward pass of STEM at the shape of
`benchmarks/train.py` against those of its training step, both on one batch, taking turns.
Writes results/benchmarks/evaluate.csv and .md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from benchmarks.output import save
from benchmarks.train import ours, random_rows, shape
from stembench import provenance
from stembench.metrics import evaluate_task
from stembench.training.memory import keep_freed_memory

TASKS, ROWS_PER_USER = 2, 50


def predictions(rows: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Labels and logits (rows, T), users (rows,)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(-1.5, 1.0, (rows, TASKS)).astype(np.float32)
    labels = (rng.random((rows, TASKS)) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    return labels, logits, rng.integers(0, max(2, rows // ROWS_PER_USER), rows).astype(np.int32)


def reference(
    labels: NDArray[Any], logits: NDArray[Any], users: NDArray[Any], share: float
) -> float:
    """Seconds of the four metrics of a task; the loop over users is scaled up from a share."""
    begun = time.perf_counter()
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    roc_auc_score(labels, probabilities)
    log_loss(labels, probabilities)
    probabilities.sum() / labels.sum()
    whole = time.perf_counter() - begun
    distinct = np.unique(users)
    some = distinct[: max(1, int(share * len(distinct)))]
    begun = time.perf_counter()
    order = np.argsort(users, kind="stable")
    ends = np.searchsorted(users[order], distinct, side="right")
    starts = np.concatenate([[0], ends[:-1]])
    for user in range(len(some)):
        rows = order[starts[user] : ends[user]]
        if 0 < labels[rows].sum() < len(rows):
            roc_auc_score(labels[rows], probabilities[rows])
    return whole + (time.perf_counter() - begun) * len(distinct) / len(some)


def repeat(work: Callable[[], object], times: int) -> list[float]:
    """Seconds of each call."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return found


def measure(rows: int, rounds: int, batch: int, share: float) -> list[dict[str, Any]]:
    """A row per quantity: seconds or rows/s, and the ratio to its reference."""
    labels, logits, users = predictions(rows)

    def mine() -> None:
        for t in range(TASKS):
            evaluate_task(labels[:, t], logits[:, t], users)

    mine()
    seconds = statistics.median(repeat(mine, rounds))
    theirs = sum(reference(labels[:, t], logits[:, t], users, share) for t in range(TASKS))
    table = [
        {"quantity": f"metrics of {rows:,} rows, {TASKS} tasks", "unit": "s", "value": seconds,
         "reference": theirs, "ratio": theirs / seconds},
    ]  # fmt: skip
    keep_freed_memory()
    schema = shape()
    data = random_rows(schema, batch)
    step, _, network = ours(schema, "stem", data, batch)
    fields = torch.from_numpy(data[0])

    def forward() -> None:
        network.eval()
        with torch.inference_mode():
            network(fields)
        network.train()

    step(), forward()
    turns = [(repeat(step, 1)[0], repeat(forward, 1)[0]) for _ in range(rounds)]
    trained, predicted = (batch / statistics.median(side) for side in zip(*turns, strict=True))
    ratio = statistics.median(a / b for a, b in turns)
    table.append({"quantity": "forward pass of STEM", "unit": "rows/s", "value": predicted,
                  "reference": trained, "ratio": ratio})  # fmt: skip
    return table


def markdown(table: list[dict[str, Any]], command: str, note: str) -> str:
    """The table with its command and machine."""
    machine = provenance.machine()
    lines = [
        "# Evaluation",
        "",
        f"`{command}` on {machine['cpu']}, {torch.get_num_threads()} thread(s). Medians. Reference "
        "of the metrics: scikit-learn, with a loop over users for gAUC, scaled up from some of "
        f"them; of the forward pass: the training step.{note}",
        "",
        "| quantity | unit | stembench | reference | ratio |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['quantity']} | {r['unit']} | {r['value']:,.4g} | {r['reference']:,.4g} | "
        f"{r['ratio']:.2f} |"
        for r in table
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--users-share", type=float, default=0.05, help="of the loop over users")
    parser.add_argument("--note", default="", help="a sentence on the state of the machine")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = measure(options.rows, options.rounds, options.batch_size, options.users_share)
    command = f"python -m benchmarks.evaluate --rows {options.rows}"
    text = markdown(table, command, f" {options.note}" if options.note else "")
    save(options.out, "evaluate", table, text)


if __name__ == "__main__":
    main()
