"""From the outcome of a search to the cells that follow from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from stembench import provenance
from stembench.cli.app import app
from stembench.cli.people import overview
from stembench.errors import StembenchError
from stembench.params import load as params
from stembench.params import resolve, tuned
from tests.conftest import write_split
from tests.params.test_load import TEXT

SUITE = "settings_tuned"


def write_outcome(results: Path, settings, dataset="movielens", model="mmoe", **other) -> Path:
    suite = settings.select(SUITE)
    path = tuned.file(results, dataset, model)
    plan = tuned.plan(settings, suite, dataset, model)
    content = {"trials": 20, "failed": 1, "best": 7, "valid_auc": 0.75, "args": {"dropout": 0.2}}
    content |= {"train": {"lr": 0.0021}, "plan_sha256": tuned.sha256(plan)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content | other))
    return path


def test_tuned_values_replace_those_of_params_and_nothing_else(settings, tmp_path) -> None:
    found = tuned.read(write_outcome(tmp_path, settings))
    before = resolve.resolve(settings, settings.select(SUITE), "movielens", "mmoe", 76)
    after = tuned.apply(before, found)
    expected = before.spec
    expected["train"]["lr"], expected["args"]["dropout"] = 0.0021, 0.2
    assert after.spec == expected
    assert after.sha256 != before.sha256
    assert (after.dataset, after.model, after.seed) == ("movielens", "mmoe", 76)


def test_values_of_another_model_are_refused(settings, tmp_path) -> None:
    found = tuned.read(write_outcome(tmp_path, settings, args={"num_shared_experts": 3}))
    run = resolve.resolve(settings, settings.select(SUITE), "movielens", "mmoe", 76)
    with pytest.raises(StembenchError, match=r"mmoe has no args\.num_shared_experts"):
        tuned.apply(run, found)


def test_cells_are_known_where_the_search_of_this_plan_is_done(settings, tmp_path) -> None:
    suite = settings.select(SUITE)
    write_outcome(tmp_path, settings)
    write_outcome(tmp_path, settings, model="stem", plan_sha256="0" * 64)  # of another space
    cells = tuned.cells(settings, suite, tmp_path)
    known = [cell for cell in cells if cell["spec_sha256"] != tuned.NOT_TUNED]
    assert {(cell["dataset"], cell["model"]) for cell in known} == {("movielens", "mmoe")}
    found = tuned.read(tuned.file(tmp_path, "movielens", "mmoe"))
    for cell in known:
        run = resolve.resolve(settings, suite, "movielens", "mmoe", cell["seed"])
        assert cell["spec_sha256"] == tuned.apply(run, found).sha256
    assert len(cells) == len(resolve.expand(settings, suite))
    told = tuned.protocol(settings, suite, tmp_path)
    assert (told["name"], told["trials"]) == ("tuned", settings.tuning.trials)
    assert [(s["model"], s["failed"]) for s in told["searches"]] == [("mmoe", 1)]


def test_cells_of_an_untuned_suite_are_those_of_params(settings, tmp_path) -> None:
    suite = settings.select("demo")
    digests = [cell["spec_sha256"] for cell in tuned.cells(settings, suite, tmp_path)]
    assert digests == [run.sha256 for run in resolve.expand(settings, suite)]
    assert tuned.protocol(settings, suite, tmp_path) == {"name": "equal"}
    with pytest.raises(StembenchError, match="only a suite with `protocol: tuned` is tuned"):
        tuned.plan(settings, suite, "movielens", "mmoe")


def test_a_change_of_the_space_changes_the_plans_that_it_touches_only() -> None:
    def plans(text: str) -> dict[str, str]:
        settings = params.parse(text)
        suite = settings.select(SUITE)
        models = settings.models_of(suite)
        return {model: tuned.plan(settings, suite, "movielens", model) for model in models}

    old = "      num_experts: {choices: [2, 4, 8]}"
    assert TEXT.count(old) == 1
    before, after = plans(TEXT), plans(TEXT.replace(old, "      num_experts: {choices: [2, 4]}"))
    changed = {model for model in before if before[model] != after[model]}
    assert changed == {"omoe", "mmoe"}  # those that have the argument
    own = "  mmoe:\n    tune: {train: {lr: {low: 0.1, high: 0.2}}}\n"
    after = plans(TEXT.replace("  mmoe:\n", own))
    assert [model for model in before if before[model] != after[model]] == ["mmoe"]
    more = plans(TEXT.replace("  trials: 12\n", "  trials: 21\n"))
    assert all(before[model] != more[model] for model in before)


def test_the_released_protocol_sets_each_models_published_settings(settings) -> None:
    def train(suite: str, model: str) -> dict:
        chosen = settings.select(suite)
        return resolve.resolve(settings, chosen, "movielens", model, 1).spec["train"]

    assert train("settings_released", "stem")["lr"] == 1e-3
    for model in settings.models_of(settings.select("settings_released")):
        assert train("settings_released", model)["batch_size"] == 4096  # movielens has 1024
        if model != "stem":
            assert train("settings_released", model)["lr"] == 1e-4
        assert train("settings_equal", model)["lr"] == 1e-3
        assert train("settings_equal_low", model)["lr"] == 1e-4
    text = TEXT.replace(
        "    protocol: released\n", "    protocol: released\n    train: {lr: 0.5}\n"
    )
    changed = params.parse(text)
    run = resolve.resolve(changed, changed.select("settings_released"), "movielens", "stem", 1)
    assert run.spec["train"]["lr"] == 0.5  # what the suite says comes last


@pytest.mark.parametrize("content", [b"trials: [", b"trials: 3\n", b"- 1\n", b"\xff"])
def test_a_damaged_outcome_is_one_clear_error(tmp_path, content: bytes) -> None:
    path = tuned.file(tmp_path / "results/s", "movielens", "mmoe")
    with pytest.raises(StembenchError, match="is not there: run `stembench tune movielens mmoe"):
        tuned.read(path)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(StembenchError, match=r"is damaged.*tune movielens mmoe --suite s"):
        tuned.read(path)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a tuned suite of two small models on one small data set."""
    old = "*settings_datasets\n    models: *settings_models\n    seeds: 5\n    protocol: tuned"
    new = "[movielens]\n    models: [mmoe, stem]\n    seeds: 2\n    protocol: tuned"
    assert old in TEXT
    text = TEXT.replace(old, new)
    text = text.replace(", settings_tuned]", "]")
    text = text.replace(", settings_tuned_kuairand]", "]").replace(
        "  trials: 12\n", "  trials: 2\n"
    )
    text = text.replace("train: {lr: 3.0e-3, batch_size: 1024, patience: 2}",
                        "train: {lr: 3.0e-3, batch_size: 128, patience: 2, epochs: 2}")  # fmt: skip
    (tmp_path / "params.yaml").write_text(text)
    write_split(tmp_path / "data/splits/movielens", rows=200)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stembench(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None:
        raise result.exception
    return result.output


def test_tune_train_compare(project: Path) -> None:
    settings = params.load()
    with pytest.raises(StembenchError, match=r"mmoe\.yaml is not there: run `stembench tune"):
        stembench("train", "movielens", "mmoe", "76", "--suite", SUITE)
    for model in ("mmoe", "stem"):
        assert "of 2 (0 failed)" in stembench("tune", "movielens", model, "--suite", SUITE)
        for seed in ("2023", "76"):
            stembench("train", "movielens", model, seed, "--suite", SUITE)
    # Snakemake's way: the untuned spec as parameter, the outcome as a file.
    spec = resolve.resolve(settings, settings.select(SUITE), "movielens", "stem", 76).json
    outcome = tuned.file(Path("results") / SUITE, "movielens", "stem")
    path = Path("results") / SUITE / "runs/movielens/stem/76/run.json"
    before = json.loads(path.read_text())
    command = ["train", "movielens", "stem", "76", "--suite", SUITE, "--spec", spec]
    stembench(*command, "--tuned", str(outcome))
    run = json.loads(path.read_text())
    assert run["spec_sha256"] == before["spec_sha256"]
    found = tuned.read(outcome)
    assert run["tuned"] == tuned.record(found)
    assert run["tuned"]["sha256"] == provenance.sha256_file(outcome)
    assert run["spec"]["train"]["lr"] == found.train["lr"]
    assert run["spec"]["seed"] == 76
    with pytest.raises(StembenchError, match="--tuned is for suites"):
        stembench(*command)
    assert "2/2 ++" in overview(
        settings, settings.select(SUITE), Path("results"), Path("data/splits")
    )
    stembench("compare", "--suite", SUITE)
    tables = Path("results") / SUITE / "tables"
    inputs = json.loads((tables / "inputs.json").read_text())
    assert inputs["complete"]
    assert inputs["protocol"]["trials"] == 2
    for name in ("main.md", "comparison.md", "main.tex", "comparison.tex"):
        text = " ".join((tables / name).read_text().split())
        assert "2 trials" in text, name
    # A search of another space makes its cells stale, whoever calls.
    file = project / "params.yaml"
    file.write_text(
        file.read_text().replace(
            "num_experts: {choices: [2, 4, 8]", "num_experts: {choices: [2, 4]"
        )
    )
    with pytest.raises(StembenchError, match=r"2 of 4 cells are not ready: .*mmoe/2023 \(stale\)"):
        stembench("compare", "--suite", SUITE)
