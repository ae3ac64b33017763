"""What moved between two sides: the tests against scipy's, and sides from suites and revisions."""

from __future__ import annotations

import json
import math
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stembench.analysis.suite import compare
from stembench.checks.diff import Side, compare_sides, differences, read_side, verdict_changes
from stembench.checks.print_diff import render
from stembench.errors import StembenchError
from stembench.stats import benjamini_hochberg
from tests.tiny_suite import make_suite, rewrite_run

SEEDS = ("2023", "76", "525", "728", "42")


def key(model: str, task: str = "click"):
    return ("real", "test", task, "auc", model)


def side(values, sha256: str = "a", name: str = "A", **inputs) -> Side:
    split = {"split": "s", "sha256": sha256, "rows": {}}
    base = {"splits": {"real": split}, "runs": {}, "reference": "stem", "alpha": 0.05}
    return Side(name, base | inputs, values, {})


def draws(seed: int, mean: float, sd: float = 1e-3) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    return dict(zip(SEEDS, (mean + sd * rng.normal(size=5)).tolist(), strict=True))


def test_paired_on_the_same_split_and_welch_otherwise() -> None:
    old, new = draws(0, 0.70), draws(1, 0.702)
    x, y = [*old.values()], [*new.values()]
    (row,) = compare_sides(side({key("stem"): old}), side({key("stem"): new}), 0.05)
    paired = stats.ttest_rel(y, x)
    assert row["p"] == pytest.approx(paired.pvalue)
    assert (row["ci_lo"], row["ci_hi"]) == pytest.approx(tuple(paired.confidence_interval()))
    assert row["test"] == "paired over 5 seeds"
    (row,) = compare_sides(side({key("stem"): old}), side({key("stem"): new}, "b"), 0.05)
    welch = stats.ttest_ind(y, x, equal_var=False)
    assert row["p"] == pytest.approx(welch.pvalue)
    assert (row["ci_lo"], row["ci_hi"]) == pytest.approx(tuple(welch.confidence_interval()))
    assert row["test"] == "Welch over seeds; the splits differ"


def test_other_seeds_on_the_same_split_are_not_paired() -> None:
    old, new = draws(0, 0.70), {f"1{seed}": value for seed, value in draws(1, 0.71).items()}
    (row,) = compare_sides(side({key("stem"): old}), side({key("stem"): new}), 0.05)
    assert row["test"] == "Welch over seeds"
    assert row["moved"] == "beyond noise"


def test_adjusted_over_all_rows_and_named() -> None:
    models = [f"m{i}" for i in range(8)]
    a = {key(m): draws(i, 0.70) for i, m in enumerate(models)}
    b = {key(m): draws(90 + i, 0.70 + 0.01 * (i == 0)) for i, m in enumerate(models)}
    a[key("same")] = b[key("same")] = draws(3, 0.6)
    a[key("gone")] = b[key("new")] = draws(4, 0.6)
    a[key("one")], b[key("one")] = {"76": 0.5}, {"76": 0.6}
    rows = {row["model"]: row for row in compare_sides(side(a), side(b), 0.05)}
    tested = [rows[m]["p"] for m in models]
    assert [rows[m]["p_adj"] for m in models] == pytest.approx(benjamini_hochberg(tested))
    assert rows["m0"]["moved"] == "beyond noise"
    assert {rows[m]["moved"] for m in models[1:]} == {"within noise"}
    assert rows["same"]["moved"] == "unchanged"
    assert (rows["gone"]["moved"], rows["new"]["moved"]) == ("only in A", "only in B")
    assert rows["one"]["moved"] == "not testable"
    assert math.isnan(rows["one"]["p"])
    text = render(side(a), side(b, name="B"), list(rows.values()), 0.05)
    assert "- only in A: real, click, gone (test)" in text
    assert "1 beyond noise" in text


