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
from pathlib import Path

from filelock import FileLock

from stembench.errors import StembenchError
from stembench.provenance import write_json

logger = logging.getLogger(__name__)

DVC_FILE = "data/dvc.yaml"
LOCK = Path("data/.dvc_repro.lock")


def make_split(dataset: str, split: Path, stamp: Path | None) -> None:
    """Bring `split` up to date by `dvc repro` and write `stamp`.

    Only one `dvc repro` runs at a time, for DVC locks its repository. Raises StembenchError when
    DVC fails; its own output, which says why, is on stderr.
    """
    if "DVC_STAGE" not in os.environ:
        target = f"{DVC_FILE}:split@{dataset}"
        with FileLock(LOCK):
            command = [sys.executable, "-m", "dvc", "repro", target]
            done = subprocess.run(command, stdout=sys.stderr, check=False)
        if done.returncode != 0:
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
