"""`stembench verify` on a trained suite: nothing is written, and every tampering is found."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stembench.cells.train import train_cell
from stembench.checks import retrain as verify_retrain
from stembench.checks import verify
from stembench.cli import app as cli
from stembench.errors import StembenchError
from stembench.params import load as params
from stembench.params import resolve
from tests.conftest import ROOT, write_split

SUITE = """
  tiny: &tiny
    name: tiny
    datasets: [small]
    models: [shared_bottom, stem]
    seeds: 2
    train: {epochs: 1, batch_size: 100, diagnostics: false}
    args: {embedding_dim: 4, bottom_units: [4], expert_units: [4], gate_units: [4],
           tower_units: [4]}
"""
DATASET = """
  small:
    source: {kind: synthetic, options: {<<: *generator, rows: 800, users: 30, items: 20, seed: 1}}
    table: *synthetic_table
    split: {name: small_r1, rule: random, valid: 0.2, test: 0.3, seed: 1}
"""
CELL = "small/stem/76"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with a split, the four trained cells of a suite, and its tables."""
    root = tmp_path_factory.mktemp("project")
    text = (ROOT / "params.yaml").read_text()
    for old, new in (
        ("\nsuites:\n", "\nsuites:\n" + SUITE),
        ("\nanalysis:\n", DATASET + "\nanalysis:\n"),
        ("suite: *demo", "suite: *tiny"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (root / "params.yaml").write_text(text)
    shutil.copytree(ROOT / "workflow", root / "workflow")
    write_split(root / "data/splits/small")
    settings = params.load(root / "params.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for run in resolve.expand(settings, settings.suite):
            out = root / "results/tiny/runs" / run.dataset / run.model / str(run.seed)
            train_cell(run.spec, run.sha256, "tiny", root / "data/splits/small", out)
        cli.compare("tiny", False)
        cli.cli_checks.verdicts("tiny", False, Path("workflow/published.yaml"))
    return root


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to tamper with; the working folder."""
    root = tmp_path / "project"
    shutil.copytree(finished, root)
    monkeypatch.chdir(root)
    return root


def results(project: Path) -> Path:
    return project / "results/tiny"


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def bad(findings) -> list[tuple[str, str]]:
    return [(f.check, f.subject) for f in findings if f.status == "MISMATCH"]


def test_untouched_results_verify_and_are_not_written_to(project: Path, capsys) -> None:
    before = tree(project)
    cli.cli_checks.verify("tiny", None, 3, True, None, Path("data/splits"))
    assert tree(project) == before
    out = capsys.readouterr().out
    assert "run files  4 of 4 ok" in out
    assert "records    4 of 4 ok" in out
    assert "MISMATCH" not in out
    assert "not verified" not in out
    assert "(--seed 3)" in out
    assert "logits are the same bit for bit" in out
    made = len(list((results(project) / "tables").iterdir())) + 1
    assert f"tables     {made} of {made} ok" in out


def test_a_changed_table_is_found(project: Path) -> None:
    path = results(project) / "tables/comparison.csv"
    text = path.read_text()
    assert text.count("inconclusive") > 0
    path.write_text(text.replace("inconclusive", "better", 1))
    found = list(verify.tables(results(project), project / "data/splits", project))
    assert bad(found) == [("tables", "comparison.csv")]
    assert not bad(verify.records(results(project)))  # without the runs it is not seen
    assert len(found) > 15


def test_changed_means_and_lists_are_found_without_runs(project: Path) -> None:
    folder = results(project)
    table = folder / "tables/metrics.csv"
    lines = table.read_text().splitlines(keepends=True)
    first = lines[1].split(",")
    first[7] = "0.9876543210"
    table.write_text("".join([lines[0], ",".join(first), *lines[2:]]))
    assert bad(verify.records(folder)) == [("records", "metrics.csv"), ("records", "metrics.json")]
    inputs = json.loads((folder / "tables/inputs.json").read_text())
    inputs["runs"][CELL] = "0" * 64
    (folder / "tables/inputs.json").write_text(json.dumps(inputs))
    assert {("records", "inputs.json"), ("records", "cells.csv")} <= set(
        bad(verify.records(folder))
    )


def test_changed_and_lost_run_files_are_found(project: Path) -> None:
    run = results(project) / "runs" / CELL
    (run / "history.csv").write_text((run / "history.csv").read_text() + "\n")
    (found,) = [f for f in verify.run_files(results(project)) if f.status != "ok"]
    assert (found.status, found.subject, found.note) == (
        "MISMATCH",
        CELL,
        "history.csv was changed",
    )
    (run / "test_logits.npy").unlink()
    (found,) = [f for f in verify.run_files(results(project)) if f.status != "ok"]
    assert found.note == "history.csv was changed; test_logits.npy is not there"
    (run / "run.json").write_text((run / "run.json").read_text() + " ")
    (found,) = [f for f in verify.run_files(results(project)) if f.status != "ok"]
    assert found.note.startswith("run.json is not the one that the tables were made from")
    shutil.rmtree(run)
    assert bad(verify.run_files(results(project))) == [("run files", CELL)]
    tables = list(verify.tables(results(project), project / "data/splits", project))
    assert bad(tables) == [("tables", "compare")]
    assert f"{CELL} (missing)" in tables[0].note


def test_the_command_lists_what_does_not_match(project: Path) -> None:
    path = results(project) / "runs" / CELL / "history.csv"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(StembenchError, match=rf"do not match: {CELL} \(run files\)"):
        cli.cli_checks.verify("tiny", None, None, False, None, Path("data/splits"))


def retrained(project: Path, tolerance: float | None = 1e-3):
    found = list(verify_retrain.retrain(results(project), project / "data/splits", CELL, tolerance))
    return {f.check: f for f in found}


def edit(project: Path, change) -> None:
    path = results(project) / "runs" / CELL / "run.json"
    run = json.loads(path.read_text())
    change(run)
    path.write_text(json.dumps(run))


def test_the_logits_of_another_seed_are_found_out(project: Path) -> None:
    run = results(project) / "runs" / CELL
    shutil.copy(run.with_name("2023") / "test_logits.npy", run / "test_logits.npy")
    found = retrained(project)["training"]
    assert found.status == "MISMATCH"
    assert "bit for bit was expected" in found.note


def test_on_another_platform_the_auc_must_agree_within_the_tolerance(project: Path) -> None:
    path = results(project) / "runs" / CELL / "test_logits.npy"
    logits = np.load(path)
    np.save(path, logits + np.float32(1e-6))
    assert retrained(project)["training"].status == "MISMATCH"
    edit(project, lambda run: run["environment"].update(cpu="another", torch="0.1"))
    found = retrained(project)["training"]
    assert found.status == "ok"
    assert "another platform (cpu, torch)" in found.note
    assert "allowed AUC: task_0 0.001, task_1 0.001" in found.note

    def shift(run):
        run["metrics"]["test"]["task_0"]["auc"] += 0.002

    edit(project, shift)
    assert retrained(project)["training"].status == "MISMATCH"
    assert retrained(project, tolerance=0.003)["training"].status == "ok"


def test_a_processor_of_the_same_name_with_other_instructions_is_another_one(
    project: Path,
) -> None:
    path = results(project) / "runs" / CELL / "test_logits.npy"
    np.save(path, np.load(path) + np.float32(1e-6))
    edit(project, lambda run: run["environment"].update(instructions="avx avx2"))
    found = retrained(project)["training"]
    assert found.status == "ok"
    assert "another platform (instructions)" in found.note


def test_the_default_tolerance_is_that_of_two_seeds(project: Path) -> None:
    table = pd.read_csv(results(project) / "tables/runs.csv")
    mine = table.query("model == 'stem' and part == 'test' and metric == 'auc'")
    for task in ("task_0", "task_1"):
        a, b = mine[mine["task"] == task]["value"]
        # t with one degree of freedom at .995 is 63.66; the SD of two values is |a - b| / sqrt 2.
        expected = max(1e-3, 63.656741 * abs(a - b))
        assert verify_retrain.allowed(results(project), CELL, task) == pytest.approx(expected)
    assert verify_retrain.allowed(results(project), CELL, "no such task") == 1e-3


def test_other_code_and_lock_are_named(project: Path) -> None:
    assert retrained(project)["code"].status == "ok"

    def other(run):
        run["provenance"] |= {"source_sha256": "0", "git_commit": None}

    edit(project, other)
    found = retrained(project)["code"]
    assert found.status == "not verified"
    assert found.note.startswith("source_sha256: ")
    edit(project, lambda run: run["provenance"].update(lock_sha256="0"))
    assert retrained(project)["code"].note.startswith("lock_sha256: ")


def test_a_spec_of_other_code_cannot_be_trained_and_that_is_said(project: Path) -> None:
    edit(project, lambda run: run["spec"]["train"].pop("batch_size"))
    found = retrained(project)["training"]
    assert found.status == "not verified"
    assert "check out its commit" in found.note


def test_the_draw_follows_its_seed_and_a_cell_must_be_known(project: Path) -> None:
    folder = results(project)
    drawn = {verify_retrain.draw(folder, seed) for seed in range(30)}
    assert len(drawn) == 4
    assert verify_retrain.draw(folder, 7) == verify_retrain.draw(folder, 7)
    assert verify_retrain.draw(folder, 7, CELL) == CELL
    with pytest.raises(StembenchError, match="is no cell of these tables"):
        verify_retrain.draw(folder, 7, "small/stem/5")


def test_a_folder_without_runs_is_checked_as_far_as_its_tables_go(project: Path, capsys) -> None:
    folder = project / "downloaded"
    shutil.copytree(results(project) / "tables", folder / "tables")
    shutil.copy(results(project) / "metrics.json", folder)
    cli.cli_checks.verify(str(folder), None, None, True, None, Path("data/splits"))
    out = capsys.readouterr().out
    assert "records    4 of 4 ok" in out
    made = re.search(r"tables     (\d+) of (\d+) ok", out)
    assert made is not None
    assert made[1] == made[2]
    assert int(made[1]) >= 6  # Markdown and LaTeX of the main, the comparison and the factors
    assert "there are no runs here" in out
    main = folder / "tables/main.md"
    main.write_text(main.read_text().replace("STEM", "ME", 1))
    with pytest.raises(StembenchError, match=r"1 do not match: main\.md \(tables\)"):
        cli.cli_checks.verify(str(folder), None, None, True, None, Path("data/splits"))


def test_other_or_absent_splits_are_told(project: Path) -> None:
    splits = project / "data/splits"
    manifest = splits / "small/manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"sha256": "1" * 64}))
    assert bad(verify.splits_there(results(project), splits)) == [("splits", "small")]
    shutil.rmtree(splits / "small")
    (found,) = verify.splits_there(results(project), splits)
    assert found.status == "not verified"
    assert "stembench data make small" in found.note
    assert retrained(project)["training"].status == "not verified"


def test_what_is_no_suite_is_told(project: Path) -> None:
    with pytest.raises(StembenchError, match="neither a folder with tables/ nor a suite"):
        cli.cli_checks.results_folder("nowhere")
    (project / "tables").mkdir()
    with pytest.raises(StembenchError, match=r"inputs\.json is not there"):
        verify.read_inputs(project)
