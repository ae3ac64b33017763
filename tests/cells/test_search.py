"""Tuning: the same budget for all, the validation part alone, and no trial lost or drawn anew."""

from __future__ import annotations

import ast
import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from stembench.cells import search as tuning
from stembench.errors import StembenchError
from stembench.params import load as params
from stembench.params import tuned
from tests.conftest import ROOT, write_split

SMALL = {"epochs": 2, "batch_size": 64}
SPACE = {
    "args.dropout": {"choices": [0.0, 0.3]},
    "args.expert_units": {"choices": [[8], [16, 8]]},
    "args.num_experts": {"low": 1, "high": 4, "log": False},
    "train.lr": {"low": 1e-3, "high": 1e-1, "log": True},
}


def make_plan(settings: params.Params, model: str = "mmoe", space: dict = SPACE, **other) -> str:
    suite = settings.select("settings_tuned")
    plan = json.loads(tuned.plan(settings, suite, "movielens", model))
    plan["spec"]["train"] |= SMALL
    plan["spec"]["args"] |= {"gate_units": [4], "tower_units": [4]}
    return json.dumps(plan | {"space": space, "trials": 4} | other, sort_keys=True)


def scored(*args: object) -> dict:
    """In place of training: a smooth function of the values, to test drawing alone."""
    spec = args[3]
    auc = 0.9 - abs(spec["train"]["lr"] - 0.02) - 0.1 * spec["args"]["dropout"]
    return {"valid_auc": auc, "tasks": {"a": auc}, "best_epoch": 1, "reason": None, "seconds": 0.0}


def table(out: Path) -> list[dict[str, str]]:
    with out.with_suffix(".trials.csv").open() as file:
        return list(csv.DictReader(file))


def drawn(out: Path) -> list[dict[str, str]]:
    return [{name: row[name] for name in SPACE} for row in table(out)]


def test_a_search_is_the_same_whenever_it_is_made(settings, split_path, tmp_path) -> None:
    plan = make_plan(settings)
    first, second = tmp_path / "a/tuned/d/mmoe.yaml", tmp_path / "b/tuned/d/mmoe.yaml"
    found = tuning.tune(plan, split_path, first)
    assert tuning.tune(plan, split_path, second) == found
    assert first.read_bytes() == second.read_bytes()
    rows = table(first)
    assert drawn(first) == drawn(second)
    assert [row["status"] for row in rows] == ["ok"] * 4
    best = max(rows, key=lambda row: float(row["valid_auc"]))
    assert found.best == int(best["number"])
    assert found.valid_auc == float(best["valid_auc"])
    assert found.train == {"lr": json.loads(best["train.lr"])}
    assert found.args["expert_units"] == json.loads(best["args.expert_units"])
    assert found.plan_sha256 == tuned.sha256(plan)
    assert not list(first.parent.glob("**/history.csv"))  # a trial is no run


def test_the_test_part_is_not_there_and_not_missed(settings, split_path, tmp_path) -> None:
    plan = make_plan(settings, trials=2)
    whole, without = tmp_path / "a/mmoe.yaml", tmp_path / "b/mmoe.yaml"
    tuning.tune(plan, split_path, whole)
    shutil.rmtree(split_path / "test")
    tuning.tune(plan, split_path, without)
    assert whole.read_bytes() == without.read_bytes()


def test_tuning_code_can_name_no_part_but_train_and_valid() -> None:
    tree = ast.parse((ROOT / "src/stembench/cells/search.py").read_text())
    parts = [
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "part"
    ]
    assert parts == ["train", "valid"]
    strings = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    assert not {"test", "unbiased"} & {s for s in strings if isinstance(s, str)}


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_draws_do_not_depend_on_how_often_the_search_was_killed(
    settings, split_path, tmp_path, monkeypatch, sampler
) -> None:
    plan = make_plan(settings, trials=14, sampler=sampler)  # from 10 results on the sampler learns
    monkeypatch.setattr(tuning, "run_trial", scored)
    whole, killed = tmp_path / "a/mmoe.yaml", tmp_path / "b/mmoe.yaml"
    tuning.tune(plan, split_path, whole)
    calls = []

    def dying(*args: object) -> dict:
        calls.append(args)
        if len(calls) % 4 == 0:
            raise KeyboardInterrupt
        return scored(*args)

    monkeypatch.setattr(tuning, "run_trial", dying)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            tuning.tune(plan, split_path, killed)
        assert not killed.exists()
    tuning.tune(plan, split_path, killed)
    assert len(calls) == 14 + 4  # no finished trial was trained again
    assert killed.read_bytes() == whole.read_bytes()
    assert drawn(killed) == drawn(whole)
    assert len({json.dumps(row) for row in drawn(whole)}) == 14
    # A trial that is lost is made again, and a half file counts as lost.
    (killed.with_suffix(".trials") / "0003.json").write_text('{"number": 3')
    (killed.with_suffix(".trials") / ".0004.json.17").write_text("{")
    monkeypatch.setattr(tuning, "run_trial", scored)
    tuning.tune(plan, split_path, killed)
    assert drawn(killed) == drawn(whole)


