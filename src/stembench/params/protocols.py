"""Protocols: whose settings a model is trained with, and what of params.yaml must agree for that.

equal: what params.yaml says, the same for all models that do not say otherwise. released: the
published settings of each model, from `protocols.released`. tuned: as equal, then the values that
the model's own search found. No torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from stembench.params import signatures as params_models
from stembench.params.messages import explain
from stembench.params.schema import Params
from stembench.params.signatures import Argument
from stembench.params.suites import Suite
from stembench.params.train import PartialTrain, Train
from stembench.params.tuning import Dimension, Space

#: Keys of `train` that no search may set, and why.
_FIXED = {
    "compile": "it is part of how results are compared",
    "device": "it does not change what is learned",
    "embedding_optimizer": "it is part of how results are compared",
    "epochs": "it is the budget of a trial",
    "keep_weights": "it does not change what is learned",
    "precision": "it is part of how results are compared",
    "select": "it is how trials are scored",
}
Signature = dict[str, Argument]


def layers(params: Params, suite: Suite, model: str) -> Sequence[Any]:
    """The layers that the suite's protocol sets between the model's entry and the suite."""
    released = params.protocols.released
    if suite.protocol != "released" or released is None:
        return []
    return [released, *([released.models[model]] if model in released.models else [])]


def space(params: Params, model: str) -> Space:
    """The search space of a model: of the common one what the model has, then its own."""
    assert params.tuning is not None  # params.yaml is checked
    entry, common = params.models[model], params.tuning.space
    signature = params_models.signature(entry.class_)
    args = {key: dimension for key, dimension in common.args.items() if key in signature}
    return Space(train=common.train | entry.tune.train, args=args | entry.tune.args)


def check(params: Params, signatures: dict[str, Signature]) -> list[str]:
    """Faults of tuning, protocols, models.X.tune and analysis.factors, and of suites."""
    faults: list[str] = []
    if params.tuning is not None:
        every = list(signatures.values())
        faults += _check_space("tuning.space", params.tuning.space, every)
        for name, model in params.models.items():
            faults += _check_space(f"models.{name}.tune", model.tune, [signatures[name]])
        used: dict[int, str] = {}
        for key, suite in params.suites.items():
            used |= dict.fromkeys(params.seeds_of(suite), f"suites.{key}.seeds")
        used |= dict.fromkeys(params.seeds, "seeds")
        if params.tuning.seed in used:
            faults.append(
                f"tuning.seed: {params.tuning.seed} stands in {used[params.tuning.seed]}: choose "
                "one that is not evaluated, or the search would fit the seeds it is judged by"
            )
    else:
        faults += [
            f"models.{name}.tune: there is no section tuning, with seed, trials and space"
            for name, model in params.models.items()
            if model.tune != Space()
        ]
    if (released := params.protocols.released) is not None:
        where = "protocols.released"
        faults += params_models.check(f"{where}.args", released.args, list(signatures.values()))
        for name, published in released.models.items():
            if name not in params.models:
                faults.append(
                    f"{where}.models: unknown {name!r}, one of {', '.join(params.models)}"
                )
            else:
                taken = [signatures[name]]
                faults += params_models.check(f"{where}.models.{name}.args", published.args, taken)
    for key, suite in params.suites.items():
        faults += _check_suite(f"suites.{key}", params, suite)
    for key, design in params.analysis.factors.items():
        where = f"analysis.factors.{key}.models"
        for name in design.models:
            entry, at, rule = name.partition("@")
            if entry not in params.models:
                known = ", ".join(params.models)
                faults.append(f"{where}: unknown {entry!r}, one of {known}")
            if at and rule not in ("mean", "task"):
                faults.append(f"{where}: {name}: behind the @ stands mean or task")
    return faults + _check_series(params)


def _check_suite(where: str, params: Params, suite: Suite) -> list[str]:
    """Whether all that the suite's protocol needs is there, and nothing is set twice."""
    models = [model for model in params.models_of(suite) if model in params.models]
    if suite.protocol == "released":
        released = params.protocols.released
        if released is None:
            return [f"{where}.protocol: released needs the section protocols.released"]
        return [
            f"{where}.models: no published settings of {model} in protocols.released.models: "
            f"known are {', '.join(released.models)}"
            for model in models
            if model not in released.models
        ]
    if suite.protocol == "tuned":
        if params.tuning is None:
            return [f"{where}.protocol: tuned needs the section tuning"]
        faults = []
        fixed = [f"train.{key}" for key in suite.train.model_dump(exclude_unset=True)]
        fixed += [f"args.{key}" for key in suite.args]
        searched: dict[str, list[str]] = {}
        for model in models:
            own = space(params, model)
            names = [f"train.{key}" for key in own.train] + [f"args.{key}" for key in own.args]
            if not names:
                faults.append(f"{where}.models: the search space of {model} is empty")
            for name in names:
                searched.setdefault(name, []).append(model)
        return faults + [
            f"{where}.{name}: is tuned, for {', '.join(searched[name])}: drop it here"
            for name in fixed
            if name in searched
        ]
    return []


