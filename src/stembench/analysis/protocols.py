"""How each model's rank moves between protocols, and the learning rate as a crossed factor.

A series is a list of suites with one grid that differ in their settings (`analysis.protocols`).
ranks.csv has each model's place in each suite. learning_rates.csv takes the suites that give all
models one rate: for every rate of the reference and of the others it has the difference between
them, also where the two come from different suites, paired by seed. rate_effects.csv has what the
higher rate does to each model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stembench.analysis.factors import columns_of, combine
from stembench.analysis.runs import Cell, Group, measure, read, require_complete
from stembench.analysis.suite import against_reference
from stembench.errors import StembenchError
from stembench.records.writing import write_json, write_text
from stembench.stats import benjamini_hochberg

_TEST = ("n_seeds", "delta", "se_seed", "se_user", "se_total", "df", "ci_lo", "ci_hi")
COLUMNS: dict[str, tuple[str, ...]] = {
    "ranks": (
        *("dataset", "task", "suite", "protocol", "model", "lr", "trials", "n_seeds", "mean", "sd"),
        *("rank", "mean_rank", "verdict"),
    ),
    "learning_rates": (
        *("dataset", "task", "model_a", "lr_a", "model_b", "lr_b", "suite_a", "suite_b", "rank_a"),
        *(*_TEST, "p_total", "p_seed", "p_adj"),
    ),
    "rate_effects": (
        *("dataset", "task", "model", "lr_high", "lr_low", *_TEST, "p_total", "p_seed", "p_adj"),
    ),
}
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Member:
    """A suite of the series: its name, protocol, folder of results, expected cells as `compare`."""

    suite: str
    protocol: str
    results: Path
    expected: list[dict[str, Any]]


def compare_protocols(
    out: Path, splits: Path, members: list[Member], reference: str, alpha: float, margin: float
) -> dict[str, pd.DataFrame]:
    """Write the tables of a series into `out`/tables and return them.

    Raises StembenchError, before writing anything, if a cell of a suite is not ok.
    """
    groups = {}
    for member in members:
        found = read(member.results, splits, member.expected, partial=False)
        try:
            require_complete(found)
        except StembenchError as error:
            command = f"snakemake --config suite={member.suite}"
            raise StembenchError(f"suite {member.suite} ({command}): {error}") from None
        groups[member.suite] = {group.dataset: group for group in found}
    rows: dict[str, Rows] = {name: [] for name in COLUMNS}
    runs: list[tuple[str, str]] = []
    for dataset in groups[members[0].suite]:
        mine = [(member, groups[member.suite][dataset]) for member in members]
        for member, group in mine:
            measure(group)
            require_complete([group])
            rows["ranks"] += _ranks(member, group, reference, alpha, margin)
            runs += [(f"{member.suite}/{cell.id}", cell.run_sha256) for cell in group.cells]
        rates = _rates(mine)
        rows["learning_rates"] += _crossed(rates, reference, alpha)
        rows["rate_effects"] += _effects(rates, alpha)
        for _, group in mine:
            for cell in group.cells:
                cell.influences.clear()  # the next data set needs the memory
    frames = {name: pd.DataFrame(rows[name], columns=list(COLUMNS[name])) for name in COLUMNS}
    for name, frame in frames.items():
        text = frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")
        write_text(out / "tables" / f"{name}.csv", text)
    write_json(
        out / "tables" / "inputs.json",
        {
            "suite": out.name,
            "command": f"stembench protocols {out.name}",
            "suites": [member.suite for member in members],
            "protocols": {member.suite: member.protocol for member in members},
            "complete": True,
            "n_cells": len(runs),
            "n_ok": len(runs),
            "runs": dict(runs),
            "seeds": list(dict.fromkeys(cell["seed"] for cell in members[0].expected)),
            "reference": reference,
            "alpha": alpha,
            "margin": margin,
        },
    )
    return frames


def _ranks(member: Member, group: Group, reference: str, alpha: float, margin: float) -> Rows:
    """Mean AUC, rank and rate of each model on each task, and the verdict on the reference."""
    verdicts = {
        (row["task"], row["model_b"]): row["verdict"]
        for row in against_reference(group, reference, alpha, margin)
    }
    rows: Rows = []
    for task in group.tasks:
        block = []
        for model in group.models:
            cells = group.sound(model)
            values = np.array([cell.metric("test", task, "auc") for cell in cells])
            row: dict[str, Any] = {"dataset": group.dataset, "task": task, "suite": member.suite}
            row |= {"protocol": member.protocol, "model": model, "lr": _lr(cells)}
            row |= {"trials": cells[0].run.get("tuned", {}).get("trials", 0)}
            row |= {"n_seeds": len(values), "mean": float(values.mean())}
            row |= {"sd": float(values.std(ddof=1)) if len(values) > 1 else math.nan}
            block.append(row | {"verdict": verdicts.get((task, model), "")})
        means = pd.Series([row["mean"] for row in block])
        for row, rank in zip(block, means.rank(ascending=False, method="min"), strict=True):
            row["rank"] = int(rank)
        rows += block
    for row in rows:
        row["mean_rank"] = float(np.mean([r["rank"] for r in rows if r["model"] == row["model"]]))
    return rows


def _rates(mine: list[tuple[Member, Group]]) -> dict[float, tuple[str, Group]]:
    """The suites of the protocol `equal` with one learning rate for all models, by the rate.

    Only those count that are equal in all else; the first such suite says what else is.
    """
    found: dict[float, tuple[str, Group]] = {}
    common: list[str] | None = None
    for member, group in mine:
        rates = {_lr([cell]) for cell in group.cells}
        if member.protocol != "equal" or len(rates) != 1:
            continue
        others = [_without_rate(cell) for cell in group.cells]
        common = common or others
        if others == common:
            found.setdefault(rates.pop(), (member.suite, group))
    return found


def _crossed(rates: dict[float, tuple[str, Group]], reference: str, alpha: float) -> Rows:
    """The reference at each rate against every other model at each rate; BH over the data set."""
    rows: Rows = []
    if len(rates) < 2:
        return rows
    for lr_a, (suite_a, one) in rates.items():
        for lr_b, (suite_b, other) in rates.items():
            for t, task, first, models in _pairs(one, other, reference):
                means = {model: _mean(other.sound(model), task) for model in models}
                own = _mean(first, task)
                rank = 1 + sum(value > own for value in means.values())
                for model in models:
                    row: dict[str, Any] = {
                        "dataset": one.dataset,
                        "task": task,
                        "model_a": reference,
                    }
                    row |= {"lr_a": lr_a, "model_b": model, "lr_b": lr_b, "suite_a": suite_a}
                    row |= {"suite_b": suite_b, "rank_a": rank}
                    terms = [(1.0, first), (-1.0, other.sound(model))]
                    rows.append(row | columns_of(combine(terms, t), alpha))
    return _adjusted(rows)


def _pairs(one: Group, other: Group, reference: str) -> Iterator[tuple[int, str, Any, list[str]]]:
    models = [model for model in other.models if model != reference]
    for t, task in enumerate(one.tasks):
        yield t, task, one.sound(reference), models


def _effects(rates: dict[float, tuple[str, Group]], alpha: float) -> Rows:
    """AUC of each model at the highest rate minus that at the lowest; BH over the data set."""
    rows: Rows = []
    if len(rates) < 2:
        return rows
    high, low = max(rates), min(rates)
    above, below = rates[high][1], rates[low][1]
    for model in above.models:
        for t, task in enumerate(above.tasks):
            row: dict[str, Any] = {"dataset": above.dataset, "task": task, "model": model}
            row |= {"lr_high": high, "lr_low": low}
            terms = [(1.0, above.sound(model)), (-1.0, below.sound(model))]
            rows.append(row | columns_of(combine(terms, t), alpha))
    return _adjusted(rows)


def _adjusted(rows: Rows) -> Rows:
    adjusted = benjamini_hochberg([row["p_total"] for row in rows])
    return [row | {"p_adj": p} for row, p in zip(rows, adjusted, strict=True)]


def _mean(cells: list[Cell], task: str) -> float:
    return float(np.mean([cell.metric("test", task, "auc") for cell in cells]))


def _lr(cells: list[Cell]) -> float:
    """The learning rate that all these runs have in common."""
    rates = {float(cell.run["spec"]["train"]["lr"]) for cell in cells}
    return rates.pop() if len(rates) == 1 else math.nan


def _without_rate(cell: Cell) -> str:
    spec = cell.run["spec"]
    train = {key: value for key, value in spec["train"].items() if key != "lr"}
    return json.dumps(spec | {"train": train}, sort_keys=True)
