"""Raw files: found, checked, unpacked or linked. What goes wrong is in test_faults.py."""

from __future__ import annotations

import errno
import logging
import tarfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from stembench.data import files
from stembench.data.fetch import links
from stembench.data.fetch import record as fetched
from stembench.data.fetch.fetch import fetch
from stembench.errors import StembenchError
from stembench.params.data import Source
from tests.data.conftest import MEMBERS, clean, pack_tar, pack_zip, sha256, source


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(("name", "pack"), [("x.tar.gz", pack_tar), ("x.whl", pack_zip)])
def test_members_come_flat_from_a_mirror_folder(
    name: str, pack: Any, mirror: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pack(mirror / name, {"pack/LICENSE": b"words", **MEMBERS})
    entry = source(mirror / name)
    fetch("mini", entry, root, [str(root / "none"), str(mirror)])
    assert fetched.read(root)["x.tar.gz" if "tar" in name else name].is_of(entry.archives[0])
    assert {p.name: p.read_bytes() for p in root.iterdir() if p.name != ".fetched.json"} == {
        "a.csv": MEMBERS["pack/a.csv"],
        "b.csv": MEMBERS["pack/deep/b.csv"],
    }
    assert [p.name for p in root.parent.iterdir()] == ["mini"]
    (mirror / name).unlink()
    with caplog.at_level(logging.INFO):
        fetch("mini", entry, root, [])
    assert "already there, 2 files" in caplog.text
    (root / "a.csv").write_text("changed")
    with pytest.raises(StembenchError, match="no good copy"):
        fetch("mini", entry, root, [])


def test_the_environment_names_the_first_mirror(
    mirror: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_tar(mirror / "x.tar.gz", MEMBERS)
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "x.tar.gz").write_bytes(b"other")
    monkeypatch.setenv("STEMBENCH_MIRROR", str(mirror))
    fetch("mini", source(mirror / "x.tar.gz"), root, [str(wrong)])
    assert (root / "a.csv").exists()


def test_a_wrong_copy_is_passed_over_and_kept(mirror: Path, root: Path, tmp_path: Path) -> None:
    pack_tar(mirror / "x.tar.gz", MEMBERS)
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "x.tar.gz").write_bytes(b"other")
    fetch("mini", source(mirror / "x.tar.gz"), root, [str(wrong), str(mirror)])
    assert (wrong / "x.tar.gz").exists()
    assert (root / "a.csv").exists()


def test_not_found_says_where_to_put_it(mirror: Path, root: Path) -> None:
    (mirror / "x.tar.gz").write_bytes(b"other")
    entry = source(Path("x.tar.gz"), page="https://example.org/data")
    with pytest.raises(StembenchError) as caught:
        fetch("mini", entry, root, ["absent", str(mirror)])
    message = str(caught.value)
    for part in (
        "mini needs x.tar.gz",
        "from https://example.org/data",
        f"put it at absent/x.tar.gz or {mirror}/x.tar.gz",
        "$STEMBENCH_MIRROR",
        f"checked by sha256 {'0' * 64}",
        f"expected {'0' * 64}, seen {sha256(b'other')}",
    ):
        assert part in message
    assert "\n" not in message
    assert clean(root)
    assert (mirror / "x.tar.gz").exists()


def test_members_not_asked_for_are_never_written(mirror: Path, root: Path, tmp_path: Path) -> None:
    pack_tar(mirror / "x.tar.gz", {"../evil": b"evil", **MEMBERS})
    fetch("mini", source(mirror / "x.tar.gz"), root, [str(mirror)])
    assert not list(tmp_path.rglob("evil"))


def test_a_target_that_cannot_be_made(mirror: Path, tmp_path: Path) -> None:
    pack_tar(mirror / "x.tar.gz", MEMBERS)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StembenchError, match="cannot be written"):
        fetch("mini", source(mirror / "x.tar.gz"), tmp_path / "file" / "raw", [str(mirror)])


def test_leftovers_of_a_killed_process_are_cleared(
    mirror: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "alive", lambda pid: pid == 222)
    for pid in (111, 222):
        (root.parent / f".mini.partial-{pid}" / "members").mkdir(parents=True)
    pack_tar(mirror / "x.tar.gz", MEMBERS)
    fetch("mini", source(mirror / "x.tar.gz"), root, [str(mirror)])
    assert sorted(p.name for p in root.parent.iterdir()) == [".mini.partial-222", "mini"]