def _check_series(params: Params) -> list[str]:
    """analysis.protocols: suites that exist and differ in their settings only."""
    faults = []
    for key, names in params.analysis.protocols.items():
        where = f"analysis.protocols.{key}"
        if key in params.suites:
            faults.append(f"{where}: is the name of a suite too: their results would mix")
        unknown = [name for name in names if name not in params.suites]
        faults += [f"{where}: unknown {n!r}, one of {', '.join(params.suites)}" for n in unknown]
        if unknown:
            continue
        if len(set(names)) < max(2, len(names)):
            faults.append(f"{where}: name at least two suites, none twice")
        suites = [params.suites[name] for name in names]
        grids = {
            (tuple(s.datasets), tuple(params.models_of(s)), tuple(params.seeds_of(s)))
            for s in suites
        }
        if len(grids) > 1:
            faults.append(f"{where}: the suites must have the same data sets, models and seeds")
    return faults


def _check_space(where: str, chosen: Space, signatures: list[Signature]) -> list[str]:
    faults = []
    for key, dimension in chosen.train.items():
        here = f"{where}.train.{key}"
        if key in _FIXED:
            faults.append(f"{here}: cannot be tuned: {_FIXED[key]}")
        elif key not in Train.model_fields:
            known = ", ".join(name for name in Train.model_fields if name not in _FIXED)
            faults.append(f"{here}: unknown key, one of {known}")
        else:
            whole = Train.model_fields[key].annotation is int
            faults += _check_numbers(here, dimension, whole, not whole)
            for value in dimension.bounds():
                try:
                    PartialTrain.model_validate({key: value})
                except ValidationError as error:
                    faults += [
                        f"{where}.train.{line.strip()}" for line in explain(error, PartialTrain)
                    ]
    for key, dimension in chosen.args.items():
        here = f"{where}.args.{key}"
        takers = [signature[key].base for signature in signatures if key in signature]
        if takers:
            faults += _check_numbers(here, dimension, takers[0] is int, takers[0] is float)
        for value in dimension.bounds():
            faults += params_models.check(f"{where}.args", {key: value}, signatures)
    return list(dict.fromkeys(faults))


def _check_numbers(where: str, dimension: Dimension, whole: bool, real: bool) -> list[str]:
    """A range draws whole numbers where it is written in them: it must fit the setting."""
    if dimension.choices is not None:
        return []
    written_whole = isinstance(dimension.low, int) and isinstance(dimension.high, int)
    if real and written_whole:
        return [f"{where}: is a real number: write low and high with a dot, as in 1.0"]
    if whole and not written_whole:
        return [f"{where}: is a whole number: write low and high without a dot"]
    if not whole and not real:
        return [f"{where}: is no number: give `choices`"]
    return []