def test_the_sampler_learns_from_the_results(settings, split_path, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tuning, "run_trial", scored)
    regret = {}
    for sampler in ("tpe", "random"):
        out = tmp_path / sampler / "mmoe.yaml"
        tuning.tune(make_plan(settings, trials=40, sampler=sampler), split_path, out)
        regret[sampler] = sum(0.9 - float(row["valid_auc"]) for row in table(out)[10:]) / 30
    assert regret["tpe"] < 0.7 * regret["random"]


def test_more_trials_go_on_and_another_space_begins_anew(
    settings, split_path, tmp_path, monkeypatch
) -> None:
    out = tmp_path / "mmoe.yaml"
    calls = []
    monkeypatch.setattr(tuning, "run_trial", lambda *a: (calls.append(a), scored(*a))[1])
    tuning.tune(make_plan(settings, trials=3), split_path, out)
    before = drawn(out)
    tuning.tune(make_plan(settings, trials=5), split_path, out)
    assert len(calls) == 5
    assert drawn(out)[:3] == before
    narrower = SPACE | {"train.lr": {"low": 1e-2, "high": 1e-1, "log": True}}
    tuning.tune(make_plan(settings, space=narrower, trials=5), split_path, out)
    assert len(calls) == 10
    other = write_split(tmp_path / "other", sha256="1" * 64)
    tuning.tune(make_plan(settings, space=narrower, trials=5), other, out)
    assert len(calls) == 15


def test_failing_trials_are_recorded_and_all_failing_is_an_error(
    settings, split_path, tmp_path, monkeypatch
) -> None:
    from stembench.training import fit as training

    fit = training.fit

    def diverging(schema, train, valid, spec, history, device):
        if spec["train"]["lr"] > limit:
            raise StembenchError("the loss is not finite")
        return fit(schema, train, valid, spec, history, device)

    monkeypatch.setattr(training, "fit", diverging)
    out, limit = tmp_path / "mmoe.yaml", 0.01
    found = tuning.tune(make_plan(settings), split_path, out)
    rows = table(out)
    failed = [row for row in rows if row["status"] == "failed"]
    assert found.failed == len(failed) == sum(json.loads(r["train.lr"]) > 0.01 for r in rows) > 0
    assert all(row["reason"] == "the loss is not finite" for row in failed)
    assert all(row["valid_auc"] == row["best_epoch"] == "" for row in failed)
    assert found.train["lr"] <= 0.01
    limit = 0.0
    other = tmp_path / "x/mmoe.yaml"
    with pytest.raises(StembenchError, match=r"all 4 trials of mmoe on movielens failed.*finite"):
        tuning.tune(make_plan(settings), split_path, other)
    assert not other.exists()
    assert len(table(other)) == 4


def test_two_processes_do_not_tune_the_same(settings, split_path, tmp_path) -> None:
    out = tmp_path / "mmoe.yaml"
    out.with_suffix(".trials").mkdir()
    with (
        FileLock(out.with_suffix(".trials") / ".lock"),
        pytest.raises(StembenchError, match="another process is tuning"),
    ):
        tuning.tune(make_plan(settings), split_path, out)


def test_first_the_untuned_setting_then_the_same_draws_for_all_models(settings) -> None:
    suite = settings.select("settings_tuned")
    first, second = {}, {}
    for model in settings.models_of(suite):
        plan = json.loads(tuned.plan(settings, suite, "movielens", model))
        space, spec = plan["space"], plan["spec"]
        first[model] = tuning.draw(space, "tpe", spec, [])
        second[model] = tuning.draw(
            space, "tpe", spec, [{"values": first[model], "valid_auc": 0.5}]
        )
        assert tuning.set_values(spec, first[model]) == spec
        assert tuning.set_values(spec, second[model]) != spec
    rates = {values["train.lr"] for values in second.values()}
    assert len(rates) == 1
    outside = space | {"train.lr": {"low": 1e-5, "high": 1e-4, "log": True}}
    assert tuning.draw(outside, "tpe", spec, [])["train.lr"] <= 1e-4


def test_every_entry_gets_the_same_budget(settings) -> None:
    for suite in settings.suites.values():
        if suite.protocol != "tuned":
            continue
        plans = [
            json.loads(tuned.plan(settings, suite, dataset, model))
            for dataset in suite.datasets
            for model in settings.models_of(suite)
        ]
        assert {plan["trials"] for plan in plans} == {settings.tuning.trials}
        assert {plan["spec"]["seed"] for plan in plans} == {settings.tuning.seed}
        assert {plan["sampler"] for plan in plans} == {settings.tuning.sampler}
        for plan in plans:
            common = {f"train.{key}" for key in settings.tuning.space.train}
            assert common <= set(plan["space"])
            assert settings.tuning.seed not in settings.seeds_of(suite)


def test_the_spec_written_for_a_trial_is_yaml_of_plain_values(
    settings, split_path, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(tuning, "run_trial", scored)
    out = tmp_path / "results/s/tuned/d/mmoe.yaml"
    tuning.tune(make_plan(settings), split_path, out)
    content = yaml.safe_load(out.read_text())
    assert content["trials"] == 4
    assert content["seed"] == settings.tuning.seed
    assert set(content["args"]) == {"dropout", "expert_units", "num_experts"}
