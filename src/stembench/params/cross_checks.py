"""What no section can check by itself: names that lead from one section to another."""

from __future__ import annotations

from typing import Any

from stembench.errors import StembenchError
from stembench.params import objectives as params_objectives
from stembench.params import protocols as params_protocols
from stembench.params import signatures as params_models
from stembench.params.data import Table
from stembench.params.resolve import resolve
from stembench.params.schema import Params
from stembench.params.suites import Suite


def cross_check(params: Params) -> list[str]:
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
