"""The figures of a data card against counts made by loops, and their memory against rows."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from stembench.cli.app import app
from stembench.data import facts as card
from stembench.data.directory import PARTS, SplitDirectory
from stembench.data.schema import FIRST_ID, MISSING, OUT_OF_VOCABULARY, PADDING
from stembench.errors import StembenchError
from tests.conftest import write_split


@pytest.fixture
def split(split_path: Path) -> SplitDirectory:
    """The small split with reserved ids in it, unseen users, and a part of random exposure."""
    for name in PARTS:
        path = split_path / name / "fields.npy"
        fields = np.load(path)
        fields[::7, 0] = OUT_OF_VOCABULARY
        fields[::5, 1] = OUT_OF_VOCABULARY
        fields[1::5, 1] = MISSING
        fields[::9, 2:5] = [OUT_OF_VOCABULARY, OUT_OF_VOCABULARY, PADDING]
        np.save(path, fields)
    users = np.load(split_path / "test/users.npy")
    users[:20] = 1000 + np.arange(20) // 4
    np.save(split_path / "test/users.npy", users)
    extra = split_path / "unbiased"
    extra.mkdir()
    for name in ("fields", "labels", "users"):
        np.save(extra / f"{name}.npy", np.load(split_path / f"test/{name}.npy")[:50])
    manifest = json.loads((split_path / "manifest.json").read_text())
    manifest["rows"]["unbiased"] = 50
    manifest |= {"rows_read": 900, "duplicates_dropped": 100, "days": {"train": {"20220425": 400}}}
    manifest["source_facts"] = {"ragged_rows_dropped": {"log.csv": [7]}}
    manifest["times"] = {"train": [10, 20]}
    (split_path / "manifest.json").write_text(json.dumps(manifest))
    return SplitDirectory(split_path)


def test_parts_and_fields_are_those_of_plain_counting(split: SplitDirectory) -> None:
    facts = card.facts(split)
    parts = {name: split.part(name) for name in (*PARTS, "unbiased")}  # type: ignore[arg-type]
    assert [part["part"] for part in facts["parts"]] == list(parts)
    seen = set(parts["train"].users.tolist())
    for told, part in zip(facts["parts"], parts.values(), strict=True):
        users = set(part.users.tolist())
        assert told["rows"] == len(part)
        assert told["users"] == len(users)
        assert told["unseen_users"] == pytest.approx(len(users - seen) / len(users))
        assert told["items"] == len({i for i in part.fields[:, 1].tolist() if i >= FIRST_ID})
        assert list(told["rates"].values()) == pytest.approx(part.labels.mean(axis=0))
    assert facts["parts"][2]["unseen_users"] > 0
    assert facts["item_field"] == "item_id"
    bounds = {"user_id": (0, 1), "item_id": (1, 2), "tags": (2, 5), "hour": (5, 6)}
    for field in facts["fields"]:
        left, right = bounds[field["name"]]
        for name, part in parts.items():
            ids = part.fields[:, left:right]
            values = (ids != PADDING).sum()
            assert field["unknown"][name] == (ids == OUT_OF_VOCABULARY).sum() / values
            assert field["missing"][name] == (ids == MISSING).sum() / values
    assert facts["left_out"] == {
        "rows_read": 900,
        "duplicates_dropped": 100,
        "source_facts": {"ragged_rows_dropped": {"log.csv": [7]}},
    }
    assert [part["time"] for part in facts["parts"]] == [[10, 20], None, None, None]
    assert facts["days"] == {"train": {"20220425": 400}}


def test_activity_counts_every_user_once(split: SplitDirectory) -> None:
    facts = card.facts(split)
    users = np.concatenate([split.part(name).users for name in PARTS])
    rows = np.unique(users, return_counts=True)[1]
    assert facts["users"] == len(rows)
    assert facts["rows"] == len(users)
    activity = facts["activity"]
    assert activity["mean"] == rows.mean()
    assert activity["quantiles"]["min"] == rows.min()
    assert activity["quantiles"]["max"] == rows.max()
    assert activity["quantiles"]["p50"] == np.sort(rows)[math.ceil(len(rows) / 2) - 1]
    assert sum(step["users"] for step in activity["histogram"]) == len(rows)
    assert sum(step["rows"] for step in activity["histogram"]) == len(users)
    for step in activity["histogram"]:
        inside = (rows >= step["from"]) & (rows <= step["to"])
        assert step["users"] == inside.sum()
    assert activity["histogram"][0]["users"] > 0


def test_label_pairs_are_those_of_the_correlation(split: SplitDirectory) -> None:
    (pair,) = card.facts(split)["pairs"]
    a, b = np.concatenate([split.part(name).labels for name in PARTS]).astype(float).T
    assert pair["joint"] == pytest.approx((a * b).mean())
    assert pair["a_given_b"] == pytest.approx(a[b == 1].mean())
    assert pair["b_given_a"] == pytest.approx(b[a == 1].mean())
    assert pair["phi"] == pytest.approx(np.corrcoef(a, b)[0, 1])
    odds = ((a * b).sum() * ((1 - a) * (1 - b)).sum()) / ((a * (1 - b)).sum() * (b * (1 - a)).sum())
    assert pair["odds"] == pytest.approx(odds)


def test_a_label_that_implies_another_has_no_odds() -> None:
    joint = np.array([[30.0, 10.0], [10.0, 10.0]])
    (pair,) = card._pairs(joint, 100, ("a", "b"))
    assert (pair["a_given_b"], pair["b_given_a"]) == (1.0, pytest.approx(1 / 3))
    assert pair["odds"] is None
    (constant,) = card._pairs(np.array([[100.0, 10.0], [10.0, 10.0]]), 100, ("a", "b"))
    assert constant["phi"] is None


def test_blocks_do_not_change_a_figure(
    split: SplitDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = json.dumps(card.facts(split))
    monkeypatch.setattr(card, "BLOCK_CELLS", 7 * split.schema.num_columns)
    assert json.dumps(card.facts(split)) == whole


def test_memory_does_not_grow_with_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mapped pages count as resident until they are let go: 8x the rows, the same memory."""
    monkeypatch.setattr(card, "BLOCK_CELLS", 1 << 18)
    peaks = []
    for rows in (150_000, 1_200_000):
        split = SplitDirectory(write_split(tmp_path / str(rows), rows=rows))
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = _status("VmRSS")
        card.facts(split)
        peaks.append(_status("VmHWM") - before)
    assert peaks[1] < peaks[0] + 16 * 1024  # KB; the arrays of 1,200,000 rows are 47 MB larger


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


def test_a_damaged_split_is_one_clear_error(split: SplitDirectory) -> None:
    (split.path / "valid/labels.npy").write_bytes(b"no array")
    with pytest.raises(StembenchError, match="make the split again with `stembench data make"):
        card.facts(split)


def test_show_names_what_to_run_when_there_is_no_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    monkeypatch.setattr("stembench.params.load.load", lambda: settings)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["data", "show", "movielens"])
    assert isinstance(result.exception, StembenchError)
    assert "make the split with `stembench data make movielens`" in str(result.exception)
