"""Data shared through DVC for real: links in place of copies, push and pull, a shared cache."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.data.conftest import ATOMIC, sha256
from tests.workflow.test_workflow import Project

pytestmark = pytest.mark.workflow

DATASETS = """
  mini: &mini
    source:
      kind: atomic
      archives:
        - file: mini.tgz
          sha256: {sha256}
          mirrors: [url: "http://127.0.0.1:9/mini.tgz"]
          members: {members}
      options: {{prefix: mini}}
    table: &mini_table
      user: user_id
      time: timestamp
      fields: {{user: [user_id, age], item: [item_id]}}
      tasks: {{like: rating >= 4, love: rating = 5}}
    split: {{name: mini_t1, rule: time, valid: 0.2, test: 0.2}}
  own:
    <<: *mini
    source:
      kind: atomic
      archives: [{{file: own.inter, manual: true}}]
      options: {{prefix: own}}
"""
SUITE = """
  shared: &shared
    name: shared
    datasets: [mini]
    models: [stem]
    seeds: 1
    train: {epochs: 1, batch_size: 32}
    args: {embedding_dim: 4, expert_units: [8], gate_units: [4], tower_units: [4]}
"""
TARGET = "data/dvc.yaml:split@mini"
CELL = "results/shared/runs/mini/stem/2023/run.json"


def pack(path: Path) -> str:
    with tarfile.open(path, "w:gz") as tape:
        for name, text in ATOMIC.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tape.addfile(info, io.BytesIO(text.encode()))
    return sha256(path.read_bytes())


def cached(project: Project, cache: Path) -> dict[int, Path]:
    """Inode -> file of the cache."""
    return {path.stat().st_ino: path for path in cache.rglob("*") if path.is_file()}


def data_files(project: Project) -> list[Path]:
    folders = [project.root / "data/raw/mini", project.root / "data/splits/mini"]
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def share_blocks(path: Path, cache: dict[int, Path]) -> bool:
    return path.stat().st_ino in cache  # of a symbolic link: the file's


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """User A's project: the archive in a mirror folder, a remote, the split made and pushed."""
    folder = tmp_path_factory.mktemp("sharing")
    project = Project(folder / "a")
    (project.root / "mirror").mkdir()
    value = pack(project.root / "mirror/mini.tgz")
    project.edit("suite: *tiny", "suite: *shared")
    project.edit("\nsuites:\n", "\nsuites:\n" + SUITE)
    members = json.dumps({name: sha256(text.encode()) for name, text in ATOMIC.items()})
    entry = DATASETS.format(sha256=value, members=members)
    project.edit("\nanalysis:\n", entry + "\nanalysis:\n")
    project.run("dvc", "remote", "add", "-d", "team", str(folder / "remote"))
    project.run("dvc", "repro", TARGET)
    project.run("dvc", "push", TARGET)
    project.run("git", "add", "-A")
    project.run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "data")
    return project


def clone(first: Project, name: str) -> Project:
    """Another user's project: what git has, in a folder of its own; no archive, no network."""
    root = first.root.parent / name
    subprocess.run(["git", "clone", "-q", str(first.root), str(root)], check=True)
    project = Project.__new__(Project)
    project.root = root
    project.env = first.env | {
        "PYTHONPATH": str(root / "src"),
        "DVC_SITE_CACHE_DIR": str(root / ".dvc/tmp/site"),
        "STEMBENCH_OFFLINE": "1",
    }
    project.env.pop("STEMBENCH_MIRROR", None)
    return project


def test_the_workspace_shares_its_files_with_the_cache(first: Project) -> None:
    cache = cached(first, first.root / ".dvc/cache")
    files = data_files(first)
    assert len(files) > 8
    assert all(share_blocks(path, cache) for path in files)
    # Stages that run again leave no copy behind, and write into no file of the cache.
    before = {path: path.read_bytes() for path in cache.values() if "files" in path.parts}
    path = first.root / "src/stembench/data/fetch/links.py"
    text = path.read_text()
    path.write_text(text + "\n# edited\n")
    assert "Running stage 'data/dvc.yaml:download@mini'" in first.run("dvc", "repro", TARGET)
    after = cached(first, first.root / ".dvc/cache")
    assert all(share_blocks(path, after) for path in data_files(first))
    assert all(path.read_bytes() == content for path, content in before.items())
    path.write_text(text)
    first.run("git", "checkout", "-q", "data/dvc.lock")


