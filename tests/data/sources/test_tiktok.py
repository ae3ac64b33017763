"""TikTok's headerless log."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from stembench.data.sources import tiktok
from stembench.errors import StembenchError
from tests.data.sources.miniature import TIKTOK
from tests.data.sources.miniature import tiktok as rows

FILE = "final_track1_train.txt"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / FILE).write_bytes(rows(50))
    return tmp_path


def test_twelve_integer_columns_in_the_order_of_the_file(root: Path) -> None:
    table = tiktok.load(root).collect(engine="streaming")
    assert table.schema == dict.fromkeys(TIKTOK, pl.Int64)
    lines = (root / FILE).read_text().splitlines()
    assert ["\t".join(map(str, row)) for row in table.rows()] == lines


def test_minus_one_is_kept_as_the_challenge_stores_it(root: Path) -> None:
    table = tiktok.load(root).collect()
    assert (table["item_city"] == -1).sum() >= 8
    assert table.null_count().sum_horizontal()[0] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: None, r"final_track1_train\.txt is missing: fetch"),
        (lambda text: "\t".join(TIKTOK) + "\n" + text, "first line holds 'uid user_city.*no header"),
        (lambda text: text.replace("\t", ","), "first line holds"),
        (lambda text: text + "1\t2\n", "line 51: 2 cells where the first line has 12"),
        (lambda text: "\n".join(x.rsplit("\t", 1)[0] for x in text.split("\n")), "11 columns, exp"),
        (lambda text: "", "is empty"),
    ],
    ids=["missing", "header", "separator", "ragged", "column", "empty"],
)
def test_faults(change, message: str, root: Path) -> None:
    text = change((root / FILE).read_text())
    (root / FILE).unlink()
    if text is not None:
        (root / FILE).write_text(text)
    with pytest.raises(StembenchError, match=message):
        tiktok.load(root)


@pytest.mark.parametrize("cell", ["1.5", "x", "1e3"])
def test_a_cell_that_is_no_integer_is_refused(cell: str, root: Path) -> None:
    text = (root / FILE).read_text()
    (root / FILE).write_text(text + "\t".join(["1"] * 6 + [cell] + ["1"] * 5) + "\n")
    with pytest.raises(pl.exceptions.ComputeError, match=rf"`{cell}` as dtype `i64` .*'finish'"):
        tiktok.load(root).collect(engine="streaming")
