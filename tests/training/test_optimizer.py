from __future__ import annotations

from typing import Any

import pytest
import torch

from stembench.data.schema import PADDING
from stembench.objectives import bce
from stembench.training.build import build
from stembench.training.optimizer import Optimizer
from tests.conftest import make_fields, make_schema
from tests.contract.test_models import demo_spec

SETTINGS = {"lr": 0.05, "embedding_l2": 0.1, "clip_norm": 0.05, "embedding_optimizer": "rows"}


def network(seed: int = 3) -> Any:
    model: Any = build(make_schema(2), demo_spec("stem", seed))
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def batch(rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    schema = make_schema(2)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (rows, 2), generator=generator).float()
    return torch.from_numpy(make_fields(schema, rows, seed)), labels


def train(model: Any, batches: list[tuple[torch.Tensor, torch.Tensor]], **settings: Any) -> None:
    optimizer = Optimizer(model, SETTINGS | settings)
    for fields, labels in batches:
        optimizer.zero_grad()
        bce(model(fields), labels).backward()
        optimizer.step()


def looked_up(model: Any, fields: torch.Tensor) -> torch.Tensor:
    """Which rows of the table a batch reads; a padded place reads row 0."""
    rows = (fields + model.embeddings.offsets).masked_fill(fields == PADDING, 0)
    return torch.zeros(len(model.embeddings.weight), dtype=torch.bool).index_fill(
        0, rows.flatten().long(), True
    )


def test_rows_is_dense_adam_where_every_batch_has_every_row() -> None:
    batches = [batch(3000, seed) for seed in range(4)]
    models = {name: network() for name in ("rows", "dense")}
    for name, model in models.items():
        # rows that a batch of this size cannot miss, but for those that no field uses
        assert all(
            torch.equal(looked_up(model, f), looked_up(model, batches[0][0])) for f, _ in batches
        )
        # the clip is off: in dense it also counts the penalty on rows that no field uses
        train(model, batches, embedding_optimizer=name, clip_norm=1e9)
    seen = looked_up(models["rows"], batches[0][0])
    rows, dense = models["rows"].state_dict(), models["dense"].state_dict()
    torch.testing.assert_close(
        rows["embeddings.weight"][seen], dense["embeddings.weight"][seen], rtol=1e-4, atol=1e-5
    )
    before = network().embeddings.weight[seen]
    assert (rows["embeddings.weight"][seen] - before).abs().min() > 1e-4  # and it moved


def test_rows_follows_adam_of_each_row_by_itself() -> None:
    """Straight algorithm 1 in float64, row by row, on a model without a clip to bind."""
    batches = [batch(5, seed) for seed in range(6)]
    model = network()
    table = model.embeddings.weight
    train(model, batches, clip_norm=1e9)
    expected = network()
    m, v = (torch.zeros_like(table, dtype=torch.float64) for _ in range(2))
    adam = torch.optim.Adam(
        [p for p in expected.parameters() if p is not expected.embeddings.weight], lr=0.05
    )
    for t, (fields, labels) in enumerate(batches, 1):
        expected.zero_grad()
        bce(expected(fields), labels).backward()
        adam.step()
        weight = expected.embeddings.weight
        gradient = (weight.grad + 0.1 * weight).double()
        for row in looked_up(expected, fields).nonzero().flatten().tolist():
            m[row] = 0.9 * m[row] + 0.1 * gradient[row]
            v[row] = 0.999 * v[row] + 0.001 * gradient[row] ** 2
            step = 0.05 * (m[row] / (1 - 0.9**t)) / ((v[row] / (1 - 0.999**t)).sqrt() + 1e-8)
            weight.data[row] -= step.float()
    torch.testing.assert_close(table, expected.embeddings.weight, rtol=1e-4, atol=2e-5)
    assert len(looked_up(model, batches[0][0]).unique()) == 2  # some rows are not seen


def test_rows_leaves_what_no_batch_looked_up() -> None:
    fields, labels = batch(3, 0)
    rows, dense = network(), network()
    train(rows, [(fields, labels)] * 3)
    train(dense, [(fields, labels)] * 3, embedding_optimizer="dense")
    unseen = ~looked_up(rows, fields)
    start = network().embeddings.weight
    assert unseen.sum() > 10
    assert torch.equal(rows.embeddings.weight[unseen], start[unseen])
    assert not torch.equal(dense.embeddings.weight[unseen], start[unseen])  # the penalty moves them


@pytest.mark.parametrize("kind", ["rows", "dense"])
def test_clip_is_over_all_parameters_together(kind: str) -> None:
    """Adam's first step does not depend on the gradients' scale, but the second moment does."""
    model = network()
    optimizer = Optimizer(model, SETTINGS | {"embedding_optimizer": kind, "embedding_l2": 0.0})
    fields, labels = batch(64, 1)
    bce(model(fields), labels).backward()
    squares = [
        (p.grad.coalesce().values() if p.grad.is_sparse else p.grad).square().sum()
        for p in model.parameters()
    ]
    norm = torch.stack(squares).sum().sqrt()
    assert norm > 0.05
    tower = model.towers[0][0].weight
    wanted = 0.1 * tower.grad * 0.05 / norm
    optimizer.step()
    place = next(i for i, p in enumerate(optimizer._dense) if p is tower)
    found = optimizer._adam.first[place]
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-9)


def test_memory_of_the_moments_is_counted() -> None:
    for kind in ("rows", "dense"):
        model = network()
        optimizer = Optimizer(model, SETTINGS | {"embedding_optimizer": kind})
        fields, labels = batch(64, 1)
        bce(model(fields), labels).backward()
        optimizer.step()
        numbers = sum(p.numel() for p in model.parameters())
        steps = 4 * sum(1 for _ in model.parameters())
        assert 8 * numbers <= optimizer.state_bytes() <= 8 * numbers + steps


def test_dense_is_torchs_adam_bit_by_bit() -> None:
    batches = [batch(50, seed) for seed in range(5)]
    ours, theirs = network(), network()
    train(ours, batches, embedding_optimizer="dense", embedding_l2=0.0, clip_norm=1e9)
    adam = torch.optim.Adam(theirs.parameters(), lr=0.05, fused=True)
    for fields, labels in batches:
        adam.zero_grad()
        bce(theirs(fields), labels).backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1e9)
        adam.step()
    found, wanted = ours.state_dict(), theirs.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
