"""Tables of the second selection rule and of the diagnostics, and that others stay as they were."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from stembench.analysis.selection import COLUMNS
from stembench.analysis.suite import COLUMNS as MAIN
from stembench.analysis.suite import compare
from stembench.metrics import evaluate_task
from stembench.report.page import write_report
from stembench.report.sections.diagnostics import write_diagnostic_figures
from stembench.report.tables.markdown import write_tables
from tests.tiny_suite import SEEDS, TASKS, edit_run, everything, make_suite, run_path, sha256


def add_reading(suite: dict, entry: dict, gain: float) -> None:
    """A second reading of a run, with less noise the larger `gain`; and some diagnostics."""
    dataset, model, seed = entry["dataset"], entry["model"], entry["seed"]
    path, test = run_path(suite, dataset, model, seed), suite["splits"] / dataset / "test"
    labels, users = np.load(test / "labels.npy"), np.load(test / "users.npy")
    logits = np.load(path / "test_logits.npy") + gain * (2.0 * labels - 1)
    np.save(path / "test_logits_task.npy", logits.astype(np.float32))
    scored = {
        task: evaluate_task(labels[:, t], logits[:, t].astype(np.float32), users)
        for t, task in enumerate(TASKS)
    }

    def change(run: dict) -> None:
        run["spec"] = {"train": {"select": {"metric": "auc", "over": "mean", "both": True}}}
        own = {"epochs": {"click": 2, "like": 2}, "metrics": run["metrics"]}
        other = {"epochs": {"click": 3, "like": 1}, "metrics": {"valid": scored, "test": scored}}
        run["selection"] = {"mean": own, "task": other}
        run["files"]["test_logits_task.npy"] = sha256(path / "test_logits_task.npy")
        run["diagnostics"] = {
            "gate": {"click": {"click": 0.25, "shared": 0.75}, "gate": {"like": 1.0}},
            "cosine_dense": {"click": {"like": -0.5 + 0.001 * seed}},
            "abundance": {"shared": {"item": 1.5}},
            "memory_bytes": {"parameters": 480, "optimizer": 960, "objective": 0},
            "flops_per_sample": {"forward": 100.0, "step": 300.0},
            "seconds": 0.1,
        }

    edit_run(path, change)


@pytest.fixture
def suite(tmp_path):
    made = make_suite(tmp_path)
    for entry in made["expected"]:
        add_reading(made, entry, 0.0 if entry["model"] == "stem" else 0.2)
    return made


def table(suite: dict, name: str) -> pd.DataFrame:
    return pd.read_csv(suite["results"] / "tables" / f"{name}.csv", keep_default_na=False)


def test_a_suite_without_them_has_the_files_it_had(tmp_path) -> None:
    made = make_suite(tmp_path)
    compare(**made)
    files = everything(made)
    assert set(files) == {f"{name}.csv" for name in MAIN} | {"inputs.json", "metrics.json"}
    for entry in made["expected"]:
        add_reading(made, entry, 0.2)
    compare(**made)
    again = everything(made)
    assert set(again) - set(files) == {f"{name}.csv" for name in COLUMNS}
    for name in set(files) - {"cells.csv", "inputs.json"}:  # these hold the runs' hashes
        assert again[name] == files[name]


def test_selection_pairs_the_readings_by_seed(suite) -> None:
    compare(**suite)
    rows = table(suite, "selection")
    assert tuple(rows.columns) == COLUMNS["selection"]
    row = rows[
        (rows["dataset"] == "real") & (rows["task"] == "like")
        & (rows["metric"] == "auc") & (rows["model"] == "ple")
    ].iloc[0]  # fmt: skip
    runs = [json.loads((run_path(suite, "real", "ple", s) / "run.json").read_text()) for s in SEEDS]
    by = {
        rule: np.array([r["selection"][rule]["metrics"]["test"]["like"]["auc"] for r in runs])
        for rule in ("mean", "task")
    }
    assert float(row["delta"]) == pytest.approx((by["task"] - by["mean"]).mean())
    assert float(row["sd_delta"]) == pytest.approx((by["task"] - by["mean"]).std(ddof=1))
    assert (float(row["epoch_mean"]), float(row["epoch_task"])) == (2.0, 1.0)
    assert float(row["mean_task"]) == pytest.approx(by["task"].mean())
    assert float(row["delta"]) > 0.01


def test_comparison_under_either_rule(suite) -> None:
    compare(**suite)
    rows, main = table(suite, "selection_comparison"), table(suite, "comparison")
    assert list(rows.columns) == ["selection", *main.columns]
    own = rows[rows["selection"] == "mean"].drop(columns="selection")
    pd.testing.assert_frame_equal(own.reset_index(drop=True), main)
    other = rows[rows["selection"] == "task"]
    gained = other["delta"].astype(float).to_numpy() - main["delta"].astype(float).to_numpy()
    assert (gained < 0).all()  # the others are better by task, stem is not


def test_diagnostics_are_means_over_seeds(suite) -> None:
    compare(**suite)
    rows = table(suite, "diagnostics")
    keys = ["dataset", "model", "quantity", "task", "source"]
    found = rows.set_index(keys)
    cosine = found.loc[("real", "stem", "cosine_dense", "click", "like")]
    assert float(cosine["mean"]) == pytest.approx(-0.5 + 0.001 * np.mean(SEEDS))
    assert float(cosine["sd"]) == pytest.approx(0.001 * np.std(SEEDS, ddof=1))
    assert float(found.loc[("real", "stem", "flops_per_sample", "", "step"), "mean"]) == 300


def test_a_changed_second_reading_is_damaged(suite) -> None:
    path = run_path(suite, "real", "mmoe", 76)
    np.save(path / "test_logits_task.npy", np.zeros((600, 2), np.float32))
    compare(**suite, partial=True)
    cells = table(suite, "cells")
    assert list(cells.loc[cells["status"] != "ok", "status"]) == ["damaged"]
    edit_run(
        run_path(suite, "real", "mmoe", 525), lambda run: run["selection"]["task"].pop("epochs")
    )
    compare(**suite, partial=True)
    assert (table(suite, "cells")["status"] == "damaged").sum() == 2


def test_old_tables_go_when_the_readings_do(suite) -> None:
    compare(**suite)
    for entry in suite["expected"]:
        path = run_path(suite, entry["dataset"], entry["model"], entry["seed"])
        edit_run(path, lambda run: run.pop("selection") and run.pop("diagnostics"))
    compare(**suite)
    assert not [name for name in COLUMNS if f"{name}.csv" in everything(suite)]


def test_report_shows_both(suite) -> None:
    compare(**suite)
    write_tables(suite["results"])
    figures = write_diagnostic_figures(suite["results"])
    assert [p.name for p in figures[::2]] == ["gates.svg", "cosines.svg", "abundance.svg"]
    text = (suite["results"] / "tables" / "main.md").read_text()
    section = text.split("## Selection rule")[1].split("## Source")[0]
    assert "| Task | Model | AUC, mean | AUC, task | Δ |" in section
    assert section.count("\n| like |") == 6
    assert "with STEM" in section
    page = write_report(suite["results"]).read_text()
    assert '<section id="selection"' in page
    assert '<section id="diagnostics"' in page
    assert "is not there" not in page.split('<section id="diagnostics"')[1].split("</section>")[0]


def test_report_without_them_does_not_speak_of_them(tmp_path) -> None:
    made = make_suite(tmp_path)
    compare(**made)
    write_tables(made["results"])
    assert write_diagnostic_figures(made["results"]) == []
    assert "Selection rule" not in (made["results"] / "tables" / "main.md").read_text()
    page = write_report(made["results"]).read_text()
    assert 'id="selection"' not in page
    assert 'id="diagnostics"' not in page
