"""Where Snakemake meets DVC: one data set's split, made through DVC and stamped.

DVC owns `data/`. Its stages write there, and Snakemake learns of a split through a small stamp
that holds the split's hash. Under `dvc repro` the split is already made when Snakemake starts
(DVC sets DVC_STAGE for every command), so then only the stamp is written; a nested `dvc repro`
would meet DVC's own lock.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from stembench.data.fetch.copies import offline_wanted
from stembench.data.fetch.links import aside
from stembench.errors import StembenchError
from stembench.records.writing import write_json

logger = logging.getLogger(__name__)

DVC_FILE = "data/dvc.yaml"
LOCK = Path("data/.dvc_repro.lock")
#: From so many bytes of raw files on, DVC is kept from copying them.
LARGE = 1 << 30


def make_split(dataset: str, split: Path, stamp: Path | None) -> None:
    """Bring `split` up to date through DVC and write `stamp`.

    A split that nothing has changed needs no raw files: it stays, or comes from DVC's cache or
    remote. Else the raw files do, where they have them, and what is still missing is made. In
    offline mode the remote is not asked.

    Only one `dvc repro` runs at a time, for DVC locks its repository. Raises StembenchError when
    DVC fails; its own output, which says why, is on stderr.
    """
    if "DVC_STAGE" not in os.environ:
        target = f"{DVC_FILE}:split@{dataset}"
        with FileLock(LOCK):
            done = _repro(target, split, Path("data/raw") / dataset)
        if not done:
            raise StembenchError(
                f"the data set {dataset} could not be made; the reason stands above. "
                f"By hand: dvc repro {target}"
            )
    manifest_path = split / "manifest.json"
    if not manifest_path.exists():
        raise StembenchError(
            f"{manifest_path} is missing: run `dvc repro {DVC_FILE}:split@{dataset}`"
        )
    manifest = json.loads(manifest_path.read_text())
    content = {key: manifest[key] for key in ("dataset", "split", "sha256", "rows")}
    if stamp is not None:
        write_json(stamp, content)
    logger.info("%s: split %s, %s", dataset, content["split"], content["sha256"][:12])


def _repro(target: str, split: Path, raw: Path) -> bool:
    """`dvc repro`, unless the split is there or can be had as it is; whether it succeeded."""
    download = target.replace(":split@", ":download@")
    if Path(DVC_FILE).with_suffix(".lock").exists() and not (raw.exists() and split.exists()):
        if _only_missing(target):
            if split.exists() or _obtain(target):
                return True
        elif not raw.exists() and _only_missing(download):
            _obtain(download)
    with _set_aside(raw, download):
        return _dvc("repro", target)


@contextmanager
def _set_aside(raw: Path, download: str) -> Iterator[None]:
    """Large raw files are out of DVC's reach when their stage is about to run again.

    Before DVC runs a stage whose outputs persist, it turns their links into copies. `fetch` finds
    the folder, puts it back and leaves alone what is as it should be.
    """
    files = (path for path in raw.rglob("*") if path.is_file())
    large = raw.is_dir() and sum(path.stat().st_size for path in files) >= LARGE
    if large and not _only_missing(download):
        logger.info("%s: set aside, so that it is not copied", raw)
        raw.rename(aside(raw))
    try:
        yield
    finally:
        if aside(raw).is_dir() and not raw.exists():  # the stage did not come to run
            aside(raw).rename(raw)


def _only_missing(target: str) -> bool:
    """Whether nothing has changed since `target` was made, but for files that are not here."""
    command = [sys.executable, "-m", "dvc", "status", "--json", "--with-deps", target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        stages = json.loads(done.stdout).values()
    except ValueError:
        return False
    changes = [change for stage in stages for change in stage]
    return done.returncode == 0 and all(
        isinstance(change, dict)
        and all(
            state in ("deleted", "not in cache")
            for files in change.values()
            for state in files.values()
        )
        for change in changes
    )


def _obtain(target: str) -> bool:
    """A stage's files from DVC's cache, or from its remote if there is one; whether they came."""
    if _dvc("checkout", target, quiet=True):
        return True
    if offline_wanted() or not _dvc("config", "core.remote", quiet=True):
        return False
    logger.info("%s: asked from DVC's remote", target)
    if _dvc("pull", target):
        return True
    logger.info("%s: the remote does not have it; it is made here", target)
    return False


def _dvc(*arguments: str, quiet: bool = False) -> bool:
    """Whether that command succeeded; what it says goes to stderr, or nowhere."""
    command = [sys.executable, "-m", "dvc", *arguments]
    if quiet:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0
