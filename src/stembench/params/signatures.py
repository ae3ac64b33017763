"""Constructor arguments of models and options of sources, read from their source code.

Importing the models would import torch (1.5 s) into every Snakemake call, so signatures come from
the syntax tree: keyword-only arguments of `__init__`, their annotation and literal default.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stembench.errors import StembenchError

PACKAGE = Path(__file__).parents[1]
MODELS = PACKAGE / "models"
SOURCES = PACKAGE / "data" / "sources"
_NOT_MODELS = {"__init__", "base", "embeddings", "experts", "layers", "linear"}
_NOT_SOURCES = {"__init__", "base", "ragged", "text"}


@dataclass(frozen=True)
class Argument:
    """A keyword argument: its annotation as text and its default."""

    annotation: str
    default: Any


@cache
def signature(class_path: str) -> dict[str, Argument]:
    """Keyword arguments of `<module>.<Class>` in stembench.models.

    Raises StembenchError when there is no such file or class, or an argument has no default.
    """
    module, name = class_path.split(".")
    path = MODELS / f"{module}.py"
    if not path.exists() or module in _NOT_MODELS:
        known = sorted(p.stem for p in MODELS.glob("*.py") if p.stem not in _NOT_MODELS)
        raise StembenchError(f"no model file {module}.py, one of {', '.join(known)}")
    return keywords(path, name, "__init__")


def check(where: str, args: dict[str, Any], signatures: list[dict[str, Argument]]) -> list[str]:
    """Faults of constructor arguments: each must be taken by at least one of the signatures."""
    allowed = sorted({name for entry in signatures for name in entry})
    faults = []
    for name, value in args.items():
        takers = [entry[name] for entry in signatures if name in entry]
        if not takers:
            faults.append(f"{where}: unknown argument {name!r}, one of {', '.join(allowed)}")
            continue
        problem = _type_fault(name, takers[0].annotation, value)
        if problem:
            faults.append(f"{where}.{name}: {problem}")
    return faults


def check_tasks(
    class_path: str, args: dict[str, Any], tasks: Sequence[str], nested: bool
) -> str | None:
    """Why a model cannot be trained on those tasks, or None.

    Read from the class's `required_tasks` (a number) and `requires_nested` (true, or the name of
    the argument that makes it so where it is not zero), see models.layers.MultiTask.
    """
    name, found = class_path.split(".")[1], _requirements(class_path)
    count, needs = found.get("required_tasks"), found.get("requires_nested", False)
    if count not in (None, len(tasks)):
        return f"{name} is defined for {count} tasks, and there are {len(tasks)}"
    if (args[needs] if isinstance(needs, str) else needs) and not nested:
        return f"{name} needs nested tasks: set `nested: true` there if {', '.join(tasks)} are"
    return None


@cache
def _requirements(class_path: str) -> dict[str, Any]:
    """Values that a model class gives to `required_tasks` and `requires_nested`."""
    module, name = class_path.split(".")
    nodes = ast.parse((MODELS / f"{module}.py").read_text()).body
    found: dict[str, Any] = {}
    for node in next(n.body for n in nodes if isinstance(n, ast.ClassDef) and n.name == name):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and target.id in ("required_tasks", "requires_nested"):
                found[target.id] = ast.literal_eval(node.value)  # type: ignore[attr-defined]
    return found


def check_source(dataset: str, kind: str, options: dict[str, Any]) -> list[str]:
    """Faults of a data set's `source.kind` and `source.options`."""
    where = f"datasets.{dataset}.source"
    path = SOURCES / f"{kind}.py"
    if not path.exists() or kind in _NOT_SOURCES:
        known = sorted(p.stem for p in SOURCES.glob("*.py") if p.stem not in _NOT_SOURCES)
        return [f"{where}.kind: unknown {kind!r}, one of {', '.join(known)}"]
    allowed = {
        name: argument
        for function in ("generate", "leaks", "load")
        if _has(path, function)
        for name, argument in keywords(path, None, function).items()
    }
    faults = check(f"{where}.options", options, [allowed])
    required = [name for name, argument in allowed.items() if argument.default is ...]
    faults += [f"{where}.options.{n}: this key is missing" for n in required if n not in options]
    return faults


def _has(path: Path, function: str) -> bool:
    nodes = ast.parse(path.read_text()).body
    return any(isinstance(node, ast.FunctionDef) and node.name == function for node in nodes)


