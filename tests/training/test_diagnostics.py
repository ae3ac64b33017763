"""Diagnostics: what they measure, by independent calculation, and that they disturb nothing."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from stembench.data.batches import Batches, stream
from stembench.data.directory import SplitDirectory
from stembench.models.experts import Gate
from stembench.objectives import bce, task_bce
from stembench.training.build import build
from stembench.training.diagnostics import Diagnostics, Flops, abundance
from stembench.training.fit import fit
from tests.conftest import make_fields, make_schema
from tests.contract.test_models import MODELS, demo_spec, some_tasks, tiny_spec
from tests.models.sharing import shared_parameters

CPU = torch.device("cpu")


def look(split: SplitDirectory, model: nn.Module, path: Path) -> Diagnostics:
    batches = Batches(split.part("train"), 64, CPU)
    return Diagnostics(split.schema, model, batches, 3, path)


def warm(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def test_abundance_is_that_of_the_singular_values() -> None:
    table = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 6))).float()
    s = np.linalg.svd(table.numpy().astype(np.float64), compute_uv=False)
    assert abundance(table) == pytest.approx(s.sum() / s.max(), rel=1e-6)
    assert abundance(torch.eye(4)) == pytest.approx(4.0)
    line = torch.outer(torch.arange(1.0, 9.0), torch.tensor([1.0, -2.0, 0.5]))
    assert abundance(line) == pytest.approx(1.0, abs=1e-5)
    assert abundance(torch.zeros(5, 3)) == 0.0


@pytest.mark.parametrize("model", MODELS)
def test_looking_disturbs_nothing(model: str, split_path: Path, tmp_path: Path) -> None:
    split = SplitDirectory(split_path)
    spec = demo_spec(model)
    spec["args"]["dropout"] = 0.2
    network = warm(build(split.schema, spec))
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    look(split, network, tmp_path / "d.csv").epoch(1)
    assert torch.equal(state, torch.get_rng_state())
    assert network.training
    assert all(torch.equal(value, before[n]) for n, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(gate.record for gate in network.modules() if isinstance(gate, Gate))


def test_cosines_and_gates_by_hand(split_path: Path, tmp_path: Path) -> None:
    split = SplitDirectory(split_path)
    network = warm(build(split.schema, demo_spec("stem")))
    look(split, network, tmp_path / "d.csv").epoch(1)
    with (tmp_path / "d.csv").open() as file:
        found = {(r["quantity"], r["task"], r["source"]): float(r["value"])
                 for r in csv.DictReader(file)}  # fmt: skip
    part = split.part("train")
    rows = torch.randperm(len(part), generator=stream(3, "diagnostics"))[:128]
    shared = shared_parameters(network)
    cosines, weights = [], []
    gates = [g for n, g in network.named_modules() if isinstance(g, Gate) and "gates." in n]
    network.eval()
    for gate in gates:
        gate.record = True
    for chosen in rows.split(64):
        fields = torch.from_numpy(part.fields)[chosen]
        labels = torch.from_numpy(part.labels)[chosen].float()
        losses = task_bce(network(fields), labels)
        a, b = (
            torch.cat([g.flatten() for g in torch.autograd.grad(x, shared, retain_graph=True)])
            for x in losses
        )
        cosines.append(float(a @ b / a.norm() / b.norm()))
        weights.append([gate.weights.mean(0) for gate in gates])
    tasks = split.schema.tasks
    assert found["cosine_dense", *tasks] == pytest.approx(np.mean(cosines), rel=1e-4)
    assert -1 <= found["cosine_embedding", *tasks] <= 1
    for t, task in enumerate(tasks):
        mean = torch.stack([w[t] for w in weights]).mean(0)
        for source in (*tasks, "shared"):
            places = [i for i, owner in enumerate(gates[t].sources) if owner == source]
            assert found["gate", task, source] == pytest.approx(float(mean[places].sum()), rel=1e-4)
        assert sum(v for k, v in found.items() if k[:2] == ("gate", task)) == pytest.approx(1.0)


@pytest.mark.parametrize("model", ["single_task", "shared_bottom", "ple", "stem"])
def test_summary_of_a_training(model: str, split_path: Path, tmp_path: Path) -> None:
    split = SplitDirectory(split_path)
    spec = demo_spec(model, batch_size=64, epochs=3, patience=3)
    parts = split.part("train"), split.part("valid")
    result = fit(split.schema, *parts, spec, tmp_path / "history.csv", CPU)
    found = result.diagnostics
    assert found is not None
    size = sum(p.numel() for p in result.model.parameters())
    assert found["memory_bytes"]["parameters"] == 4 * size
    # Adam: two moments a parameter, and a step count each.
    counts = 4 * len(list(result.model.parameters()))
    assert found["memory_bytes"]["optimizer"] == 2 * 4 * size + counts
    fields = [field.name for field in split.schema.fields]
    assert all(list(by_field) == fields for by_field in found["abundance"].values())
    owners = {
        "single_task": ["task_0", "task_1"], "stem": ["task_0", "task_1", "shared"],
    }.get(model, ["shared"])  # fmt: skip
    assert list(found["abundance"]) == owners
    width = spec["args"]["embedding_dim"]
    assert all(1 <= v <= width for table in found["abundance"].values() for v in table.values())
    assert ("gate" in found) == (model in ("ple", "stem"))
    assert ("cosine_dense" in found) == (model != "single_task")
    assert found["flops_per_sample"]["step"] > 2 * found["flops_per_sample"]["forward"]
    with (tmp_path / "diagnostics.csv").open() as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        if int(line["epoch"]) == result.best_epoch:
            value = found[line["quantity"]][line["task"]][line["source"]]
            assert float(line["value"]) == value


def test_flops_of_a_plain_network_are_twice_its_multiplications(
    split_path: Path, tmp_path: Path
) -> None:
    split = SplitDirectory(split_path)
    spec = demo_spec("shared_bottom", batch_size=64, epochs=1)
    parts = split.part("train"), split.part("valid")
    result = fit(split.schema, *parts, spec, tmp_path / "history.csv", CPU)
    weights = sum(m.weight.numel() for m in result.model.modules() if isinstance(m, nn.Linear))
    pooled = 3 * spec["args"]["embedding_dim"]  # the bag's mean is a product too
    assert result.diagnostics["flops_per_sample"]["forward"] == 2 * (weights + pooled)


@pytest.mark.parametrize("model", MODELS)
def test_flops_are_those_that_torch_counts(model: str) -> None:
    schema = make_schema(some_tasks(model))
    network = build(schema, tiny_spec(model))
    fields = torch.from_numpy(make_fields(schema, 32))
    labels = torch.zeros(32, schema.num_tasks)
    found = []
    for counter in (Flops(), FlopCounterMode(display=False)):
        with counter:
            getattr(network, "loss", bce)(network(fields), labels).backward()
        found.append(counter.total if isinstance(counter, Flops) else counter.get_total_flops())
    assert found[0] == found[1] > 0


@pytest.mark.parametrize("model", ["stem", "shared_bottom_pcgrad"])
def test_a_cell_loads_neither_the_compiler_nor_sympy(
    model: str, split_path: Path, tmp_path: Path
) -> None:
    """It takes a second, and nothing is compiled."""
    spec = demo_spec(model, epochs=1)
    code = f"""
import json, sys
from pathlib import Path
from stembench.cells.train import train_cell
spec = json.loads({json.dumps(json.dumps(spec))})
run = train_cell(spec, "0", "tiny", Path({str(split_path)!r}), Path({str(tmp_path / "run")!r}))
assert run["diagnostics"]["flops_per_sample"]["step"] > 0
assert "torch._dynamo" not in sys.modules
assert "sympy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
