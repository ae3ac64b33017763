"""The table and picture of docs/architecture.md are those of the code."""

import subprocess
import sys

from tests.conftest import ROOT


def test_the_page_is_current() -> None:
    done = subprocess.run(
        [sys.executable, "workflow/scripts/architecture.py", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
