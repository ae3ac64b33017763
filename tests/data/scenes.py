"""A scene for a fault of raw files: a mirror folder, a web server, an archive and its entry."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from stembench.data.fetch import download
from stembench.data.fetch.fetch import fetch
from stembench.errors import StembenchError
from stembench.params.data import Source
from tests.data.conftest import MEMBERS, pack_tar, pack_zip, sha256
from tests.data.server import File, Server, serve

NAME = "x.tar.gz"


@dataclass
class Scene:
    """A mirror folder, a web server, and the entry of the archive; `run` fetches it."""

    folder: Path
    server: Server
    patches: ExitStack
    entry: dict[str, Any] = field(default_factory=dict)
    kind: str = "kuairand"
    offline: bool = False

    @property
    def mirror(self) -> Path:
        path = self.folder / "mirror"
        path.mkdir(exist_ok=True)
        return path

    @property
    def root(self) -> Path:
        return self.folder / "data" / "raw" / "mini"

    def archive(self, content: bytes, name: str = NAME, **changes: Any) -> None:
        """The entry of an archive with that content, members a.csv and b.csv."""
        members = {member: sha256(text) for member, text in MEMBERS.items()}
        self.entry = {"file": name, "sha256": sha256(content), "members": members} | changes

    def in_mirror(self, name: str = NAME, content: bytes | None = None) -> None:
        """Put the archive into the mirror folder: by default a good one."""
        if content is None:
            (pack_tar if name.endswith("gz") else pack_zip)(self.mirror / name, MEMBERS)
            content = (self.mirror / name).read_bytes()
        (self.mirror / name).write_bytes(content)
        self.archive(content, name)

    def on_server(self, content: bytes | None = None, **how: Any) -> File:
        """Put the archive on the server, not into the mirror."""
        if content is None:
            content = good_tar()
        self.server.files[f"/{NAME}"] = file = File(content, **how)
        self.archive(content, mirrors=[{"url": f"{self.server.url}/{NAME}"}])
        return file

    def patch(self, target: Any, name: str, value: Any) -> None:
        self.patches.enter_context(mock.patch.object(target, name, value))

    def run(self) -> None:
        source = Source.model_validate({"kind": self.kind, "archives": [self.entry]})
        fetch("mini", source, self.root, [str(self.mirror)], offline=self.offline)


def good_tar(noise: int = 300_000) -> bytes:
    """An archive that does not shrink to nothing, so that it can break off midway."""
    members = {**MEMBERS, "pack/noise": os.urandom(noise)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tape:
        for name, content in reversed(members.items()):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tape.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tar_of(info: tarfile.TarInfo, content: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tape:
        tape.addfile(info, io.BytesIO(content) if content else None)
    return buffer.getvalue()


def provoke(arrange: Callable[[Scene], None], folder: Path) -> tuple[Scene, str]:
    """Play a scene; what it says. The scene is left as it is, for a look at the files."""
    with ExitStack() as patches, serve() as server:
        scene = Scene(folder, server, patches)
        scene.patch(download, "BACKOFF_S", 0.0)
        arrange(scene)
        try:
            scene.run()
        except (StembenchError, ValueError) as error:
            lines = str(error).splitlines()
            # Said when params.yaml is read: the line that tells the key's fault.
            return scene, str(error) if len(lines) == 1 else lines[2].split(" [type=")[
                0
            ].strip().removeprefix("Value error, ")
    return scene, ""