def keywords(
    path: Path, class_name: str | None, function: str, required: bool = False
) -> dict[str, Argument]:
    """Keyword-only arguments of a function, or of a class's method, in a source file.

    required: a class may have arguments without a default (`...`).
    """
    body: list[ast.stmt] = ast.parse(path.read_text()).body
    aliases = _aliases(body)
    if class_name is not None:
        classes = [node for node in body if isinstance(node, ast.ClassDef)]
        found = [node for node in classes if node.name == class_name]
        if not found:
            names = ", ".join(node.name for node in classes if _keyword_init(node))
            raise StembenchError(f"no class {class_name} in {path.name}, one of {names}")
        body = found[0].body
    if class_name is not None and path.parent == MODELS and not _keyword_init(found[0]):
        raise StembenchError(
            f"{class_name} of {path.name} is no model: its constructor must take "
            f"(self, schema, *, keyword arguments)"
        )
    functions = [n for n in body if isinstance(n, ast.FunctionDef) and n.name == function]
    if not functions:
        raise StembenchError(f"{path.name} has no {function}()")
    arguments = functions[0].args
    result = {}
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if argument.annotation is None:
            raise StembenchError(f"{path.name}: {argument.arg} of {function}() has no annotation")
        value = ... if default is None else _plain(ast.literal_eval(default))
        if default is None and class_name is not None and not required:
            raise StembenchError(f"{path.name}: {argument.arg} of {class_name} has no default")
        annotation = ast.unparse(argument.annotation)
        result[argument.arg] = Argument(aliases.get(annotation, annotation), value)
    return result


def _aliases(body: list[ast.stmt]) -> dict[str, str]:
    """Names that a file gives to a Literal: `Tables = Literal["weighted", "sum"]`."""
    return {
        target.id: text
        for node in body
        if isinstance(node, ast.Assign) and (text := ast.unparse(node.value)).startswith("Literal[")
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _keyword_init(node: ast.ClassDef) -> bool:
    """Whether the class has the constructor of a model: the schema, then keywords only."""
    inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    return bool(inits) and [a.arg for a in inits[0].args.args] == ["self", "schema"]


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _type_fault(name: str, annotation: str, value: Any) -> str | None:
    """What is wrong with a value for an annotation, or None."""
    branches = _branches(annotation)
    if len(branches) > 1:
        if value is None and "None" in branches:
            return None
        faults = [_type_fault(name, branch, value) for branch in branches if branch != "None"]
        return None if None in faults else ", or ".join(fault for fault in faults if fault)
    literal = re.match(r"^Literal\[(.*)\]$", annotation)
    if literal:
        choices = ast.literal_eval(f"[{literal.group(1)}]")
        return None if value in choices else f"one of {', '.join(map(str, choices))}, not {value!r}"
    if annotation in ("Sequence[int]", "tuple[int, ...]"):
        good = isinstance(value, list) and all(_is_int(item) and item >= 1 for item in value)
        if good and not value and name in ("bottom_units", "expert_units"):
            return "must hold at least one width"
        return None if good else f"must be a list of positive integers, not {value!r}"
    if annotation == "int":
        if name in ("seed", "max_ragged"):
            good = _is_int(value) and value >= 0
            return None if good else f"must be an integer of at least 0, not {value!r}"
        good = _is_int(value) and value >= 1
        return None if good else f"must be a positive integer, not {value!r}"
    if annotation == "bool":
        return None if isinstance(value, bool) else f"must be true or false, not {value!r}"
    if annotation == "str":
        return None if isinstance(value, str) and value else f"must be text, not {value!r}"
    if annotation == "float":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"must be a number, not {value!r} (write 1.0e-4, not 1e-4)"
        if not math.isfinite(value):
            return f"must be a finite number, not {value!r}"
        if name in ("shared", "specific", "user_tail", "item_tail") and value < 0:
            return f"must be at least 0, not {value!r}"
        if name == "dropout" and not 0 <= value < 1:
            return f"must lie in [0, 1), not {value!r}"
        if name == "correlation" and not -1 <= value <= 1:
            return f"must lie in [-1, 1], not {value!r}"
        return None
    if annotation == "Mapping[str, float]":
        good = isinstance(value, dict) and all(
            isinstance(v, int | float) and not isinstance(v, bool) and 0 < v < math.inf
            for v in value.values()
        )
        return None if good else f"must map tasks to numbers above 0, not {value!r}"
    if annotation == "list[str]":
        good = isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
        return None if good else f"must be a list of texts, not {value!r}"
    if annotation == "dict[str, str]":
        good = isinstance(value, dict) and all(
            isinstance(item, str) and item for pair in value.items() for item in pair
        )
        return None if good else f"must map names to texts, not {value!r}"
    if annotation == "list[list[float]]":
        good = isinstance(value, list) and all(
            isinstance(row, list) and len(row) == len(value) and all(map(_is_number, row))
            for row in value
        )
        return None if good else f"must be a square matrix of numbers, not {value!r}"
    if annotation == "dict[str, float]":
        good = isinstance(value, dict) and all(
            isinstance(v, float) and 0 < v < 1 for v in value.values()
        )
        return None if good else f"must map names to numbers in (0, 1), not {value!r}"
    raise StembenchError(f"{name}: annotation {annotation} is not supported in params.yaml")


def _branches(annotation: str) -> list[str]:
    """`A | B` as [A, B]."""
    node, found = ast.parse(annotation, mode="eval").body, []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        found.append(ast.unparse(node.right))
        node = node.left
    return [ast.unparse(node), *reversed(found)]


def _is_number(value: Any) -> bool:
    return _is_int(value) or (isinstance(value, float) and math.isfinite(value))


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
