"""Cells in training: followed, completed, killed; and a store that follows them until stopped."""

from __future__ import annotations

import logging
import os
import shutil
import threading

import pytest

from stembench.errors import StembenchError
from stembench.tracking import sync as tracking
from stembench.tracking.sync import SyncReport
from tests.tracking.conftest import START, Project, history


def test_running_cell_is_followed_and_completed(project: Project) -> None:
    name = "stem · movielens · seed 76"
    partial = project.write_partial("stem", 76, 1, os.getpid())
    assert project.sync() == SyncReport(updated=1, running=1)
    started = project.runs()[name]
    assert started.info.status == "RUNNING"
    assert project.steps(started) == [1]
    # A line that is being written does not count yet.
    (partial / "history.csv").write_text(history(3)[:-1])
    assert project.sync() == SyncReport(updated=1, running=1)
    assert project.steps(project.runs()[name]) == [1, 2]
    # The trainer takes spec.json away before it renames the directory.
    (partial / "spec.json").unlink()
    assert project.sync() == SyncReport()
    assert project.runs()[name].info.status == "RUNNING"
    project.finish(partial, "stem", 76, epochs=4)
    assert project.sync() == SyncReport(imported=1)
    finished = project.runs()[name]
    assert finished.info.run_id == started.info.run_id
    assert finished.info.status == "FINISHED"
    assert finished.info.end_time == (START + 5) * 1000
    assert project.steps(finished) == [1, 2, 3, 4]
    assert finished.data.metrics["test_auc_like"] == 0.7
    assert project.sync() == SyncReport(unchanged=1)


def test_attempt_with_other_curves_is_not_completed(project: Project) -> None:
    partial = project.write_partial("stem", 76, 2, os.getpid())
    (partial / "history.csv").write_text(history(2, offset=0.1))
    project.sync()
    (attempt,) = project.runs().values()
    project.finish(partial, "stem", 76, epochs=4)
    assert project.sync() == SyncReport(imported=1, deleted=1)
    (run,) = project.runs().values()
    assert run.info.run_id != attempt.info.run_id
    assert project.steps(run) == [1, 2, 3, 4]


def test_dead_and_vanished_attempts_are_killed(project: Project, dead_pid: int) -> None:
    project.write_partial("stem", 76, 2, dead_pid)
    vanishing = project.write_partial("ple", 76, 2, os.getpid())
    assert project.sync() == SyncReport(updated=2, running=1)
    assert project.runs()["stem · movielens · seed 76"].info.status == "KILLED"
    shutil.rmtree(vanishing)
    assert project.sync() == SyncReport(updated=1)
    assert project.runs()["ple · movielens · seed 76"].info.status == "KILLED"
    assert project.sync() == SyncReport()
    # The cell is trained again elsewhere: what the killed one left is of no more use.
    project.write_run("stem", 76, epochs=1)
    assert project.sync() == SyncReport(imported=1, deleted=1)
    assert project.runs()["stem · movielens · seed 76"].info.status == "FINISHED"
    assert project.sync() == SyncReport(unchanged=1)


def test_run_cut_off_while_being_written_is_written_anew(project: Project) -> None:
    project.write_run("stem", 76)
    project.sync()
    (run,) = project.runs().values()
    project.client.update_run(run.info.run_id, "RUNNING")
    assert project.sync() == SyncReport(imported=1)
    (run,) = project.runs().values()
    assert project.steps(run) == [1, 2, 3]


def test_watch_follows_until_stopped(project: Project) -> None:
    project.write_run("stem", 76)
    stop = threading.Event()
    watcher = threading.Thread(
        target=tracking.watch, args=(project.results, project.uri, 0.05, ["demo"], stop)
    )
    watcher.start()
    try:
        for model in ("stem", "ple"):
            project.write_run(model, 76)
            name = f"{model} · movielens · seed 76"
            for _ in range(200):
                experiment = project.client.get_experiment_by_name("demo")
                if experiment is not None and name in project.runs():
                    break
                stop.wait(0.05)
            else:
                pytest.fail(f"{name} did not appear")
    finally:
        stop.set()
        watcher.join(timeout=30)
    assert not watcher.is_alive()


def test_watch_survives_an_error(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop = threading.Event()
    calls = 0

    def sync(*_: object) -> SyncReport:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise StembenchError("database is locked")
        stop.set()
        return SyncReport()

    monkeypatch.setattr(tracking, "sync", sync)
    project.results.mkdir()
    with caplog.at_level(logging.WARNING):
        tracking.watch(project.results, project.uri, 0.01, stop=stop)
    assert calls == 2
    assert "database is locked" in caplog.text
