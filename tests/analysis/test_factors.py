"""Effects over a crossed design, against loops over all pairs of rows."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from statsmodels.stats.multitest import multipletests

from stembench.analysis.suite import compare
from stembench.errors import StembenchError
from stembench.metrics import evaluate_task
from stembench.params.tuning import Factors
from stembench.stats import benjamini_hochberg, two_way
from tests.tiny_suite import (
    ALPHA,
    SEEDS,
    TASKS,
    brute_force,
    edit_run,
    make_suite,
    rewrite_run,
    run_path,
    sha256,
    table,
    write_run,
)

#: A 2 x 2 design over the tiny suite's models and a fourth one.
DESIGN = {
    "models": {
        "stem": {"gate": "stop", "input": "both"},
        "ple": {"gate": "stop", "input": "task"},
        "mmoe": {"gate": "all", "input": "both"},
        "fourth": {"gate": "all", "input": "task"},
    },
    "contrasts": {"gate": [["stop", "all"]], "input": [["both", "task"]]},
    "interactions": [["gate", "input"]],
}


@pytest.fixture
def suite(tmp_path):
    suite = make_suite(tmp_path)
    for dataset in ("synthetic", "real"):
        for seed in SEEDS:
            base = np.load(run_path(suite, dataset, "mmoe", seed) / "test_logits.npy")
            noise = np.random.default_rng([7, seed]).normal(size=base.shape)
            digest = f"{dataset}-fourth-{seed}"
            path = run_path(suite, dataset, "fourth", seed)
            write_run(path, suite["splits"] / dataset, np.round(base + noise, 1), digest)
            entry = {"dataset": dataset, "model": "fourth", "seed": seed, "spec_sha256": digest}
            suite["expected"].append(entry)
    return suite


def effects(**changes) -> list:
    return Factors.model_validate(DESIGN | changes).effects()


def row(suite, dataset: str, task: str, effect: str):
    found = table(suite, "factors")
    mine = found[(found.dataset == dataset) & (found.task == task) & (found.effect == effect)]
    assert len(mine) == 1
    return mine.iloc[0]


@pytest.mark.parametrize("t", [0, 1])
@pytest.mark.parametrize("dataset", ["synthetic", "real"])
def test_effects_are_those_of_brute_force(suite, dataset: str, t: int) -> None:
    compare(**suite, designs={"gates": effects()})
    areas, d = {}, {}
    for model in DESIGN["models"]:
        areas[model], d[model] = brute_force(suite, dataset, t, model)

    def total(of):
        gate = (of["stem"] + of["ple"]) / 2 - (of["mmoe"] + of["fourth"]) / 2
        crossed = (of["stem"] - of["mmoe"]) - (of["ple"] - of["fourth"])
        return {"gate": gate, "gate × input": crossed}

    for effect, differences in total(d).items():
        found, expected = row(suite, dataset, TASKS[t], effect), two_way(differences, ALPHA)
        assert found.delta == pytest.approx(total(areas)[effect].mean(), abs=1e-9)
        assert found.delta == pytest.approx(expected.mean, abs=1e-9)
        assert found.se_total == pytest.approx(expected.se_total, rel=1e-6)
        assert found.ci_lo == pytest.approx(expected.ci_lo, rel=1e-6)
        assert found.p_total == pytest.approx(expected.p, rel=1e-6)
        assert found.n_seeds == len(SEEDS)


def test_p_values_are_adjusted_over_the_data_set(suite) -> None:
    compare(**suite, designs={"gates": effects(), "again": effects(interactions=[])})
    found = table(suite, "factors")
    for dataset, mine in found.groupby("dataset"):
        assert len(mine) == (3 + 2) * 2
        expected = multipletests(mine.p_total, method="fdr_bh")[1]
        np.testing.assert_allclose(mine.p_adj, expected, rtol=1e-8)
        assert set(mine.family) == {f"factors:{dataset}"}


def test_a_missing_cell_counts_nowhere_and_a_missing_model_is_nan(suite) -> None:
    shutil.rmtree(run_path(suite, "real", "ple", 76))
    for seed in SEEDS:
        shutil.rmtree(run_path(suite, "synthetic", "fourth", seed))
    compare(**suite, partial=True, designs={"gates": effects()})
    assert row(suite, "real", "click", "gate").n_seeds == 2
    lost = row(suite, "synthetic", "click", "gate")
    assert lost.n_seeds == 0
    assert math.isnan(lost.delta)
    assert math.isnan(lost.p_adj)


def test_an_effect_of_nothing_is_nothing(suite) -> None:
    for seed in SEEDS:  # the same logits at both levels of gate
        for source, target in (("stem", "mmoe"), ("ple", "fourth")):
            logits = np.load(run_path(suite, "real", source, seed) / "test_logits.npy")
            rewrite_run(suite, "real", target, seed, logits)
    compare(**suite, designs={"gates": effects()})
    found = row(suite, "real", "click", "gate")
    assert found.delta == pytest.approx(0, abs=1e-15)
    assert found.p_total == 1
    assert row(suite, "real", "click", "gate × input").delta == pytest.approx(0, abs=1e-15)
    assert abs(row(suite, "real", "click", "input").delta) > 1e-3


def by_both_rules(suite, model: str) -> None:
    """Let the runs of a model on `real` be read by the rule `task` too, with other logits."""
    split = suite["splits"] / "real/test"
    labels, users = (np.load(split / f"{name}.npy") for name in ("labels", "users"))
    for seed in SEEDS:
        path = run_path(suite, "real", model, seed)
        logits = np.load(path / "test_logits.npy")
        other = logits + np.random.default_rng(seed).normal(size=logits.shape).astype(np.float32)
        np.save(path / "test_logits_task.npy", other)
        scored = {
            task: evaluate_task(labels[:, t], other[:, t], users) for t, task in enumerate(TASKS)
        }

        def change(run, scored=scored, path=path):
            run["spec"] = {"train": {"select": {"over": "mean"}}}
            own = {"epochs": dict.fromkeys(TASKS, 1), "metrics": run["metrics"]}
            run["selection"] = {
                "mean": own,
                "task": own | {"metrics": {"valid": scored, "test": scored}},
            }
            run["files"]["test_logits_task.npy"] = sha256(path / "test_logits_task.npy")

        edit_run(path, change)


def test_a_factor_may_be_the_selection_rule_of_the_same_runs(suite) -> None:
    suite["expected"] = [entry for entry in suite["expected"] if entry["dataset"] == "real"]
    design = Factors.model_validate(
        {
            "models": {"ple@task": {"rule": "task"}, "ple@mean": {"rule": "mean"}},
            "contrasts": {"rule": [["task", "mean"]]},
        }
    )
    by_both_rules(suite, "ple")
    compare(**suite, designs={"rules": design.effects()})
    found = row(suite, "real", "like", "rule")
    runs = [json.loads((run_path(suite, "real", "ple", s) / "run.json").read_text()) for s in SEEDS]
    gains = [
        run["selection"]["task"]["metrics"]["test"]["like"]["auc"]
        - run["metrics"]["test"]["like"]["auc"]
        for run in runs
    ]
    assert found.delta == pytest.approx(np.mean(gains), abs=1e-9)
    assert found.models == "+1 ple@task -1 ple@mean"
    # Logits that are not those of run.json, and runs that were read by one rule, are told.
    path = run_path(suite, "real", "ple", 76) / "test_logits_task.npy"
    edit_run(
        path.parent, lambda run: run["selection"]["task"]["metrics"]["test"]["like"].update(auc=0.5)
    )
    compare(**suite, designs={"rules": design.effects()})
    assert row(suite, "real", "like", "rule").n_seeds == 2  # the damaged reading does not count
    edit_run(path.parent, lambda run: run.update(selection={}))
    with pytest.raises(StembenchError, match=r"ple/76 was not read by the selection rule task"):
        compare(**suite, designs={"rules": design.effects()})


def test_without_designs_the_table_is_empty(suite) -> None:
    compare(**suite)
    assert len(pd.read_csv(suite["results"] / "tables/factors.csv")) == 0
    assert json.loads((suite["results"] / "tables/inputs.json").read_text())["protocol"]


def test_weights_of_an_effect_add_to_zero_and_more_than_two_levels_are_contrasts() -> None:
    three = {
        "models": {
            f"{e}_{b}": {"embeddings": e, "backward": b}
            for e in ("both", "task", "shared") for b in ("stop", "all")
        },
        "contrasts": {
            "embeddings": [["both", "shared"], ["task", "shared"]], "backward": [["stop", "all"]],
        },
        "interactions": [["embeddings", "backward"]],
    }  # fmt: skip
    found = Factors.model_validate(three).effects()
    assert [effect for effect, _, _ in found] == [
        *("embeddings", "embeddings", "backward"),
        *("embeddings × backward", "embeddings × backward"),
    ]
    for _, _, weights in found:
        assert sum(weights.values()) == pytest.approx(0)
    assert found[2][2]["shared_stop"] == pytest.approx(1 / 3)
    assert found[3][2] == {"both_stop": 1, "both_all": -1, "shared_stop": -1, "shared_all": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contrasts": {"gait": [["stop", "all"]]}}, "unknown factor 'gait', one of gate, input"),
        ({"contrasts": {"gate": [["stop", "none"]]}}, "no entry has gate 'none', one of all, stop"),
        ({"contrasts": {"gate": [["stop", "stop"]]}}, "needs two different levels"),
        ({"contrasts": {"gate": [["stop"]]}}, "at least 2 items"),
        ({"interactions": [["gate", "gate"]]}, "needs two factors that have contrasts"),
        ({"interactions": [["gate", "size"]]}, "needs two factors that have contrasts"),
        ({"models": DESIGN["models"] | {"x": {"gate": "all"}}}, "x has the factors gate, stem has"),
        (
            {"models": {k: v for k, v in DESIGN["models"].items() if k != "fourth"}},
            "differ in other factors too",
        ),
        (
            {
                "models": {"stem": DESIGN["models"]["stem"], "fourth": DESIGN["models"]["fourth"]},
                "interactions": [],
            },
            "differ in other factors too",
        ),
    ],
)
def test_a_design_out_of_balance_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        effects(**change)


def test_benjamini_hochberg_is_that_of_statsmodels_and_nan_counts() -> None:
    rng = np.random.default_rng(0)
    for m in (1, 2, 7, 40):
        p = np.round(rng.random(m) ** 3, 2)  # with ties
        np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1])
    adjusted = benjamini_hochberg([0.01, np.nan, 0.02])
    np.testing.assert_allclose(adjusted[[0, 2]], [0.03, 0.03])
    assert math.isnan(adjusted[1])
    assert benjamini_hochberg([]).shape == (0,)
