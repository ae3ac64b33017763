"""Verdicts: thresholds by hand, claims against the comparison and the runs."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from scipy.stats import t as student

from stembench.analysis.runs import read
from stembench.analysis.suite import compare
from stembench.analysis.transfer import COLUMNS as COMPARABLE
from stembench.checks import write_verdicts
from stembench.checks.published import Published
from stembench.checks.verdicts import ASSUMPTIONS, COLUMNS, NO_MATCH, Measured, judge, verdicts
from stembench.errors import StembenchError
from tests.tiny_suite import ALPHA, MARGIN, make_suite, table

SAYS = dict.fromkeys(("data", "split", "features", "setting", "hardware"), "as told")
SAME = {aspect: {"ours": "ours", "match": "same"} for aspect in SAYS}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory):
    made = make_suite(tmp_path_factory.mktemp("suite"))
    compare(**made)
    return made


def measured(suite) -> Measured:
    groups = read(suite["results"], suite["splits"], suite["expected"], partial=False)
    return Measured(suite["results"], groups, ALPHA)


def entry(**changes):
    base = {
        **{"kind": "number", "paper": "p", "source": "s", "tag": "seen", "dataset": "d"},
        **{"table": "1", "row": "r", "task": "click", "metric": "auc", "model": "stem"},
        **{"value": 0.5, "source_says": SAYS, "here": {"real": SAME}},
    }
    return {key: value for key, value in (base | changes).items() if value is not None}


def claim(**changes):
    base = {"kind": "claim", "statement": "x", "relation": "better", "others": ["mmoe", "ple"]}
    base |= {"tasks": "all", "where": "overall", "task": None, "value": None}
    return entry(**(base | changes))


def run(suite, entries, at=None):
    published = Published.model_validate({"entries": entries})
    return verdicts(published, at or measured(suite), MARGIN)


@pytest.mark.parametrize(
    ("delta", "se", "verdict"),
    [
        (0.0001, 0.0002, "reproduced"),
        (0.0006, 0.0003, "consistent"),  # half-width 2.262 x .0003 < .001, TOST p = .108
        (0.0009, 0.0003, "inconsistent"),
        (0.0009, 0.0006, "underpowered"),  # half-width .00136 > .001
        (0.0020, 0.0006, "inconsistent"),
        (0.0, math.nan, "underpowered"),
    ],
)
def test_judge_by_hand(delta: float, se: float, verdict: str) -> None:
    assert judge(delta, se, 9, 0.05, 0.001) == verdict
    assert judge(-delta, se, 9, 0.05, 0.001) == verdict


def test_a_number_has_the_prediction_interval_of_another_run(suite) -> None:
    metrics = table(suite, "metrics").set_index(["dataset", "task", "metric", "model"])
    ours = metrics.loc[("real", "click", "auc", "stem")]
    (row,), assumed = run(suite, {"e": entry(value=0.6, runs=2)})
    assert row["n_seeds"] == 3
    se = ours["sd"] * math.sqrt(1 / 2 + 1 / 3)
    assert row["se"] == pytest.approx(se)
    assert row["delta"] == pytest.approx(ours["mean"] - 0.6)
    half = student.ppf(0.975, 2) * se
    assert (row["ci_lo"], row["ci_hi"]) == pytest.approx((row["delta"] - half, row["delta"] + half))
    assert row["verdict"] == "inconsistent"
    assert row["scope"] == "value"
    assert [line["match"] for line in assumed] == ["same"] * 5


def test_verdicts_at_half_and_double_the_margin(suite) -> None:
    metrics = table(suite, "metrics").set_index(["dataset", "task", "metric", "model"])
    ours = metrics.loc[("real", "click", "auc", "stem")]
    published = Published.model_validate({"entries": {"e": entry(value=float(ours["mean"]))}})
    (wide,), _ = verdicts(published, measured(suite), 3 * float(ours["sd"]))
    assert wide["verdict_double"] == "reproduced"
    assert wide["verdict_half"] != "reproduced"


@pytest.mark.parametrize(
    ("aspect", "match", "comparable"),
    [
        ("data", "differs", False),
        ("split", "unknown", False),
        ("features", "differs", False),
        ("features", "unknown", True),
        ("setting", "differs", True),
        ("hardware", "unknown", True),
    ],
)
def test_data_and_split_must_be_known_to_be_the_same(suite, aspect, match, comparable) -> None:
    here = {"real": SAME | {aspect: {"ours": "ours", "match": match}}}
    (row,), _ = run(suite, {"e": entry(value=0.6, here=here)})
    assert row["deviations"] == f"{aspect} {match}"
    assert (row["verdict"] == "not comparable") != comparable
    assert (row["verdict_half"] == "not comparable") != comparable
    assert row["scope"] == ("value" if comparable else "sign and order only")


def test_a_claim_reads_the_comparison_and_turns_it_round(suite) -> None:
    rows, _ = run(suite, {"e": claim()})
    theirs = table(suite, "comparison")
    theirs = theirs[(theirs["dataset"] == "real") & (theirs["bucket"] == "all")]
    assert len(rows) == len(theirs) == 4
    by = {(row["task"], row["other"]): row for row in rows}
    for each in theirs.to_dict("records"):
        row = by[each["task"], each["model_b"]]
        assert row["delta"] == each["delta"]
        assert row["p"] == each["p_total"]
        assert row["p_adj"] == pytest.approx(each["p_adj"])  # the same family of four here
        expected = "order holds" if each["p_adj"] < ALPHA else "not distinguished"
        assert row["verdict"] == expected
    assert "order holds" in {row["verdict"] for row in rows}
    turned, _ = run(suite, {"e": claim(model="mmoe", others=["stem"], relation="worse")})
    for row in turned:
        assert row["delta"] == -by[row["task"], "mmoe"]["delta"]
        assert row["ci_lo"] == -by[row["task"], "mmoe"]["ci_hi"]
        assert row["verdict"] == "order holds"
    wrong, _ = run(suite, {"e": claim(model="mmoe", others=["stem"], relation="better")})
    assert {row["verdict"] for row in wrong} == {"order reversed"}


def test_a_pair_that_the_tables_lack_comes_from_the_runs(suite, tmp_path) -> None:
    rows, _ = run(suite, {"e": claim(model="mmoe", others=["ple"])})
    assert len(rows) == 2
    other = make_suite(tmp_path) | {"reference": "mmoe"}
    compare(**other)
    theirs = table(other, "comparison")
    theirs = theirs[(theirs["dataset"] == "real") & (theirs["model_b"] == "ple")]
    theirs = theirs[theirs["bucket"] == "all"].set_index("task")
    for row in rows:
        expected = theirs.loc[row["task"]]
        assert row["delta"] == pytest.approx(expected["delta"])
        assert row["se"] == pytest.approx(expected["se_total"])
        assert row["p"] == pytest.approx(expected["p_total"])


def test_log_loss_is_better_when_smaller(suite) -> None:
    rows, _ = run(suite, {"e": claim(model="mmoe", others=["stem"], metric="logloss")})
    assert all(row["delta"] > 0 for row in rows)
    assert "order holds" not in {row["verdict"] for row in rows}


def test_comparable_samples_are_read_or_said_to_be_absent(suite) -> None:
    entries = {"e": claim(where="comparable", others=["mmoe"])}
    (row,), _ = run(suite, entries)
    assert row["verdict"] == "not computed"
    assert "stembench comparable --suite tiny" in row["note"]
    at = measured(suite)
    line = dict.fromkeys(COMPARABLE, "")
    line |= {"dataset": "real", "primary": True, "task_a": "click", "task_b": "like"}
    line |= {"metric": "auc", "bucket": "comparable", "model": "stem", "baseline": "mmoe"}
    line |= {"n_seeds": 3, "delta": -0.02, "se_total": 0.005, "df": 8.0, "ci_lo": -0.03}
    line |= {"ci_hi": -0.01, "p": 0.003, "verdict": "negative"}
    other = line | {"task": "click", "primary": False, "p": 1e-9}
    missing = line | {"task": "like", "p": math.nan}
    at.comparable = pd.DataFrame([line | {"task": "click"}, other, missing])
    rows, _ = run(suite, entries, at)
    assert [(row["task"], row["verdict"]) for row in rows] == [
        ("click", "order reversed"),
        ("like", "missing"),
    ]
    assert rows[0]["p_adj"] == pytest.approx(0.006)  # the missing one counts in the family


def test_a_suite_without_any_match_says_so(suite, tmp_path) -> None:
    entries = {"a": entry(here={"elsewhere": SAME}), "b": claim(model="unknown")}
    rows, assumed = run(suite, entries)
    assert [row["verdict"] for row in rows] == [NO_MATCH, NO_MATCH]
    assert rows[0]["published"] == 0.5
    assert not assumed
    write_verdicts.write(tmp_path, rows, assumed, MARGIN, ALPHA)
    assert "nothing is compared" in (tmp_path / "verdicts.md").read_text()
    assert list(pd.read_csv(tmp_path / "verdicts.csv").columns) == list(COLUMNS)
    assert list(pd.read_csv(tmp_path / "assumptions.csv").columns) == list(ASSUMPTIONS)


def test_task_names_are_mapped_and_every_names_the_rest(suite) -> None:
    here = {"*": SAME | {"tasks": {"tap": "click"}}}
    rows, _ = run(suite, {"e": entry(task="tap", here=here)})
    assert {(row["dataset"], row["task"]) for row in rows} == {
        ("synthetic", "click"),
        ("real", "click"),
    }


def test_markdown_counts_each_claim(suite, tmp_path) -> None:
    rows, assumed = run(suite, {"e": claim(), "n": entry(value=0.6)})
    write_verdicts.write(tmp_path, rows, assumed, MARGIN, ALPHA)
    text = (tmp_path / "verdicts.md").read_text()
    assert "- x (e) on real: " in text
    assert "of 4" in text
    assert "inconsistent" in text
    assert text == (tmp_path / "verdicts.md").read_text()


def test_tables_must_be_there(suite, tmp_path) -> None:
    with pytest.raises(StembenchError, match="run `stembench compare --suite"):
        Measured(tmp_path, [], ALPHA)


def test_without_two_seeds_a_number_is_underpowered(suite) -> None:
    at = measured(suite)
    at.metrics = at.metrics.assign(n_seeds=1, sd=math.nan)
    (row,), _ = run(suite, {"e": entry(value=0.6)}, at)
    assert row["verdict"] == "underpowered"


def test_pairs_of_missing_groups_are_missing(suite) -> None:
    at = measured(suite)
    at.groups = {}
    rows, _ = run(suite, {"e": claim(model="mmoe", others=["ple"])}, at)
    assert {row["verdict"] for row in rows} == {"missing"}
