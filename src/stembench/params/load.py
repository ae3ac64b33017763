"""params.yaml: read, validated, resolved into runs.

Everything wrong with the file is found here, before any job starts, and is told in one message
that names the key and what is allowed there. No torch: constructor arguments of the models are
read from their source.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stembench.errors import StembenchError
from stembench.params import objectives as params_objectives
from stembench.params import protocols as params_protocols
from stembench.params import signatures as params_models
from stembench.params.data import Dataset, Table
from stembench.params.messages import explain
from stembench.params.schema import Params, Suite
from stembench.params.train import canonical

__all__ = ["Dataset", "Params", "Run", "Suite", "expand", "load", "parse", "resolve"]


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


def load(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml.

    Raises StembenchError with one line per fault when the file is absent, not YAML, or wrong.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise StembenchError(f"no {path} here: run from the project's folder") from None
    except UnicodeDecodeError:
        raise StembenchError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    return parse(text, str(path))


@cache
def parse(text: str, origin: str = "params.yaml") -> Params:
    """Check the text of a params file; see `load`."""
    try:
        raw = yaml.load(text, Loader=UniqueKeys)
    except yaml.YAMLError as error:
        raise StembenchError(f"{origin} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise StembenchError(f"{origin} must be a mapping with {', '.join(Params.model_fields)}")
    if isinstance(raw.get("suite"), str):
        raise StembenchError(
            f"{origin}: suite: write `suite: *{raw['suite']}`, an alias of the entry marked "
            f"&{raw['suite']} under suites; DVC reads the data sets through it"
        )
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        raise StembenchError(f"{origin}:\n" + "\n".join(explain(error, Params))) from None
    faults = _cross_check(params)
    if faults:
        raise StembenchError(f"{origin}:\n" + "\n".join(f"  {fault}" for fault in faults))
    return params


class UniqueKeys(yaml.SafeLoader):
    """YAML keeps the last of two equal keys in silence; here that is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a plain word", key_node.start_mark
                )
            key = self.construct_object(key_node)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _cross_check(params: Params) -> list[str]:
    """Faults that span several sections."""
    faults: list[str] = []
    if params.suites.get(params.suite.name) != params.suite:
        faults.append("suite: must be an alias of an entry of suites, e.g. `suite: *demo`")
    faults += _duplicates("seeds", params.seeds)
    faults += _unknown("analysis.baseline", [params.analysis.baseline], list(params.models))
    signatures = {}
    for name, model in params.models.items():
        try:
            signatures[name] = params_models.signature(model.class_)
        except StembenchError as error:
            faults.append(f"models.{name}.class: {error}")
            continue
        faults += params_models.check(f"models.{name}.args", model.args, [signatures[name]])
    every = list(signatures.values())
    if len(signatures) < len(params.models):
        return faults  # which arguments exist cannot be told
    faults += params_models.check("args", params.args, every)
    for name, dataset in params.datasets.items():
        faults += params_models.check(f"datasets.{name}.args", dataset.args, every)
        faults += params_models.check_source(name, dataset.source.kind, dataset.source.options)
        faults += _check_table(f"datasets.{name}.table", dataset.table)
        if dataset.expected is not None:
            fields = [f for role in dataset.table.fields.model_dump().values() for f in role]
            faults += _unknown(f"datasets.{name}.expected.ids", list(dataset.expected.ids), fields)
    unknown = params_objectives.check(params)
    if unknown:
        return faults + unknown  # no run can be resolved
    faults += params_objectives.check_combinations(params)
    for key, suite in params.suites.items():
        where = f"suites.{key}"
        if suite.name != key:
            faults.append(f"{where}.name: must be {key}, as the entry is called")
        chosen = params.models_of(suite)
        faults += _unknown(f"{where}.datasets", suite.datasets, list(params.datasets))
        faults += _unknown(f"{where}.models", chosen, list(params.models))
        faults += _duplicates(f"{where}.datasets", suite.datasets)
        faults += _duplicates(f"{where}.models", chosen)
        faults += _duplicates(f"{where}.seeds", params.seeds_of(suite))
        if isinstance(suite.seeds, int) and suite.seeds > len(params.seeds):
            faults.append(f"{where}.seeds: at most {len(params.seeds)}, the length of seeds")
        if params.analysis.reference not in chosen:
            faults.append(
                f"{where}.models: must hold {params.analysis.reference}, the analysis.reference"
            )
        taken = [signatures[name] for name in chosen if name in signatures]  # unknown: told above
        faults += params_models.check(f"{where}.args", suite.args, taken)
        faults += _check_tasks(params, suite, where)
    return faults + params_protocols.check(params, signatures)


def _check_tasks(params: Params, suite: Suite, where: str) -> list[str]:
    """Models of a suite that cannot be trained on the tasks of one of its data sets."""
    faults = []
    for name in [name for name in suite.datasets if name in params.datasets]:
        dataset = params.datasets[name]
        for model in [model for model in params.models_of(suite) if model in params.models]:
            spec = resolve(params, suite, name, model, 0).spec
            tasks = list(dataset.table.tasks)
            fault = params_models.check_tasks(spec["class"], spec["args"], tasks, dataset.nested)
            faults += [f"{where}.models: {model} on {name}: {fault}"] if fault else []
    return faults


def _check_table(where: str, table: Table) -> list[str]:
    names = [*table.fields.user, *table.fields.item, *table.fields.context]
    faults = _duplicates(f"{where}.fields", names)
    if not names:
        faults.append(f"{where}.fields: name at least one column")
    faults += _unknown(f"{where}.bags", list(table.bags), names)
    faults += _unknown(f"{where}.numeric", list(table.numeric), names)
    faults += [
        f"{where}.numeric: {name} is a bag; a field is one or the other"
        for name in table.numeric
        if name in table.bags
    ]
    faults += [
        f"{where}.min_counts: {name} is numeric, and numbers in buckets are not counted"
        for name in table.numeric
        if name in table.min_counts
    ]
    faults += _unknown(f"{where}.min_counts", list(table.min_counts), names)
    return faults


def _unknown(where: str, names: list[str], allowed: list[str]) -> list[str]:
    return [
        f"{where}: unknown {name!r}, one of {', '.join(allowed)}"
        for name in names
        if name not in allowed
    ]


def _duplicates(where: str, values: list[Any]) -> list[str]:
    twice = sorted({value for value in values if values.count(value) > 1})
    return [f"{where}: {value} stands twice" for value in twice]
