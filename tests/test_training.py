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
from stembench.data.splits import Part, SplitDirectory
from stembench.errors import StembenchError
from stembench.training import _add_l2, bce, build, fit, predict
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
    _add_l2([added.embeddings.weight], 0.3)
    (bce(automatic(fields), labels) + 0.15 * automatic.embeddings.weight.square().sum()).backward()
    torch.testing.assert_close(added.embeddings.weight.grad, automatic.embeddings.weight.grad)


def test_a_loss_that_is_not_finite_is_one_clear_error(
    split_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stembench.training.bce", lambda logits, labels: logits.sum() * np.nan)
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
    tree = ast.parse((ROOT / "src/stembench/training.py").read_text())
    strings = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    assert "test" not in strings
    names = {
        n.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for n in node.names
    }
    assert "SplitDirectory" not in names
