"""Makes results/<suite> as `stembench compare` leaves it, from closed formulas: no training."""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stembench.analysis.factors import COLUMNS

MODELS = ("single_task", "shared_bottom", "mmoe", "ple", "stem")
DATASETS = {
    "synthetic_conflict": ("click", "like"),
    "synthetic_null": ("click", "like"),
    "movielens": ("like", "love", "dislike"),
}
SEEDS = (2023, 76, 525, 728, 42)
#: AUC of a model less that of the data set's base, by model.
GAINS = {
    "synthetic_conflict": (0.012, 0.0, 0.006, 0.011, 0.018),
    "synthetic_null": (0.0, 0.0019, 0.002, 0.0022, 0.0021),
    "movielens": (0.004, 0.0, 0.0085, 0.009, 0.0052),
}
#: SE of a difference over users; small where the test part is large.
USER_NOISE = {"synthetic_conflict": 0.0008, "synthetic_null": 0.0002, "movielens": 0.0014}


def _sha(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def _noise(*parts: object) -> float:
    """In [-1, 1), the same on every platform."""
    return int(_sha(*parts)[:8], 16) / 2**31 - 1


def _run_values(dataset: str, model: str, seed: int, task: str) -> dict[str, float]:
    gain = dict(zip(MODELS, GAINS.get(dataset, GAINS["movielens"]), strict=True)).get(model, 0)
    hard = 0.02 * len(task) / 10
    value = 0.72 + hard + gain * (1 - 10 * hard) + 0.0006 * _noise(dataset, model, seed, task)
    return {
        "auc": value,
        "gauc": value - 0.03,
        "gauc_users_kept": 0.9 - hard,
        "logloss": 0.9 - value / 2,
        "calibration": 1 + 0.04 * _noise(model, seed, task, "calibration"),
    }


def _metrics(runs: pd.DataFrame, expected: list[tuple[str, str, int]]) -> pd.DataFrame:
    rows = []
    test = runs[(runs["part"] == "test") & (runs["metric"] != "gauc_users_kept")]
    for (dataset, task, metric), group in test.groupby(["dataset", "task", "metric"], sort=False):
        for model in dict.fromkeys(m for d, m, _ in expected if d == dataset):
            have = group[group["model"] == model]
            seeds = [s for d, m, s in expected if d == dataset and m == model]
            missing = [str(s) for s in seeds if s not in set(have["seed"])]
            values = have["value"]
            row = [dataset, task, metric, model, len(have), len(seeds), ";".join(missing)]
            rows.append([*row, values.mean(), values.std(ddof=1)])
    columns = [
        "dataset",
        "task",
        "metric",
        "model",
        "n_seeds",
        "n_expected",
        "missing_seeds",
        "mean",
        "sd",
    ]
    table = pd.DataFrame(rows, columns=columns)
    return ranked(table)


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """The table of metrics with its column rank made anew from the means."""
    loss = -table["mean"]
    loss[table["metric"] == "logloss"] = table["mean"]
    loss[table["metric"] == "calibration"] = (table["mean"] - 1).abs()
    groups = loss.groupby([table["dataset"], table["task"], table["metric"]])
    return table.assign(rank=groups.rank(method="min"))


def _compare(runs: pd.DataFrame, reference: str, alpha: float, margin: float) -> pd.DataFrame:
    """A stand-in for the two-way test that gives every verdict; Holm by Bonferroni."""
    rows = []
    auc = runs[(runs["part"] == "test") & (runs["metric"] == "auc")]
    for (dataset, task), group in auc.groupby(["dataset", "task"], sort=False):
        wide = group.pivot(index="seed", columns="model", values="value")
        others = [m for m in dict.fromkeys(group["model"]) if m != reference]
        for other in others:
            difference = (wide[reference] - wide[other]).dropna() if reference in wide else []
            row = {"dataset": dataset, "task": task, "metric": "auc", "bucket": "all"}
            row |= {"model_a": reference, "model_b": other, "n_seeds": len(difference)}
            row |= {"n_users": 600, "n_rows": 12000, "n_pos": 4800, "family": f"F1:{dataset}"}
            row["verdict"] = "missing"
            if len(difference) > 1:
                delta = difference.mean()
                se_seed = difference.std(ddof=1) / np.sqrt(len(difference))
                se_user = USER_NOISE.get(dataset, 0.001)
                total, df = np.hypot(se_seed, se_user), 37.5
                p = 2 * stats.t.sf(abs(delta) / total, df)
                p_adj = min(1.0, p * len(others))
                p_tost = stats.t.sf((margin - abs(delta)) / total, df)
                half = stats.t.ppf(1 - alpha / 2, df) * total
                verdict = "equivalent" if p_tost < alpha else "inconclusive"
                if p_adj < alpha:
                    verdict = "better" if delta > 0 else "worse"
                row |= {"delta": delta, "se_seed": se_seed, "se_user": se_user, "df": df}
                row |= {"se_total": total, "ci_lo": delta - half, "ci_hi": delta + half}
                row |= {"p_total": p, "p_seed": p, "p_adj": p_adj, "p_tost": p_tost}
                row["verdict"] = verdict
            rows.append(row)
    columns = [
        "dataset",
        "task",
        "metric",
        "bucket",
        "model_a",
        "model_b",
        "n_seeds",
        "n_users",
        "n_rows",
        "n_pos",
        "mean_a",
        "sd_a",
        "mean_b",
        "sd_b",
        "delta",
        "se_seed",
        "se_user",
        "se_total",
        "df",
        "ci_lo",
        "ci_hi",
        "p_total",
        "p_seed",
        "family",
        "p_adj",
        "p_tost",
        "verdict",
    ]
    return pd.DataFrame(rows).reindex(columns=columns)


def _histories(root: Path, runs: pd.DataFrame) -> None:
    for (dataset, model, seed), group in runs.groupby(["dataset", "model", "seed"], sort=False):
        folder = root / "runs" / str(dataset) / str(model) / str(seed)
        folder.mkdir(parents=True)
        epochs = 5 + round(2 * _noise(dataset, model, seed, "epochs"))
        rows = []
        for epoch in range(1, epochs + 1):
            row: dict[str, float] = {
                "epoch": epoch,
                "time": 1.79e9 + epoch,
                "train_loss": 1 / epoch,
            }
            auc = group[(group["metric"] == "auc") & (group["part"] == "test")]
            for task, value in zip(auc["task"], auc["value"], strict=True):
                row[f"valid_auc_{task}"] = value - 0.12 * np.exp(-epoch) - 0.002 * (epoch == epochs)
            row["valid_auc"] = float(np.mean([v for k, v in row.items() if "valid" in k]))
            rows.append(row)
        pd.DataFrame(rows).to_csv(folder / "history.csv", index=False)


def _factors(datasets: dict[str, tuple[str, ...]], seeds: int) -> pd.DataFrame:
    """Two effects and an interaction per task, the second effect without numbers."""
    effects = (("gate", "a - b", 0.004, 0.01), ("input", "c - d", math.nan, math.nan),
               ("gate × input", "(a - b at c) - (a - b at d)", -0.0002, 0.7))  # fmt: skip
    rows = [
        (
            *(d, task, "auc", "gates", effect, words, "+1 stem -1 mmoe", seeds, delta),
            *(0.0004, 0.0005, 0.0006, 7.5, delta - 0.0014, delta + 0.0014, p / 2, p / 3),
            *(f"factors:{d}", p),
        )
        for d, tasks in datasets.items()
        for task in tasks
        for effect, words, delta, p in effects
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def generate(
    root: Path,
    datasets: dict[str, tuple[str, ...]] | None = None,
    models: tuple[str, ...] = MODELS,
    seeds: tuple[int, ...] = SEEDS,
    not_ok: dict[tuple[str, str, int], str] | None = None,
    passed_by: str = "",
    alpha: float = 0.05,
    margin: float = 1e-3,
    histories: bool = False,
    protocol: dict[str, object] | None = None,
    factors: bool = False,
) -> Path:
    """Write `root` (results/<suite>) with tables, inputs.json and, if wanted, histories.

    not_ok: status of the cells that do not count; passed_by: models said to pass the oracle.
    """
    datasets, not_ok = datasets or DATASETS, not_ok or {}
    expected = [(d, m, s) for d in datasets for m in models for s in seeds]
    ok = [cell for cell in expected if cell not in not_ok]
    runs = pd.DataFrame(
        [
            (d, m, s, "test", task, metric, value)
            for d, m, s in ok
            for task in datasets[d]
            for metric, value in _run_values(d, m, s, task).items()
        ],
        columns=["dataset", "model", "seed", "part", "task", "metric", "value"],
    )
    oracle = [
        (d, task, metric, value, passed_by if metric == "auc" else "")
        for d in datasets
        if d.startswith("synthetic")
        for task in datasets[d]
        for metric, value in {
            "auc": 0.79,
            "gauc": 0.762,
            "logloss": 0.49,
            "calibration": 1.002,
        }.items()
    ]
    cells = [(*c, not_ok.get(c, "ok"), "" if c in not_ok else _sha(*c)) for c in expected]
    size = {m: 40_000 + 9_000 * i for i, m in enumerate(MODELS)}
    cost = [
        (
            d,
            m,
            len(seeds),
            size.get(m, 1),
            12_345,
            size.get(m, 1) + 12_345,
            3.21,
            4.56,
            98765.4,
            5.2,
            4.2,
            512.25,
        )
        for d in datasets
        for m in models
        if any((d, m, s) in ok for s in seeds)
    ]
    tables = {
        "cells": pd.DataFrame(cells, columns=["dataset", "model", "seed", "status", "run_sha256"]),
        "runs": runs,
        "metrics": _metrics(runs, expected),
        "oracle": pd.DataFrame(oracle, columns=["dataset", "task", "metric", "value", "passed_by"]),
        "comparison": _compare(runs, "stem", alpha, margin),
        "cost": pd.DataFrame(
            cost,
            columns=[
                "dataset",
                "model",
                "n_seeds",
                "parameters_embedding",
                "parameters_dense",
                "parameters_total",
                "fit_s",
                "total_s",
                "samples_per_s",
                "epochs_run",
                "best_epoch",
                "peak_memory_mb",
            ],
        ),
        "factors": _factors(datasets if factors else {}, len(seeds)),
    }
    folder = root / "tables"
    folder.mkdir(parents=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    inputs = {
        "suite": root.name,
        "command": f"stembench compare --suite {root.name}",
        "complete": not not_ok,
        "n_cells": len(expected),
        "n_ok": len(ok),
        "not_ok": [
            {"dataset": d, "model": m, "seed": s, "status": status}
            for (d, m, s), status in not_ok.items()
        ],
        "inputs_sha256": _sha("inputs", root.name),
        "runs": {"/".join(map(str, cell)): _sha(*cell) for cell in ok},
        "splits": {
            d: {
                "split": f"{d}_t1",
                "sha256": _sha(d),
                "rows": {"train": 80000, "valid": 10000, "test": 10000},
            }
            for d in datasets
        },
        "seeds": list(seeds),
        "reference": "stem",
        "alpha": alpha,
        "margin": margin,
        "protocol": protocol or {"name": "equal"},
    }
    (folder / "inputs.json").write_text(json.dumps(inputs))
    if histories:
        _histories(root, runs)
    return root


@pytest.fixture(scope="session", name="generate")
def generate_fixture() -> Callable[..., Path]:
    """`generate` itself, for fixtures that outlive a test."""
    return generate


@pytest.fixture
def make_results(tmp_path: Path) -> Callable[..., Path]:
    """`make_results(suite="demo", **options of generate)` -> results/<suite>."""

    def make(suite: str = "demo", **options: object) -> Path:
        return generate(tmp_path / "results" / suite, **options)  # type: ignore[arg-type]

    return make
