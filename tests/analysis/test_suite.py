import hashlib
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as distributions

from stembench.analysis import suite as module
from stembench.analysis.suite import COLUMNS, compare
from stembench.errors import StembenchError
from stembench.metrics import METRICS, evaluate_task
from tests.tiny_suite import (
    ALPHA,
    MARGIN,
    SEEDS,
    add_unbiased,
    brute_force,
    edit_run,
    everything,
    make_suite,
    rewrite_run,
    run_path,
    sha256,
    table,
)


@pytest.fixture
def suite(tmp_path):
    return make_suite(tmp_path)


def test_the_tables_of_a_finished_suite(suite):
    tables = compare(**suite)
    names = {f"{name}.csv" for name in COLUMNS} | {"inputs.json", "metrics.json"}
    assert set(everything(suite)) == names
    for name in COLUMNS:
        read, frame = table(suite, name), getattr(tables, name)
        blank = read.columns[read.isna().all()]
        kept = frame.drop(columns=blank).replace("", np.nan)
        pd.testing.assert_frame_equal(
            read.drop(columns=blank), kept, check_dtype=False, rtol=1e-9, atol=0
        )
    cells = table(suite, "cells")
    assert (cells.status == "ok").all()
    entries = [
        {key: entry[key] for key in ("dataset", "model", "seed")} for entry in suite["expected"]
    ]
    assert cells[["dataset", "model", "seed"]].to_dict("records") == entries
    assert cells.run_sha256[4] == sha256(run_path(suite, "synthetic", "ple", 76) / "run.json")


def test_runs_are_those_of_run_json(suite):
    compare(**suite)
    runs = table(suite, "runs")
    assert len(runs) == 2 * 3 * 3 * 2 * 2 * len(METRICS)
    run = json.loads((run_path(suite, "real", "ple", 525) / "run.json").read_text())
    rows = runs.query("dataset == 'real' and model == 'ple' and seed == 525 and part == 'test'")
    for row in rows.itertuples():
        assert row.value == pytest.approx(run["metrics"]["test"][row.task][row.metric], rel=1e-9)
    assert list(rows.metric[:8]) == list(METRICS)


def test_metrics_are_means_over_seeds_with_ranks(suite):
    compare(**suite)
    runs, metrics = table(suite, "runs"), table(suite, "metrics")
    assert len(metrics) == 2 * 2 * 4 * 3
    for row in metrics.itertuples():
        same = runs[
            (runs.dataset == row.dataset)
            & (runs.task == row.task)
            & (runs.metric == row.metric)
            & (runs.part == "test")
        ]
        values = same[same.model == row.model].value
        assert (row.n_seeds, row.n_expected) == (3, 3)
        assert row.mean == pytest.approx(values.mean(), rel=1e-9)
        assert row.sd == pytest.approx(values.std(ddof=1), rel=1e-6)
        # Calibration counts each seed's distance from 1: too high and too low do not cancel.
        loss = {"logloss": same.value, "calibration": (same.value - 1).abs()}
        losses = loss.get(row.metric, -same.value).groupby(same.model).mean()
        assert row.rank == 1 + (losses < losses[row.model]).sum()
    assert metrics.missing_seeds.isna().all()
    means = metrics.query("metric == 'auc'").set_index(["dataset", "task", "model"])["mean"]
    summary = json.loads((suite["results"] / "metrics.json").read_text())
    assert summary["real"]["like"]["ple"] == round(means["real", "like", "ple"], 6)
    assert list(summary) == ["real", "synthetic"]


