"""A series of suites: ranks under each protocol, the learning rate both ways."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stembench.analysis.protocols import Member, compare_protocols
from stembench.errors import StembenchError
from stembench.report.tables.protocols import write_protocols
from stembench.stats import two_way
from tests.tiny_suite import (
    ALPHA,
    MARGIN,
    MODELS,
    SEEDS,
    TASKS,
    brute_force,
    edit_run,
    make_suite,
    rewrite_run,
    run_path,
)

#: suite -> (protocol, learning rate of stem, of the others)
SUITES = {
    "released": ("released", 1e-3, 1e-4),
    "high": ("equal", 1e-3, 1e-3),
    "low": ("equal", 1e-4, 1e-4),
    "tuned": ("tuned", 2e-3, 3e-3),
}


def build(tmp_path: Path) -> tuple[list[Member], dict]:
    """Four suites on the same splits; at the low rate every model is noisier, mmoe most."""
    base = make_suite(tmp_path)
    members, suites = [], {}
    for name, (protocol, own, others) in SUITES.items():
        results = tmp_path / "results" / name
        shutil.copytree(base["results"], results)
        suite = base | {"results": results}
        for entry in base["expected"]:
            dataset, model, seed = entry["dataset"], entry["model"], entry["seed"]
            lr = own if model == "stem" else others
            if lr == 1e-4:
                rng = np.random.default_rng([9, MODELS.index(model), seed])
                logits = np.load(run_path(base, dataset, model, seed) / "test_logits.npy")
                noise = (2.0 if model == "mmoe" else 1.0) * rng.normal(size=logits.shape)
                rewrite_run(suite, dataset, model, seed, np.round(logits + noise, 1))
            spec = {"train": {"lr": lr, "batch_size": 8}, "seed": seed, "protocol": protocol}

            def change(run, spec=spec, protocol=protocol):
                run["spec"] = spec
                if protocol == "tuned":
                    run["tuned"] = {"trials": 20}

            edit_run(run_path(suite, dataset, model, seed), change)
        members.append(Member(name, protocol, results, base["expected"]))
        suites[name] = suite
    return members, suites


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    root = tmp_path_factory.mktemp("series")
    members, suites = build(root)
    out = root / "results/series"
    frames = compare_protocols(out, root / "splits", members, "stem", ALPHA, MARGIN)
    return out, frames, suites, members


def aucs(suites, suite: str, dataset: str, task: str, model: str) -> list[float]:
    paths = [run_path(suites[suite], dataset, model, seed) / "run.json" for seed in SEEDS]
    return [json.loads(p.read_text())["metrics"]["test"][task]["auc"] for p in paths]


def test_ranks_are_those_of_the_mean_auc_in_each_suite(series) -> None:
    _, frames, suites, _ = series
    ranks = frames["ranks"]
    assert len(ranks) == len(SUITES) * 2 * 2 * 3
    for (suite, dataset, task), block in ranks.groupby(["suite", "dataset", "task"]):
        means = {m: np.mean(aucs(suites, suite, dataset, task, m)) for m in MODELS}
        order = sorted(MODELS, key=lambda model: -means[model])
        for row in block.itertuples():
            assert row.mean == pytest.approx(means[row.model], abs=1e-12)
            assert row.rank == order.index(row.model) + 1
            protocol, own, others = SUITES[suite]
            assert row.protocol == protocol
            assert row.lr == (own if row.model == "stem" else others)
            assert row.trials == (20 if suite == "tuned" else 0)
            assert (row.verdict == "") == (row.model == "stem")
    mean = ranks[ranks["dataset"] == "real"].groupby(["suite", "model"])["rank"].mean()
    for row in ranks[ranks["dataset"] == "real"].itertuples():
        assert row.mean_rank == mean[row.suite, row.model]


def test_the_rate_is_crossed_both_ways_and_paired_by_seed(series) -> None:
    _, frames, suites, _ = series
    rates = frames["learning_rates"]
    assert set(zip(rates["lr_a"], rates["lr_b"], strict=True)) == {
        (1e-3, 1e-3), (1e-3, 1e-4), (1e-4, 1e-3), (1e-4, 1e-4),
    }  # fmt: skip
    for lr_a, suite_a in ((1e-3, "high"), (1e-4, "low")):
        for lr_b, suite_b in ((1e-3, "high"), (1e-4, "low")):
            _, first = brute_force(suites[suite_a], "real", 0, "stem")
            _, second = brute_force(suites[suite_b], "real", 0, "mmoe")
            expected = two_way(first - second, ALPHA)
            (row,) = rates[
                (rates["dataset"] == "real") & (rates["task"] == TASKS[0])
                & (rates["model_b"] == "mmoe") & (rates["lr_a"] == lr_a) & (rates["lr_b"] == lr_b)
            ].itertuples()  # fmt: skip
            assert (row.suite_a, row.suite_b) == (suite_a, suite_b)
            assert row.delta == pytest.approx(expected.mean, abs=1e-9)
            assert row.ci_hi == pytest.approx(expected.ci_hi, rel=1e-6)
            assert row.p_total == pytest.approx(expected.p, rel=1e-6)
            own = np.mean(aucs(suites, suite_a, "real", TASKS[0], "stem"))
            better = [
                np.mean(aucs(suites, suite_b, "real", TASKS[0], m)) > own for m in ("mmoe", "ple")
            ]
            assert row.rank_a == 1 + sum(better)
    # The released asymmetry is the pair (high, low): the same runs, the same difference.
    effects = frames["rate_effects"]
    (row,) = effects[
        (effects["dataset"] == "real") & (effects["task"] == "like") & (effects["model"] == "mmoe")
    ].itertuples()
    high, low = (brute_force(suites[s], "real", 1, "mmoe")[1] for s in ("high", "low"))
    assert row.delta == pytest.approx((high - low).mean(), abs=1e-9)
    assert row.delta > 0


def test_a_suite_that_differs_in_more_than_the_rate_is_not_crossed(tmp_path) -> None:
    members, suites = build(tmp_path)
    for path in (suites["low"]["results"] / "runs").glob("*/*/*"):
        edit_run(path, lambda run: run["spec"]["train"].update(batch_size=16))
    frames = compare_protocols(
        tmp_path / "results/series", tmp_path / "splits", members, "stem", ALPHA, MARGIN
    )
    assert len(frames["ranks"])
    assert not len(frames["learning_rates"])
    assert not len(frames["rate_effects"])
    write_protocols(tmp_path / "results/series")
    text = (tmp_path / "results/series/tables/protocols.md").read_text()
    assert "both ways" not in text


def test_what_a_person_reads(series) -> None:
    out, frames, _, _ = series
    paths = write_protocols(out)
    assert [path.name for path in paths] == ["protocols.md", "ranks.svg", "ranks.png"]
    first = {path: path.read_bytes() for path in paths}
    assert {path: path.read_bytes() for path in write_protocols(out)} == first
    text = paths[0].read_text()
    assert "| Model | released | equal, lr 0.001 | equal, lr 0.0001 | tuned | Moves |" in text
    assert "tuned: 20 trials a model" in text
    assert "0 trials a model" in text
    ranks = frames["ranks"]
    row = ranks[
        (ranks["dataset"] == "real") & (ranks["task"] == "click") & (ranks["model"] == "ple")
    ]
    cells = [f"{r.rank} ({r.mean:.4f}" for r in row.itertuples()]
    section = text[text.index("## real") :]
    line = next(line for line in section.splitlines() if line.startswith("| PLE |"))
    for cell in cells:
        assert cell in line
    move = int(row["rank"].iloc[0] - row["rank"].iloc[-1])
    assert line.endswith(f"| {move:+d} |" if move else "| 0 |")
    assert pd.read_csv(out / "tables/ranks.csv").columns.tolist() == list(ranks.columns)


def test_a_missing_cell_names_the_suite(series, tmp_path) -> None:
    members, suites = build(tmp_path)
    shutil.rmtree(run_path(suites["tuned"], "real", "ple", 76))
    with pytest.raises(StembenchError, match=r"suite tuned .*real/ple/76 \(missing\)"):
        compare_protocols(tmp_path / "out", tmp_path / "splits", members, "stem", ALPHA, MARGIN)
    assert not (tmp_path / "out").exists()
