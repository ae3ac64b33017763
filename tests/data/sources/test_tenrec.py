"""Tenrec's video logs, with and without histories."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from stembench.data.sources import tenrec
from stembench.errors import StembenchError
from tests.data.sources.miniature import HISTORY, TENREC
from tests.data.sources.miniature import tenrec as rows


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "ctr_data_1M.csv").write_bytes(rows(90, history=True))
    (tmp_path / "QK-video.csv").write_bytes(rows(90, history=False))
    return tmp_path


def test_the_columns_of_both_files(root: Path) -> None:
    whole = tenrec.load(root, file="QK-video.csv").collect()
    assert whole.columns == TENREC.split(",")
    table = tenrec.load(root, file="ctr_data_1M.csv").collect(engine="streaming")
    assert table.columns == [*TENREC.split(","), *HISTORY, "hist"]
    text = {name for name, kind in table.schema.items() if kind == pl.String}
    assert text == {"video_category", "gender", "age", "hist"}
    assert table["hist"][3] == " ".join(str(table[name][3]) for name in HISTORY)
    assert table["user_id"].to_list() == sorted(table["user_id"].to_list())  # the file's order


def test_backslash_n_is_missing_and_duplicates_stay(root: Path) -> None:
    table = tenrec.load(root, file="ctr_data_1M.csv").collect()
    missing = [row for row in range(89) if row % 9 == 0]
    assert table["video_category"].head(89).is_null().arg_true().to_list() == missing
    assert len(table) == 90
    assert table.row(-1) == table.row(-2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("user_id,", "uid,", "no column user_id, only uid"),
        ("hist_7", "hist_6", "two columns are called 'hist_6'"),
        (",hist_10\n", ",other\n", "no column hist_10"),
        ("gender,age", "gender,age,extra", "no column extra, only user_id"),
        ("user_id,item_id,", "", "no column user_id, item_id"),
        ("\n0,", "\n0,0,", "line 2: 21 cells where the first line has 20"),
    ],
)
def test_faults(old: str, new: str, message: str, root: Path) -> None:
    path = root / "ctr_data_1M.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(StembenchError, match=message):
        tenrec.load(root, file="ctr_data_1M.csv")


def test_header_or_file_missing(root: Path) -> None:
    path = root / "QK-video.csv"
    path.write_text("\n".join(path.read_text().splitlines()[2:]) + "\n")
    with pytest.raises(StembenchError, match="two columns are called|no column"):
        tenrec.load(root, file="QK-video.csv")
    with pytest.raises(StembenchError, match=r"other\.csv is missing"):
        tenrec.load(root, file="other.csv")


def test_a_label_that_is_no_integer_is_refused(root: Path) -> None:
    path = root / "QK-video.csv"
    path.write_text(path.read_text() + "1,2,yes,0,0,0,1,0,1,1\n")
    with pytest.raises(pl.exceptions.ComputeError, match="'click'"):
        tenrec.load(root, file="QK-video.csv").collect()
