"""Compiled training steps: the same gradients, the same isolation, and nothing else compiled."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stembench import objectives
from stembench.data.directory import SplitDirectory
from stembench.errors import StembenchError
from stembench.training import compiled, toolchain
from stembench.training.build import build
from stembench.training.fit import fit
from stembench.training.optimizer import Optimizer
from tests.conftest import make_fields, make_schema
from tests.contract.test_models import tiny_spec

BATCH, CPU = 64, torch.device("cpu")

needs_compiler = pytest.mark.usefixtures("compiler")


@pytest.fixture
def compiler() -> None:
    """Skips where compiled steps do not work."""
    if missing := toolchain.missing_for_cpu():
        pytest.skip(f"compiled steps need {missing}")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is compiled stays in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiler"))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    return tmp_path


def network_and_batch(model: str, **train: Any) -> tuple[nn.Module, Any, Tensor, Tensor]:
    """A small network with large weights, its objective, ids and labels."""
    schema, spec = make_schema(2), tiny_spec(model, **train)
    network = build(schema, spec)
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    Optimizer(network, spec["train"])  # it chooses the kind of the tables' gradients
    fields = torch.from_numpy(make_fields(schema, BATCH))
    labels = torch.randint(0, 2, (BATCH, 2)).float()
    return network, objectives.build(spec, schema.tasks, network, fields[:8]), fields, labels


def gradients(network: nn.Module, backward: Callable[[], Any]) -> list[Tensor | None]:
    """What a backward pass leaves, dense."""
    network.zero_grad(set_to_none=True)
    backward()
    found = [p.grad for p in network.parameters()]
    return [g.to_dense() if g is not None and g.is_sparse else g for g in found]


@needs_compiler
@pytest.mark.parametrize("embedding_optimizer", ["dense", "rows"])
def test_gradients_and_isolation_of_stem_are_those_of_plain_steps(
    embedding_optimizer: str, folder: Path
) -> None:
    network, objective, fields, labels = network_and_batch(
        "stem", embedding_optimizer=embedding_optimizer
    )
    network.train()
    plain = gradients(network, lambda: objective.backward(fields, labels))
    compiled.compile_steps(network, objective, BATCH, CPU)
    found = gradients(network, lambda: objective.backward(fields, labels))
    assert len(found) == len(plain)
    for a, b in zip(found, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    one = gradients(network, lambda: network(fields)[:, 0].sum().backward())
    names = [name for name, _ in network.named_parameters()]
    for name, gradient in zip(names, one, strict=True):
        if name.startswith(("layers.0.specific.1", "layers.0.gates.1", "towers.1")):
            assert gradient is None or not gradient.any(), name
        elif name.startswith(("layers.0.specific.0", "layers.0.shared", "towers.0")):
            assert gradient is not None, name
    assert (folder / ".cache/torchinductor").stat().st_mode & 0o777 == 0o700


@needs_compiler
def test_whole_training_batches_are_compiled_and_nothing_else() -> None:
    network, objective, fields, _ = network_and_batch("shared_bottom")
    sizes: list[tuple[int, bool]] = []
    plain = network.forward

    def seen(x: Tensor) -> Tensor:
        sizes.append((len(x), torch.compiler.is_compiling()))
        return plain(x)  # type: ignore[no-any-return]

    network.forward = seen
    compiled.compile_steps(network, objective, BATCH, CPU)
    network.train()
    network(fields[:10])
    network.eval()
    with torch.inference_mode():
        network(fields)
    assert sizes == [(10, False), (BATCH, False)]
    compiling = torch._dynamo.utils.counters["stats"]
    before = compiling["calls_captured"]
    network.train()
    network.forward = plain
    compiled.compile_steps(network, objective, BATCH, CPU)
    network(fields)
    assert compiling["calls_captured"] > before


@needs_compiler
def test_a_compiled_run_learns_as_a_plain_one(split_path: Path, tmp_path: Path) -> None:
    split = SplitDirectory(split_path)
    losses, operations = [], []
    for compile_ in (False, True):
        spec = tiny_spec("shared_bottom", epochs=2, batch_size=BATCH, lr=0.01, compile=compile_)
        history = tmp_path / f"{compile_}.csv"
        parts = split.part("train"), split.part("valid")
        found = fit(split.schema, *parts, spec, history, CPU).diagnostics
        assert found is not None
        operations.append(found["flops_per_sample"])
        with history.open() as file:
            losses.append([float(row["train_loss"]) for row in csv.DictReader(file)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert operations[0] == operations[1]


def test_an_objective_that_takes_gradients_task_by_task_is_refused() -> None:
    network, _, fields, _ = network_and_batch("shared_bottom")
    spec = tiny_spec("shared_bottom_pcgrad")
    objective = objectives.build(spec, make_schema(2).tasks, network, fields[:8])
    with pytest.raises(StembenchError, match="PCGrad takes the gradient of each task apart"):
        compiled.compile_steps(network, objective, BATCH, CPU)


def test_a_missing_compiler_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    network, objective, _, _ = network_and_batch("shared_bottom")
    monkeypatch.setattr(compiled.toolchain, "missing_for_cpu", lambda: "headers: install them")
    expected = "on a CPU needs headers: install them; or set train.compile to false"
    with pytest.raises(StembenchError, match=expected):
        compiled.compile_steps(network, objective, BATCH, CPU)
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StembenchError, match="on a GPU needs the package triton"):
        compiled.compile_steps(network, objective, BATCH, torch.device("cuda"))
