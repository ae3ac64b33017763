"""Training: the batch stream, early stopping, best weights, the penalty, what it may see."""

from __future__ import annotations

import ast
import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from stembench import metrics
from stembench.data.batches import Batches, stream
from stembench.data.directory import Part, SplitDirectory
from stembench.errors import StembenchError
from stembench.training.build import build
from stembench.training.fit import bce, fit
from stembench.training.optimizer import add_l2
from stembench.training.predict import predict
from tests.conftest import ROOT
from tests.contract.test_models import demo_spec

CPU = torch.device("cpu")


def test_the_order_of_an_epoch_is_that_of_wide_numbers() -> None:
    """Row numbers are drawn as int32, for memory; the permutation is what int64 would give."""
    part = Part(
        fields=np.arange(3000, dtype=np.int32).reshape(-1, 1),
        labels=np.zeros((3000, 1), np.uint8),
        users=np.zeros(3000, np.int32),
        probabilities=None,
    )
    found = torch.cat([f for f, _ in Batches(part, 64, CPU).shuffled(stream(1, "batches"))])
    wide = torch.randperm(3000, generator=stream(1, "batches"))
    assert found[:, 0].tolist() == wide.tolist()


def test_batch_order_is_a_permutation_that_depends_on_the_seed_alone(split_path: Path) -> None:
    part = SplitDirectory(split_path).part("train")
    batches = Batches(part, 64, CPU)

    def rows(seed: int) -> np.ndarray:
        return torch.cat(
            [fields for fields, _ in batches.shuffled(stream(seed, "batches"))]
        ).numpy()

    torch.manual_seed(0)
    first = rows(1)
    torch.manual_seed(99)  # what a model or dropout draws does not move the batches
    assert np.array_equal(first, rows(1))
    assert not np.array_equal(first, rows(2))
    assert sorted(map(tuple, first)) == sorted(map(tuple, part.fields))
    assert len(batches) == -(-len(part) // 64)


def test_streams_of_one_seed_differ_by_name() -> None:
    names = ("init", "batches", "dropout")
    draws = {torch.rand(1, generator=stream(1, name)).item() for name in names}
    assert len(draws) == 3


def test_best_epoch_is_kept_and_patience_ends_training(split_path: Path, tmp_path: Path) -> None:
    split = SplitDirectory(split_path)
    spec = demo_spec("shared_bottom", lr=0.02, batch_size=64, epochs=40, patience=3)
    history = tmp_path / "history.csv"
    valid = split.part("valid")
    result = fit(split.schema, split.part("train"), valid, spec, history, CPU)
    with history.open() as file:
        rows = list(csv.DictReader(file))
    aucs = [float(row["valid_auc"]) for row in rows]
    assert result.best_epoch == int(np.argmax(aucs)) + 1
    assert result.stopped == "early"
    assert result.epochs_run == len(rows) == result.best_epoch + 3
    logits = predict(result.model, Batches(valid, 100, CPU))
    again = [metrics.auc(valid.labels[:, t], logits[:, t]) for t in range(2)]
    assert np.mean(again) == pytest.approx(max(aucs), abs=1e-12)
    assert max(aucs) > 0.6  # it learns


def test_l2_gradient_equals_that_of_half_lambda_squared_norm(split_path: Path) -> None:
    split = SplitDirectory(split_path)
    fields, labels = next(Batches(split.part("train"), 32, CPU).shuffled(stream(0, "batches")))
    added, automatic = (build(split.schema, demo_spec("stem")) for _ in range(2))
    bce(added(fields), labels).backward()
    add_l2([added.embeddings.weight], 0.3)
    (bce(automatic(fields), labels) + 0.15 * automatic.embeddings.weight.square().sum()).backward()
    torch.testing.assert_close(added.embeddings.weight.grad, automatic.embeddings.weight.grad)


def test_a_loss_that_is_not_finite_is_one_clear_error(
    split_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "stembench.objectives.equal.bce", lambda logits, labels: logits.sum() * np.nan
    )
    split = SplitDirectory(split_path)
    with pytest.raises(StembenchError, match=r"not finite in epoch 1: lower train\.lr"):
        fit(
            split.schema,
            split.part("train"),
            split.part("valid"),
            demo_spec("mmoe"),
            tmp_path / "history.csv",
            CPU,
        )


def test_training_code_cannot_name_the_test_part() -> None:
    tree = ast.parse((ROOT / "src/stembench/training/fit.py").read_text())
    strings = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    assert "test" not in strings
    names = {
        n.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for n in node.names
    }
    assert "SplitDirectory" not in names


def plain_training(split: SplitDirectory, spec: dict) -> tuple[torch.nn.Module, int]:
    """Training on the plain sum, one checkpoint by the mean AUC, written out straight."""
    settings, seed = spec["train"], spec["seed"]
    model = build(split.schema, spec)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings["lr"], fused=True)
    train, valid = split.part("train"), split.part("valid")
    batches, order = Batches(train, settings["batch_size"], CPU), stream(seed, "batches")
    torch.manual_seed(stream(seed, "dropout").initial_seed())
    best, best_epoch, weights = -1.0, 0, {}
    for epoch in range(1, settings["epochs"] + 1):
        model.train()
        for fields, labels in batches.shuffled(order):
            loss = bce(model(fields), labels)
            optimizer.zero_grad()
            loss.backward()
            add_l2([model.embeddings.weight], settings["embedding_l2"])
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings["clip_norm"])
            optimizer.step()
        logits = predict(model, Batches(valid, 4 * settings["batch_size"], CPU))
        auc = np.mean([metrics.auc(valid.labels[:, t], logits[:, t]) for t in range(2)])
        if auc > best:
            best, best_epoch = float(auc), epoch
            weights = {name: value.clone() for name, value in model.state_dict().items()}
        elif epoch - best_epoch >= settings["patience"]:
            break
    model.load_state_dict(weights)
    return model, best_epoch


