import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as distributions
from statsmodels.stats.multitest import multipletests

from stembench.analysis.across import ACROSS, across
from stembench.analysis.comparison import EVIDENCE, Question, evidence, families_in_words, write
from stembench.analysis.runs import read
from stembench.analysis.suite import compare
from stembench.params import load as params
from stembench.stats import FAMILIES, Family
from tests.conftest import ROOT
from tests.tiny_suite import MODELS, SEEDS, TASKS, add_unbiased, make_suite, run_path, table

ASK = Question("stem", 0.05, 1e-3, 0.8, 200)


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    suite = make_suite(tmp_path_factory.mktemp("suite"))
    return read(suite["results"], suite["splits"], suite["expected"], partial=False)


@pytest.fixture(scope="module")
def rows(groups):
    return pd.DataFrame(evidence(groups[0], ASK)[0], columns=list(EVIDENCE))


def test_each_metric_is_the_difference_of_what_the_runs_recorded(groups, rows):
    assert len(rows) == 2 * 2 * 4
    for row in rows.itertuples():
        a, b = (
            [cell.metric("test", row.task, row.metric) for cell in groups[0].sound(model)]
            for model in ("stem", row.model_b)
        )
        if row.metric == "calibration":
            a, b = (abs(np.array(x) - 1) for x in (a, b))
        assert row.delta == pytest.approx(np.mean(a) - np.mean(b), abs=1e-12)
        expected = distributions.ttest_rel(a, b).pvalue
        assert row.p_seed == pytest.approx(expected, rel=1e-6)
        assert row.ci_lo <= row.delta <= row.ci_hi
        assert row.boot_lo <= row.boot_hi
        sign = 1 if row.metric in ("auc", "gauc") else -1
        u = distributions.mannwhitneyu(sign * np.array(a), sign * np.array(b)).statistic
        assert row.prob_improve == pytest.approx(u / len(SEEDS) ** 2)


def test_families(rows):
    for metric, method in (("auc", "holm"), ("gauc", "fdr_bh"), ("logloss", "fdr_bh")):
        family = rows[rows.metric == metric]
        assert len(family) == 4
        assert family.family.nunique() == 1
        expected = multipletests(family.p_total, method=method)[1]
        np.testing.assert_allclose(family.p_adj, expected)
    assert rows.family.nunique() == 4
    assert rows[rows.metric == "auc"].p_tost.notna().all()
    assert rows[rows.metric != "auc"].p_tost.isna().all()


def test_three_seeds_are_too_few_for_the_signed_rank_test(rows):
    assert rows.p_wilcoxon.isna().all()
    assert rows.wilcoxon_note.str.contains("6 can").all()


def test_across_data_sets(groups):
    found = pd.DataFrame(across(groups, "stem", "mmoe", 0.05, 100), columns=list(ACROSS))
    auc = found[found.metric == "auc"].set_index("model")
    assert auc["rank"].to_dict() == {"mmoe": 3, "ple": 2, "stem": 1}  # less noise, better
    assert auc.p_first["stem"] > 0.9
    assert auc.p_first.sum() == pytest.approx(1)
    assert auc.prob_improve["mmoe"] <= auc.prob_improve["ple"] <= 0.5
    assert auc.iqm_lo["stem"] > 0
    assert math.isnan(auc.iqm_delta["mmoe"])
    assert auc.critical_difference.isna().all()  # two data sets
    many = pd.DataFrame(across(groups * 3, "stem", "mmoe", 0.05, 100))
    assert many.critical_difference.notna().all()
    assert set(many.note) == {"descriptive"}