def test_noise_alone_is_beyond_noise_at_most_as_often_as_alpha() -> None:
    false = 0
    for i in range(300):
        a, b = ({key("stem"): draws(2 * i + k, 0.7)} for k in (0, 1))
        (row,) = compare_sides(side(a), side(b, "other"), 0.05)
        false += row["moved"] == "beyond noise"
    assert false / 300 < 0.05 + 2 * math.sqrt(0.05 * 0.95 / 300)


def test_settings_splits_and_runs_that_differ_are_told() -> None:
    cells = {"real/stem/76": "x", "real/stem/42": "y"}
    a = side({}, margin=1e-3, runs=cells)
    b = side({}, "b", margin=2e-3, runs=cells | {"real/stem/42": "z"})
    lines = differences(a, b)
    assert "margin: 0.001 -> 0.002" in lines
    assert "split of real: s a -> s b" in lines
    assert "run files: 1 of the 2 cells in both are other runs" in lines
    assert any("not known without run files" in line for line in lines)
    facts = {"environment torch": "2.0", "train.lr": 1e-3}
    a.runs["real/stem/76"] = facts
    b.runs["real/stem/76"] = facts | {"train.lr": 1e-4}
    lines = differences(a, b)
    assert "train.lr: in 1 of 1 cells, e.g. 0.001 -> 0.0001" in lines
    assert not any("torch" in line for line in lines)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory):
    """A repository whose commit holds a suite's tables, and whose folder those of other runs."""
    root = tmp_path_factory.mktemp("repository")
    suite = make_suite(root)
    compare(**suite)
    git(root, "init", "-q")
    git(root, "add", "results/tiny/tables")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "tables")
    truth = np.load(suite["splits"] / "real/test/labels.npy") * 4.0
    for seed in (2023, 76, 525):
        noise = np.random.default_rng(seed).normal(size=truth.shape)
        rewrite_run(suite, "real", "stem", seed, truth + noise)
    compare(**suite)
    return root


def git(root, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True)


def test_a_revision_against_the_folder(repository, monkeypatch) -> None:
    monkeypatch.chdir(repository)
    results = repository / "results"
    new = read_side("tiny", results)
    for text in ("HEAD:results/tiny", "HEAD:tiny"):
        # RESULTS is a relative folder on the command line.
        old = read_side(text, results.relative_to(repository))
        rows = compare_sides(old, new, 0.05)
        moved = {(r["dataset"], r["model"]) for r in rows if r["moved"] == "beyond noise"}
        assert moved == {("real", "stem")}
        assert {r["moved"] for r in rows if r["model"] != "stem"} == {"unchanged"}
        assert "run files: 3 of the 18 cells in both are other runs" in differences(old, new)
        expected = pd.read_csv(results / "tiny/tables/comparison.csv")
        for change in verdict_changes(old, new):
            assert change["model_a"] == "stem"
            here = expected[(expected["dataset"] == change["dataset"])]
            here = here[(here["task"] == change["task"]) & (here["model_b"] == change["model_b"])]
            assert set(here["verdict"]) == {change["verdict_b"]}
    same = compare_sides(new, new, 0.05)
    assert {row["moved"] for row in same} == {"unchanged"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nowhere", "no suite with tables"),
        ("v9.9:tiny", "no revision of this repository"),
        ("--output=x:tiny", "no revision of this repository"),
        ("HEAD:elsewhere", "no tables/inputs.json at HEAD"),
    ],
)
def test_what_is_not_there_is_told(repository, monkeypatch, text: str, told: str) -> None:
    monkeypatch.chdir(repository)
    with pytest.raises(StembenchError, match=told):
        read_side(text, (repository / "results").relative_to(repository))


def test_damaged_tables_are_told(repository, tmp_path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(repository / "results/tiny/tables", folder / "tables")
    path = folder / "tables/runs.csv"
    path.write_text(path.read_text().replace("dataset,model", "dataset,modell", 1))
    with pytest.raises(StembenchError, match="cannot be read"):
        read_side(str(folder), tmp_path)
    inputs = folder / "tables/inputs.json"
    inputs.write_text(json.dumps({"suite": "tiny"}))
    with pytest.raises(StembenchError, match="cannot be read"):
        read_side(str(folder), tmp_path)