def test_a_comparison_row_is_that_of_brute_force(suite):
    """Golden row: pairs, users and mean squares by hand, the t distribution by scipy."""
    compare(**suite)
    comparison = table(suite, "comparison")
    assert len(comparison) == 2 * 2 * 2
    assert list(comparison.model_b[:4]) == ["mmoe", "ple", "mmoe", "ple"]
    row = comparison.query("dataset == 'real' and task == 'like' and model_b == 'ple'").iloc[0]
    area_a, d_a = brute_force(suite, "real", 1, "stem")
    area_b, d_b = brute_force(suite, "real", 1, "ple")
    d = d_a - d_b
    s, g = d.shape
    mean = d.mean()
    ms_seed = g * sum((d.mean(axis=1) - mean) ** 2) / (s - 1)
    ms_user = s * sum((d.mean(axis=0) - mean) ** 2) / (g - 1)
    residual = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + mean
    ms = (residual**2).sum() / ((s - 1) * (g - 1))
    total = max(ms_seed + ms_user - ms, ms_seed, ms_user)
    df = 1 / (ms_seed / total / (s - 1) + (1 - ms_seed / total) / (g - 1))
    se = math.sqrt(total / (s * g))
    lo, hi = distributions.t.interval(1 - ALPHA, df, mean, se)
    labels = np.load(suite["splits"] / "real" / "test" / "labels.npy")[:, 1]
    family = comparison.query("dataset == 'real'").p_total.sort_values().to_numpy()
    holm = np.minimum(np.maximum.accumulate(family * [4, 3, 2, 1]), 1)
    p = 2 * distributions.t.sf(abs(mean) / se, df)
    golden = {
        "dataset": "real",
        "task": "like",
        "metric": "auc",
        "bucket": "all",
        "model_a": "stem",
        "model_b": "ple",
        "n_seeds": 3,
        "n_users": g,
        "n_rows": 600,
        "n_pos": labels.sum(),
        "mean_a": area_a.mean(),
        "sd_a": area_a.std(ddof=1),
        "mean_b": area_b.mean(),
        "sd_b": area_b.std(ddof=1),
        "delta": (area_a - area_b).mean(),
        "se_seed": math.sqrt(ms_seed / (s * g)),
        "se_user": math.sqrt(ms_user / (s * g)),
        "se_total": se,
        "df": df,
        "ci_lo": lo,
        "ci_hi": hi,
        "p_total": p,
        "p_seed": distributions.ttest_rel(area_a, area_b).pvalue,
        "family": "F1:real",
        "p_adj": holm[np.argmin(abs(family - p))],
        "p_tost": max(
            distributions.t.sf((mean + MARGIN) / se, df),
            distributions.t.cdf((mean - MARGIN) / se, df),
        ),
        "verdict": "better",
    }
    assert list(golden) == list(comparison.columns)
    for key, value in golden.items():
        assert row[key] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-7))


def test_verdicts():
    verdict = module.verdict
    assert verdict(0.01, 0.04, 0.9, 0.05) == "better"
    assert verdict(-0.01, 0.04, 0.9, 0.05) == "worse"
    assert verdict(0.0001, 0.04, 0.01, 0.05) == "better"  # significant, though small
    assert verdict(0.0001, 0.4, 0.01, 0.05) == "equivalent"
    assert verdict(0.01, 0.4, 0.9, 0.05) == "inconclusive"
    assert verdict(math.nan, math.nan, math.nan, 0.05) == "missing"


def test_identical_models_are_equivalent(suite):
    for seed in SEEDS:
        logits = np.load(run_path(suite, "real", "stem", seed) / "test_logits.npy")
        rewrite_run(suite, "real", "ple", seed, logits)
    compare(**suite)
    row = table(suite, "comparison").query("dataset == 'real' and model_b == 'ple'").iloc[0]
    assert (row.delta, row.se_total, row.ci_lo, row.ci_hi) == (0, 0, 0, 0)
    assert (row.p_total, row.p_seed, row.p_tost, row.verdict) == (1, 1, 0, "equivalent")
    ranks = table(suite, "metrics").query("dataset == 'real' and metric == 'auc'")
    assert list(ranks["rank"]) == [3, 1, 1] * 2  # a tie takes the better rank