def test_what_is_missing_somewhere_is_left_out_and_named(tmp_path):
    suite = make_suite(tmp_path)
    for seed in SEEDS:
        (run_path(suite, "real", "ple", seed) / "run.json").unlink()
    groups = read(suite["results"], suite["splits"], suite["expected"], partial=True)
    found = across(groups, "stem", "ple", 0.05, 100)
    assert {row["model"] for row in found} == {"mmoe", "stem"}
    assert all("not counted: ple" in row["note"] for row in found)
    assert all("no run of ple on every data set" in row["note"] for row in found)
    assert not any("iqm_delta" in row for row in found)
    # A planned comparison that could not be made counts in its family and is said to be missing.
    rows = pd.DataFrame(evidence(groups[1], ASK)[0])
    lost = rows[(rows.model_b == "ple") & (rows.metric == "auc")]
    assert set(lost.verdict) == {"missing"}
    kept = rows[(rows.model_b == "mmoe") & (rows.metric == "auc")]
    np.testing.assert_allclose(kept.p_adj.min(), min(1, 4 * kept.p_total.min()))
    for model in ("stem", "mmoe"):
        for seed in SEEDS:
            (run_path(suite, "real", model, seed) / "run.json").unlink()
    groups = read(suite["results"], suite["splits"], suite["expected"], partial=True)
    found = across(groups, "stem", "mmoe", 0.05, 100)
    assert {row["n_datasets"] for row in found} == {1}


def test_auc_is_tested_as_in_the_comparison(tmp_path):
    """The same rows by another way, on both parts: nothing may differ."""
    suite = make_suite(tmp_path)
    add_unbiased(suite, "real")
    compare(**suite)
    expected = table(suite, "comparison")
    groups = read(suite["results"], suite["splits"], suite["expected"], partial=False)
    rows = pd.DataFrame(evidence(groups[1], ASK)[0] + evidence(groups[0], ASK)[0])
    for row in expected.itertuples():
        (mine,) = rows[
            (rows.metric == "auc") & (rows.dataset == row.dataset) & (rows.task == row.task)
            & (rows.bucket == row.bucket) & (rows.model_b == row.model_b)
        ].itertuples()  # fmt: skip
        for name in expected.columns:
            value = getattr(row, name)
            same = value if isinstance(value, str) else pytest.approx(value, rel=1e-7, nan_ok=True)
            if name != "n_users" or row.bucket == "all":
                assert getattr(mine, name) == same, name
    assert set(rows[rows.bucket == "unbiased"].metric) == {"auc", "gauc"}


def test_families_are_those_that_are_asked_for(groups):
    told = dict(FAMILIES) | {("test", "auc"): Family("own", "bh")}
    rows = pd.DataFrame(evidence(groups[0], ASK._replace(families=told))[0])
    auc = rows[rows.metric == "auc"]
    assert set(auc.family) == {f"own:{groups[0].dataset}"}
    np.testing.assert_allclose(auc.p_adj, multipletests(auc.p_total, method="fdr_bh")[1])
    assert any(line.startswith("own: auc, the reference") for line in families_in_words(told))
    analysis = params.load(ROOT / "params.yaml").analysis
    assert {key: Family(*value) for key, value in analysis.adjustments().items()} == FAMILIES


def test_underpowered_is_a_wide_interval_or_an_unseen_margin(groups):
    for margin in (1e-3, 0.05, 0.5):
        rows = pd.DataFrame(evidence(groups[0], ASK._replace(margin=margin))[0])
        auc = rows[rows.metric == "auc"]
        weak = (auc.ci_hi - auc.ci_lo > 2 * margin) | (auc.mde > margin)
        assert list(auc.underpowered == "yes") == list(weak)
        assert rows[rows.metric != "auc"].underpowered.isna().all()
    assert not weak.any()


def test_a_loss_that_falls_is_better(rows):
    for row in rows[rows.metric == "logloss"].itertuples():
        if row.p_adj < 0.05:
            assert row.verdict == ("better" if row.delta < 0 else "worse")
    assert "better" in set(rows[rows.metric == "logloss"].verdict)


def test_the_tables_are_written_the_same_twice(groups, tmp_path):
    rows, plans = evidence(groups[0], ASK)
    over = across(groups, "stem", "mmoe", 0.05, 100)
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        paths = write(folder, rows, plans, over, FAMILIES)
        contents.append({path.name: path.read_bytes() for path in paths})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {
        "evidence.csv",
        "across.csv",
        "power.csv",
        "evidence.md",
    }
    text = contents[0]["evidence.md"].decode()
    assert all(name in text for name in (*MODELS, *TASKS))
    assert "6 can" in text
