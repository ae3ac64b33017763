"""The report's section on published numbers and claims."""

from __future__ import annotations

import pytest

from stembench.analysis.runs import read
from stembench.analysis.suite import compare
from stembench.checks.published import Published
from stembench.checks.verdicts import Measured, verdicts
from stembench.checks.write_verdicts import write
from stembench.errors import StembenchError
from stembench.report.page import write_report
from stembench.report.results import read_results
from stembench.report.sections import verdicts as page
from tests.tiny_suite import ALPHA, MARGIN, make_suite

SAYS = dict.fromkeys(("data", "split", "features", "setting", "hardware"), "told <by> it")
SAME = {aspect: {"ours": "as it", "match": "same"} for aspect in SAYS}
BASE = {"paper": "A paper", "source": "page 1", "tag": "second-hand", "dataset": "d"}
BASE |= {"table": "1", "row": "r", "metric": "auc", "model": "stem", "source_says": SAYS}
NUMBER = BASE | {"kind": "number", "task": "click", "value": 0.6, "here": {"real": SAME}}
CLAIM = BASE | {"kind": "claim", "statement": "STEM wins", "relation": "better", "tasks": "all"}
CLAIM |= {"others": ["mmoe"], "where": "overall", "here": {"*": SAME}}
ELSEWHERE = NUMBER | {"here": {}}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory):
    made = make_suite(tmp_path_factory.mktemp("suite"))
    compare(**made)
    return made


def give(suite, entries) -> None:
    groups = read(suite["results"], suite["splits"], suite["expected"], partial=False)
    published = Published.model_validate({"entries": entries})
    rows, assumed = verdicts(published, Measured(suite["results"], groups, ALPHA), MARGIN)
    write(suite["results"] / "tables", rows, assumed, MARGIN, ALPHA)


def test_claims_numbers_and_assumptions_are_shown_escaped(suite) -> None:
    give(suite, {"wins": CLAIM, "value": NUMBER, "far": ELSEWHERE})
    section = page.section(read_results(suite["results"]))
    assert section["note"].startswith("3 entries of workflow/published.yaml; 2 can be held")
    (claim,), (number,) = section["claims"], section["numbers"]
    assert claim["statement"] == "STEM wins"
    assert len(claim["rows"]) == 4
    assert all(len(row) == len(section["claims_header"]) for row in claim["rows"])
    assert claim["counts"] == ["synthetic: order holds in 2 of 2", "real: order holds in 2 of 2"]
    assert len(number["rows"][0]) == len(section["numbers_header"])
    assert "inconsistent" in number["rows"][0]
    assert [names for names, _ in claim["assumed"]] == ["synthetic and real"]
    assert section["absent"] == ["far"]
    html = write_report(suite["results"]).read_text()
    assert 'id="verdicts"' in html
    assert "told &lt;by&gt; it" in html
    assert "told <by> it" not in html
    assert html.count("[second-hand]") == 2


def test_no_match_and_no_table(suite) -> None:
    give(suite, {"far": ELSEWHERE})
    section = page.section(read_results(suite["results"]))
    assert section["note"].startswith("1 entry of ")
    assert "nothing is compared" in section["note"]
    path = suite["results"] / "tables/verdicts.csv"
    path.write_text("entry\n")
    with pytest.raises(StembenchError, match="run `stembench verdicts` again"):
        page.section(read_results(suite["results"]))
    path.unlink()
    assert page.section(read_results(suite["results"])) is None
    assert 'id="verdicts"' not in write_report(suite["results"]).read_text()


def test_claims_on_comparable_samples_say_what_to_run(suite) -> None:
    give(suite, {"wins": CLAIM | {"where": "comparable"}})
    (claim,) = page.section(read_results(suite["results"]))["claims"]
    assert "not computed: run `stembench comparable --suite tiny`" in claim["rows"][0][-1]