def test_the_level_reaches_the_interval(suite):
    compare(**suite)
    wide = table(suite, "comparison")
    compare(**suite | {"alpha": 0.3})
    narrow = table(suite, "comparison")
    width = (narrow.ci_hi - narrow.ci_lo) / (wide.ci_hi - wide.ci_lo)
    ratio = distributions.t.ppf(0.85, wide.df) / distributions.t.ppf(0.975, wide.df)
    np.testing.assert_allclose(width, ratio, rtol=1e-8)


def test_the_oracle_is_that_of_the_true_probabilities(suite):
    compare(**suite)
    oracle = table(suite, "oracle")
    assert set(oracle.dataset) == {"synthetic"}
    folder = suite["splits"] / "synthetic" / "test"
    y, p, users = (np.load(folder / f"{n}.npy") for n in ("labels", "probabilities", "users"))
    values = evaluate_task(y[:, 1], np.log(p[:, 1] / (1 - p[:, 1])), users)
    for row in oracle.query("task == 'like'").itertuples():
        assert row.value == pytest.approx(values[row.metric], rel=1e-9)
    assert oracle.passed_by.isna().all()


def test_a_model_that_passes_the_oracle_is_named(suite):
    labels = np.load(suite["splits"] / "synthetic" / "test" / "labels.npy")
    for model in ("mmoe", "stem"):
        for seed in SEEDS:
            cheat = np.column_stack([labels[:, 0] - 0.5, np.arange(600) % 7])
            rewrite_run(suite, "synthetic", model, seed, cheat)
    compare(**suite)
    oracle = table(suite, "oracle").set_index(["task", "metric"]).passed_by
    assert oracle["click", "auc"] == "mmoe;stem"
    assert oracle.drop(("click", "auc")).isna().all()


def test_probabilities_of_0_and_1_have_an_oracle(suite):
    folder = suite["splits"] / "synthetic" / "test"
    labels = np.load(folder / "labels.npy")
    np.save(folder / "probabilities.npy", labels.astype(np.float64))
    compare(**suite)
    oracle = table(suite, "oracle").set_index(["task", "metric"]).value
    assert oracle["like", "auc"] == 1
    assert oracle["like", "logloss"] == pytest.approx(0, abs=1e-12)


def test_the_reference_must_be_among_the_models(suite):
    with pytest.raises(StembenchError, match=r"analysis\.reference to one of mmoe, ple, stem"):
        compare(**suite | {"reference": "esmm"})


def test_gauc_may_be_undefined(suite):
    """Null in run.json is blank in the tables, never a fault."""
    for entry in suite["expected"]:
        path = run_path(suite, entry["dataset"], entry["model"], entry["seed"])
        edit_run(path, lambda run: run["metrics"]["test"]["like"].update(gauc=None))
    compare(**suite)
    rows = table(suite, "metrics").query("task == 'like' and metric == 'gauc'")
    assert rows[["mean", "sd", "rank"]].isna().all(axis=None)


def test_cost_is_the_mean_over_seeds(suite):
    edit_run(run_path(suite, "real", "ple", 76), lambda run: run["timing"].update(fit_s=4.5))
    compare(**suite)
    row = table(suite, "cost").query("dataset == 'real' and model == 'ple'").iloc[0]
    assert (row.n_seeds, row.parameters_total, row.fit_s, row.best_epoch) == (3, 120, 2.5, 2)
    assert math.isnan(row.peak_memory_mb)


def test_inputs_carry_the_fingerprints(suite):
    compare(**suite)
    inputs = json.loads((suite["results"] / "tables" / "inputs.json").read_text())
    assert inputs["suite"] == "tiny"
    assert inputs["command"] == "stembench compare --suite tiny"
    assert inputs["complete"] is True
    assert inputs["not_ok"] == []
    assert inputs["seeds"] == list(SEEDS)
    assert (inputs["reference"], inputs["alpha"], inputs["margin"]) == ("stem", ALPHA, MARGIN)
    assert inputs["splits"]["real"] == {
        "split": "real_t1",
        "sha256": "split-real",
        "rows": {"train": 10, "valid": 10, "test": 600},
    }
    runs = inputs["runs"]
    assert runs["real/ple/76"] == sha256(run_path(suite, "real", "ple", 76) / "run.json")
    pairs = json.dumps(sorted([path, digest] for path, digest in runs.items()))
    assert inputs["inputs_sha256"] == hashlib.sha256(pairs.encode()).hexdigest()
    edit_run(run_path(suite, "real", "ple", 76), lambda run: run.update(best_epoch=1))
    compare(**suite)
    changed = json.loads((suite["results"] / "tables" / "inputs.json").read_text())
    assert changed["inputs_sha256"] != inputs["inputs_sha256"]


