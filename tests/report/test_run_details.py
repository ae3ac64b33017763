"""What is behind the cells: links, settings written once, gaps, a page that stays small."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from stembench.report.page import write_report
from stembench.report.results import read_results
from stembench.report.sections.run_details import anchor, section
from stembench.report.sections.run_files import CHANGED, NOT_HERE, read_runs
from tests.report.full import complete

Make = Callable[..., Path]
SMALL = {"datasets": {"movielens": ("like", "love")}, "seeds": (1, 2), "models": ("ple", "stem")}


def group(results: Path, dataset: str, model: str) -> dict:
    found = section(read_results(results))
    groups = [g for block in found["blocks"] for g in block["groups"]]
    [mine] = [g for g in groups if g["id"] == anchor(dataset, model)]
    return mine


def test_settings_are_written_once_where_they_are_shared(make_results: Make) -> None:
    datasets = {"movielens": ("like",), "synthetic_null": ("click",)}
    results = complete(make_results(datasets=datasets, seeds=(1, 2), models=("ple", "stem")))
    found = section(read_results(results))
    assert found["shared"]["train.batch_size"] == "1024"
    assert found["shared"]["args.expert_units"] == "[64, 32]"
    own = [block["settings"] for block in found["blocks"]]
    assert own[0] == {"dataset": "movielens", "data.fields_max": "9"}
    mine = group(results, "movielens", "ple")
    assert mine["settings"] == {"model": "ple", "class": "ple.Model", "args.name": "<ple>"}
    assert mine["differing"] == []


def test_settings_that_differ_between_seeds_are_named_by_seed(make_results: Make) -> None:
    results = complete(make_results(**SMALL))
    path = results / "runs/movielens/ple/2/run.json"
    run = json.loads(path.read_text())
    run["spec"]["train"]["lr"] = 0.01
    rewrite(results, "movielens/ple/2", json.dumps(run))
    mine = group(results, "movielens", "ple")
    assert mine["differing"] == [("1", {"train.lr": "0.003"}), ("2", {"train.lr": "0.01"})]
    assert "train.lr" not in section(read_results(results))["shared"]


def rewrite(results: Path, run: str, text: str) -> None:
    """Replace a run.json and make the tables know it."""
    (results / "runs" / run / "run.json").write_text(text)
    path = results / "tables/inputs.json"
    inputs = json.loads(path.read_text())
    inputs["runs"][run] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(inputs))


def test_metrics_hashes_and_facts_are_the_runs(make_results: Make) -> None:
    results = complete(make_results(**SMALL, histories=True))
    read = read_results(results)
    mine = group(results, "movielens", "stem")
    assert mine["count"] == "2 of 2 seeds"
    assert [row[0] for row in mine["metrics"]] == ["1", "2"]
    value = read.runs.query("model == 'stem' and seed == '2' and task == 'love'")
    auc = float(value.loc[value["metric"] == "auc", "value"].iloc[0])
    assert mine["metrics"][1][mine["header"].index("love AUC")] == f"{auc:.4f}"
    assert mine["facts"][0][1:4] == ["3", "5", "early"]
    run = json.loads((results / "runs/movielens/stem/1/run.json").read_text())
    hashes = dict(mine["hashes"][0]["files"])
    assert hashes["run.json"] == read.inputs["runs"]["movielens/stem/1"]
    assert hashes["settings"] == run["spec_sha256"]
    assert hashes["test_logits.npy"] == run["files"]["test_logits.npy"]
    [(who, code)] = mine["code"]
    assert who == ""
    assert code["code fingerprint"] == run["provenance"]["source_sha256"]
    assert mine["data"][0][1]["sha256"] == run["data"]["sha256"]
    assert [task for task, _ in mine["curves"]] == ["like", "love"]
    assert all(
        svg.count("<polyline") == 2 and svg.count("<circle") == 2 for _, svg in mine["curves"]
    )


def test_what_is_missing_or_changed_is_said(make_results: Make) -> None:
    gaps = {("movielens", "ple", 1): "stale"}
    results = complete(make_results(**SMALL, not_ok=gaps))
    (results / "runs/movielens/stem/1/run.json").unlink()
    path = results / "runs/movielens/stem/2/run.json"
    path.write_text(path.read_text() + " ")
    mine = group(results, "movielens", "ple")
    assert mine["count"] == "1 of 2 seeds"
    assert mine["metrics"][0][1:] == ["missing"] * 8
    assert mine["lacking"][0][1].startswith("run made with other settings")
    assert [run.why for run in read_runs(read_results(results), "movielens", "stem")] == [
        NOT_HERE,
        CHANGED,
    ]
    stem = group(results, "movielens", "stem")
    assert stem["count"] == "2 of 2 seeds"  # they count: the tables have them
    assert "missing" not in stem["metrics"][0]
    assert stem["facts"] == []
    assert "is not the one that the tables were made from" in write_report(results).read_text()


def test_anchors_are_distinct_and_need_no_escape() -> None:
    pairs = [("a-b", "c"), ("a", "b-c"), ("a", "b"), ("a b", "c"), ("ä", 'x"<'), ("a.2d", "b")]
    found = [anchor(*pair) for pair in pairs]
    assert len(set(found)) == len(pairs)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", each) for each in found)


@pytest.mark.parametrize("gap", [{}, {("movielens", "ple", 1): "damaged"}])
def test_every_cell_leads_to_its_runs(make_results: Make, gap: dict) -> None:
    text = write_report(complete(make_results(**SMALL, not_ok=gap))).read_text()
    main = text[text.index('<section id="main"') : text.index('<section id="comparison"')]
    links = re.findall(r'<td data-sort="[^"]*"><a class="cell[^"]*" href="#([^"]+)">', main)
    assert len(links) == main.count("<td data-sort=") == 2 * 2 * 2
    assert set(links) == {anchor("movielens", "ple"), anchor("movielens", "stem")}
    assert all(text.count(f'<details class="run" id="{link}">') == 1 for link in set(links))
