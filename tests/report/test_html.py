"""The report: self-contained, the same bytes every time, and true whatever the numbers."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from stembench.report.figures.embed import inline_svg
from stembench.report.gallery import write_figures, write_gallery
from stembench.report.page import write_report
from stembench.report.results import read_results
from stembench.report.sections import answers
from tests.report.full import complete

Make = Callable[..., Path]
SMALL = {"datasets": {"movielens": ("like", "love")}, "seeds": (1, 2)}
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Checks that tags nest, and collects what can be asked of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def report(results: Path) -> str:
    return write_report(results).read_text(encoding="utf-8")


def with_verdicts(results: Path, verdicts: dict[str, str]) -> Path:
    """Give the comparisons with each model a verdict; the rest are inconclusive."""
    path = results / "tables" / "comparison.csv"
    table = pd.read_csv(path)
    table["verdict"] = table["model_b"].map(verdicts).fillna("inconclusive")
    table.to_csv(path, index=False)
    return results


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, generate: Make) -> str:
    """The report of a complete suite, with figures."""
    results = complete(generate(tmp_path_factory.mktemp("results") / "demo", histories=True))
    write_figures(results)
    write_gallery(results)
    return report(results)


def test_self_contained(demo: str) -> None:
    text = demo
    assert len(text.encode()) < 5_000_000
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in ("img", "iframe", "object", "embed")
        for name in ("src", "href", "xlink:href", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)
    assert not re.search(r"url\((?!#)|@import|@font-face|fetch\(|XMLHttpRequest", text)
    # What is left of addresses are the names of SVG's own XML spaces.
    assert set(re.findall(r"https?://[^\"'\s<]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_accessible(demo: str) -> None:
    page = Page(demo)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th")
    pictures = [attributes for _, attributes in page.tags if attributes.get("role") == "img"]
    # Six figures, and behind the cells a chart a model and task of each data set.
    assert len(pictures) == 6 + 5 * (2 + 2 + 3)
    assert all(len(attributes["aria-label"] or "") > 40 for attributes in pictures)
    tables = sum(tag == "table" for tag, _ in page.tags)
    assert tables == sum(tag == "caption" for tag, _ in page.tags)
    # A data set: main, comparison, calibration, log loss; then cost, splits and machines; a model
    # on a data set: metrics and facts by seed.
    assert tables == 3 * 4 + 3 + 2 * 15
    linked = {a["href"] for tag, a in page.tags if tag == "a"}
    assert {str(link)[1:] for link in linked} <= set(ids)


def test_same_bytes_from_the_same_files(make_results: Make) -> None:
    results = make_results(**SMALL)
    write_figures(results)
    first = report(results)
    write_figures(results)
    assert report(results) == first


def test_says_what_is_missing(make_results: Make) -> None:
    gaps = {("movielens", "ple", 1): "missing", ("movielens", "mmoe", 1): "stale"}
    gaps[("movielens", "mmoe", 2)] = "damaged"
    text = report(make_results(**SMALL, not_ok=gaps, passed_by=""))
    assert "Incomplete: 7 of 10 cells" in text
    assert "movielens / ple, seed 1: no finished run" in text
    assert "(1 of 2 seeds)" in text
    main = text[text.index('<section id="main"') : text.index('<section id="comparison"')]
    assert main.count(">missing</a>") == 4  # one model, two tasks, AUC and gAUC
    assert "Missing: the tables hold no calibration of this data set." in text
    assert "Missing: figures/forest.svg is not there." in text
    assert "2 could not be made" not in text
    assert "4 could not be made" in text  # two models on two tasks


def test_fault_is_shown_first(make_results: Make) -> None:
    text = report(make_results(passed_by="stem"))
    assert text.index("FAULT on Synthetic (conflict)") < text.index('id="answer"')


def test_provenance(make_results: Make) -> None:
    results = make_results()
    text = report(results)
    read = read_results(results)
    assert read.inputs["inputs_sha256"] in text
    for split in read.inputs["splits"].values():
        assert split["sha256"] in text
    for command in ("snakemake --cores 8 --config suite=demo", "stembench report --suite demo"):
        assert f"<code>{command}</code>" in text


def test_ids_are_escaped(make_results: Make) -> None:
    evil = "<script>alert(1)</script>"
    text = report(make_results(datasets={evil.replace("/", "|"): ("a&b",)}, models=("stem", "m")))
    assert "<script>alert" not in text
    assert "a&amp;b" in text
    Page(text)


def test_inline_svg() -> None:
    svg = inline_svg(
        '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg width="9pt" height="9pt" viewBox="0 0 9 9">'
        '<metadata>x</metadata><!-- y --><defs><path id="a"/></defs>'
        '<use xlink:href="#a" width="3"/><g clip-path="url(#p1)"/></svg>',
        "k",
    )
    assert svg == (
        '<svg viewBox="0 0 9 9" aria-hidden="true" focusable="false"><defs><path id="k-a"/></defs>'
        '<use xlink:href="#k-a" width="3"/><g clip-path="url(#k-p1)"/></svg>'
    )


def test_answer_when_it_wins_everywhere(make_results: Make) -> None:
    models = ("single_task", "ple", "stem")
    results = make_results(**SMALL, models=models)
    read = read_results(with_verdicts(results, {"single_task": "better", "ple": "better"}))
    text = " ".join(answers.summary(read))
    assert text.startswith(
        "Yes: of 4 comparisons by test AUC (2 other models, 2 tasks of 1 data set"
    )
    assert "significantly better in 4" in text
    assert "On 1 of 1 data set STEM is significantly better than every other model" in text
    assert "like and love of MovieLens-100K" in text
    assert "In no comparison is STEM significantly worse." in text


def test_answer_when_it_loses(make_results: Make) -> None:
    results = make_results(**SMALL, models=("single_task", "ple", "stem"))
    read = read_results(with_verdicts(results, {"single_task": "worse", "ple": "equivalent"}))
    text = " ".join(answers.summary(read))
    assert "On no task of the one data set is STEM significantly better" in text
    assert (
        "STEM is significantly worse than Single-Task on like and love of MovieLens-100K." in text
    )
    assert "equivalent within ±0.001 in 2" in text
    [(dataset, lines)] = answers.by_dataset(read)
    assert dataset == "movielens"
    assert [line.split(" (")[0] for line in lines] == [
        "significantly worse than Single-Task",
        "equivalent to PLE",
    ]


def test_answer_tells_a_gain_too_small_to_matter(make_results: Make) -> None:
    results = make_results(**SMALL, models=("ple", "stem"))
    path = results / "tables" / "comparison.csv"
    pd.read_csv(path).assign(verdict="better", delta=[0.0004, 0.004]).to_csv(path, index=False)
    text = " ".join(answers.summary(read_results(results)))
    assert "significantly better in 2 (1 of them by less than 0.001)" in text


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        ("synthetic_null", "“Synthetic (no conflict)” is generated data"),
        ("kuairand_pure_sample", "“KuaiRand-Pure (sample)” is a sample of a real log"),
        ("movielens", ""),
    ],
)
def test_answer_says_what_the_data_are(make_results: Make, dataset: str, says: str) -> None:
    read = read_results(make_results(datasets={dataset: ("like",)}, seeds=(1, 2)))
    text = " ".join(answers.summary(read))
    assert says in text
    assert bool(says) == bool(re.search("generated data|is a sample", text))


def test_answer_without_rivals(make_results: Make) -> None:
    results = make_results(**SMALL, models=("stem",))
    assert answers.summary(read_results(results)) == [
        "There is no other model to compare STEM with."
    ]
    assert "Missing: nothing to compare." in report(results)


def test_answer_when_nothing_was_compared(make_results: Make) -> None:
    gaps = {("movielens", "stem", seed): "missing" for seed in (1, 2)}
    results = make_results(**SMALL, models=("ple", "stem"), not_ok=gaps)
    assert answers.summary(read_results(results)) == [
        "Nothing can be said yet: no comparison could be made (2 of 4 cells)."
    ]


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        ({"single_task": "better", "ple": "better"}, "Yes"),
        ({"single_task": "better"}, "In part"),
        ({"single_task": "better", "ple": "worse"}, "Mixed"),
        ({"ple": "worse"}, "No"),
        ({"ple": "equivalent"}, "Not shown"),
    ],
)
def test_answer_begins_with_a_word_for_it(
    make_results: Make, verdicts: dict[str, str], word: str
) -> None:
    results = make_results(**SMALL, models=("single_task", "ple", "stem"))
    read = read_results(with_verdicts(results, verdicts))
    assert answers.summary(read)[0].startswith(f"{word}: of 4 comparisons by test AUC")
    assert "each of 2 other models" in answers.question(read)


def test_answer_names_losses_on_the_same_tasks_together(make_results: Make) -> None:
    datasets = {"movielens": ("like", "love"), "synthetic_null": ("click",)}
    models = ("single_task", "ple", "mmoe", "stem")
    results = make_results(datasets=datasets, seeds=(1, 2), models=models)
    path = results / "tables" / "comparison.csv"
    table = pd.read_csv(path).assign(verdict="inconclusive")
    lost = (table["model_b"] != "mmoe") | (table["task"] == "love")
    table.loc[lost, "verdict"] = "worse"
    table.to_csv(path, index=False)
    assert answers.summary(read_results(results))[2] == (
        "STEM is significantly worse than Single-Task and PLE on like and love of MovieLens-100K; "
        "than MMoE on love of MovieLens-100K; than Single-Task and PLE on click of "
        "Synthetic (no conflict)."
    )


def test_question_without_rivals_or_with_one(make_results: Make, tmp_path: Path) -> None:
    read = read_results(make_results(**SMALL, models=("stem",)))
    assert answers.question(read) == "How good is STEM?"


def test_sections_are_listed_as_they_stand(demo: str) -> None:
    nav = demo[demo.index("<nav") : demo.index("</nav>")]
    listed = re.findall(r'<a href="#([^"]+)">([^<]+)</a>', nav)
    found = re.findall(r'<section id="([^"]+)"[^>]*>\s*<h2', demo)
    assert [key for key, _ in listed] == found
    assert found == [
        *("answer", "main", "comparison", "comparable", "noise", "calibration", "curves", "cost"),
        *("evidence", "assumptions", "runs", "provenance", "cite", "validation"),
    ]
    assert dict(listed)["noise"] == "Seeds and variance"


def test_provenance_names_code_and_machines_once(demo: str) -> None:
    part = demo[demo.index('<section id="provenance"') :]
    assert part.count('<th scope="row">75 runs</th>') == 1
    assert "10.1609/aaai.v38i8.28749" in part
    assert "@software{stembench," in part