def test_the_same_inputs_give_the_same_bytes(suite):
    compare(**suite)
    first = everything(suite)
    compare(**suite)
    assert everything(suite) == first
    text = first["comparison.csv"].decode()
    assert "\r" not in text
    assert text.endswith("\n")
    for value in text.splitlines()[1].split(","):
        assert len(value.lstrip("-0.").split("e")[0].replace(".", "")) <= 14


def test_a_crash_leaves_the_old_table_whole(suite, monkeypatch):
    compare(**suite)
    old = everything(suite)
    edit_run(run_path(suite, "real", "ple", 76), lambda run: run["timing"].update(fit_s=9.0))

    def crash(*_):
        raise OSError("disk")

    monkeypatch.setattr("pathlib.Path.replace", crash)
    with pytest.raises(OSError, match="disk"):
        compare(**suite)
    assert everything(suite) == old


def test_randomly_exposed_items_are_rows_of_their_own(suite):
    compare(**suite)
    before = {name: table(suite, name) for name in COLUMNS}
    add_unbiased(suite, "real")
    compare(**suite)
    after = {name: table(suite, name) for name in COLUMNS}
    new = after["comparison"].query("bucket == 'unbiased'")
    assert len(new) == 2 * 2
    assert set(new.family) == {"FU:real"}
    assert set(new.n_rows) == {300}
    # What there was stays as it was: the test part's family is not made larger.
    kept = after["comparison"].query("bucket == 'all'").reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before["comparison"])
    told = after["metrics"].metric.str.startswith("unbiased_")
    rest = after["metrics"][~told].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, before["metrics"])
    assert set(after["metrics"][told].metric) == {"unbiased_auc", "unbiased_gauc"}
    assert set(after["metrics"][told].dataset) == {"real"}
    row = new.query("task == 'like' and model_b == 'ple'").iloc[0]
    area_a, d_a = brute_force(suite, "real", 1, "stem", "unbiased")
    area_b, d_b = brute_force(suite, "real", 1, "ple", "unbiased")
    assert row.delta == pytest.approx((area_a - area_b).mean(), rel=1e-7)
    assert row.delta == pytest.approx((d_a - d_b).mean(), rel=1e-7)
    assert row.n_users == d_a.shape[1]
    mean = after["metrics"].query("metric == 'unbiased_auc' and task == 'like' and model == 'stem'")
    assert mean["mean"].item() == pytest.approx(area_a.mean(), rel=1e-9)
    assert set(after["runs"].query("part == 'unbiased'").dataset) == {"real"}


@pytest.mark.parametrize("damage", ["gone", "other", "unmeasured"])
def test_a_run_without_its_logits_on_randomly_exposed_items_is_damaged(suite, damage):
    add_unbiased(suite, "real")
    path = run_path(suite, "real", "ple", 76)
    if damage == "gone":
        (path / "unbiased_logits.npy").unlink()
        edit_run(path, lambda run: run["files"].pop("unbiased_logits.npy"))
    elif damage == "other":
        np.save(path / "unbiased_logits.npy", np.load(path / "test_logits.npy")[:300])
        digest = sha256(path / "unbiased_logits.npy")
        edit_run(path, lambda run: run["files"].update({"unbiased_logits.npy": digest}))
    else:
        edit_run(path, lambda run: run["metrics"].pop("unbiased"))
    with pytest.raises(StembenchError, match=r"real/ple/76 \(damaged\)"):
        compare(**suite)
