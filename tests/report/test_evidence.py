"""The report's sections on evidence, power, ranks over data sets, and the statistics' own test."""

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stembench.analysis.across import ACROSS
from stembench.analysis.comparison import EVIDENCE
from stembench.analysis.power import COLUMNS as POWER
from stembench.checks.statistics.checks import COLUMNS as VALIDATION
from stembench.errors import StembenchError
from stembench.records.writing import write_csv
from stembench.report.figures.svg import critical_difference
from stembench.report.page import write_report
from stembench.report.results import read_results
from stembench.report.sections import evidence as module
from tests.report.test_html import Page

Make = Callable[..., Path]
MODELS = ("single_task", "shared_bottom", "mmoe", "ple")
METRICS = ("auc", "gauc", "logloss", "calibration")


def add_tables(results: Path, datasets: int = 3) -> None:
    """evidence.csv, power.csv and across.csv as `stembench compare` leaves them."""
    common = {"dataset": "movielens", "task": "like", "bucket": "all", "model_a": "stem"}
    common |= {"n_seeds": 5, "n_users": 600, "se_total": 1e-3, "boot_lo": -0.004, "boot_hi": 0.001}
    rows = [
        common
        | {"metric": metric, "model_b": model, "delta": -0.0015, "ci_lo": -0.004, "ci_hi": 0.001}
        | {"p_total": 0.2, "p_adj": 0.4, "p_seed": 0.03, "verdict": "inconclusive"}
        | {"family": "F1:movielens" if metric == "auc" else f"F2:movielens:{metric}"}
        | {"wilcoxon_note": "5 non-zero differences cannot reach 0.05; 6 can"}
        | ({"underpowered": "no" if model == "ple" else "yes"} if metric == "auc" else {})
        for metric in METRICS
        for model in MODELS
    ]
    plans = [
        {"dataset": "movielens", "task": "like", "model_a": "stem", "model_b": model}
        | {"n_seeds": 5, "n_users": 600, "mde": mde, "mde_floor": 0.001, "seeds_needed": 12}
        | {"users_needed": None if model == "mmoe" else 9000}
        for model, mde in zip(MODELS, (0.002, 0.003, 0.004, 0.0009), strict=True)
    ]
    few = datasets < 5
    over = [
        {"metric": metric, "model": model, "n_datasets": datasets, "rank": 1 + i, "rank_lo": 1}
        | {"rank_hi": 3, "p_first": 0.25, "note": "descriptive" if not few else "fewer than 5"}
        | {"critical_difference": None if few else 1.7}
        | ({} if model == "single_task" else {"iqm_delta": 0.001, "iqm_lo": 0, "iqm_hi": 0.002})
        for metric in METRICS
        for i, model in enumerate(MODELS)
    ]
    write_csv(results / "tables" / "evidence.csv", rows, EVIDENCE)
    write_csv(results / "tables" / "power.csv", plans, POWER)
    write_csv(results / "tables" / "across.csv", over, ACROSS)


def add_validation(results: Path, failing: bool) -> None:
    rows = [
        {"check": "type-I error", "setting": "effects", "seeds": 5, "repetitions": 10000,
         "estimate": 0.051, "mc_se": 0.002, "upper": 0.06, "result": "pass", "note": ""},
        {"check": "family-wise error", "setting": "12 tests", "seeds": 5, "repetitions": 5000,
         "estimate": 0.061, "upper": 0.05, "result": "FAIL" if failing else "pass"},
        {"check": "t over seeds", "setting": "effects", "repetitions": 5, "estimate": 0.2,
         "result": "info"},
    ]  # fmt: skip
    write_csv(results.parent / "validation" / "validation.csv", rows, VALIDATION)


def test_all_metrics_stand_in_the_report_with_their_families(make_results: Make) -> None:
    results = make_results()
    add_tables(results)
    text = write_report(results).read_text(encoding="utf-8")
    page = Page(text)
    assert sum(tag == "table" for tag, _ in page.tags) == sum(
        tag == "caption" for tag, _ in page.tags
    )
    for words in (
        "log loss",
        "calibration error",
        ">F1<",
        ">F2<",
        "[-0.0040, +0.0010]".replace("-0.", "−0."),
    ):
        assert words in text
    assert "Exact signed-rank test: 5 non-zero differences cannot reach 0.05" in text
    assert 'id="figure-ranks"' not in text  # three data sets carry no such diagram
    found = module.section(read_results(results))
    assert [len(d["rows"]) for d in found["datasets"]] == [len(METRICS) * len(MODELS)]
    assert all(len(row) == len(module.EVIDENCE_HEADER) for row in found["datasets"][0]["rows"])
    assert found["baseline"] == "Single-Task"


