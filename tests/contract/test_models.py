"""What every model entry of params.yaml must do, whatever its architecture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from stembench.data.directory import SplitDirectory
from stembench.errors import StembenchError
from stembench.models.experts import Gate
from stembench.params import load as params
from stembench.params import resolve
from stembench.params import signatures as params_models
from stembench.training.build import build
from stembench.training.fit import bce, fit
from tests.conftest import ROOT, make_fields, make_schema, write_split

SETTINGS = params.load(ROOT / "params.yaml")
#: Entries with an objective of their own are architectures that are here already.
MODELS = [name for name, entry in SETTINGS.models.items() if entry.objective is None]
CPU = torch.device("cpu")
#: Nets of a few units: these tests are about what holds at any width.
TINY = {
    "embedding_dim": 4,
    "rank": 2,
    "bottom_units": [12, 8],
    "expert_units": [12, 8],
    "gate_units": [4],
    "tower_units": [8],
}


def demo_spec(model: str, seed: int = 3, **train: object) -> dict:
    """The entry's spec in the demo suite: the entry's class with small nets."""
    suite = SETTINGS.select("demo")
    spec = resolve.resolve(SETTINGS, suite, "synthetic_conflict", model, seed).spec
    spec["train"] |= train
    return spec


def tiny_spec(model: str, seed: int = 3, **train: object) -> dict:
    """The entry's spec with the nets of TINY; several layers and experts stay as they are."""
    spec = demo_spec(model, seed, **train)
    spec["args"] |= {name: value for name, value in TINY.items() if name in spec["args"]}
    return spec


def takes(model: str, tasks: int) -> bool:
    """Whether the entry takes that many tasks, if they are nested."""
    spec = demo_spec(model)
    names = make_schema(tasks).tasks
    return params_models.check_tasks(spec["class"], spec["args"], names, True) is None


def some_tasks(model: str) -> int:
    return 3 if takes(model, 3) else 2


