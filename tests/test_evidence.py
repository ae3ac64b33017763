import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as distributions
from statsmodels.stats.multitest import multipletests

from stembench.errors import StembenchError
from stembench.evidence import ACROSS, EVIDENCE, across, evidence, write
from stembench.runs import read
from tests.tiny_suite import MODELS, SEEDS, TASKS, make_suite, run_path


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    suite = make_suite(tmp_path_factory.mktemp("suite"))
    return read(suite["results"], suite["splits"], suite["expected"], partial=False)


@pytest.fixture(scope="module")
def rows(groups):
    return pd.DataFrame(evidence(groups[0], "stem", 0.05, 1e-3, 0.8, 200), columns=list(EVIDENCE))


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


def test_a_model_that_is_missing_somewhere_is_left_out_and_the_reference_may_not_be(tmp_path):
    suite = make_suite(tmp_path)
    for seed in SEEDS:
        (run_path(suite, "real", "ple", seed) / "run.json").unlink()
    groups = read(suite["results"], suite["splits"], suite["expected"], partial=True)
    assert {row["model"] for row in across(groups, "stem", "mmoe", 0.05, 100)} == {"mmoe", "stem"}
    with pytest.raises(StembenchError, match="a run of ple"):
        across(groups, "stem", "ple", 0.05, 100)


def test_the_tables_are_written_the_same_twice(groups, tmp_path):
    rows = evidence(groups[0], "stem", 0.05, 1e-3, 0.8, 100)
    over = across(groups, "stem", "mmoe", 0.05, 100)
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        paths = write(folder, rows, over)
        contents.append({path.name: path.read_bytes() for path in paths})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {
        "evidence.csv",
        "across.csv",
        "evidence.md",
    }
    text = contents[0]["evidence.md"].decode()
    assert all(name in text for name in (*MODELS, *TASKS))
    assert "6 can" in text
