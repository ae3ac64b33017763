"""Turn pydantic's validation errors into lines that say what to write instead."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

_WRONG_TYPE = {"list_type", "int_type", "literal_error", "model_type", "dict_type"}
_NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$", re.IGNORECASE)


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One indented line per fault: the key's path, what is wrong, what is allowed."""
    by_path: dict[str, list[dict[str, Any]]] = {}
    for fault in error.errors(include_url=False):
        if fault["loc"][:1] == ("suite",):
            continue  # an alias of an entry of `suites`, where the same fault is told
        path = ".".join(str(part) for part in fault["loc"] if not _is_branch(str(part)))
        by_path.setdefault(path or "file", []).append(dict(fault))
    lines = []
    for path, faults in by_path.items():
        # Where two types are allowed, a value of one of them has the fault that this one finds.
        telling = [fault for fault in faults if fault["type"] not in _WRONG_TYPE] or faults
        messages = list(dict.fromkeys(_message(fault, model) for fault in telling))
        lines.append(f"  {path}: {', or '.join(messages)}")
    return lines


def _message(fault: dict[str, Any], model: type[BaseModel]) -> str:
    value, kind = fault.get("input"), fault["type"]
    if kind == "extra_forbidden":
        allowed = _allowed_keys(model, fault["loc"][:-1])
        return "unknown key" + (f", one of {', '.join(allowed)}" if allowed else "")
    if kind == "missing":
        return "this key is missing"
    if kind in ("float_type", "int_type") and isinstance(value, str) and _NUMBER.match(value):
        return (
            f"{value!r} is text to YAML, not a number: write the mantissa with a dot and the "
            f"exponent with a sign, as in 1.0e-4"
        )
    if kind == "union_tag_invalid":
        return f"{fault['ctx']['tag']!r} is not allowed, one of {fault['ctx']['expected_tags']}"
    if kind == "union_tag_not_found":
        return "the key rule is missing: random, time or days"
    if kind in ("model_type", "dict_type"):
        return f"must be a mapping of keys to values, not {value!r}"
    if kind == "value_error":
        return str(fault["ctx"]["error"])
    text = fault["msg"].replace("Input should be", "must be")
    return f"{text[0].lower()}{text[1:]}, not {value!r}"


def _allowed_keys(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Keys of the section at `location`, found by walking the annotations."""
    candidates: list[Any] = [model]
    for part in location:
        following: list[Any] = []
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                info = candidate.model_fields.get(str(part))
                if info is not None:
                    following += _types(info.annotation)
                elif _is_branch(str(part)):
                    following.append(candidate)
            else:
                following += [t for a in get_args(candidate) for t in _types(a)]
        tagged = [c for c in candidates if _tag(c) == part]
        candidates = tagged or following
    keys = [
        info.alias or name
        for candidate in candidates
        if isinstance(candidate, type) and issubclass(candidate, BaseModel)
        for name, info in candidate.model_fields.items()
    ]
    return list(dict.fromkeys(keys))


def _tag(candidate: Any) -> Any:
    """The value of a discriminated section's `rule`."""
    if isinstance(candidate, type) and issubclass(candidate, BaseModel):
        info = candidate.model_fields.get("rule")
        return get_args(info.annotation)[0] if info is not None else None
    return None


def _types(annotation: Any) -> list[Any]:
    """The annotation itself if it is a section, a list or a mapping, else those inside it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = getattr(annotation, "__origin__", None)
    if origin in (list, dict):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _types(inner)]


def _is_branch(part: str) -> bool:
    """Names that pydantic adds for the branch of a union; they are no keys of the file."""
    return bool(
        re.match(
            r"^(random|time|days|user_order|train_test_split|constrained-.*|list\[.*|literal\[.*|int|SeedRange|\[key\])$",
            part,
        )
    )
