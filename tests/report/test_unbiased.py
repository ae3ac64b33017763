"""What the report says of randomly exposed items, and only where a data set has them."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stembench.report.page import write_report
from stembench.report.tables.markdown import write_tables
from tests.report.conftest import ranked
from tests.report.test_html import Page
from tests.report.test_tables import check_tex

Make = Callable[..., Path]
TITLE = "on randomly exposed items"


@pytest.fixture
def results(make_results: Make) -> Path:
    """Two data sets, of which movielens has the part; there STEM loses to PLE on `like`."""
    results = make_results(
        datasets={"synthetic_null": ("click",), "movielens": ("like", "love")}, seeds=(1, 2)
    )
    folder = results / "tables"
    runs = pd.read_csv(folder / "runs.csv")
    mine = runs[runs["dataset"] == "movielens"]
    pd.concat([runs, mine.assign(part="unbiased")]).to_csv(folder / "runs.csv", index=False)
    metrics = pd.read_csv(folder / "metrics.csv")
    new = metrics[(metrics["dataset"] == "movielens") & metrics["metric"].isin(["auc", "gauc"])]
    new = new.assign(metric="unbiased_" + new["metric"], mean=new["mean"] - 0.1)
    ranked(pd.concat([metrics, new])).to_csv(folder / "metrics.csv", index=False)
    comparison = pd.read_csv(folder / "comparison.csv")
    rows = comparison[comparison["dataset"] == "movielens"].assign(
        bucket="unbiased", family="FU:movielens", n_rows=1234, n_users=56, verdict="inconclusive"
    )
    rows.loc[(rows["task"] == "like") & (rows["model_b"] == "ple"), "verdict"] = "worse"
    pd.concat([comparison, rows]).to_csv(folder / "comparison.csv", index=False)
    return results


def test_markdown_has_a_block_with_marks_of_its_own(results: Path) -> None:
    write_tables(results)
    text = (results / "tables/main.md").read_text()
    assert text.count(f": {TITLE}") == 1
    block = text.split(f": {TITLE}")[1].split("## ")[0]
    assert "1,234 rows of 56 users" in block
    rows = {line.split(" | ")[0][2:]: line for line in block.splitlines() if line[:2] == "| "}
    assert rows["Model"] == "| Model | like AUC | like gAUC | love AUC | love gAUC |"
    assert "↑" in rows["PLE"].split(" | ")[1]
    assert not any(mark in rows["MMoE"] for mark in "↑↓≈")
    comparison = (results / "tables/comparison.md").read_text()
    assert comparison.count(f"### MovieLens-100K: {TITLE}") == 1
    assert comparison.split(f": {TITLE}")[1].count("| like |") == 4


def test_latex_has_two_more_tables(results: Path) -> None:
    write_tables(results)
    main, comparison = (
        (results / f"tables/{name}.tex").read_text() for name in ("main", "comparison")
    )
    for text in (main, comparison):
        check_tex(text)
        assert text.count(f"{TITLE}: MovieLens") == 1
        labels = [line for line in text.splitlines() if line.startswith(r"\label")]
        assert len(labels) == len(set(labels))
    assert r"\label{tab:demo-movielens-unbiased}" in main
    assert r"\label{tab:demo-movielens-unbiased-comparison}" in comparison


def test_the_html_report_has_both(results: Path) -> None:
    text = write_report(results).read_text()
    Page(text)
    assert text.count(f"<h3>MovieLens-100K: {TITLE}</h3>") == 2
    assert "Synthetic (no conflict): on" not in text
    assert text.count("randomly exposed items: AUC and gAUC") == 2  # caption and label
