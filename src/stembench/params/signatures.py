"""Constructor arguments of models and options of sources, read from their source code.

Importing the models would import torch (1.5 s) into every Snakemake call, so signatures come from
the syntax tree: keyword-only arguments of `__init__`, their literal default, and their annotation,
which holds the bounds too: `Annotated[float, Field(ge=0, lt=1)]`, or a name given to that.
"""

from __future__ import annotations

import ast
import math
from collections import abc
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from stembench.errors import StembenchError

PACKAGE = Path(__file__).parents[1]
MODELS = PACKAGE / "models"
SOURCES = PACKAGE / "data" / "sources"
_NOT_MODELS = {"__init__", "base", "embeddings", "experts", "layers", "linear"}
_NOT_SOURCES = {"__init__", "base", "ragged", "text"}
#: What annotations are made of, with `|`, `Field(...)` and names that a file gives to such types.
_NAMES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (bool, int, float, str, list, dict)},
    **{"Annotated": Annotated, "Literal": Literal},
    **{"Mapping": abc.Mapping, "Sequence": abc.Sequence},
}


@dataclass(frozen=True)
class Argument:
    """A keyword argument: its type, with bounds, and its default."""

    hint: Any
    default: Any

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """What checks a value."""
        return TypeAdapter(self.hint, config=ConfigDict(strict=True, allow_inf_nan=False))

    @property
    def base(self) -> Any:
        """The type without its bounds."""
        return _bare(self.hint)[0]


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
        try:
            takers[0].adapter.validate_python(value)
        except ValidationError:
            faults.append(f"{where}.{name}: {_refusal(takers[0].hint, value)}")
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
        result[argument.arg] = Argument(_hint(path, argument.annotation), value)
    return result


def _hint(path: Path, node: ast.expr) -> Any:
    """The type that an annotation in a source file means; nothing else is evaluated."""
    match node:
        case ast.Constant():
            return node.value
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.Name(id=name) if found := _definition(path, name):
            return _hint(*found)
        case ast.Tuple(elts=parts):
            return tuple(_hint(path, part) for part in parts)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _hint(path, left) | _hint(path, right)
        case ast.Call(func=ast.Name(id="Field"), args=[], keywords=bounds):
            return Field(**{str(b.arg): ast.literal_eval(b.value) for b in bounds})
        case ast.Subscript(value=base, slice=inner):
            hint = _hint(path, base)[_hint(path, inner)]
            rows = get_origin(hint) is list and get_origin(get_args(hint)[0]) is list
            return Annotated[hint, AfterValidator(_square)] if rows else hint
    text = ast.unparse(node)
    raise StembenchError(f"{path.name}: annotation {text} is not supported in params.yaml")


@cache
def _definition(path: Path, name: str) -> tuple[Path, ast.expr] | None:
    """What a file, or the one of the package it imports the name from, assigns to a name."""
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                return path, value
            case ast.ImportFrom(module=str(module), names=names) if module.startswith(
                "stembench."
            ) and name in [alias.name for alias in names]:
                source = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
                return _definition(source, name)
    return None


def _square(rows: list[list[float]]) -> list[list[float]]:
    if any(len(row) != len(rows) for row in rows):
        raise ValueError("not square")
    return rows


def _keyword_init(node: ast.ClassDef) -> bool:
    """Whether the class has the constructor of a model: the schema, then keywords only."""
    inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    return bool(inits) and [a.arg for a in inits[0].args.args] == ["self", "schema"]


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _bare(hint: Any) -> tuple[Any, dict[str, Any]]:
    """A type without its bounds, and those."""
    if get_origin(hint) is not Annotated:
        return hint, {}
    fields = [item for item in hint.__metadata__ if isinstance(item, FieldInfo)]
    return hint.__origin__, {k: v for f in fields for m in f.metadata for k, v in asdict(m).items()}


def _refusal(hint: Any, value: Any) -> str:
    """What a value that is not of a type must be."""
    if isinstance(hint, UnionType) or get_origin(hint) is Union:
        branches = [branch for branch in get_args(hint) if branch is not NoneType]
        return ", or ".join(_refusal(branch, value) for branch in branches)
    base, bounds = _bare(hint)
    if get_origin(base) is Literal:
        return f"one of {', '.join(map(str, get_args(base)))}, not {value!r}"
    if value == [] and get_args(base) and "min_length" in bounds:
        widths = _bare(get_args(base)[0])[0] is int
        return f"must hold at least one {'width' if widths else 'entry'}"
    if base is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"must be a number, not {value!r} (write 1.0e-4, not 1e-4)"
        if not bounds or (isinstance(value, float) and not math.isfinite(value)):
            return f"must be a finite number, not {value!r}"
        return f"must {'lie' if len(bounds) > 1 else 'be'} {_range(bounds)}, not {value!r}"
    return f"must {_wanted(base, bounds)}, not {value!r}"


def _wanted(base: Any, bounds: dict[str, Any]) -> str:
    inner = get_args(base)
    if get_origin(base) in (dict, abc.Mapping):
        return f"map names to {_several(inner[1])}"
    if inner and get_origin(inner[0]) is list:
        return "be a square matrix of numbers"
    if inner:
        return f"be a list of {_several(inner[0])}"
    if base is int and bounds == {"ge": 1}:
        return "be a positive integer"
    if base is int:
        return f"be an integer of {_range(bounds)}" if bounds else "be an integer"
    return {bool: "be true or false", str: "be text"}[base]


def _several(hint: Any) -> str:
    base, bounds = _bare(hint)
    if base is int and bounds == {"ge": 1}:
        return "positive integers"
    noun = {int: "integers", float: "numbers", str: "texts"}[base]
    return noun if base is str else f"{noun} {_range(bounds)}".strip()


def _range(bounds: dict[str, Any]) -> str:
    """Bounds of a number in words: `at least 0`, or `in [0, 1)`."""
    if len(bounds) == 2:
        (low, start), (high, end) = bounds.items()
        return f"in {'[' if low == 'ge' else '('}{start}, {end}{']' if high == 'le' else ')'}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return ", ".join(f"{words[key]} {bound}" for key, bound in bounds.items())
