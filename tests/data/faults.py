"""What can go wrong with raw files, each as a small scene: `python -m tests.data.faults` prints
what each one says, as a Markdown table. test_faults.py holds every scene to one clear line and
to nothing half-written.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from stembench.data.fetch import archives, download, links
from tests.data.conftest import MEMBERS, pack_tar, pack_zip, sha256
from tests.data.scenes import NAME, Scene, good_tar, provoke, tar_of

# --- the archive ---------------------------------------------------------------------------------


def truncated_tar(scene: Scene) -> None:
    scene.in_mirror(content=good_tar()[:100_000])


def truncated_zip(scene: Scene) -> None:
    scene.in_mirror("x.zip")
    scene.in_mirror("x.zip", (scene.mirror / "x.zip").read_bytes()[:200])


def damaged_gzip(scene: Scene) -> None:
    """No checksum is published; the damage lies in a member that is not taken."""
    content = bytearray(good_tar())
    content[len(content) // 2] ^= 0xFF
    scene.in_mirror(content=bytes(content))
    scene.entry |= {"manual": True, "sha256": None, "members": {"pack/a.csv": None}}


def wrong_checksum(scene: Scene) -> None:
    scene.in_mirror()
    scene.entry["sha256"] = "0" * 64


def wrong_length_in_mirror(scene: Scene) -> None:
    scene.in_mirror()
    scene.entry["size"] = 12_345


def empty_file(scene: Scene) -> None:
    scene.in_mirror(content=b"")


def member_missing(scene: Scene) -> None:
    scene.in_mirror(content=tar_of(tarfile.TarInfo("pack/other.csv")))


def member_wrong_sha(scene: Scene) -> None:
    pack_tar(scene.mirror / NAME, {**MEMBERS, "pack/deep/b.csv": b"else"})
    scene.archive((scene.mirror / NAME).read_bytes())


def _outside(name: str) -> Callable[[Scene], None]:
    def arrange(scene: Scene) -> None:
        scene.in_mirror(content=tar_of(tarfile.TarInfo(name), b""))
        scene.entry["members"] = {name: sha256(b"")}

    return arrange


def _special(kind: bytes) -> Callable[[Scene], None]:
    def arrange(scene: Scene) -> None:
        info = tarfile.TarInfo("pack/a.csv")
        info.type, info.linkname = kind, "/etc/passwd"
        scene.in_mirror(content=tar_of(info))

    return arrange


def zip_outside(scene: Scene) -> None:
    pack_zip(scene.mirror / "x.zip", {"../x.csv": b"evil"})
    scene.in_mirror("x.zip", (scene.mirror / "x.zip").read_bytes())
    scene.entry["members"] = {"../x.csv": sha256(b"evil")}


def zip_symlink(scene: Scene) -> None:
    with zipfile.ZipFile(scene.mirror / "x.zip", "w") as pack:
        info = zipfile.ZipInfo("pack/a.csv")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        pack.writestr(info, "/etc/passwd")
    scene.in_mirror("x.zip", (scene.mirror / "x.zip").read_bytes())


def bomb(scene: Scene) -> None:
    scene.patch(archives, "ALLOWANCE", 1 << 16)
    info = tarfile.TarInfo("pack/a.csv")
    info.size = 1 << 24
    scene.in_mirror(content=tar_of(info, bytes(info.size)))


def zip_lies_small(scene: Scene) -> None:
    """Declares 10 bytes, holds 100,000."""
    with zipfile.ZipFile(scene.mirror / "x.zip", "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("pack/a.csv", bytes(100_000))
    content = (scene.mirror / "x.zip").read_bytes()
    scene.in_mirror("x.zip", content.replace(struct.pack("<I", 100_000), struct.pack("<I", 10)))


def zip_encrypted(scene: Scene) -> None:
    scene.in_mirror("x.zip")
    content = bytearray((scene.mirror / "x.zip").read_bytes())
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        for found in re.finditer(re.escape(mark), bytes(content)):
            content[found.start() + offset] |= 1  # the flag "encrypted"
    scene.in_mirror("x.zip", bytes(content))


# --- the network ---------------------------------------------------------------------------------


def breaks_off(scene: Scene) -> None:
    scene.on_server(break_after=[1000] * 9)


def refused(scene: Scene) -> None:
    scene.on_server()
    scene.entry["mirrors"] = [{"url": "http://127.0.0.1:9/x.tar.gz"}]


def _status(code: int) -> Callable[[Scene], None]:
    def arrange(scene: Scene) -> None:
        scene.on_server(statuses=[code] * 9)

    return arrange


def stalls(scene: Scene) -> None:
    scene.patch(download, "TIMEOUT_S", 0.05)
    scene.on_server(stall_s=0.15)


def wrong_length(scene: Scene) -> None:
    scene.on_server()
    scene.entry["size"] = 12_345


def longer_than_declared(scene: Scene) -> None:
    scene.on_server(chunked=True)
    scene.entry["size"] = 12_345


def declares_too_much(scene: Scene) -> None:
    file = scene.on_server()
    file.length = len(file.content) + 1000


def garbage(scene: Scene) -> None:
    scene.on_server()
    scene.server.files[f"/{NAME}"].content = b"<html>please log in</html>"


# --- the disk ------------------------------------------------------------------------------------


def _full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def disk_full_unpacking(scene: Scene) -> None:
    scene.in_mirror()
    scene.patch(archives, "_write", _full)


def disk_full_downloading(scene: Scene) -> None:
    scene.on_server()
    scene.patch(download, "_receive", _full)


def no_room_to_download(scene: Scene) -> None:
    scene.on_server()
    scene.patch(links.shutil, "disk_usage", lambda _: mock.Mock(free=1000))


def no_room_to_unpack(scene: Scene) -> None:
    scene.in_mirror()
    scene.patch(links.shutil, "disk_usage", lambda _: mock.Mock(free=100))


# --- by hand -------------------------------------------------------------------------------------


def absent(scene: Scene) -> None:
    scene.archive(b"", page="https://example.org/data")


def offline(scene: Scene) -> None:
    scene.on_server()
    scene.entry["size"] = 47_432_272
    scene.offline = True


def manual_checked(scene: Scene) -> None:
    scene.archive(b"", manual=True, page="https://example.org/form", size=9_940_000_000)
    scene.entry["licence"] = "CC BY-NC 4.0, by a form"


def manual_unchecked(scene: Scene) -> None:
    scene.entry = {
        "file": "final_track1_train.txt.tgz",
        "members": {"final_track1_train.txt": None},
        "manual": True,
        "page": "https://example.org/share",
        "licence": "academic use only",
    }


def folder_link_out(scene: Scene) -> None:
    log = scene.mirror / "my_log"
    log.mkdir()
    (log / "part.csv").symlink_to("/etc/passwd")
    scene.entry = {"file": "my_log", "manual": True}


#: What happens -> (the scene, what the one line must say)
FAULTS: dict[str, tuple[Callable[[Scene], None], str]] = {
    "truncated tar.gz": (truncated_tar, r"truncated or damaged .* fetch again"),
    "truncated zip": (truncated_zip, r"truncated or damaged .* fetch again"),
    "damaged gzip stream": (damaged_gzip, r"truncated or damaged"),
    "wrong checksum in the mirror": (wrong_checksum, r"wrong sha256, expected 0+, seen"),
    "wrong length in the mirror": (wrong_length_in_mirror, r"expected 12,345 bytes, seen"),
    "empty file in the mirror": (empty_file, r"x\.tar\.gz: empty"),
    "member missing": (member_missing, r"no member pack/a\.csv, pack/deep/b\.csv"),
    "member with a wrong sha256": (member_wrong_sha, r"b\.csv: wrong sha256, expected"),
    "tar member ../x.csv": (_outside("../x.csv"), r"'\.\./x\.csv' lies outside the archive"),
    "tar member /etc/x.csv": (_outside("/etc/x.csv"), r"lies outside the archive"),
    "tar member a/../../x.csv": (_outside("a/../../x.csv"), r"lies outside the archive"),
    "tar member a symbolic link": (_special(tarfile.SYMTYPE), r"is a symbolic link, not"),
    "tar member a hard link": (_special(tarfile.LNKTYPE), r"is a hard link, not a regular"),
    "tar member a device": (_special(tarfile.CHRTYPE), r"is a device, not a regular file"),
    "tar member a pipe": (_special(tarfile.FIFOTYPE), r"is a pipe, not a regular file"),
    "tar member a folder": (_special(tarfile.DIRTYPE), r"is a folder, not a regular file"),
    "zip member ../x.csv": (zip_outside, r"lies outside the archive"),
    "zip member a symbolic link": (zip_symlink, r"is a symbolic link, not a regular file"),
    "a bomb: 16 MB from 16 kB": (bomb, r"swells to 16\.8 MB .* refused"),
    "a zip member larger than declared": (zip_lies_small, r"damaged|more than the 10 bytes"),
    "an encrypted zip": (zip_encrypted, r"cannot be unpacked .*encrypted"),
    "the server breaks off, each time": (breaks_off, r"broke off after 4,000 of .*4 attempts"),
    "connection refused": (refused, r"Connection refused \(4 attempts\)"),
    "HTTP 403": (_status(403), r"HTTP 403 Forbidden"),
    "HTTP 404": (_status(404), r"HTTP 404 Not Found"),
    "HTTP 500, each time": (_status(500), r"HTTP 500 Internal Server Error \(4 attempts\)"),
    "HTTP 503, each time": (_status(503), r"HTTP 503 Service Unavailable \(4 attempts\)"),
    "the server does not answer": (stalls, r"no answer within 0\.05 s \(4 attempts\)"),
    "wrong length on the server": (wrong_length, r"wrong length, expected 12,345 bytes, it has"),
    "no length, and too many bytes": (longer_than_declared, r"more than the expected 12,345"),
    "fewer bytes than the length": (declares_too_much, r"nothing after .* bytes \(4 attempts"),
    "a login page in place of the file": (garbage, r"wrong sha256, expected"),
    "disk full while unpacking": (disk_full_unpacking, r"No space left on device.*free space"),
    "disk full while downloading": (disk_full_downloading, r"No space left .*will be continued"),
    "no room for the download": (no_room_to_download, r"needs .* the disk has 1\.0 kB free"),
    "no room for a member": (no_room_to_unpack, r"a\.csv needs .* the disk has 100 bytes free"),
    "nowhere to be found": (absent, r"no good copy was found .*example\.org/data, and put it at"),
    "offline": (offline, r"\(47\.4 MB\), and nothing is downloaded in offline mode"),
    "manual file, checksum known": (manual_checked, r"placed by hand .*licence: CC BY-NC"),
    "manual file, none published": (manual_unchecked, r"sha256 is recorded beside the raw"),
    "a link out of a data folder": (folder_link_out, r"no regular file inside"),
}


def main() -> None:
    logging.disable(logging.WARNING)
    print("| What happens | What it says |\n| --- | --- |")  # noqa: T201
    for name, (arrange, _) in FAULTS.items():
        with tempfile.TemporaryDirectory() as folder:
            _, text = provoke(arrange, Path(folder))
            said = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1", text.replace(f"{folder}/", ""))
            said = re.sub(r"\b([0-9a-f]{8})[0-9a-f]{24,56}\b", r"\1…", said)
            print(f"| {name} | {said} |")  # noqa: T201


if __name__ == "__main__":
    main()
