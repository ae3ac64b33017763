"""Raw files: found, checked, unpacked; every fault is one clear error and leaves nothing behind."""

from __future__ import annotations

import errno
import gzip
import logging
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from stembench.data import fetch as module
from stembench.data import files
from stembench.data.fetch import fetch
from stembench.errors import StembenchError
from stembench.params_schema import Source
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
    assert {p.name: p.read_bytes() for p in root.iterdir()} == {
        "a.csv": MEMBERS["pack/a.csv"],
        "b.csv": MEMBERS["pack/deep/b.csv"],
    }
    assert [p.name for p in root.parent.iterdir()] == ["mini"]
    (mirror / name).unlink()
    with caplog.at_level(logging.INFO):
        fetch("mini", entry, root, [])
    assert "already unpacked, 2 files" in caplog.text
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


@pytest.mark.parametrize("name", ["x.tar.gz", "x.zip"])
def test_a_truncated_archive(name: str, mirror: Path, root: Path) -> None:
    path = mirror / name
    members = {**MEMBERS, "pack/noise": os.urandom(200_000)}
    (pack_zip if name.endswith("zip") else pack_tar)(path, members)
    path.write_bytes(path.read_bytes()[:1000])
    both = {name: sha256(content) for name, content in members.items()}
    with pytest.raises(StembenchError, match=r"truncated or damaged .* fetch again"):
        fetch("mini", source(path, members=both), root, [str(mirror)])
    assert clean(root)


def test_damage_inside_a_gzip_stream(mirror: Path, root: Path) -> None:
    path = mirror / "x.tar.gz"
    pack_tar(path, MEMBERS)
    content = bytearray(gzip.decompress(path.read_bytes()))
    packed = bytearray(gzip.compress(bytes(content)))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)
    with pytest.raises(StembenchError, match=r"truncated or damaged|wrong sha256|no member"):
        fetch("mini", source(path), root, [str(mirror)])
    assert clean(root)


def test_a_member_with_a_wrong_checksum(mirror: Path, root: Path) -> None:
    pack_tar(mirror / "x.tar.gz", {**MEMBERS, "pack/deep/b.csv": b"else"})
    with pytest.raises(StembenchError, match=r"member pack/deep/b\.csv: wrong sha256, expected"):
        fetch("mini", source(mirror / "x.tar.gz"), root, [str(mirror)])
    assert clean(root)


def test_an_absent_member(mirror: Path, root: Path) -> None:
    pack_tar(mirror / "x.tar.gz", {"pack/a.csv": MEMBERS["pack/a.csv"]})
    with pytest.raises(StembenchError, match=r"no member pack/deep/b\.csv"):
        fetch("mini", source(mirror / "x.tar.gz"), root, [str(mirror)])
    assert clean(root)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "pack/../../x"])
def test_a_member_outside_the_archive_is_refused(name: str, mirror: Path, root: Path) -> None:
    pack_tar(mirror / "x.tar.gz", {name: b"evil"})
    entry = source(mirror / "x.tar.gz", members={name: sha256(b"evil")})
    with pytest.raises(StembenchError, match="lies outside the archive"):
        fetch("mini", entry, root, [str(mirror)])
    assert clean(root)


def test_members_not_asked_for_are_never_written(mirror: Path, root: Path, tmp_path: Path) -> None:
    pack_tar(mirror / "x.tar.gz", {"../evil": b"evil", **MEMBERS})
    fetch("mini", source(mirror / "x.tar.gz"), root, [str(mirror)])
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_links_in_a_tar_are_refused(kind: bytes, mirror: Path, root: Path) -> None:
    with tarfile.open(mirror / "x.tar.gz", "w:gz") as tape:
        info = tarfile.TarInfo("pack/a.csv")
        info.type, info.linkname = kind, "/etc/passwd"
        tape.addfile(info)
    with pytest.raises(StembenchError, match=r"member pack/a\.csv is not a regular file"):
        fetch("mini", source(mirror / "x.tar.gz"), root, [str(mirror)])
    assert clean(root)


def test_links_in_a_zip_are_refused(mirror: Path, root: Path) -> None:
    with zipfile.ZipFile(mirror / "x.zip", "w") as pack:
        info = zipfile.ZipInfo("pack/a.csv")
        info.external_attr = 0o120777 << 16
        pack.writestr(info, "/etc/passwd")
    with pytest.raises(StembenchError, match="is not a regular file"):
        fetch("mini", source(mirror / "x.zip"), root, [str(mirror)])
    assert clean(root)


def test_two_members_of_one_name_are_refused(mirror: Path, root: Path) -> None:
    pack_tar(mirror / "x.tar.gz", {"a/x.csv": b"1", "b/x.csv": b"2"})
    entry = source(mirror / "x.tar.gz", members={"a/x.csv": sha256(b"1"), "b/x.csv": sha256(b"2")})
    with pytest.raises(StembenchError, match=r"two members are called x\.csv"):
        fetch("mini", entry, root, [str(mirror)])


def test_a_full_disk(mirror: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    pack_tar(mirror / "x.tar.gz", MEMBERS)
    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(StembenchError, match=r"cannot be written .*No space left.*free space"):
        fetch("mini", source(mirror / "x.tar.gz"), root, [str(mirror)])
    assert clean(root)


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