def test_families_are_those_the_comparison_was_told(make_results: Make) -> None:
    results = make_results()
    read = read_results(results)
    assert module.families(read) == []
    read.inputs["families"] = [
        {"of": "test", "metric": "auc", "name": "F1", "adjust": "holm"},
        {"of": "test", "metric": "gauc", "name": "F2", "adjust": "bh"},
        {"of": "test", "metric": "logloss", "name": "F2", "adjust": "bh"},
    ]
    first, second = module.families(read)
    assert first == "F1: AUC, on the test part, over models × tasks: Holm"
    assert second.startswith("F2: gAUC, log loss, ")
    assert second.endswith("Benjamini-Hochberg")


def test_underpowered_is_said_where_it_is(make_results: Make) -> None:
    results = make_results()
    add_tables(results)
    text = write_report(results).read_text(encoding="utf-8")
    assert "3 of 4 AUC comparisons are underpowered" in text
    (row,) = module.section(read_results(results))["power"]
    told = dict(zip(module.POWER_HEADER, row, strict=True))
    assert told["Underpowered"] == "underpowered in 3 of 4"
    assert told["smallest Δ seen (MDE)"] == "0.0009 to 0.0040"
    assert told["seeds needed"] == "12"
    assert told["users needed"] == "none is enough"  # not with any number, against one model
    assert told["CI width"] == "0.0050"


@pytest.mark.parametrize(("datasets", "descriptive"), [(5, True), (12, False)])
def test_ranks_of_many_data_sets_are_drawn(
    make_results: Make, datasets: int, descriptive: bool
) -> None:
    results = make_results()
    add_tables(results, datasets)
    text = write_report(results).read_text(encoding="utf-8")
    assert f"over {datasets} data sets" in text
    assert 'id="figure-ranks"' in text
    assert ("Descriptive only" in text) == descriptive


def test_bars_of_the_diagram_join_what_differs_by_less() -> None:
    ranked = [("a", 1.0), ("b", 1.5), ("c", 2.9), ("d", 4.0)]
    assert critical_difference(ranked, 1.2, "x").count('stroke-width="3"') == 2  # a b, c d
    assert critical_difference(ranked, 0.1, "x").count('stroke-width="3"') == 0
    assert critical_difference(ranked, 9.0, "x").count('stroke-width="3"') == 1


@pytest.mark.parametrize("failing", [True, False])
def test_the_appendix_says_what_failed(make_results: Make, failing: bool) -> None:
    results = make_results()
    add_validation(results, failing)
    text = write_report(results).read_text(encoding="utf-8")
    Page(text)
    assert f"{1 if failing else 2} of 2 checks pass, {int(failing)} fail" in text
    assert ("Failed: family-wise error, 12 tests" in text) == failing
    assert "0.061" in text


def test_what_is_not_there_is_said_to_be_missing(make_results: Make) -> None:
    text = write_report(make_results()).read_text(encoding="utf-8")
    for name in ("evidence", "power", "across"):
        assert f"tables/{name}.csv is not there" in text
    assert "<code>stembench compare --suite demo</code>" in text
    assert "<code>make validate</code> makes it" in text
    assert 'id="power"' not in text


def test_a_damaged_table_is_an_error(make_results: Make) -> None:
    results = make_results()
    (results / "tables" / "evidence.csv").write_text('a,b\n"1,2\n')
    with pytest.raises(StembenchError, match=r"evidence\.csv cannot be read"):
        write_report(results)


def test_the_fixture_has_the_columns_of_the_real_tables(make_results: Make) -> None:
    results = make_results()
    add_tables(results)
    header = next(csv.reader((results / "tables" / "evidence.csv").open()))
    assert tuple(header) == EVIDENCE
    assert len(pd.read_csv(results / "tables" / "across.csv")) == len(METRICS) * len(MODELS)
