"""Embedding tables and their sizes, gates, batch normalisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stembench.data.schema import Field, Schema
from stembench.models.embeddings import EmbeddingBank, table_width
from stembench.models.experts import Gate
from stembench.models.layers import BatchNorm
from stembench.training.build import build
from tests.conftest import make_schema
from tests.contract.test_models import tiny_spec


@pytest.mark.parametrize(
    ("budget", "copies", "tasks", "width"),
    [
        ("table", 3, 2, 16),
        ("one", 1, 2, 16),
        ("one", 3, 2, 5),  # 16 / 3 = 5.33
        ("one", 4, 3, 4),
        ("stem", 1, 2, 48),
        ("stem", 2, 2, 24),
        ("stem", 3, 3, 21),  # 64 / 3 = 21.33
        ("stem", 4, 3, 16),
        ("one", 32, 31, 1),  # 0.5, halves up
        ("one", 100, 99, 1),  # never 0
    ],
)
def test_width_of_a_table(budget: str, copies: int, tasks: int, width: int) -> None:
    assert table_width(16, copies, tasks, budget) == width


@given(st.integers(1, 64), st.integers(1, 12), st.integers(1, 11))
def test_a_budget_is_met_to_half_a_column_a_table(dim: int, copies: int, tasks: int) -> None:
    for budget, total in (("one", dim), ("stem", dim * (tasks + 1))):
        width = table_width(dim, copies, tasks, budget)
        assert width == 1 or abs(width * copies - total) <= copies / 2


#: Entry -> embedding columns per row for three tasks and d = 16: tables times width.
COLUMNS = {
    "shared_bottom": 16,
    "mmoe": 16,
    "single_task": 3 * 16,
    "stem": 4 * 16,
    "me_ple": 4 * 16,
    "me_mmoe": 4 * 16,
    "me_shared_bottom": 4 * 16,
    "stem_shared_only": 16,
    "stem_task_only": 3 * 16,
    "stem_narrow": 4 * 4,
    "shared_bottom_wide": 64,
    "mmoe_wide": 64,
    "ple_wide": 64,
    "stem_shared_only_wide": 64,
    "single_task_wide": 3 * 21,
    "single_task_matched_wide": 3 * 21,
    "stem_task_only_wide": 3 * 21,
}


@pytest.mark.parametrize("entry", list(COLUMNS))
def test_embedding_parameters_of_an_entry(entry: str) -> None:
    schema = make_schema(3)
    spec = tiny_spec(entry)
    spec["args"]["embedding_dim"] = 16
    bank = build(schema, spec).embeddings
    assert bank.weight.numel() == schema.num_rows * COLUMNS[entry]


def test_matched_single_task_has_the_experts_that_a_stem_task_trains() -> None:
    matched, stem = (tiny_spec(entry)["args"] for entry in ("single_task_matched", "stem"))
    assert matched["bottoms_per_task"] == stem["num_shared_experts"] + stem["num_specific_experts"]


def test_the_bank_reads_a_fields_size_and_columns_and_no_kind() -> None:
    kinds = ("categorical", "numeric", "bag")
    fields = tuple(Field(k, "user", k, 5, 2 if k == "bag" else 1) for k in kinds)
    bank = EmbeddingBank(Schema("small", fields, ("a",)), 2)
    (x,) = bank(torch.tensor([[1, 2, 3, -1]], dtype=torch.int32))
    expected = bank.weight[[1, 5 + 2, 10 + 3]].flatten()
    torch.testing.assert_close(x[0], expected)


def test_a_gate_keeps_its_last_weights_only_on_request() -> None:
    gate = Gate(3, [], ["a", "shared"])
    outputs = [torch.zeros(4, 2), torch.ones(4, 2)]
    x = torch.randn(4, 3)
    mixed = gate(x, outputs)
    assert gate.weights is None
    gate.record = True
    assert torch.equal(gate(x, torch.stack(outputs, dim=1)), mixed)
    torch.testing.assert_close(gate.weights[:, 1:].expand(4, 2), mixed)
    assert not gate.weights.requires_grad
    assert "weights" not in gate.state_dict()


def test_batch_norm_of_one_row_uses_the_running_statistics() -> None:
    layer = BatchNorm(3)
    rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 2 + 1
    torch.testing.assert_close(layer(rows), torch.nn.BatchNorm1d(3)(rows))
    mean, var = layer.running_mean.clone(), layer.running_var.clone()
    expected = (rows[:1] - mean) / (var + layer.eps).sqrt()
    torch.testing.assert_close(layer(rows[:1]), expected)
    assert torch.equal(layer.running_mean, mean)
    assert np.isfinite(layer(rows[:1]).detach().numpy()).all()
