"""Find the source module that params.yaml names, and give it the options it takes."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

import polars as pl

from stembench import params_schema
from stembench.errors import StembenchError


class SourceModule(Protocol):
    """What a module of stembench.data.sources offers; `generate` only where data are made.

    LEAKS maps a column to the reason why it may not be an input field.
    """

    LEAKS: dict[str, str]
    load: Callable[..., pl.LazyFrame]


def module(kind: str) -> SourceModule:
    """The module `stembench.data.sources.<kind>`; raises StembenchError when there is none."""
    try:
        return cast(SourceModule, importlib.import_module(f"stembench.data.sources.{kind}"))
    except ModuleNotFoundError:
        raise StembenchError(f"source.kind: no file {kind}.py in stembench/data/sources") from None


def options_for(function: Callable[..., Any], source: params_schema.Source) -> dict[str, Any]:
    """Those of `source.options` that the function has as keyword-only arguments."""
    taken = inspect.signature(function).parameters.values()
    names = [item.name for item in taken if item.kind is item.KEYWORD_ONLY]
    return {name: source.options[name] for name in names if name in source.options}


def load(source: params_schema.Source, root: Path) -> pl.LazyFrame:
    """The source's table."""
    function = module(source.kind).load
    return function(root, **options_for(function, source))


def facts(source: params_schema.Source, root: Path) -> dict[str, Any]:
    """What the source module has to tell of its files for the manifest; most have nothing."""
    function = getattr(module(source.kind), "facts", None)
    if function is None:
        return {}
    found: dict[str, Any] = function(root, **options_for(function, source))
    return found