def test_generated_data(root: Path) -> None:
    options: dict[str, Any] = {"rows": 50, "users": 5, "items": 20, "latent": 2, "correlation": 0.5}
    options |= {"shared": 1.0, "specific": 1.0, "positive_rates": {"a": 0.5}, "seed": 1}
    entry = Source.model_validate({"kind": "synthetic", "options": options})
    fetch("mini", entry, root, [])
    assert [p.name for p in root.iterdir()] == ["rows.parquet"]
    assert [p.name for p in root.parent.iterdir()] == ["mini"]


def test_a_source_without_archives_needs_its_files_in_place(root: Path) -> None:
    entry = Source.model_validate({"kind": "atomic", "options": {"prefix": "x"}})
    with pytest.raises(StembenchError, match=r"names no archives.*put the raw files"):
        fetch("mini", entry, root, [])
    root.mkdir(parents=True)
    (root / "x.inter").write_text("a")
    fetch("mini", entry, root, [])


def manual(path: str, **changes: Any) -> Source:
    entry = {"file": path, "manual": True} | changes
    return Source.model_validate({"kind": "table", "archives": [entry]})


def test_a_member_without_a_checksum_is_known_again(mirror: Path, root: Path) -> None:
    pack_tar(mirror / "x.tar.gz", MEMBERS)
    entry = source(mirror / "x.tar.gz", members=dict.fromkeys(MEMBERS))
    fetch("mini", entry, root, [str(mirror)])
    assert fetched.read(root)["x.tar.gz"].files == {
        "a.csv": sha256(MEMBERS["pack/a.csv"]),
        "b.csv": sha256(MEMBERS["pack/deep/b.csv"]),
    }
    (mirror / "x.tar.gz").unlink()
    fetch("mini", entry, root, [])
    (root / "b.csv").write_text("changed")
    with pytest.raises(StembenchError, match="no good copy"):
        fetch("mini", entry, root, [])


def test_by_md5_alone_and_the_sha256_is_recorded(mirror: Path, root: Path) -> None:
    pack_tar(mirror / "x.tar.gz", MEMBERS)
    md5 = files.digest(mirror / "x.tar.gz", "md5")
    size = (mirror / "x.tar.gz").stat().st_size
    entry = source(mirror / "x.tar.gz", sha256=None, md5=md5, size=size)
    fetch("mini", entry, root, [str(mirror)])
    seen = fetched.read(root)["x.tar.gz"]
    assert (seen.md5, seen.sha256, seen.size) == (md5, files.digest(mirror / "x.tar.gz"), size)


def test_several_log_parts_in_one_pass(mirror: Path, root: Path) -> None:
    parts = {f"K/data/log_{part}.csv": f"a\n{part}\n".encode() for part in (1, 2, 3)}
    pack_tar(mirror / "x.tar.gz", {**parts, "K/LICENSE": b"words"})
    with mock.patch("tarfile.open", wraps=tarfile.open) as opened:
        fetch(
            "mini", source(mirror / "x.tar.gz", members=dict.fromkeys(parts)), root, [str(mirror)]
        )
    assert opened.call_count == 1
    assert sorted(p.name for p in root.glob("*")) == [
        ".fetched.json", "log_1.csv", "log_2.csv", "log_3.csv"
    ]  # fmt: skip


def test_a_plain_file_is_linked_and_no_second_copy(mirror: Path, root: Path) -> None:
    (mirror / "log.csv").write_text("a\n1\n")
    fetch("mini", manual("log.csv"), root, [str(mirror)])
    assert (root / "log.csv").samefile(mirror / "log.csv")
    assert fetched.read(root)["log.csv"].files == {"log.csv": sha256(b"a\n1\n")}


