"""Find the source module that params.yaml names, and give it the options it takes."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

import polars as pl

from stembench.errors import StembenchError
from stembench.params import data as params_data


class SourceModule(Protocol):
    """What a module of stembench.data.sources offers.

    LEAKS maps a column (or a pattern such as `p_*`) to the reason why it may not be an input
    field. Some have `leaks`, which gives more of them by the options, `generate`, which makes the
    data, and `facts`, which counts for the manifest.
    """

    LEAKS: dict[str, str]
    load: Callable[..., pl.LazyFrame]


def module(kind: str) -> SourceModule:
    """The module `stembench.data.sources.<kind>`; raises StembenchError when there is none."""
    try:
        return cast(SourceModule, importlib.import_module(f"stembench.data.sources.{kind}"))
    except ModuleNotFoundError:
        raise StembenchError(f"source.kind: no file {kind}.py in stembench/data/sources") from None


def options_for(function: Callable[..., Any], source: params_data.Source) -> dict[str, Any]:
    """Those of `source.options` that the function has as keyword-only arguments."""
    taken = inspect.signature(function).parameters.values()
    names = [item.name for item in taken if item.kind is item.KEYWORD_ONLY]
    return {name: source.options[name] for name in names if name in source.options}


def load(source: params_data.Source, root: Path) -> pl.LazyFrame:
    """The source's table."""
    function = module(source.kind).load
    return function(root, **options_for(function, source))


def facts(source: params_data.Source, root: Path) -> dict[str, Any]:
    """What the source says of its files for the manifest: rows dropped by its rules, say."""
    function = getattr(module(source.kind), "facts", None)
    found: dict[str, Any] = function(root, **options_for(function, source)) if function else {}
    return found


def leaks(source: params_data.Source) -> dict[str, str]:
    """Columns that may not be input fields, and why: those of the kind, then the entry's own."""
    chosen = module(source.kind)
    function = getattr(chosen, "leaks", None)
    own: dict[str, str] = function(**options_for(function, source)) if function else {}
    return chosen.LEAKS | own
