"""`stembench verdicts`: published numbers and claims against what a suite measured.

A number is compared by a prediction interval: one more run like ours, on the same rows, would lie
in it. Its variance is ours, s² (1/runs + 1/S) over S seeds; that the published runs vary as ours do
is assumed, and printed. Failing to reject is never "reproduced": that takes two one-sided tests
(TOST) at the margin. A claim of order is tested pair by pair over seeds and users, Holm-adjusted
over the pairs of the claim on a data set. Where data or split are not known to be the same, a value
is not compared, and a claim speaks of sign and order alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import t as student

from stembench.analysis.pairs import pairs
from stembench.analysis.runs import Group
from stembench.checks.published import ASPECTS, Claim, Here, Number, Published
from stembench.errors import StembenchError
from stembench.stats import holm, tost, two_way

COLUMNS = (
    *("entry", "kind", "paper", "tag", "source", "table", "row", "statement"),
    *("dataset", "task", "metric", "where", "model", "relation", "other", "n_seeds", "ours"),
    *(
        "published",
        "runs_published",
        "sd_seed",
        "delta",
        "se",
        "df",
        "ci_lo",
        "ci_hi",
        "p",
        "p_adj",
    ),
    *("margin", "p_tost", "p_tost_half", "p_tost_double"),
    *("verdict", "verdict_half", "verdict_double", "test", "scope", "deviations", "note"),
)
ASSUMPTIONS = ("entry", "dataset", "aspect", "source_says", "ours", "match")
#: Verdict on an entry for which the suite has no data set, task or model.
NO_MATCH = "nothing here to compare"
VALUE, ORDER = "value", "sign and order only"
SEEDS_AND_USERS = "seeds x users"

Rows = list[dict[str, Any]]


class Measured:
    """What a suite measured: its tables, and its runs for pairs that the tables do not have.

    results: `results/<suite>`. Raises StembenchError if metrics.csv or comparison.csv is absent.
    """

    def __init__(self, results: Path, groups: list[Group], alpha: float) -> None:
        self.suite, self.alpha = results.name, alpha
        self.groups = {group.dataset: group for group in groups}
        # A run may be found damaged only when it is measured: the tables tell which count.
        counted = {
            (row["dataset"], row["model"], str(row["seed"]))
            for row in _read(results, "cells").to_dict("records")
            if row["status"] == "ok"
        }
        for cell in (cell for group in groups for cell in group.cells):
            if cell.status == "ok" and (cell.dataset, cell.model, str(cell.seed)) not in counted:
                cell.status = "damaged"
        self.metrics = _read(results, "metrics")
        self.comparison = _read(results, "comparison")
        absent = not (results / "tables" / "comparable.csv").exists()
        self.comparable = None if absent else _read(results, "comparable")
        self.datasets: list[str] = list(dict.fromkeys(self.metrics["dataset"]))
        self._pairs: dict[tuple[str, str, str, str], Rows] = {}

    def models(self, dataset: str) -> list[str]:
        """Models of a data set that have a run."""
        mine = self.metrics[(self.metrics["dataset"] == dataset) & (self.metrics["n_seeds"] > 0)]
        return list(dict.fromkeys(mine["model"]))

    def tasks(self, dataset: str) -> list[str]:
        """Tasks of a data set."""
        return list(dict.fromkeys(self.metrics.loc[self.metrics["dataset"] == dataset, "task"]))

    def of(self, dataset: str, task: str, metric: str, model: str) -> tuple[int, float, float]:
        """Seeds, mean and SD over them."""
        t = self.metrics
        at = (t["dataset"] == dataset) & (t["task"] == task) & (t["metric"] == metric)
        (row,) = t[at & (t["model"] == model)].to_dict("records")
        return int(row["n_seeds"]), float(row["mean"]), float(row["sd"])

    def pair(self, dataset: str, metric: str, model: str, other: str) -> Rows:
        """A row a task: delta = model - other with its test, from the tables or the runs."""
        t = self.comparison
        t = t[(t["dataset"] == dataset) & (t["metric"] == metric) & (t["bucket"] == "all")]
        for a, b, sign in ((model, other, 1.0), (other, model, -1.0)):
            found = t[(t["model_a"] == a) & (t["model_b"] == b)].to_dict("records")
            if found:
                return [_signed(row, sign) for row in found]
        key = (dataset, metric, model, other)
        if key not in self._pairs:
            self._pairs[key] = self._from_runs(*key)
        return self._pairs[key]

    def _from_runs(self, dataset: str, metric: str, model: str, other: str) -> Rows:
        group = self.groups.get(dataset)
        if group is None:
            return []
        cells = [cell for cell in group.cells if cell.model in (model, other)]
        rows: Rows = []
        for pair in pairs(replace(group, cells=cells), model, [metric]):
            row: dict[str, Any] = {"task": pair.task, "n_seeds": len(pair.seeds)}
            if pair.d.shape[1] >= 2:
                test = two_way(pair.d, self.alpha)
                row |= {"delta": test.mean, "se": test.se_total, "df": test.df, "p": test.p}
                row |= {"ci_lo": test.ci_lo, "ci_hi": test.ci_hi}
            rows.append(row)
        return rows


def verdicts(published: Published, measured: Measured, margin: float) -> tuple[Rows, Rows]:
    """Rows of COLUMNS, each entry at least once, and rows of ASSUMPTIONS of those compared.

    margin: the AUC difference that does not matter; verdicts are given at half and double too.
    """
    rows: Rows = []
    assumed: Rows = []
    for name, entry in published.entries.items():
        common: dict[str, Any] = {"entry": name, "kind": entry.kind, "margin": margin}
        common |= {key: getattr(entry, key) for key in ("paper", "tag", "source", "table", "row")}
        common |= {"metric": entry.metric, "model": entry.model, "note": entry.note}
        if isinstance(entry, Claim):
            common |= {"statement": entry.statement, "where": entry.where}
            common |= {"relation": entry.relation, "other": ";".join(entry.others)}
        else:
            common |= {"statement": f"{entry.model}, {entry.task}: {entry.metric} {entry.value}"}
            common |= {"task": entry.task, "published": entry.value, "where": "overall"}
            common |= {"runs_published": entry.runs}
        found: Rows = []
        for dataset in measured.datasets:
            here = entry.on(dataset)
            if here is None or entry.model not in measured.models(dataset):
                continue
            if isinstance(entry, Claim):
                mine = _claim(entry, here, measured, dataset, margin)
            else:
                mine = _number(entry, here, measured, dataset, margin)
            told: dict[str, Any] = {"dataset": dataset, "scope": VALUE}
            told["scope"] = VALUE if here.comparable() else ORDER
            told["deviations"] = "; ".join(here.deviations())
            found += [common | told | row for row in mine]
            if mine:
                assumed += [
                    {"entry": name, "dataset": dataset, "aspect": aspect}
                    | {"source_says": getattr(entry.source_says, aspect)}
                    | getattr(here, aspect).model_dump()
                    for aspect in ASPECTS
                ]
        rows += found or [common | {"verdict": NO_MATCH}]
    return rows, assumed


def judge(delta: float, se: float, df: float, alpha: float, margin: float) -> str:
    """Verdict on ours - published = delta with prediction standard error se.

    reproduced: TOST passes at the margin; inconsistent: the published value lies outside the
    prediction interval of level 1 - alpha; underpowered: inside, and that interval is wider than
    twice the margin; consistent: inside one that is not.
    """
    if math.isnan(se):
        return "underpowered"
    if tost(delta, se, df, margin) < alpha:
        return "reproduced"
    half = _half(se, df, alpha)
    if abs(delta) > half:
        return "inconsistent"
    return "underpowered" if half > margin else "consistent"


def _number(entry: Number, here: Here, measured: Measured, dataset: str, margin: float) -> Rows:
    task = here.tasks.get(entry.task, entry.task)
    if task not in measured.tasks(dataset):
        return []
    seeds, ours, sd = measured.of(dataset, task, entry.metric, entry.model)
    se, df = sd * math.sqrt(1 / entry.runs + 1 / seeds), seeds - 1
    delta = ours - entry.value
    row: dict[str, Any] = {"task": task, "n_seeds": seeds, "ours": ours, "sd_seed": sd}
    row |= {"delta": delta, "se": se, "df": df, "test": "prediction interval over seeds"}
    if not math.isnan(se):
        half = _half(se, df, measured.alpha)
        row |= {"ci_lo": delta - half, "ci_hi": delta + half} | _tosts(delta, se, df, margin)
    for name, scale in (("verdict", 1.0), ("verdict_half", 0.5), ("verdict_double", 2.0)):
        verdict = judge(delta, se, df, measured.alpha, scale * margin)
        row[name] = verdict if here.comparable() else "not comparable"
    return [row]


def _claim(entry: Claim, here: Here, measured: Measured, dataset: str, margin: float) -> Rows:
    """A row a task and other model; those that the suite does not have are left out."""
    known = measured.tasks(dataset)
    wanted = known if entry.tasks == "all" else [here.tasks.get(t, t) for t in entry.tasks]
    others = [other for other in entry.others if other in measured.models(dataset)]
    tasks = [task for task in wanted if task in known]
    if not (others and tasks):
        return []
    if entry.where == "comparable" and measured.comparable is None:
        note = f"run `stembench comparable --suite {measured.suite}`, then this again"
        return [{"other": ";".join(others), "verdict": "not computed", "note": note}]
    rows: Rows = []
    for other in others:
        if entry.where == "comparable":
            found = _on_comparable(entry, measured, dataset, other)
        else:
            found = measured.pair(dataset, entry.metric, entry.model, other)
        by_task: dict[str, Rows] = {}
        for row in found:
            by_task.setdefault(row["task"], []).append(row)
        for task in tasks:
            rows += [{"other": other, "task": task} | row for row in by_task.get(task, [{}])]
    sign = (1 if entry.relation == "better" else -1) * (-1 if entry.metric == "logloss" else 1)
    adjusted = holm([row.get("p", math.nan) for row in rows])
    for row, p_adj in zip(rows, adjusted, strict=True):
        row |= {"p_adj": p_adj, "test": SEEDS_AND_USERS}
        if math.isnan(p_adj):
            row["verdict"] = "missing"
        elif p_adj >= measured.alpha:
            row["verdict"] = "not distinguished"
        else:
            row["verdict"] = "order holds" if sign * row["delta"] > 0 else "order reversed"
        if entry.metric == "auc" and not math.isnan(p_adj):  # the margin is one of AUC
            row |= _tosts(row["delta"], row["se"], row["df"], margin)
    return rows


def _on_comparable(entry: Claim, measured: Measured, dataset: str, other: str) -> Rows:
    """Rows on the comparable bucket, primary definition, by pair of tasks and task."""
    t = measured.comparable
    assert t is not None
    primary = t["primary"].astype(str).str.lower() == "true"
    t = t[primary & (t["dataset"] == dataset) & (t["bucket"] == "comparable")]
    t = t[t["metric"] == entry.metric]
    for a, b, sign in ((entry.model, other, 1.0), (other, entry.model, -1.0)):
        found = t[(t["model"] == a) & (t["baseline"] == b)].to_dict("records")
        if found:
            return [
                _signed(row, sign)
                | {"note": f"rows comparable in {row['task_a']} and {row['task_b']}"}
                for row in found
            ]
    return []


def _signed(row: dict[Any, Any], sign: float) -> dict[str, Any]:
    """A row of comparison.csv or comparable.csv as model - other; sign -1 turns it round."""
    ends = (sign * row["ci_lo"], sign * row["ci_hi"])
    found = {"task": str(row["task"]), "n_seeds": row["n_seeds"], "delta": sign * row["delta"]}
    found |= {"se": row["se_total"], "df": row["df"], "p": row.get("p_total", row.get("p"))}
    return found | {"ci_lo": min(ends), "ci_hi": max(ends)}


def _tosts(delta: float, se: float, df: float, margin: float) -> dict[str, float]:
    scales = {"p_tost": 1.0, "p_tost_half": 0.5, "p_tost_double": 2.0}
    return {key: tost(delta, se, df, scale * margin) for key, scale in scales.items()}


def _half(se: float, df: float, alpha: float) -> float:
    return float(student.ppf(1 - alpha / 2, df)) * se


def _read(results: Path, name: str) -> pd.DataFrame:
    path = results / "tables" / f"{name}.csv"
    text: Sequence[str] = ("dataset", "task", "metric", "model", "model_a", "model_b")
    try:
        table = pd.read_csv(
            path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=[""]
        )
    except (OSError, ValueError) as error:
        raise StembenchError(
            f"{path} cannot be read ({error}): run `stembench compare --suite {results.name}` first"
        ) from None
    return table