def loss_of(network: nn.Module, fields: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return getattr(network, "loss", bce)(network(fields), labels)


def every(*tasks: int) -> list:
    """Entries with each number of tasks that they take."""
    return [(model, count) for model in MODELS for count in tasks if takes(model, count)]


@pytest.mark.parametrize(("model", "tasks"), every(1, 2, 4))
def test_logits_have_a_row_per_row_and_a_column_per_task(model: str, tasks: int) -> None:
    schema = make_schema(tasks)
    logits = build(schema, tiny_spec(model))(torch.from_numpy(make_fields(schema, 7)))
    assert logits.shape == (7, tasks)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


def test_only_esmm_refuses_a_number_of_tasks_and_says_why() -> None:
    assert {model for model in MODELS for count in (1, 2, 4) if not takes(model, count)} == {"esmm"}
    with pytest.raises(StembenchError, match=r"ESMM is defined for 2 tasks, and small has 3 \("):
        build(make_schema(3), tiny_spec("esmm"))


@pytest.mark.parametrize("model", MODELS)
def test_entry_builds_at_the_papers_width(model: str) -> None:
    schema = make_schema(2)
    spec = demo_spec(model)
    suite = SETTINGS.select("kuairand_pure")
    spec["args"] = resolve.resolve(SETTINGS, suite, "movielens", model, 1).spec["args"]
    signature = params_models.signature(spec["class"])
    widths = {name: argument.default for name, argument in signature.items() if "units" in name}
    network = build(schema, spec | {"args": spec["args"] | widths})
    assert max(p.shape[0] for p in network.parameters() if p.dim() == 2) >= 512
    assert network(torch.from_numpy(make_fields(schema, 3))).shape == (3, 2)


@pytest.mark.parametrize(("model", "tasks"), every(1, 2, 3))
def test_every_parameter_gets_a_gradient(model: str, tasks: int) -> None:
    schema = make_schema(tasks)
    network = build(schema, tiny_spec(model)).double()
    torch.manual_seed(0)
    for parameter in network.parameters():  # away from the near-dead start at N(0, 1e-4)
        torch.nn.init.normal_(parameter, std=0.3)
    labels = torch.randint(0, 2, (512, tasks)).double()
    loss_of(network, torch.from_numpy(make_fields(schema, 512)), labels).backward()
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
    first = torch.randint(0, 2, (64,), generator=torch.Generator().manual_seed(1))
    second = torch.randint(0, 2, (64,), generator=torch.Generator().manual_seed(2))
    labels = torch.stack([first, first * second], dim=1).float()  # nested, which all can learn
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(300):
        loss = loss_of(network, fields, labels)
        if loss.item() < 0.1:  # two tasks; chance is 1.2
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pytest.fail(f"loss {loss.item():.3f} after 300 steps")


@pytest.mark.parametrize("model", MODELS)
def test_same_seed_is_bit_equal_and_another_is_not(model: str, tmp_path: Path) -> None:
    split = SplitDirectory(write_split(tmp_path / "small", nested=True))
    train, valid = split.part("train"), split.part("valid")

    def weights(seed: int, name: str) -> dict[str, torch.Tensor]:
        spec = tiny_spec(model, seed, epochs=2, patience=2, batch_size=128)
        spec["args"]["dropout"] = 0.2
        result = fit(split.schema, train, valid, spec, tmp_path / name, CPU)
        return result.model.state_dict()

    first, again, other = weights(3, "a"), weights(3, "b"), weights(4, "c")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("model", MODELS)
def test_dropout_acts_in_training_alone(model: str) -> None:
    schema = make_schema(2)
    spec = tiny_spec(model)
    spec["args"]["dropout"] = 0.5
    network = build(schema, spec)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    fields = torch.from_numpy(make_fields(schema, 32))
    assert not torch.equal(network(fields), network(fields))
    network.eval()
    assert torch.equal(network(fields), network(fields))


@pytest.mark.parametrize("model", MODELS)
def test_a_batch_of_one_row_can_be_trained_on(model: str) -> None:
    schema = make_schema(2)
    network = build(schema, tiny_spec(model)).train()
    logits = network(torch.from_numpy(make_fields(schema, 1)))
    logits.sum().backward()
    assert logits.isfinite().all()


@pytest.mark.parametrize("model", MODELS)
def test_rows_are_predicted_apart_from_each_other(model: str) -> None:
    schema = make_schema(2)
    network = build(schema, tiny_spec(model)).eval()
    fields = torch.from_numpy(make_fields(schema, 16))
    alone = torch.cat([network(fields[i : i + 1]) for i in range(16)])
    torch.testing.assert_close(network(fields), alone, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("model", MODELS)
def test_weights_round_trip_through_safetensors(model: str, tmp_path: Path) -> None:
    schema = make_schema(2)
    network, other = build(schema, tiny_spec(model, 1)), build(schema, tiny_spec(model, 2))
    save_file(network.state_dict(), str(tmp_path / "w.safetensors"))
    other.load_state_dict(load_file(str(tmp_path / "w.safetensors")))
    fields = torch.from_numpy(make_fields(schema, 16))
    assert torch.equal(network(fields), other(fields))


@pytest.mark.parametrize("model", MODELS)
def test_gates_name_their_experts_sources_and_keep_weights_on_request(model: str) -> None:
    schema = make_schema(some_tasks(model))
    network = build(schema, tiny_spec(model))
    fields = torch.from_numpy(make_fields(schema, 6))
    gates = {name: m for name, m in network.named_modules() if isinstance(m, Gate)}
    assert getattr(network, "gate_sources", {}) == {
        name: gate.sources for name, gate in gates.items()
    }
    network(fields)
    assert all(gate.weights is None for gate in gates.values())
    for gate in gates.values():
        gate.record = True
    network(fields)
    for gate in gates.values():
        assert gate.weights.shape == (6, len(gate.sources))
        assert not gate.weights.requires_grad
        torch.testing.assert_close(gate.weights.sum(1), torch.ones(6))
        allowed = {"shared", *schema.tasks}
        assert all(s in allowed or s.startswith("category ") for s in gate.sources)


@pytest.mark.parametrize("path", sorted((ROOT / "src/stembench/models").glob("*.py")), ids=str)
def test_a_model_is_one_short_file_that_imports_only_layers_and_schema(path: Path) -> None:
    text = path.read_text()
    if path.stem not in ("base", "embeddings", "experts", "layers", "linear", "__init__"):
        assert len(text.splitlines()) <= 120
    imports = [
        line
        for line in text.splitlines()
        if line.startswith(("from stembench", "import stembench"))
    ]
    allowed = (
        "from stembench.data.schema",
        "from stembench.errors",
        "from stembench.models.base",
        "from stembench.models.embeddings",
        "from stembench.models.experts",
        "from stembench.models.layers",
        "from stembench.models.linear",
    )
    assert all(line.startswith(allowed) for line in imports)