@pytest.mark.parametrize("model", ["shared_bottom", "stem"])
@pytest.mark.parametrize("diagnostics", [True, False])
@pytest.mark.parametrize("both", [True, False])
def test_equal_and_mean_are_the_plain_training_bit_by_bit(
    split_path: Path, tmp_path: Path, model: str, diagnostics: bool, both: bool
) -> None:
    """Whatever else is looked at, and however much longer the other rule trains."""
    split = SplitDirectory(split_path)
    spec = demo_spec(model, lr=0.02, batch_size=64, epochs=8, patience=1)
    spec["train"] |= {"diagnostics": diagnostics}
    spec["train"]["select"] = {"metric": "auc", "over": "mean", "both": both}
    spec["args"]["dropout"] = 0.2
    expected, best_epoch = plain_training(split, spec)
    history = tmp_path / "history.csv"
    result = fit(split.schema, split.part("train"), split.part("valid"), spec, history, CPU)
    assert result.best_epoch == best_epoch
    found = result.model.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in expected.state_dict().items())
    assert (tmp_path / "diagnostics.csv").exists() == diagnostics
    assert (result.diagnostics is not None) == diagnostics


@pytest.mark.parametrize("objective", ["rlw", "famo", "pcgrad", "gradnorm"])
def test_an_objective_repeats_itself_and_writes_its_weights(
    split_path: Path, tmp_path: Path, objective: str
) -> None:
    split = SplitDirectory(split_path)
    spec = demo_spec(f"shared_bottom_{objective}", batch_size=64, epochs=2, patience=2)
    assert spec["objective"]["name"] == objective
    history = tmp_path / "history.csv"
    parts = split.part("train"), split.part("valid")
    first, second = (fit(split.schema, *parts, spec, history, CPU) for _ in range(2))
    found = second.model.state_dict()
    assert all(torch.equal(v, found[name]) for name, v in first.model.state_dict().items())
    with history.open() as file:
        rows = list(csv.DictReader(file))
    weights = [[float(row[f"weight_{task}"]) for task in split.schema.tasks] for row in rows]
    assert np.isfinite(weights).all()
    assert np.min(weights) > 0
