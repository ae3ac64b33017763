"""Run files → MLflow: the store shows what lies on disk, whatever happened in between."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

import pytest

from stembench.tracking import sync as tracking
from stembench.tracking.sync import SyncReport
from tests.tracking.conftest import START, Project


def test_import_shows_what_the_files_say(project: Project) -> None:
    project.write_run("stem", 76)
    assert project.sync() == SyncReport(imported=1)
    run = project.runs()["stem · movielens · seed 76"]
    assert run.info.status == "FINISHED"
    assert run.info.start_time == START * 1000
    assert run.info.end_time == (START + 4) * 1000
    tags = run.data.tags
    expected = {"suite": "demo", "dataset": "movielens", "model": "stem", "seed": "76"}
    expected |= {"protocol": "equal", "split": "movielens_t1", "spec_sha256": "stem76"}
    expected |= {"stembench.key": "movielens/stem/76", "kind": "cell"}
    assert expected.items() <= tags.items()
    assert run.data.params["args.expert_units"] == "[64, 32]"
    assert run.data.params["train.lr"] == "0.001"
    assert run.data.params["train.clip_norm"] == "null"
    metrics = run.data.metrics
    assert metrics["test_auc_like"] == metrics["best_valid_auc_love"] == metrics["test_auc"] == 0.7
    assert metrics["best_epoch"] == 2
    assert metrics["parameters_total"] == 120
    assert not {"test_gauc_like", "test_calibration_like", "peak_memory_mb"} & set(metrics)
    assert "test_n_rows_like" not in metrics
    points = project.client.get_metric_history(run.info.run_id, "valid_auc_like")
    assert [(p.step, p.value) for p in points] == [(1, 0.61), (2, 0.62), (3, 0.63)]
    assert points[0].timestamp == (START + 1) * 1000
    inputs = [
        (i.dataset.name, i.dataset.digest, i.tags[0].value) for i in run.inputs.dataset_inputs
    ]
    assert sorted(inputs) == [
        ("movielens", "aaaaaaaa", "training"),
        ("movielens test", "aaaaaaaa", "testing"),
    ]


def test_experiment_has_a_description_and_views(project: Project) -> None:
    project.write_run("stem", 76)
    project.sync()
    experiment = project.client.get_experiment_by_name("demo")
    assert "demo" in experiment.tags["mlflow.note.content"]
    view = json.loads(experiment.tags["mlflow.sharedViewState.table"])
    assert "metrics.`test_auc_like`" in json.loads(view["state"])["selectedColumns"]
    assert "mlflow.sharedViewState.curves-movielens" in experiment.tags
    address = tracking.addresses(project.uri)["demo"]
    assert f"/#/experiments/{experiment.experiment_id}/runs?" in address
    assert "viewStateShareKey=table" in address


def test_second_sync_changes_nothing(project: Project, dead_pid: int) -> None:
    project.write_run("stem", 76)
    project.write_partial("ple", 76, 2, os.getpid())
    project.write_partial("mmoe", 76, 2, dead_pid)
    project.write_tables()
    project.sync()
    before = {name: run.to_dictionary() for name, run in project.runs().items()}
    assert project.sync() == SyncReport(unchanged=2, running=1)
    assert {name: run.to_dictionary() for name, run in project.runs().items()} == before


def test_retrained_cell_replaces_its_run(project: Project) -> None:
    project.write_run("stem", 76, epochs=3)
    project.write_run("ple", 76)
    project.sync()
    old = project.runs()
    project.write_run("stem", 76, epochs=2, auc=0.8)
    assert project.sync() == SyncReport(updated=1, unchanged=1)
    new = project.runs()
    stem, ple = "stem · movielens · seed 76", "ple · movielens · seed 76"
    assert new[stem].info.run_id != old[stem].info.run_id
    assert new[ple].info.run_id == old[ple].info.run_id
    assert new[stem].data.metrics["test_auc_like"] == 0.8
    assert project.steps(new[stem]) == [1, 2]


def test_run_of_a_deleted_directory_goes(project: Project) -> None:
    shutil.rmtree(project.write_run("stem", 76).parent)
    kept = project.write_run("ple", 76)
    project.write_run("ple", 525)
    project.sync()
    shutil.rmtree(kept)
    assert project.sync() == SyncReport(deleted=1, unchanged=1)
    assert list(project.runs()) == ["ple · movielens · seed 525"]
    shutil.rmtree(project.suite)
    assert project.sync() == SyncReport(deleted=1)


@pytest.mark.parametrize("content", ["{", "[]", '{"spec": {}}', ""])
def test_damaged_run_is_named_and_skipped(
    project: Project, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    (project.write_run("stem", 76) / "run.json").write_text(content)
    project.write_run("ple", 76)
    with caplog.at_level(logging.WARNING):
        assert project.sync() == SyncReport(imported=1)
    assert "movielens/stem/76/run.json is damaged" in caplog.text
    project.write_run("stem", 76)
    assert project.sync() == SyncReport(imported=1, unchanged=1)


def test_comparison_carries_tables_and_figures(project: Project) -> None:
    project.write_run("stem", 76)
    project.write_tables()
    assert project.sync() == SyncReport(imported=2)
    first = project.runs()["comparison"]
    assert first.data.tags["kind"] == "comparison"
    assert first.data.metrics == {"test_auc_movielens_like_stem": 0.75}
    assert first.data.params["n_ok"] == "2"
    listed = {item.path for item in project.client.list_artifacts(first.info.run_id)}
    assert listed == {"tables", "figures", "report.html"}
    project.write_tables("| model | like |")
    assert project.sync() == SyncReport(updated=1, unchanged=1)
    second = project.runs()["comparison"]
    table = project.client.download_artifacts(second.info.run_id, "tables/main.md")
    assert Path(table).read_text() == "| model | like |"
    folders = list((project.results.parent / "mlartifacts/demo").iterdir())
    assert [folder.name for folder in folders] == [second.info.run_id]
    for name in ("tables", "figures"):
        shutil.rmtree(project.suite / name)
    (project.suite / "report.html").unlink()
    assert project.sync() == SyncReport(deleted=1, unchanged=1)


def test_moved_project_gets_a_new_experiment(project: Project, tmp_path: Path) -> None:
    project.write_run("stem", 76)
    project.sync()
    moved = Project(tmp_path / "moved")
    moved.results.parent.mkdir()
    shutil.copy(tmp_path / "mlflow.db", tmp_path / "moved/mlflow.db")
    shutil.copytree(project.results, moved.results)
    assert moved.sync() == SyncReport(imported=1)
    location = moved.client.get_experiment_by_name("demo").artifact_location
    assert location == (tmp_path / "moved/mlartifacts/demo").as_uri()
    assert moved.sync() == SyncReport(unchanged=1)


def test_large_run_is_logged_in_parts(project: Project) -> None:
    project.write_run("stem", 76, epochs=400)
    project.sync()
    (run,) = project.runs().values()
    assert project.steps(run) == list(range(1, 401))
    assert run.data.metrics["test_auc_like"] == 0.7
