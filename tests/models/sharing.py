"""Which modules of each architecture the losses of several tasks train, by its equations.

Embeddings are not counted. Tests hold it against what the graph of the losses says.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from stembench.models.adatt import AdaTT
from stembench.models.aitm import AITM
from stembench.models.base import MultiTask
from stembench.models.cgc import CGC
from stembench.models.cross_stitch import CrossStitch
from stembench.models.esmm import ESMM
from stembench.models.experts import Extractions
from stembench.models.home import HoME
from stembench.models.me_mmoe import MultiEmbeddingMMoE
from stembench.models.me_ple import MultiEmbeddingPLE
from stembench.models.me_shared_bottom import MultiEmbeddingSharedBottom
from stembench.models.mmoe import MMoE
from stembench.models.omoe import OMoE
from stembench.models.pepnet import PEPNet
from stembench.models.ple import PLE
from stembench.models.resflow import ResFlow
from stembench.models.shared_bottom import SharedBottom
from stembench.models.stem import STEM


def _ada_tt(network: Any) -> Iterable[nn.Module]:
    *below, last = list[Any](network.layers)
    return [*below, last.experts]


def _aitm(network: Any) -> Iterable[nn.Module]:
    modules = [*network.bottoms[:-1], *network.transfers[:-1]]
    modules += network.towers[:-1] if network.calibration > 0 else []
    return [*modules, *network.attention] if len(network.towers) > 2 else modules


def _multi_task(network: Any) -> Iterable[nn.Module]:
    """Modules besides the embeddings that the losses of several tasks train; none here."""
    return ()


def _cgc(network: Any) -> Iterable[nn.Module]:
    return [network.shared]


def _cross_stitch(network: Any) -> Iterable[nn.Module]:
    return [network.layers, network.stitches]


def _esmm(network: Any) -> Iterable[nn.Module]:
    return [network.towers[0]]


def _extractions(network: Any) -> Iterable[nn.Module]:
    """What the losses of several tasks train.

    Below a shared gate over all experts these are all experts, and below that layer the gates
    too: a task's gate feeds its experts of the next layer.
    """
    layers: list[Any] = list(network)
    for layer, above in zip(layers, [*layers[1:], None], strict=True):
        yield layer.shared
        if layer.shared_sees == "all":
            yield layer.specific
        if layer.shared_sees is not None:
            yield layer.shared_gate
        if above is not None and above.shared_sees == "all":
            yield layer.gates


def _ho_me(network: Any) -> Iterable[nn.Module]:
    yield from (network.meta_shared, network.meta_shared_gate, network.shared)
    parts: Any = zip(network.meta, network.meta_gates, network.groups, strict=True)
    for c, (meta, gate, group) in enumerate(parts):
        own = network.category.count(c) == 1  # one task's
        yield from (meta.down, meta.up, meta.experts) if own else (meta, gate, group)


def _multi_embedding_mmo_e(network: Any) -> Iterable[nn.Module]:
    return [network.experts]


def _multi_embedding_ple(network: Any) -> Iterable[nn.Module]:
    return _extractions(network.layers)


def _multi_embedding_shared_bottom(network: Any) -> Iterable[nn.Module]:
    return [network.bottoms]


def _mmo_e(network: Any) -> Iterable[nn.Module]:
    return [network.experts]


def _omo_e(network: Any) -> Iterable[nn.Module]:
    return [network.experts, network.gate]


def _pepnet(network: Any) -> Iterable[nn.Module]:
    return [network.embedding_gate, network.layer_gates]


def _ple(network: Any) -> Iterable[nn.Module]:
    return _extractions(network.layers)


def _res_flow(network: Any) -> Iterable[nn.Module]:
    return [network.normalise, *network.networks[:-1], *network.heads[:-1]]


def _shared_bottom(network: Any) -> Iterable[nn.Module]:
    return [network.bottom]


def _stem(network: Any) -> Iterable[nn.Module]:
    every, last = network.backward == "all", len(network.layers) - 1
    leaks = [every or (not network.strict and i < last) for i in range(last + 1)]
    layer: Any
    for i, layer in enumerate(network.layers):
        if network.backward != "shared_detached":
            yield layer.shared
        if leaks[i]:
            yield layer.specific
        if i < last:
            yield layer.shared_gate
            if leaks[i + 1]:
                yield layer.gates


#: Architecture -> its shared modules; the first of a class's ancestors that is here counts.
SHARED = {
    AdaTT: _ada_tt,
    AITM: _aitm,
    MultiTask: _multi_task,
    CGC: _cgc,
    CrossStitch: _cross_stitch,
    ESMM: _esmm,
    Extractions: _extractions,
    HoME: _ho_me,
    MultiEmbeddingMMoE: _multi_embedding_mmo_e,
    MultiEmbeddingPLE: _multi_embedding_ple,
    MultiEmbeddingSharedBottom: _multi_embedding_shared_bottom,
    MMoE: _mmo_e,
    OMoE: _omo_e,
    PEPNet: _pepnet,
    PLE: _ple,
    ResFlow: _res_flow,
    SharedBottom: _shared_bottom,
    STEM: _stem,
}


def shared_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Dense parameters that the losses of several tasks train, embedding tables not counted."""
    rule = next(SHARED[kind] for kind in type(network).__mro__ if kind in SHARED)
    return [parameter for module in rule(network) for parameter in module.parameters()]
