"""The factor analysis and the protocol as the report shows them."""

from __future__ import annotations

import json
import re

from stembench.report.gallery import write_figures
from stembench.report.page import write_report
from stembench.report.results import read_results
from stembench.report.sections import factors, protocol
from stembench.report.tables.markdown import write_tables

SMALL = {"datasets": {"movielens": ("like", "love")}}
TUNED = {
    "name": "tuned", "trials": 20, "seed": 11, "sampler": "tpe",
    "searches": [
        {"dataset": "movielens", "model": "stem", "trials": 20, "failed": 2, "best": 6,
         "valid_auc": 0.71239, "train": {"lr": 0.00123456}, "args": {"expert_units": [8, 4]}},
    ],
}  # fmt: skip


def words(path) -> str:
    return " ".join(path.read_text().split())


def test_effects_are_told_everywhere(make_results) -> None:
    root = make_results(**SMALL, factors=True)
    write_tables(root)
    assert [path.name for path in write_figures(root)][4:] == ["factors.svg", "factors.png"]
    page = write_report(root).read_text()
    markdown, latex = words(root / "tables/factors.md"), words(root / "tables/factors.tex")
    line = "| like | gate | a - b | +0.0040 \\* | [+0.0026, +0.0054] | 0.00040 | 0.00050 | 7.5 |"
    assert line in markdown
    assert "| like | input | c - d | n/a | n/a |" in markdown  # missing, not zero
    assert r"like & gate & a - b & +0.0040 * &" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1
    assert "+1 stem -1 mmoe" in markdown
    assert 'id="factors"' in page
    assert 'id="figure-factors"' in page
    assert "gate × input" in page
    assert 'href="#factors"' in page


def test_a_suite_without_designs_says_so_and_draws_nothing(make_results) -> None:
    root = make_results(**SMALL)
    write_tables(root)
    assert factors.NOTHING in (root / "tables/factors.md").read_text()
    write_figures(root)
    assert not (root / "figures/factors.svg").exists()
    assert 'id="factors"' not in write_report(root).read_text()


def test_the_budget_stands_beside_every_comparison(make_results) -> None:
    root = make_results(**SMALL, protocol=TUNED, factors=True)
    write_tables(root)
    told = "20 trials for every model on every data set (TPE, tuning seed 11)"
    for path in (root / "tables").glob("*.md"):
        assert told in words(path), path
    for path in (root / "tables").glob("*.tex"):
        body = re.sub(r"^%.*$", "", path.read_text(), flags=re.MULTILINE)
        assert path.stem == "factors" or told in " ".join(body.split()), path
        assert told in words(path), path
    page = write_report(root).read_text()
    assert told in " ".join(page.split())
    row = ["MovieLens-100K", "STEM", "20", "2", "7", "0.7124", "lr 0.00123, expert_units [8, 4]"]
    assert protocol.searches(read_results(root)) == [row]
    assert "| " + " | ".join(row) + " |" in (root / "tables/main.md").read_text()
    assert "<caption>The best trial of each search" in page


def test_other_protocols_say_that_nothing_was_tuned(make_results) -> None:
    root = make_results(**SMALL, protocol={"name": "released", "source": "the released code"})
    line = protocol.line(read_results(root))
    assert (
        line
        == "Protocol released: the published settings of each model (the released code); 0 trials."
    )
    path = root / "tables/inputs.json"
    inputs = json.loads(path.read_text())
    del inputs["protocol"]
    path.write_text(json.dumps(inputs))
    assert "unknown" in protocol.line(read_results(root))
