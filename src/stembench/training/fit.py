"""Fit one model on the training part, select its epoch on the validation part.

Nothing here can reach the test part: `fit` gets the two parts it may see and nothing else.
"""

from __future__ import annotations

import csv
import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from stembench import metrics, objectives
from stembench.data.batches import Batches, stream
from stembench.data.directory import Part
from stembench.data.schema import Schema
from stembench.errors import StembenchError
from stembench.models.base import require_nested
from stembench.objectives import bce
from stembench.progress import Bar
from stembench.training import checkpoints, compiled, precision
from stembench.training.build import build
from stembench.training.diagnostics import Diagnostics
from stembench.training.memory import give_back_freed_memory
from stembench.training.optimizer import Optimizer
from stembench.training.predict import predict
from stembench.training.selection import Choice, Rule, Selection

__all__ = [
    "Fit",
    "bce",
    "fit",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fit:
    """Outcome of `fit`.

    choices: what each selection rule kept, the suite's own first; the model holds its weights of
    `best_epoch` (1-based). precision: of the matrix products in training. diagnostics: for
    run.json, None where they are switched off.
    """

    model: nn.Module
    choices: dict[Rule, Choice]
    epochs_run: int
    seconds: float
    samples_per_s: float
    precision: str
    diagnostics: dict[str, Any] | None

    @property
    def choice(self) -> Choice:
        """Of the suite's own rule."""
        return next(iter(self.choices.values()))

    @property
    def best_epoch(self) -> int:
        """The last epoch that weights are kept from."""
        return self.choice.best_epoch

    @property
    def stopped(self) -> str:
        """Why the suite's own rule ended: early or max_epochs."""
        return self.choice.stopped


def fit(
    schema: Schema,
    train: Part,
    valid: Part,
    spec: dict[str, Any],
    history: Path,
    device: torch.device,
) -> Fit:
    """Train until the selection rules find no better validation AUC for `patience` epochs.

    Adam on the objective's gradient and the penalty on the tables, see `optimizer`. A line per
    epoch goes to `history` (CSV) at once, so that a running cell can be watched; beside it lie
    diagnostics.csv and the checkpoints that the rules may choose. Raises StembenchError when the
    loss is not finite, the objective makes no sense for the model, or the model needs nested labels
    and they are not; OSError when the disk is full.
    """
    settings, seed = spec["train"], spec["seed"]
    model = build(schema, spec).to(device)
    require_nested(model, schema, train.labels)
    dtype = precision.choose(settings["precision"], device)
    precision.train_in(model, dtype)
    optimizer = Optimizer(model, settings)
    batches = Batches(train, settings["batch_size"], device)
    holdout = Batches(valid, settings["batch_size"], device)
    folder = history.parent
    objective = objectives.build(spec, schema.tasks, model, batches.fields[:64])
    selection = Selection(settings["select"], settings["patience"], schema.num_tasks)
    if settings["compile"]:
        compiled.compile_steps(model, objective, settings["batch_size"], device)
    diagnostics = None
    if settings["diagnostics"]:
        diagnostics = Diagnostics(schema, model, batches, seed, folder / "diagnostics.csv")
    order = stream(seed, "batches")
    torch.manual_seed(stream(seed, "dropout").initial_seed())

    started, trained_s, epoch, epochs = time.perf_counter(), 0.0, 0, settings["epochs"]
    bar = Bar(f"epoch 1/{epochs}", epochs * len(batches), "batches")
    with _History(history, schema, objective) as rows, bar:
        for epoch in range(1, epochs + 1):
            begun = time.perf_counter()
            train_loss = _train_epoch(model, optimizer, objective, batches, order, bar) / len(train)
            if not np.isfinite(train_loss):
                raise StembenchError(
                    f"the training loss of {spec['model']} on {spec['dataset']}, seed {seed}, is "
                    f"not finite in epoch {epoch}: lower train.lr or train.clip_norm"
                )
            trained = time.perf_counter() - begun
            optimizer.zero_grad()  # nothing needs them before the next step, and they are large
            logits = predict(model, holdout)
            aucs = [metrics.auc(valid.labels[:, t], logits[:, t]) for t in range(schema.num_tasks)]
            auc = float(np.mean(aucs))
            seconds = time.perf_counter() - begun
            trained_s += trained
            rate = len(train) / trained  # of training alone; `seconds` has the validation too
            weights = objective.end_epoch()
            # Write diagnostics first: a reader that sees the epoch's row expects them to be there.
            if diagnostics:
                diagnostics.epoch(epoch)
            rows.write(
                epoch, seconds, rate, [train_loss, auc, *map(float, aucs), *weights.values()]
            )
            bar.say(
                f"epoch {epoch}/{epochs}  loss {train_loss:.5f}  valid auc {auc:.5f}  "
                f"{rate:,.0f} rows/s",
                name=f"epoch {min(epoch + 1, epochs)}/{epochs}",
                rate=f"{rate:,.0f} rows/s",
            )
            done = selection.update(epoch, aucs, partial(checkpoints.save, model, folder, epoch))
            checkpoints.keep_only(folder, selection.kept())
            if done:
                break
    seconds = time.perf_counter() - started
    choices = selection.choices()
    choice = next(iter(choices.values()))
    optimizer_bytes = optimizer.state_bytes()
    del optimizer  # before the weights are read, as its moments are twice their size
    give_back_freed_memory()
    choice.weights[int(np.argmax(choice.epochs))].load_into(model)
    found = diagnostics.summary(choice, objective, optimizer_bytes) if diagnostics else None
    model.zero_grad()
    return Fit(
        model=model,
        choices=choices,
        epochs_run=epoch,
        seconds=seconds,
        samples_per_s=epoch * len(train) / trained_s,
        precision=str(dtype).removeprefix("torch."),
        diagnostics=found,
    )


def _train_epoch(
    model: nn.Module,
    optimizer: Optimizer,
    objective: objectives.Objective,
    batches: Batches,
    order: torch.Generator,
    bar: Bar,
) -> float:
    """Train on all batches once; the sum of the loss over the rows."""
    model.train()
    total = torch.zeros((), device=batches.fields.device)
    for fields, labels in batches.shuffled(order):
        optimizer.zero_grad()
        loss = objective.backward(fields, labels)
        optimizer.step()
        objective.after_step(fields, labels)
        total += loss * len(labels)  # summed on the device: no wait per step
        bar.advance()
    return total.item()


class _History:
    """history.csv, a row per epoch, each on disk as soon as it is written."""

    def __init__(self, path: Path, schema: Schema, objective: objectives.Objective) -> None:
        columns = ["epoch", "time", "seconds", "samples_per_s", "train_loss", "valid_auc"]
        columns += [f"valid_auc_{task}" for task in schema.tasks]
        columns += [f"weight_{task}" for task in schema.tasks if objective.weighs]
        self._file = path.open("w", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(columns)
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, epoch: int, seconds: float, rate: float, values: list[float]) -> None:
        """Seconds of the epoch, training rows per second, then losses, AUCs and weights."""
        self._writer.writerow(
            [epoch, f"{time.time():.3f}", f"{seconds:.4f}", f"{rate:.1f}", *map(repr, values)]
        )
        self._file.flush()
