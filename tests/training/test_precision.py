from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stembench.data.directory import SplitDirectory
from stembench.errors import StembenchError
from stembench.objectives import bce, losses_of
from stembench.objectives.shared import TaskBackward
from stembench.training import precision
from stembench.training.build import build
from stembench.training.fit import fit
from tests.conftest import make_fields, make_schema, write_split
from tests.contract.test_models import MODELS, some_tasks, tiny_spec

CPU = torch.device("cpu")


def test_auto_is_bfloat16_where_the_hardware_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for able, found in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(precision, "supports_bfloat16", lambda _, able=able: able)
        assert precision.choose("auto", CPU) == found
        assert precision.choose("float32", CPU) == torch.float32
    with pytest.raises(StembenchError, match="precision is bfloat16, and this cpu has no such"):
        precision.choose("bfloat16", CPU)


def test_the_cpus_own_words_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, able in (({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found)
        assert precision.supports_bfloat16(CPU) is able


@pytest.mark.parametrize("model", MODELS)
def test_training_multiplies_in_bfloat16_and_evaluation_in_float32(model: str) -> None:
    """On any CPU: what has no such products of its own emulates them."""
    schema = make_schema(some_tasks(model))
    spec = tiny_spec(model)
    plain, mixed = build(schema, spec), build(schema, spec)
    torch.manual_seed(0)
    for a, b in zip(plain.parameters(), mixed.parameters(), strict=True):
        torch.nn.init.normal_(a, std=0.3)
        b.data.copy_(a)
    precision.train_in(mixed, torch.bfloat16)
    fields = torch.from_numpy(make_fields(schema, 256))
    labels = torch.randint(0, 2, (256, schema.num_tasks)).float()
    gradients = []
    for network in (plain, mixed):
        logits = network.train()(fields)
        assert logits.dtype == torch.float32
        getattr(network, "loss", bce)(logits, labels).backward()
        found = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        assert {gradient.dtype for gradient in found} == {torch.float32}
        gradients.append(torch.cat(found))
    assert not torch.equal(*gradients)  # three digits each
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99
    mixed.load_state_dict(plain.state_dict())  # the running statistics of batch normalisation
    with torch.no_grad():
        assert torch.equal(mixed.eval()(fields), plain.eval()(fields))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_backward_pass_of_a_task_starts_below_the_conversion(dtype: torch.dtype) -> None:
    schema = make_schema(2)
    network = build(schema, tiny_spec("stem"))
    precision.train_in(network, dtype)
    losses = losses_of(network)
    assert losses is not None
    labels = torch.randint(0, 2, (32, 2)).float()
    backward = TaskBackward(losses, network(torch.from_numpy(make_fields(schema, 32))), labels)
    assert backward.exact
    towers = [tower[0].weight for tower in network.towers]  # type: ignore[attr-defined]
    found = backward.gradients(0, towers)
    assert found[0] is not None
    assert found[1] is None


@pytest.mark.skipif(not precision.supports_bfloat16(CPU), reason="a CPU without bfloat16")
@pytest.mark.parametrize("objective", ["equal", "pcgrad"])
def test_a_run_says_which_precision_ran(tmp_path: Path, objective: str) -> None:
    split = SplitDirectory(write_split(tmp_path / "small"))
    found = {}
    for name in ("float32", "auto"):
        spec = tiny_spec("shared_bottom", epochs=2, batch_size=128, precision=name)
        if objective == "pcgrad":
            spec["objective"] = {"name": "pcgrad", "class": "gradients.PCGrad", "args": {}}
        parts = split.part("train"), split.part("valid")
        result = fit(split.schema, *parts, spec, tmp_path / f"{name}.csv", CPU)
        found[name] = result
    assert [found[n].precision for n in found] == ["float32", "bfloat16"]
    tables = [np.asarray(found[n].model.embeddings.weight.detach()) for n in found]
    assert not np.array_equal(*tables)
