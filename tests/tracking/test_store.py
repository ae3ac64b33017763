"""The store itself: which ones are taken, and that it is made once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stembench.errors import StembenchError
from stembench.tracking import sync as tracking
from stembench.tracking.sync import SyncReport
from tests.conftest import ROOT


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "mlruns", "sqlite:///"])
def test_other_stores_are_refused(uri: str) -> None:
    with pytest.raises(StembenchError, match="sqlite:///FILE"):
        tracking.init_database(uri)


def test_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, and long enough to be looked at" * 10)
    with pytest.raises(StembenchError, match="delete it"):
        tracking.init_database(f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_four_processes_make_the_store_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from stembench.tracking.sync import init_database; "
        "init_database('sqlite:///' + sys.argv[1])"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "mlflow.db")],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert (
        tracking.sync(tmp_path / "results", f"sqlite:///{tmp_path / 'mlflow.db'}") == SyncReport()
    )
