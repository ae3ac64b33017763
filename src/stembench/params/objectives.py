"""The section `objectives` of params.yaml: checked, resolved, and refused where it makes no sense.

No torch, as in `params_models`: constructor arguments come from the source.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import Any

from stembench.errors import StembenchError
from stembench.params.schema import Params
from stembench.params.signatures import MODELS, PACKAGE, Argument, keywords
from stembench.params.signatures import check as check_args
from stembench.params.suites import Suite

FOLDER = PACKAGE / "objectives"
_MODULES = ("equal", "gradients", "weighting")


@cache
def signature(class_path: str) -> dict[str, Argument]:
    """Keyword arguments of `<module>.<Class>` in stembench.objectives.

    Raises StembenchError when there is no such file or class.
    """
    module, name = class_path.split(".")
    if module not in _MODULES:
        raise StembenchError(f"no objectives file {module}.py, one of {', '.join(_MODULES)}")
    path = FOLDER / f"{module}.py"
    classes = {n.name: n for n in ast.parse(path.read_text()).body if isinstance(n, ast.ClassDef)}
    bases = {"Weighting", "GradientMethod"}
    if name not in classes or name in bases:
        known = ", ".join(sorted(set(classes) - bases))
        raise StembenchError(f"no class {name} in objectives/{module}.py, one of {known}")
    inits = (n for n in classes[name].body if isinstance(n, ast.FunctionDef))
    if any(n.name == "__init__" for n in inits):
        return keywords(path, name, "__init__", required=True)
    base = ast.unparse(classes[name].bases[0])
    return (
        signature(f"{module}.{base}")
        if base in classes and base not in bases
        else (keywords(path, base, "__init__") if base == "GradientMethod" else {})
    )


def resolve(params: Params, suite: Suite, model: str) -> dict[str, Any]:
    """Name, class and all arguments of the objective that a model is trained with in a suite."""
    entry = params.objective_of(suite, model)
    args = {name: argument.default for name, argument in signature(entry.class_).items()}
    name = params.objective_name(suite, model)
    return {"name": name, "class": entry.class_, "args": args | entry.args}


def check(params: Params) -> list[str]:
    """Faults of the section and of who names its entries."""
    faults = _check_entries(params)
    known = ", ".join(params.objectives)
    named = {f"models.{k}.objective": m.objective for k, m in params.models.items()}
    named |= {f"suites.{k}.objective": s.objective for k, s in params.suites.items()}
    for where, name in named.items():
        if name is not None and name not in params.objectives:
            faults.append(f"{where}: unknown {name!r}, one of {known}")
    if params.objectives.get("equal") is None or params.objectives["equal"].class_ != "equal.Equal":
        faults.append("objectives.equal: must be {class: equal.Equal}, what models use by default")
    return faults


def check_combinations(params: Params) -> list[str]:
    """Combinations of model, data set and objective in the suites that make no sense."""
    faults = []
    for key, suite in params.suites.items():
        models = [m for m in params.models_of(suite) if m in params.models]
        for model in models:
            where = f"suites.{key}.objective" if suite.objective else f"models.{model}.objective"
            for dataset in suite.datasets:
                if dataset in params.datasets:
                    reason = _refusal(params, suite, dataset, model)
                    if reason:
                        faults.append(f"{where}: {reason}")
    return list(dict.fromkeys(faults))


def _check_entries(params: Params) -> list[str]:
    faults = []
    for name, entry in params.objectives.items():
        where = f"objectives.{name}"
        try:
            arguments = signature(entry.class_)
        except StembenchError as error:
            faults.append(f"{where}.class: {error}")
            continue
        faults += check_args(f"{where}.args", entry.args, [arguments])
        lacking = [k for k, a in arguments.items() if a.default is ... and k not in entry.args]
        faults += [f"{where}.args.{key}: this key is missing" for key in lacking]
    return faults


def _refusal(params: Params, suite: Suite, dataset: str, model: str) -> str | None:
    """Why a model cannot be trained with its objective on a data set, or None."""
    name, entry = params.objective_name(suite, model), params.objective_of(suite, model)
    if entry.class_ == "equal.Equal":
        return None
    tasks = list(params.datasets[dataset].table.tasks)
    if len(tasks) < 2:
        return f"{name} weighs tasks against each other, and {dataset} has one task: use equal"
    if set(entry.args.get("weights", tasks)) != set(tasks):
        return (
            f"objectives.{name}.args.weights must name the tasks of {dataset}: {', '.join(tasks)}"
        )
    class_path = params.models[model].class_
    if class_path.startswith("single_task."):
        return (
            f"{name} makes no sense for {model}: its tasks share no parameter, so that there is "
            f"nothing to balance: use equal"
        )
    if _own_loss(class_path):
        return (
            f"{name} makes no sense for {model}: its loss is its own and no sum of one loss a "
            f"task: use equal"
        )
    return None


@cache
def _own_loss(class_path: str) -> bool:
    """Whether the model's class has a loss that is not offered task by task."""
    module, name = class_path.split(".")
    try:
        body = ast.parse((MODELS / f"{module}.py").read_text()).body
    except OSError:
        return False  # told with the model's class
    found = [n for n in body if isinstance(n, ast.ClassDef) and n.name == name]
    methods = {n.name for c in found for n in c.body if isinstance(n, ast.FunctionDef)}
    return "loss" in methods and "task_losses" not in methods
