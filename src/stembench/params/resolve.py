"""From params.yaml to runs, each with every setting decided."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from stembench.params import objectives as params_objectives
from stembench.params import protocols as params_protocols
from stembench.params import signatures as params_models
from stembench.params.schema import Params
from stembench.params.suites import Suite
from stembench.params.types import canonical


@dataclass(frozen=True)
class Run:
    """One cell of the grid, fully resolved. `json` is the sorted JSON of the spec, its identity."""

    dataset: str
    model: str
    seed: int
    json: str

    @property
    def spec(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.json)
        return value

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.json.encode()).hexdigest()


def resolve(params: Params, suite: Suite, dataset: str, model: str, seed: int) -> Run:
    """One run's spec. Precedence, later wins: train < dataset < model < protocol < suite.

    The protocol is a layer where it is `released`. Where it is `tuned`, the values found replace
    those given here (`tuned.apply`); as a suite that sets what is tuned is refused, they too stand
    between model and suite. The same holds for constructor arguments: class default < args <
    dataset < model < protocol < suite; of the common ones a model takes those that its constructor
    has.
    """
    data, entry = params.datasets[dataset], params.models[model]
    train = params.train.model_dump()
    signature = params_models.signature(entry.class_)
    args = {name: argument.default for name, argument in signature.items()}
    args |= {key: value for key, value in params.args.items() if key in signature}
    for layer in (data, entry, *params_protocols.layers(params, suite, model), suite):
        train |= layer.train.model_dump(exclude_unset=True)
        args |= {key: value for key, value in layer.args.items() if key in signature}
    spec = {
        "dataset": dataset,
        "model": model,
        "class": entry.class_,
        "args": args,
        "objective": params_objectives.resolve(params, suite, model),
        "train": train,
        "seed": seed,
        "protocol": suite.protocol,
    }
    return Run(dataset, model, seed, canonical(spec))


def expand(params: Params, suite: Suite) -> list[Run]:
    """All runs of a suite, data set by data set, model by model, seed by seed."""
    return [
        resolve(params, suite, dataset, model, seed)
        for dataset in suite.datasets
        for model in params.models_of(suite)
        for seed in params.seeds_of(suite)
    ]
