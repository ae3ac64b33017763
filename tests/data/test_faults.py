"""Every fault of a raw file is one clear line, and nothing half-written stays."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.data.faults import FAULTS
from tests.data.scenes import provoke


@pytest.mark.parametrize("name", list(FAULTS))
def test_a_fault_is_one_clear_line_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    arrange, expected = FAULTS[name]
    before = set(Path("/etc").iterdir())
    scene, text = provoke(arrange, tmp_path)
    assert re.search(expected, text), text
    assert "\n" not in text
    assert "Traceback" not in text
    raw = scene.root.parent
    left = sorted(path.name for path in raw.rglob("*")) if raw.exists() else []
    # A broken download's bytes and its note may stay, under no raw file's name.
    assert all(".part" in name or name.startswith(".download-") for name in left), left
    assert not list(tmp_path.rglob("x.csv"))
    assert set(Path("/etc").iterdir()) == before
