"""Families of tests in params.yaml: each test in one of them, and a fault is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from stembench.errors import StembenchError
from stembench.params import load as params
from stembench.params.analysis import TESTED
from tests.conftest import ROOT

TEXT = (ROOT / "params.yaml").read_text()
F2 = "    - {name: F2, of: test, metrics: [gauc, logloss, calibration], adjust: bh}\n"


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("", r"analysis: families must name gauc of test once, not 0 times"),
        (F2 + F2, r"analysis: families must name gauc of test once, not 2 times"),
        (F2.replace("adjust: bh", "adjust: none"), r"families\.1\.adjust: must be 'holm' or 'bh'"),
        (F2.replace("gauc", "ndcg"), r"analysis\.families\.1\.metrics\.0: must be 'auc'"),
        (F2.replace("of: test", "of: tests"), r"analysis\.families\.1\.of: must be 'test'"),
        (F2.replace("bh}", "bh, alpha: 0.1}"), r"families\.1\.alpha: unknown key, one of name, of"),
        (F2.replace("F2", "F 2"), r"analysis\.families\.1\.name: "),
    ],
)
def test_a_fault_is_told(tmp_path: Path, new: str, message: str) -> None:
    assert TEXT.count(F2) == 1
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace(F2, new))
    with pytest.raises(StembenchError, match=message):
        params.load(path)


def test_another_name_and_adjustment_reach_the_code(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace(F2, F2.replace("F2", "secondary").replace("bh", "holm")))
    found = params.load(path).analysis.adjustments()
    assert found["test", "gauc"] == ("secondary", "holm")
    assert found["test", "auc"] == ("F1", "holm")
    assert set(found) == set(TESTED)
