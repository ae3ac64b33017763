"""Which loss reaches which table and network: the matrix of every entry, and what tasks share.

Rules of the tables below, for the loss of task t and something that exists once per task:
`own`: that of t alone; `up_to`: those of the tasks 1 to t; `pair`: those of t and of the task
before; `all`: every one. For embedding tables also `one`: there is one; `own_shared`: that of t and
the shared one, the last.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stembench.models.adatt import AdaTT
from stembench.models.home import HoME
from stembench.models.me_ple import MultiEmbeddingPLE
from stembench.models.ple import PLE
from stembench.models.stem import STEM
from stembench.training.build import build
from tests.conftest import make_fields, make_schema
from tests.contract.test_models import MODELS, SETTINGS, tiny_spec
from tests.models.sharing import shared_parameters

NETS = {"expert_units": [16, 12], "gate_units": [8], "tower_units": [8], "embedding_dim": 4}
TOWERS = {"towers": "own"}
BOTTOMS = {"bottoms": "own", **TOWERS}
GATES = {"gates": "own", **TOWERS}
LAYER = {"layers.0.specific": "own", "layers.0.gates": "own", **TOWERS}
LEAK = LAYER | {"layers.0.specific": "all"}
TWO = LAYER | {"layers.1.specific": "own", "layers.1.gates": "own"}
LEAK_TWO = TWO | {"layers.0.specific": "all"}

#: entry -> (tables, {networks or gates that exist once per task: rule})
REACHED = {
    "single_task": ("own", BOTTOMS),
    "single_task_matched": ("own", BOTTOMS | GATES),
    "single_task_wide": ("own", BOTTOMS),
    "single_task_matched_wide": ("own", BOTTOMS | GATES),
    "shared_bottom": ("one", TOWERS),
    "shared_bottom_wide": ("one", TOWERS),
    "omoe": ("one", TOWERS),
    "mmoe": ("one", GATES),
    "mmoe_wide": ("one", GATES),
    "cgc": ("one", {"specific": "own", **GATES}),
    "ple": ("one", LAYER),
    "ple_wide": ("one", LAYER),
    "ple_two_layers": ("one", LEAK_TWO),
    "ple_two_layers_released": ("one", TWO),
    "aitm": ("one", {"bottoms": "up_to", **TOWERS}),
    "aitm_calibrated": ("one", {"bottoms": "up_to", "towers": "pair"}),
    "cross_stitch": ("one", {"layers.0": "all", "layers.1": "all", **TOWERS}),
    "adatt": ("one", {"layers.0.experts": "all", "layers.0.gates": "own", **TOWERS}),
    "adatt_two_layers": (
        "one",
        {"layers.0.experts": "all", "layers.0.gates": "all", "layers.1.experts": "all"}
        | {"layers.1.gates": "own", **TOWERS},
    ),
    "home": ("one", {"specific": "own", **GATES}),
    "pepnet": ("one", {"networks": "own", "heads": "own"}),
    "esmm": ("one", {"towers": "up_to"}),
    "resflow": ("one", {"networks": "up_to", "heads": "up_to"}),
    "me_shared_bottom": ("all", TOWERS),
    "me_mmoe": ("all", GATES),
    "me_ple": ("own_shared", LAYER),
    "stem": ("own_shared", LAYER),
    "stem_narrow": ("own_shared", LAYER),
    "stem_auto": ("own_shared", LAYER),
    "stem_rows": ("own_shared", LAYER),
    "stem_shared_only": ("one", LAYER),
    "stem_shared_only_wide": ("one", LAYER),
    "stem_task_only": ("own", LAYER),
    "stem_task_only_wide": ("own", LAYER),
    "stem_no_stop_gradient": ("all", LEAK),
    "stem_shared_only_no_stop_gradient": ("one", LEAK),
    "stem_shared_only_wide_no_stop_gradient": ("one", LEAK),
    "stem_task_only_no_stop_gradient": ("all", LEAK),
    "stem_task_only_wide_no_stop_gradient": ("all", LEAK),
    "stem_shared_detached": ("own_shared", LAYER),
    "stem_gate_figure": ("own_shared", LAYER),
    "stem_gate_figure_no_stop_gradient": ("all", LEAK),
    "stem_two_layers_released": ("all", LEAK_TWO),
    "stem_two_layers_strict": ("own_shared", TWO),
}


def reached(network: nn.Module) -> list[dict[str, Tensor]]:
    """Per task the gradients of its loss that are not exactly zero.

    The loss is the square of the task's logits, or what the model itself says it is.
    """
    schema = make_schema(tasks_of(network))
    torch.manual_seed(0)
    network.double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    fields = torch.from_numpy(make_fields(schema, 100))
    found = []
    for task in range(schema.num_tasks):
        network.zero_grad()
        logits = network(fields)
        losses = getattr(network, "task_losses", lambda z, labels: z.square().sum(0))
        losses(logits, torch.zeros_like(logits))[task].backward()
        grads = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
        found.append({name: grad for name, grad in grads.items() if grad.count_nonzero()})
    return found


def tasks_of(network: nn.Module) -> int:
    return len(getattr(network, "towers", getattr(network, "heads", ())))


def expected(rule: str, task: int, count: int) -> set[int]:
    return {
        "one": {0},
        "own": {task},
        "own_shared": {task, count - 1},
        "up_to": set(range(task + 1)),
        "pair": {max(task - 1, 0), task},
        "all": set(range(count)),
    }[rule]


def test_the_architectures_and_all_that_stem_is_taken_apart_into_stand_in_the_matrix() -> None:
    suites = [SETTINGS.suites[name] for name in ("architectures", "nested")]
    asked = {model for suite in suites for model in SETTINGS.models_of(suite)}
    asked |= {model for model in MODELS if model.startswith(("stem", "single_task"))}
    assert asked <= set(REACHED)


@pytest.mark.parametrize("entry", [entry for entry in MODELS if entry in REACHED])
def test_losses_reach_what_is_documented_and_nothing_else(entry: str) -> None:
    network = build(make_schema(2 if entry == "esmm" else 3), tiny_spec(entry))
    tables, modules = REACHED[entry]
    for task, gradients in enumerate(reached(network)):
        bank = network.embeddings
        chunks = gradients["embeddings.weight"].split(bank.dim, dim=1)
        hit = {copy for copy, chunk in enumerate(chunks) if chunk.count_nonzero()}
        assert hit == expected(tables, task, bank.copies), "embedding tables"
        for path, rule in modules.items():
            group = network.get_submodule(path)
            hit = {
                index
                for index in range(len(group))
                if any(name.startswith(f"{path}.{index}.") for name in gradients)
            }
            assert hit == expected(rule, task, len(group)), path


VARIANTS = {
    "ple, 3 layers": (PLE, {"num_layers": 3}),
    "ple, 4 layers, released": (PLE, {"num_layers": 4, "shared_gate": "shared"}),
    "me_ple, 3 layers": (MultiEmbeddingPLE, {"num_layers": 3}),
    "adatt, 3 layers": (AdaTT, {"num_layers": 3, "num_specific_experts": 2}),
    "home, categories": (HoME, {"categories": [2, 1, 2], "num_specific_experts": 2}),
    "stem, 3 layers": (STEM, {"num_layers": 3}),
    "stem, 4 layers, strict": (STEM, {"num_layers": 4, "isolation": "strict"}),
    "stem, 3 layers, all": (STEM, {"num_layers": 3, "backward": "all"}),
    "stem, 3 layers, figure": (STEM, {"num_layers": 3, "gate_input": "task"}),
    "stem, 3 layers, task only": (STEM, {"num_layers": 3, "embeddings": "task"}),
    "stem, 3 layers, shared only": (STEM, {"num_layers": 3, "embeddings": "shared"}),
    "stem, 3 layers, detached": (STEM, {"num_layers": 3, "backward": "shared_detached"}),
    "stem, detached, figure": (STEM, {"backward": "shared_detached", "gate_input": "task"}),
    "stem, 3 layers, detached, strict": (
        STEM,
        {"num_layers": 3, "backward": "shared_detached", "isolation": "strict"},
    ),
}


def check_shared_parameters(network: nn.Module) -> None:
    gradients = reached(network)
    several = {
        name
        for name, parameter in network.named_parameters()
        if parameter is not network.embeddings.weight
        and sum(name in found for found in gradients) > 1
    }
    names = {id(p): name for name, p in network.named_parameters()}
    claimed = [names[id(p)] for p in shared_parameters(network)]
    assert len(claimed) == len(set(claimed))
    assert set(claimed) == several


@pytest.mark.parametrize("entry", [entry for entry in MODELS if entry in REACHED])
def test_shared_parameters_are_those_that_several_losses_reach(entry: str) -> None:
    check_shared_parameters(build(make_schema(2 if entry == "esmm" else 3), tiny_spec(entry)))


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_shared_parameters_of_deeper_variants(variant: str) -> None:
    architecture, kwargs = VARIANTS[variant]
    check_shared_parameters(architecture(make_schema(3), **NETS, **kwargs))


def others_gradient(network: nn.Module) -> float:
    """Largest gradient of a loss on a table or expert of another task, below any tower."""
    largest = 0.0
    for task, gradients in enumerate(reached(network)):
        tables = gradients["embeddings.weight"].split(network.embeddings.dim, dim=1)
        foreign = [t for i, t in enumerate(tables) if i not in (task, len(tables) - 1)]
        for name, gradient in gradients.items():
            part = name.split(".")
            if part[0] == "layers" and part[2] == "specific" and int(part[3]) != task:
                foreign.append(gradient)
        largest = max([largest, *(float(t.abs().max()) for t in foreign)])
    return largest


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_strict_isolation_is_exact_for_any_number_of_layers(layers: int) -> None:
    network = STEM(make_schema(3), **NETS, num_layers=layers, isolation="strict")
    assert others_gradient(network) == 0.0


@pytest.mark.parametrize(("layers", "leaks"), [(1, False), (2, True), (3, True)])
def test_released_isolation_ends_with_the_second_layer(layers: int, leaks: bool) -> None:
    network = STEM(make_schema(3), **NETS, num_layers=layers, isolation="released")
    assert (others_gradient(network) > 1e-6) is leaks


def test_shared_detached_leaves_the_shared_experts_and_no_other_parameter_untrained() -> None:
    network = build(make_schema(3), tiny_spec("stem_shared_detached"))
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {
        name for name, _ in network.named_parameters() if name.startswith("layers.0.shared.")
    }


def test_stem_forward_uses_the_experts_of_all_tasks() -> None:
    network = STEM(make_schema(2), **NETS)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    fields = torch.from_numpy(make_fields(make_schema(2), 50))
    before = network(fields)
    with torch.no_grad():
        for parameter in network.layers[0].specific[1].parameters():
            parameter.add_(0.5)
    assert (network(fields)[:, 0] - before[:, 0]).abs().max() > 1e-3
