"""The protocol of a suite, and the budget of its searches, in words beside every comparison."""

from __future__ import annotations

import json
from typing import Any

from stembench.report import names
from stembench.report.numbers import number, plural
from stembench.report.results import Results

_SAMPLERS = {"tpe": "TPE", "random": "random search"}
#: Columns of the table of searches.
HEADER = ["Data set", "Model", "Trials", "failed", "Best", "Validation AUC", "Settings found"]


def line(results: Results) -> str:
    """One sentence on whose settings the models were trained with, and after how many trials."""
    told = _told(results)
    if told["name"] == "tuned":
        return (
            f"Protocol tuned: {plural(told['trials'], 'trial')} for every model on every data set "
            f"({_SAMPLERS.get(told['sampler'], told['sampler'])}, tuning seed {told['seed']}), "
            "selected by validation AUC averaged over tasks; trained anew with seeds that were not "
            "tuned on."
        )
    if told["name"] == "released":
        return (
            f"Protocol released: the published settings of each model ({told['source']}); 0 trials."
        )
    if told["name"] == "equal":
        return "Protocol equal: the settings of params.yaml for every model; 0 trials."
    return "Protocol unknown: these tables were made before it was recorded."


def searches(results: Results) -> list[list[str]]:
    """A row per search of a tuned suite, as text; empty for other protocols."""
    rows = []
    for found in _told(results).get("searches", []):
        settings = {**found["train"], **found["args"]}
        words = ", ".join(f"{key} {_short(value)}" for key, value in settings.items())
        counts = [str(found["trials"]), str(found["failed"]), str(found["best"] + 1)]
        score = number(found["valid_auc"])
        named = [names.dataset(found["dataset"]), names.model(found["model"])]
        rows.append([*named, *counts, score, words])
    return rows


def _told(results: Results) -> dict[str, Any]:
    told: dict[str, Any] = results.inputs.get("protocol") or {"name": "unknown"}
    return told


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else json.dumps(value)
