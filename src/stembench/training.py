"""Fit one model on the training part, select its epoch on the validation part.

Nothing here can reach the test part: `fit` gets the two parts it may see and nothing else.
"""

from __future__ import annotations

import csv
import importlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stembench import metrics
from stembench.data.batches import Batches, stream
from stembench.data.schema import Schema
from stembench.data.splits import Part
from stembench.errors import StembenchError
from stembench.models.layers import EmbeddingBank, require_nested
from stembench.progress import Progress

logger = logging.getLogger(__name__)

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Fit:
    """Outcome of `fit`; the model holds the weights of `best_epoch` (1-based)."""

    model: nn.Module
    best_epoch: int
    epochs_run: int
    stopped: Literal["early", "max_epochs"]
    seconds: float
    samples_per_s: float


def build(schema: Schema, spec: dict[str, Any]) -> nn.Module:
    """The model of a run's spec, its weights drawn from the run's `init` stream."""
    module, name = spec["class"].split(".")
    architecture = getattr(importlib.import_module(f"stembench.models.{module}"), name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(spec["seed"], "init").initial_seed())
        model: nn.Module = architecture(schema, **spec["args"])
    return model


def bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over tasks of the mean binary cross entropy; both (B, T)."""
    losses = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return losses.mean(0).sum()


def predict(model: nn.Module, batches: Batches) -> NDArray[np.float32]:
    """Logits (N, T) in the order of the part, float32, dropout off."""
    model.eval()
    with torch.inference_mode():
        logits = [model(fields).float().cpu() for fields in batches.in_order()]
    return torch.cat(logits).numpy()


def fit(
    schema: Schema,
    train: Part,
    valid: Part,
    spec: dict[str, Any],
    history: Path,
    device: torch.device,
) -> Fit:
    """Train until the validation AUC, averaged over tasks, is no better for `patience` epochs.

    Adam on the summed cross entropy plus (lambda / 2) ||E||^2 over the embedding tables, whose
    gradient lambda * E is added before the clip, as automatic differentiation would. A line per
    epoch goes to `history` (CSV) at once, so that a running cell can be watched. Raises
    StembenchError when the model needs nested labels and they are not, or the loss is not finite.
    """
    settings, seed = spec["train"], spec["seed"]
    model = build(schema, spec).to(device)
    require_nested(model, schema, train.labels)
    tables = [m.weight for m in model.modules() if isinstance(m, EmbeddingBank)]
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=settings["lr"], fused=True)
    batches = Batches(train, settings["batch_size"], device)
    holdout = Batches(valid, 4 * settings["batch_size"], device)
    order = stream(seed, "batches")
    torch.manual_seed(stream(seed, "dropout").initial_seed())
    loss_of: Loss = getattr(model, "loss", bce)

    best_auc, best_epoch, best_weights = -np.inf, 0, None
    started, trained_s, epoch = time.perf_counter(), 0.0, 0
    columns = ["epoch", "time", "seconds", "samples_per_s", "train_loss", "valid_auc"]
    columns += [f"valid_auc_{task}" for task in schema.tasks]
    with history.open("w", newline="") as file, Progress(settings["epochs"], len(batches)) as bar:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        file.flush()
        for epoch in range(1, settings["epochs"] + 1):
            begun = time.perf_counter()
            model.train()
            total = torch.zeros((), device=device)
            for fields, labels in batches.shuffled(order):
                loss = loss_of(model(fields), labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                _add_l2(tables, settings["embedding_l2"])
                nn.utils.clip_grad_norm_(parameters, settings["clip_norm"])
                optimizer.step()
                total += loss.detach() * len(labels)  # summed on the device: no wait per step
                bar.step(len(labels))
            train_loss = total.item() / len(train)
            if not np.isfinite(train_loss):
                raise StembenchError(
                    f"the training loss of {spec['model']} on {spec['dataset']}, seed {seed}, is "
                    f"not finite in epoch {epoch}: lower train.lr or train.clip_norm"
                )
            trained = time.perf_counter() - begun
            logits = predict(model, holdout)
            aucs = [metrics.auc(valid.labels[:, t], logits[:, t]) for t in range(schema.num_tasks)]
            auc = float(np.mean(aucs))
            seconds = time.perf_counter() - begun
            trained_s += trained
            rate = len(train) / trained  # of training alone; `seconds` has the validation too
            writer.writerow(
                [epoch, f"{time.time():.3f}", f"{seconds:.4f}", f"{rate:.1f}"]
                + [repr(value) for value in (train_loss, auc, *map(float, aucs))]
            )
            file.flush()
            bar.epoch(epoch, train_loss, auc, rate)
            if auc > best_auc:
                best_auc, best_epoch = auc, epoch
                best_weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
            elif epoch - best_epoch >= settings["patience"]:
                break
    assert best_weights is not None  # epochs >= 1, and a NaN AUC is refused by metrics.auc
    model.load_state_dict(best_weights)
    return Fit(
        model=model,
        best_epoch=best_epoch,
        epochs_run=epoch,
        stopped="early" if epoch - best_epoch >= settings["patience"] else "max_epochs",
        seconds=time.perf_counter() - started,
        samples_per_s=epoch * len(train) / trained_s,
    )


@torch.no_grad()
def _add_l2(tables: list[nn.Parameter], strength: float) -> None:
    """Add lambda * E, the gradient of (lambda / 2) ||E||^2, to the tables' gradients."""
    if strength > 0:
        for table in tables:
            assert table.grad is not None
            table.grad.add_(table, alpha=strength)
