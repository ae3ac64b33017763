"""A run directory exists whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from stembench import metrics, processes, provenance
from stembench.cells import train as cell
from stembench.data.directory import SplitDirectory
from stembench.errors import StembenchError
from stembench.params import load as params
from stembench.params import resolve
from tests.contract.test_models import demo_spec

SPEC = demo_spec("stem", batch_size=64, epochs=2, keep_weights=True)


def run_cell(split: Path, out: Path) -> dict:
    return cell.train_cell(SPEC, "f" * 64, "tiny", split, out)


def test_run_directory_holds_what_run_json_says(split_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs/small/stem/3"
    run = run_cell(split_path, out)
    assert json.loads((out / "run.json").read_text()) == run
    assert [p.name for p in out.parent.iterdir()] == ["3"]
    for name, digest in run["files"].items():
        assert provenance.sha256_file(out / name) == digest
    assert set(run["files"]) == {
        "diagnostics.csv",
        "history.csv",
        "test_logits.npy",
        "best.safetensors",
    }
    test = SplitDirectory(split_path).part("test")
    logits = np.load(out / "test_logits.npy")
    assert logits.dtype == np.float32
    assert logits.shape == test.labels.shape
    for t, task in enumerate(run["tasks"]):
        auc = metrics.auc(test.labels[:, t], logits[:, t])
        assert run["metrics"]["test"][task]["auc"] == auc
    sizes = sum(array.size for array in load_file(out / "best.safetensors").values())
    assert sizes == run["parameters"]["total"]


def test_randomly_exposed_items_are_evaluated_where_the_split_has_them(
    split_path: Path, tmp_path: Path
) -> None:
    plain = run_cell(split_path, tmp_path / "plain/3")
    shutil.copytree(split_path / "valid", split_path / "unbiased")
    manifest = json.loads((split_path / "manifest.json").read_text())
    manifest["rows"]["unbiased"] = manifest["rows"]["valid"]
    (split_path / "manifest.json").write_text(json.dumps(manifest))
    out = tmp_path / "runs/3"
    run = run_cell(split_path, out)
    assert set(plain["metrics"]) == {"valid", "test"}
    assert run["metrics"]["unbiased"] == run["metrics"]["valid"]  # the same rows here
    assert run["metrics"]["test"] == plain["metrics"]["test"]
    path = out / "unbiased_logits.npy"
    assert np.load(path).shape == SplitDirectory(split_path).part("unbiased").labels.shape
    assert run["files"][path.name] == provenance.sha256_file(path)


def test_same_spec_gives_the_same_bytes(split_path: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a/3", tmp_path / "b/3"
    run_cell(split_path, first)
    run_cell(split_path, second)
    for name in ("test_logits.npy", "best.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def spec_for(over: str, both: bool) -> dict:
    spec = demo_spec("shared_bottom", batch_size=64, epochs=8, lr=0.02, keep_weights=True)
    spec["train"]["select"] = {"metric": "auc", "over": over, "both": both}
    return spec


@pytest.mark.parametrize("over", ["mean", "task"])
def test_one_training_is_read_by_both_selection_rules(
    split_path: Path, tmp_path: Path, over: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    original = SplitDirectory.part

    def part(self: SplitDirectory, name: str) -> object:
        reads.append(name)
        return original(self, name)

    monkeypatch.setattr(SplitDirectory, "part", part)
    run = cell.train_cell(spec_for(over, True), "f" * 64, "tiny", split_path, tmp_path / "a/3")
    assert reads == ["train", "valid", "test"]  # the test part once, and last
    other = {"mean": "task", "task": "mean"}[over]
    assert set(run["selection"]) == {"mean", "task"}
    assert run["metrics"] == run["selection"][over]["metrics"]
    labels = original(SplitDirectory(split_path), "test").labels
    for rule, name in ((over, "test_logits"), (other, f"test_logits_{other}")):
        logits = np.load(tmp_path / f"a/3/{name}.npy")
        scored = run["selection"][rule]["metrics"]["test"]
        for t, task in enumerate(run["tasks"]):
            assert scored[task]["auc"] == metrics.auc(labels[:, t], logits[:, t])
    # Either rule alone gives the same reading.
    for rule in ("mean", "task"):
        alone = cell.train_cell(
            spec_for(rule, False), "f" * 64, "tiny", split_path, tmp_path / rule
        )
        assert alone["metrics"] == run["selection"][rule]["metrics"]
        assert alone["selection"] == {rule: run["selection"][rule]}
        assert not list((tmp_path / rule).glob("test_logits_*"))
    epochs = run["selection"]["task"]["epochs"]
    assert len(set(epochs.values())) > 1  # or the test shows nothing
    weights = {path.stem for path in (tmp_path / "task").glob("*.safetensors")}
    assert weights == {f"best_{task}" for task in run["tasks"]}


def test_a_failure_leaves_the_older_run_as_it_was(
    split_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs/3"
    run_cell(split_path, out)
    before = (out / "run.json").read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        run_cell(split_path, out)
    assert (out / "run.json").read_bytes() == before
    assert [p.name for p in out.parent.iterdir()] == ["3"]


def test_what_a_killed_process_left_is_cleared(split_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs/3"
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    leftover = out.parent / f".3.partial-{dead}"
    leftover.mkdir(parents=True)
    (leftover / "history.csv").write_text("epoch\n")
    run_cell(split_path, out)
    assert [p.name for p in out.parent.iterdir()] == ["3"]


def test_a_cell_that_is_being_trained_is_not_trained_twice(
    split_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs/3"
    (out.parent / ".3.partial-1").mkdir(parents=True)
    monkeypatch.setattr(processes, "runs", lambda pid, *words: pid == 1)
    with pytest.raises(StembenchError, match="process 1 is already training"):
        run_cell(split_path, out)


@pytest.mark.parametrize("damage", ["truncate", "shape", "missing"])
def test_a_damaged_split_is_one_clear_error(split_path: Path, tmp_path: Path, damage: str) -> None:
    path = split_path / "valid/labels.npy"
    if damage == "truncate":
        os.truncate(path, path.stat().st_size - 10)
    elif damage == "shape":
        np.save(path, np.load(path)[:, :1])
    else:
        path.unlink()
    with pytest.raises(StembenchError, match="make the split again"):
        run_cell(split_path, tmp_path / "runs/3")


def test_cli_trains_a_spec_only_for_the_cell_it_is_of(settings: params.Params) -> None:
    from typer.testing import CliRunner

    from stembench.cli.app import app

    spec = resolve.resolve(settings, settings.suite, "movielens", "mmoe", 1).json
    result = CliRunner().invoke(
        app, ["train", "movielens", "stem", "1", "--suite", "demo", "--spec", spec]
    )
    assert isinstance(result.exception, StembenchError)
    assert "another cell" in str(result.exception)