def test_a_folder_is_linked_file_by_file(mirror: Path, root: Path) -> None:
    for day in (1, 2):
        (mirror / "log" / f"day={day}").mkdir(parents=True)
        (mirror / "log" / f"day={day}" / "part-0.csv").write_text(f"a\n{day}\n")
    (mirror / "log" / ".part.crc").write_text("not data")
    fetch("mini", manual("log"), root, [str(mirror)])
    found = {str(p.relative_to(root)): p for p in root.rglob("part-*")}
    assert sorted(found) == ["log/day=1/part-0.csv", "log/day=2/part-0.csv"]
    assert all(path.samefile(mirror / name) for name, path in found.items())
    assert not (root / "log" / ".part.crc").exists()
    # A part that is gone from the folder is gone from the raw files.
    (mirror / "log" / "day=1" / "part-0.csv").unlink()
    fetch("mini", manual("log"), root, [str(mirror)])
    assert not (root / "log" / "day=1" / "part-0.csv").exists()
    assert (root / "log" / "day=2" / "part-0.csv").exists()


def test_a_file_placed_by_hand_may_change_and_may_go(
    mirror: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pack_tar(mirror / "x.tgz", {"a.csv": b"one"})
    entry = manual("x.tgz", members={"a.csv": None})
    fetch("mini", entry, root, [str(mirror)])
    with caplog.at_level(logging.INFO):
        fetch("mini", entry, root, [str(mirror)])
    assert "already there, unchanged" in caplog.text
    pack_tar(mirror / "x.tgz", {"a.csv": b"two"})
    fetch("mini", entry, root, [str(mirror)])
    assert (root / "a.csv").read_bytes() == b"two"
    (mirror / "x.tgz").unlink()
    fetch("mini", entry, root, [str(mirror)])  # as fetched before
    assert (root / "a.csv").read_bytes() == b"two"


def test_a_missing_manual_file_says_all_that_is_needed(mirror: Path, root: Path) -> None:
    entry = manual(
        "final_track1_train.txt.tgz",
        members={"final_track1_train.txt": None},
        page="https://example.org/share",
        licence="academic use only",
        size=12_000_000_000,
    )
    with pytest.raises(StembenchError) as caught:
        fetch("tiktok", entry, root, ["mirror", str(mirror)])
    assert str(caught.value) == (
        "tiktok needs final_track1_train.txt.tgz (12.0 GB), which is not downloaded but placed by "
        f"hand (mirror/final_track1_train.txt.tgz: absent; {mirror}/final_track1_train.txt.tgz: "
        "absent). Get it from https://example.org/share; licence: academic use only, and put it "
        f"at mirror/final_track1_train.txt.tgz or {mirror}/final_track1_train.txt.tgz or into the "
        "folder $STEMBENCH_MIRROR names; it is checked by its length, 12,000,000,000 bytes, the "
        "columns it must have, the type of each column; its sha256 is recorded beside the raw "
        "files"
    )
    assert clean(root)


def test_data_sets_of_one_archive_share_its_files(mirror: Path, root: Path) -> None:
    pack_tar(mirror / "x.tar.gz", MEMBERS)
    entry = source(mirror / "x.tar.gz", members=dict.fromkeys(MEMBERS))
    fetch("mini", entry, root, [str(mirror)])
    other = root.with_name("other")
    fetch("other", entry, other, [], offline=True)
    assert (other / "a.csv").samefile(root / "a.csv")
    assert fetched.read(other) == fetched.read(root)


def test_files_of_an_older_entry_go(mirror: Path, root: Path) -> None:
    pack_tar(mirror / "x.tar.gz", MEMBERS)
    fetch("mini", source(mirror / "x.tar.gz"), root, [str(mirror)])
    entry = source(mirror / "x.tar.gz", members={"pack/a.csv": None})
    fetch("mini", entry, root, [str(mirror)])
    assert sorted(p.name for p in root.iterdir()) == [".fetched.json", "a.csv"]


@pytest.mark.parametrize(
    ("refused", "how"),
    [([], "hardlink"), (["link"], "symlink"), (["link", "symlink"], "copy")],
)
def test_links_in_their_order(
    refused: list[str], how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(links, "_reflink", refuse)
    for name in refused:
        monkeypatch.setattr(links.os, name, refuse)
    (tmp_path / "a").write_text("content")
    assert links.link(tmp_path / "a", tmp_path / "b") == how
    assert (tmp_path / "b").read_text() == "content"
    with pytest.raises(FileExistsError):
        links.link(tmp_path / "a", tmp_path / "b")


def test_a_reflink_where_there_are_some(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    if links.link(tmp_path / "a", tmp_path / "b") == "reflink":
        assert not (tmp_path / "a").samefile(tmp_path / "b")
    assert (tmp_path / "b").read_text() == "content"
    assert (tmp_path / "b").is_file()
