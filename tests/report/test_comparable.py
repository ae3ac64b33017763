"""The report on comparable samples: table, figures, answers, and what it says without them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stembench.analysis.transfer import COLUMNS
from stembench.errors import StembenchError
from stembench.report.page import write_report
from stembench.report.results import read_results
from stembench.report.sections import answers, comparable
from stembench.report.tables.comparable import write_comparable

Make = Callable[..., Path]
BUCKETS = ("a1", "comparable", "b1", "none", "interaction")
SMALL: dict[str, Any] = {"datasets": {"movielens": ("like", "love")}, "seeds": (1, 2)}
MODELS = ("single_task", "ple", "stem")


def row(bucket: str, model: str, task: str = "like", **values: Any) -> dict[str, Any]:
    """A line of comparable.csv: no difference, unless `values` say otherwise."""
    base = dict.fromkeys(COLUMNS, 0.0) | {
        "dataset": "movielens", "definition": "user", "buckets": 3, "smoothing": 1.0,
        "primary": True, "task_a": "like", "task_b": "love", "task": task, "metric": "auc",
        "bucket": bucket, "n_rows": 90, "n_pos": 40, "n_users": 30, "model": model,
        "baseline": "single_task", "n_seeds": 2, "se_total": 0.002, "ci_lo": -0.005,
        "ci_hi": 0.005, "family": "F3", "verdict": "inconclusive",
    }  # fmt: skip
    return base | values


def give(results: Path, changed: dict[tuple[str, str, str], dict[str, Any]]) -> Path:
    """Write the two tables; `changed` by (bucket, model, task)."""
    rows = [
        row(bucket, model, task, **changed.get((bucket, model, task), {}))
        for model in ("ple", "stem")
        for task in ("like", "love")
        for bucket in BUCKETS
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.to_csv(results / "tables" / "comparable.csv", index=False)
    told = table[table["bucket"].isin(["comparable", "interaction"])]
    other = pd.concat([told, told.assign(definition="user_item", primary=False, delta=0.0123)])
    other.to_csv(results / "tables" / "comparable_sensitivity.csv", index=False)
    return results


@pytest.fixture
def results(make_results: Make) -> Path:
    return make_results(**SMALL, models=MODELS)


LOW = {"delta": -0.012, "ci_lo": -0.02, "ci_hi": -0.004, "verdict": "negative"}
HIGH = {"delta": 0.009, "ci_lo": 0.003, "ci_hi": 0.015, "verdict": "positive"}


@pytest.mark.parametrize(
    ("like", "love", "says"),
    [
        (LOW, {}, "below that of Single-Task in 1 and above it in 0 of 2 tests; the difference is "
         "−0.0120 (interval −0.0200 to −0.0040; like of MovieLens-100K) to +0.0000"),
        (LOW, HIGH, "below that of Single-Task in 1 and above it in 1 of 2 tests"),
        ({}, {}, "below that of Single-Task in 0 and above it in 0 of 2 tests"),
        (HIGH, {"verdict": "small", "ci_lo": None, "ci_hi": None},
         "in 0 and above it in 1 of 1 tests, with 1 more too small to test; the difference is "
         "+0.0090 (interval +0.0030 to +0.0150; like of MovieLens-100K)"),
    ],
)  # fmt: skip
def test_the_answer_tells_the_references_own_transfer(
    results: Path, like: dict[str, Any], love: dict[str, Any], says: str
) -> None:
    give(results, {("comparable", "stem", "like"): like, ("comparable", "stem", "love"): love})
    [sentence] = [s for s in answers.summary(read_results(results)) if "comparable" in s]
    assert sentence.startswith("On comparable samples, where negative transfer is claimed to lie")
    assert says in sentence


def test_the_answer_uses_no_other_bucket_model_or_metric(results: Path) -> None:
    give(results, {("a1", "stem", "like"): LOW, ("comparable", "ple", "like"): LOW})
    sentence = answers.transfer(read_results(results))
    assert sentence is not None
    assert "in 0 and above it in 0 of 2 tests" in sentence


def test_a_reference_that_could_not_be_tested(results: Path) -> None:
    small = {"verdict": "small", "ci_lo": None, "ci_hi": None}
    give(results, {("comparable", "stem", task): small for task in ("like", "love")})
    found = answers.transfer(read_results(results))
    assert found == "On comparable samples STEM could not be tested against Single-Task."


def test_without_comparable_samples_the_report_says_why(results: Path) -> None:
    read = read_results(results)
    assert comparable.section(read) is None
    assert answers.transfer(read) is None
    assert not any("comparable" in sentence for sentence in answers.summary(read))
    html = write_report(results).read_text()
    assert html.count('id="comparable"') == 1
    assert "This suite has none: they need a data set of two tasks or more" in html


def test_the_section_tells_verdicts_and_shows_both_figures(results: Path) -> None:
    give(results, {("comparable", "ple", "love"): LOW, ("interaction", "stem", "like"): HIGH})
    written = write_comparable(results, "stem")
    assert {path.name for path in written} == {
        "comparable.md", "comparable.svg", "comparable.png", "comparable_sensitivity.svg",
        "comparable_sensitivity.png",
    }  # fmt: skip
    found = comparable.section(read_results(results))
    assert found is not None
    assert found["setting"] == "user, 3, k 1"
    [(name, lines)] = found["answers"]
    assert name == "MovieLens-100K"
    assert lines == [
        "Negative transfer on comparable samples, 1 of 4 tests: PLE on love (against like, "
        "−0.0120).",
        "Positive transfer on comparable samples, 0 of 4 tests: none.",
        "Worse on comparable samples than on the others, 0 of 4 tests: none.",
        "Better on comparable samples than on the others, 1 of 4 tests: STEM on like (against "
        "love, +0.0090).",
    ]
    html = write_report(results).read_text()
    assert "This suite has none" not in html
    assert lines[0] in html


def test_the_table_has_every_bucket_and_the_sensitivity_panel(results: Path) -> None:
    few = {"verdict": "small", "ci_lo": None, "ci_hi": None}
    missing = {"delta": None, "verdict": "missing"}
    give(results, {("none", "stem", "like"): few, ("a1", "ple", "like"): missing})
    write_comparable(results, "stem")
    text = (results / "tables" / "comparable.md").read_text()
    assert "| Pair | Task | Model | a1 | comparable | b1 | none | interaction |" in text
    [stem] = [x for x in text.splitlines() if x.startswith("| like / love | like | STEM |")]
    assert stem.split(" | ")[6] == "+0.0000 ± 0.0020 (few)"  # users without training positives
    [ple] = [x for x in text.splitlines() if x.startswith("| like / love | like | PLE |")]
    assert ple.split(" | ")[3] == "missing"
    panel = [x for x in text.splitlines() if "user×item, 3, k 1" in x]
    assert len(panel) == 4
    assert all("+0.0123" in line for line in panel)


def test_a_lost_table_is_told_with_the_command(results: Path) -> None:
    with pytest.raises(StembenchError, match="run `stembench comparable` first"):
        write_comparable(results, "stem")


def test_a_data_set_without_pairs_of_tasks_is_named(make_results: Make) -> None:
    datasets = {"movielens": ("like", "love"), "synthetic_null": ("like",)}
    results = give(make_results(datasets=datasets, seeds=(1, 2), models=MODELS), {})
    write_comparable(results, "stem")
    found = comparable.section(read_results(results))
    assert found is not None
    assert found["without"] == ["Synthetic (no conflict)"]
    assert "no two models with common seeds: Synthetic (no conflict)." in (
        write_report(results).read_text()
    )