def test_a_file_placed_by_hand_is_on_the_disk_once(first: Project) -> None:
    placed = first.root / "mirror/own.inter"
    placed.write_text(ATOMIC["mini.inter"] + "u9\ti9\t1\t1100\n")
    first.run("dvc", "repro", "data/dvc.yaml:download@own")
    raw = first.root / "data/raw/own/own.inter"
    assert raw.samefile(placed)
    assert share_blocks(placed, cached(first, first.root / ".dvc/cache"))
    # Its stage runs again: DVC would copy the file for as long as it runs.
    fetch = first.root / "src/stembench/data/fetch/fetch.py"
    text = fetch.read_text()
    look = "    print('inodes', *(path.stat().st_ino for path in root.glob('*.inter')))\n"
    fetch.write_text(
        text.replace("    if source.archives:\n", look + "    if source.archives:\n", 1)
    )
    call = "orchestration.LARGE = 0; orchestration._repro(TARGET, RAW, RAW)"
    call = call.replace("TARGET", "'data/dvc.yaml:download@own'")
    call = call.replace("RAW", "Path('data/raw/own')")
    code = f"from pathlib import Path; from stembench.data import dvc as orchestration; {call}"
    assert f"inodes {placed.stat().st_ino}" in first.run(sys.executable, "-c", code)
    assert raw.samefile(placed)
    fetch.write_text(text)
    first.run("git", "checkout", "-q", "data/dvc.lock")


def test_another_user_pulls_the_split_and_trains(first: Project) -> None:
    second = clone(first, "b")
    failed = second.run("stembench", "data", "make", "mini", ok=False)
    assert "nothing is downloaded in offline mode" in failed
    second.run("dvc", "pull", TARGET)
    assert not (second.root / "data/raw/mini").exists()
    lock = (second.root / "data/dvc.lock").read_bytes()
    database = second.root / "results/shared/logs/database.ok"
    database.parent.mkdir(parents=True)
    database.touch()  # MLflow's has no part in this, and takes seconds to make
    second.run("snakemake", "--cores", "1", CELL)
    run = second.root / CELL
    manifest = json.loads((first.root / "data/splits/mini/manifest.json").read_text())
    assert json.loads(run.read_text())["data"]["sha256"] == manifest["sha256"]
    assert not (second.root / "data/raw/mini").exists()  # nothing was fetched
    assert (second.root / "data/dvc.lock").read_bytes() == lock
    assert "didn't change" in second.run("dvc", "repro", "--allow-missing", TARGET)


def test_online_the_split_is_pulled_by_itself(first: Project) -> None:
    third = clone(first, "c")
    third.env.pop("STEMBENCH_OFFLINE")
    third.run("stembench", "data", "make", "mini")
    assert (third.root / "data/splits/mini/manifest.json").exists()
    assert not (third.root / "data/raw/mini").exists()


def test_a_shared_cache_needs_neither_remote_nor_download(first: Project) -> None:
    fourth = clone(first, "d")
    fourth.run("dvc", "remote", "remove", "team")
    cache = first.root / ".dvc/cache"
    fourth.run("dvc", "cache", "dir", "--local", str(cache))
    fourth.run("stembench", "data", "make", "mini")
    inodes = cached(fourth, cache)
    assert all(share_blocks(path, inodes) for path in data_files(fourth))
    # Another split of the same raw files: these come from the cache, too.
    fourth.edit("name: mini_t1, rule: time, valid: 0.2", "name: mini_t2, rule: time, valid: 0.1")
    fourth.run("stembench", "data", "make", "mini")
    made = json.loads((fourth.root / "data/splits/mini/manifest.json").read_text())
    assert made["split"] == "mini_t2"
    assert all(share_blocks(path, cached(fourth, cache)) for path in data_files(fourth))
