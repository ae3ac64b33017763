"""Raw files to split directories."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stembench.data.directory import PARTS, SplitDirectory
from stembench.data.fetch.fetch import fetch
from stembench.data.prepare.make import split_dataset
from stembench.data.schema import MISSING, OUT_OF_VOCABULARY
from stembench.errors import StembenchError
from stembench.params.load import Dataset
from tests.data.conftest import (
    atomic_entry,
    kuairand_entry,
    kuairand_log,
    kuairand_members,
    pack_tar,
    tree,
    untouched,
)

Make = Callable[[dict[str, Any]], Dataset]

DAYS = [20220501, 20220502, 20220503, 20220504, 20220505, 20220506]
SYNTHETIC = {
    "source": {
        "kind": "synthetic",
        "options": {
            **{"rows": 2000, "users": 50, "items": 40, "latent": 2, "seed": 3},
            **{"correlation": -0.5, "shared": 1.0, "specific": 1.0},
            "positive_rates": {"click": 0.4, "like": 0.2},
        },
    },
    "table": {
        "user": "user_id",
        "fields": {"user": ["user_id"], "item": ["item_id", "item_category"], "context": ["hour"]},
        "tasks": {"like": "like", "click": "click"},
        "probabilities": {"click": "p_click", "like": "p_like"},
    },
    "split": {"name": "mini_r1", "rule": "random", "valid": 0.1, "test": 0.2, "seed": 1},
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "splits" / "mini"


def test_kuairand_archive_end_to_end(tmp_path: Path, out: Path, make_dataset: Make) -> None:
    early, late = kuairand_log(DAYS[:3]), kuairand_log(DAYS[3:])
    late += late[:4]  # exact duplicates, of a day of the valid part
    members = kuairand_members({"4_08_to_4_21": early, "4_22_to_5_08": late})
    archive = tmp_path / "KuaiRand-Pure.tar.gz"
    pack_tar(archive, {"KuaiRand-Pure/LICENSE": b"CC", **members})
    dataset = make_dataset(kuairand_entry(members, archive.read_bytes()))
    raw = tmp_path / "raw" / "mini"
    fetch("mini", dataset.source, raw, [str(tmp_path)])
    manifest = split_dataset("mini", dataset, raw, out)

    assert manifest["rows"] == {"train": 120, "valid": 40, "test": 40}
    assert manifest["rows_read"] == 244
    assert manifest["duplicates_dropped"] == 4
    assert manifest["dropped_after_end"] == 40
    assert manifest["rule"]["train_until"] == 20220503
    assert manifest["positive_rates"]["test"] == {"is_click": 0.5, "is_like": 0.2}
    archives = dataset.source.archives[0].members
    assert manifest["sources"] == {Path(n).name: sha for n, sha in archives.items()}
    found = SplitDirectory(out)
    assert found.manifest == manifest
    assert [field.name for field in found.schema.fields][:2] == ["user_id", "is_live_streamer"]
    tag = next(field for field in found.schema.fields if field.name == "tag")
    assert (tag.kind, tag.columns, tag.role) == ("bag", 3, "item")
    for name in PARTS:
        part = found.part(name)
        assert part.fields.flags.c_contiguous
        assert part.probabilities is None
        assert part.users.min() >= 0
        assert (part.fields[:, 0] >= MISSING).all()
        # -124 in two users of three
        assert (part.fields[:, 1] == MISSING).mean() == pytest.approx(0.67, abs=0.25)
    assert [path.name for path in out.parent.iterdir()] == ["mini"]


def test_atomic_end_to_end(atomic_root: Path, out: Path, make_dataset: Make) -> None:
    dataset = make_dataset(atomic_entry())
    manifest = split_dataset("mini", dataset, atomic_root, out)
    assert manifest["rows"] == {"train": 60, "valid": 20, "test": 20}
    assert manifest["late_rows"] == {"train": 0, "valid": 0}
    part = SplitDirectory(out).part("test")
    # Rows 80 to 99 in the file's order, which is that of time.
    expected = [[int(1 + i % 5 >= 4), int(1 + i % 5 == 5)] for i in range(80, 100)]
    assert part.labels.tolist() == expected
    assert part.users.tolist() == [i % 7 for i in range(80, 100)]


def test_probabilities_stand_in_the_order_of_the_tasks(
    tmp_path: Path, out: Path, make_dataset: Make
) -> None:
    dataset = make_dataset(SYNTHETIC)
    fetch("mini", dataset.source, tmp_path / "raw", [])
    manifest = split_dataset("mini", dataset, tmp_path / "raw", out)
    found = SplitDirectory(out)
    assert found.schema.tasks == ("like", "click")
    for name in PARTS:
        part = found.part(name)
        assert part.probabilities is not None
        np.testing.assert_allclose(
            part.probabilities.mean(axis=0), part.labels.mean(axis=0), atol=0.12
        )
        assert list(manifest["positive_rates"][name]) == ["like", "click"]
    assert sum(manifest["rows"].values()) == 2000


def test_same_input_same_bytes_and_the_hash_tells(
    atomic_root: Path, tmp_path: Path, make_dataset: Make
) -> None:
    entry = atomic_entry()
    first = split_dataset("mini", make_dataset(entry), atomic_root, tmp_path / "a")
    split_dataset("mini", make_dataset(entry), atomic_root, tmp_path / "b")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert str(tmp_path) not in (tmp_path / "a" / "manifest.json").read_text()
    for section, change in (
        ("split", {"test": 0.3}),
        ("split", {"name": "mini_t2"}),
        ("table", {"min_count": 9}),
        ("table", {"tasks": {"like": "rating >= 3", "love": "rating = 5"}}),
    ):
        other = make_dataset(entry | {section: entry[section] | change})
        manifest = split_dataset("mini", other, atomic_root, tmp_path / "c")
        assert manifest["sha256"] != first["sha256"], change


def test_vocabularies_come_from_the_training_part(
    atomic_root: Path, out: Path, make_dataset: Make
) -> None:
    path = atomic_root / "mini.inter"
    path.write_text(path.read_text() + "new\ti0\t4\t5000\nnew\ti0\t1\t5000\n")
    manifest = split_dataset("mini", make_dataset(atomic_entry()), atomic_root, out)
    part = SplitDirectory(out).part("test")
    assert part.fields[-1, 0] == OUT_OF_VOCABULARY
    assert part.fields[-1, 1] == MISSING  # no line in mini.user
    assert part.users[-1] == 0  # "new" sorts before "u0"
    assert manifest["users"]["test"] == 8
    assert manifest["unseen_users"] == {"valid": 0.0, "test": 1 / 8}
    shares = manifest["fields"]["user_id"]["out_of_vocabulary"]
    assert shares == {"valid": 0.0, "test": 2 / manifest["rows"]["test"]}


def test_an_older_split_is_replaced_whole(atomic_root: Path, out: Path, make_dataset: Make) -> None:
    (out / "train").mkdir(parents=True)
    (out / "old.txt").write_text("old")
    leftover = out.with_name(f".{out.name}.partial-{os.getpid()}")
    leftover.mkdir()
    split_dataset("mini", make_dataset(atomic_entry()), atomic_root, out)
    assert not (out / "old.txt").exists()
    assert [path.name for path in out.parent.iterdir()] == ["mini"]


def change(entry: dict[str, Any], section: str, **values: Any) -> dict[str, Any]:
    return entry | {section: entry[section] | values}


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("table", {"user": "who"}, "no column 'who' in the data, only user_id, item_id"),
        ("table", {"time": "when"}, "no column 'when'"),
        ("table", {"fields": {"user": ["rating"]}}, "field rating leaks the outcome"),
        ("table", {"tasks": {"like": "rating"}}, r"neither 0 nor 1 \(row 2 gives 2\.0"),
        ("table", {"tasks": {"like": "rating > 9"}}, "task like has only negatives among the 60"),
        ("table", {"tasks": {"like": "rating > 0"}}, "task like has only positives among"),
        ("table", {"user": "age"}, "user column 'age' is missing in 14 of 100 rows"),
        ("table", {"probabilities": {"like": "price", "love": "price"}}, r"outside \[0, 1\]"),
        ("split", {"valid": 0.98, "test": 0.01}, "train part without rows"),
    ],
)
def test_faults_leave_nothing(
    section: str,
    values: dict[str, Any],
    message: str,
    atomic_root: Path,
    out: Path,
    make_dataset: Make,
) -> None:
    dataset = make_dataset(change(atomic_entry(), section, **values))
    with pytest.raises(StembenchError, match=message):
        split_dataset("mini", dataset, atomic_root, out)
    assert untouched(out)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("u1\ti1\tnan\t2000\n", r"task like \(rating >= 4\).*row 101 gives nan"),
        ("u1\ti1\t\t2000\n", r"task like \(rating >= 4\).*row 101 gives null"),
        ("u1\ti1\t4\t\n", "column 'timestamp' is missing in 1 rows"),
        ("u1\ti1\tfour\t2000\n", "cannot be read: "),
        ("u1\ti1\n", r"line 102: 2 cells"),
    ],
)
def test_bad_lines(
    line: str, message: str, atomic_root: Path, out: Path, make_dataset: Make
) -> None:
    path = atomic_root / "mini.inter"
    path.write_text(path.read_text() + line)
    with pytest.raises(StembenchError, match=message):
        split_dataset("mini", make_dataset(atomic_entry()), atomic_root, out)
    assert untouched(out)


@pytest.mark.parametrize("field", ["play_time_ms", "is_profile_enter", "long_view"])
def test_kuairand_refuses_leaking_fields(
    field: str, tmp_path: Path, out: Path, make_dataset: Make
) -> None:
    members = kuairand_members({"4_08_to_4_21": kuairand_log(DAYS)})
    entry = kuairand_entry(members)
    for name, content in members.items():
        (tmp_path / Path(name).name).write_bytes(content)
    entry["table"] = entry["table"] | {"fields": {"context": [field]}, "bags": {}, "min_counts": {}}
    with pytest.raises(StembenchError, match=f"field {field} leaks the outcome: it is"):
        split_dataset("mini", make_dataset(entry), tmp_path, out)


def test_raw_files_are_those_of_params(tmp_path: Path, out: Path, make_dataset: Make) -> None:
    members = kuairand_members({"4_08_to_4_21": kuairand_log(DAYS)})
    dataset = make_dataset(kuairand_entry(members))
    with pytest.raises(StembenchError, match=r"no raw files in .*: run `stembench fetch"):
        split_dataset("mini", dataset, tmp_path / "none", out)
    for name, content in members.items():
        (tmp_path / Path(name).name).write_bytes(content)
    (tmp_path / "log_standard_old.csv").write_text("old")
    with pytest.raises(StembenchError, match=r"does not name: log_standard_old\.csv; remove"):
        split_dataset("mini", dataset, tmp_path, out)
    (tmp_path / "log_standard_old.csv").unlink()
    (tmp_path / "user_features_pure.csv").write_text("changed")
    with pytest.raises(StembenchError, match=r"user_features_pure\.csv: wrong sha256, expected"):
        split_dataset("mini", dataset, tmp_path, out)
    (tmp_path / "user_features_pure.csv").unlink()
    with pytest.raises(StembenchError, match=r"user_features_pure\.csv is missing: run"):
        split_dataset("mini", dataset, tmp_path, out)
