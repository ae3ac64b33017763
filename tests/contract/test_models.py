"""What every model entry of params.yaml must do, whatever its architecture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stembench import params
from stembench.data.splits import SplitDirectory
from stembench.training import bce, build, fit
from tests.conftest import ROOT, make_fields, make_schema, write_split

SETTINGS = params.load(ROOT / "params.yaml")
#: Entries with an objective of their own are architectures that are here already.
MODELS = [name for name, entry in SETTINGS.models.items() if entry.objective is None]
CPU = torch.device("cpu")


def demo_spec(model: str, seed: int = 3, **train: object) -> dict:
    """The entry's spec in the demo suite: the entry's class with small nets."""
    suite = SETTINGS.select("demo")
    spec = params.resolve(SETTINGS, suite, "synthetic_conflict", model, seed).spec
    spec["train"] |= train
    return spec


@pytest.mark.parametrize("tasks", [1, 2, 4])
@pytest.mark.parametrize("model", MODELS)
def test_logits_have_a_row_per_row_and_a_column_per_task(model: str, tasks: int) -> None:
    schema = make_schema(tasks)
    logits = build(schema, demo_spec(model))(torch.from_numpy(make_fields(schema, 7)))
    assert logits.shape == (7, tasks)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@pytest.mark.parametrize("model", MODELS)
def test_entry_builds_at_the_papers_width(model: str) -> None:
    schema = make_schema(2)
    spec = demo_spec(model)
    suite = SETTINGS.select("kuairand_pure")
    spec["args"] = params.resolve(SETTINGS, suite, "kuairand_pure", model, 1).spec["args"]
    logits = build(schema, spec)(torch.from_numpy(make_fields(schema, 3)))
    assert logits.shape == (3, 2)


@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("model", MODELS)
def test_every_parameter_gets_a_gradient(model: str, tasks: int) -> None:
    schema = make_schema(tasks)
    network = build(schema, demo_spec(model))
    torch.manual_seed(0)
    for parameter in network.parameters():  # away from the near-dead start at N(0, 1e-4)
        torch.nn.init.normal_(parameter, std=0.3)
    labels = torch.randint(0, 2, (512, tasks)).float()
    bce(network(torch.from_numpy(make_fields(schema, 512))), labels).backward()
    dead = [
        name
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
        and (parameter.grad is None or not parameter.grad.abs().sum() > 0)
    ]
    assert dead == []


@pytest.mark.parametrize("model", MODELS)
def test_overfits_64_rows(model: str) -> None:
    schema = make_schema(2)
    network = build(schema, demo_spec(model))
    fields = torch.from_numpy(make_fields(schema, 64))
    labels = torch.randint(0, 2, (64, 2), generator=torch.Generator().manual_seed(1)).float()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(300):
        loss = bce(network(fields), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1  # two tasks; chance is 1.39


@pytest.mark.parametrize("model", MODELS)
def test_same_seed_is_bit_equal_and_another_is_not(model: str, tmp_path: Path) -> None:
    split = SplitDirectory(write_split(tmp_path / "small"))
    train, valid = split.part("train"), split.part("valid")

    def weights(seed: int, name: str) -> dict[str, torch.Tensor]:
        spec = demo_spec(model, seed, epochs=2, patience=2, batch_size=64)
        spec["args"]["dropout"] = 0.2
        result = fit(split.schema, train, valid, spec, tmp_path / name, CPU)
        return result.model.state_dict()

    first, again, other = weights(3, "a"), weights(3, "b"), weights(4, "c")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("model", MODELS)
def test_weights_round_trip_through_safetensors(model: str, tmp_path: Path) -> None:
    schema = make_schema(2)
    network, other = build(schema, demo_spec(model, 1)), build(schema, demo_spec(model, 2))
    save_file(network.state_dict(), str(tmp_path / "w.safetensors"))
    other.load_state_dict(load_file(str(tmp_path / "w.safetensors")))
    fields = torch.from_numpy(make_fields(schema, 16))
    assert torch.equal(network(fields), other(fields))


@pytest.mark.parametrize("path", sorted((ROOT / "src/stembench/models").glob("*.py")), ids=str)
def test_a_model_is_one_short_file_that_imports_only_layers_and_schema(path: Path) -> None:
    text = path.read_text()
    if path.stem not in ("embeddings", "layers", "__init__"):
        assert len(text.splitlines()) <= 120
    imports = [
        line
        for line in text.splitlines()
        if line.startswith(("from stembench", "import stembench"))
    ]
    allowed = (
        "from stembench.data.schema",
        "from stembench.errors",
        "from stembench.models.embeddings",
        "from stembench.models.layers",
    )
    assert all(line.startswith(allowed) for line in imports)
