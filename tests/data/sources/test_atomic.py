"""RecBole's atomic files."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from stembench.data.sources import atomic
from stembench.errors import StembenchError


def test_atomic_joins_user_and_item(atomic_root: Path) -> None:
    table = atomic.load(atomic_root, prefix="mini").collect()
    assert table.schema == {
        "user_id": pl.String,
        "item_id": pl.String,
        "rating": pl.Float64,
        "timestamp": pl.Float64,
        "age": pl.String,
        "title": pl.String,
        "class": pl.String,
        "price": pl.Float64,
    }
    assert len(table) == 100
    assert table["user_id"].to_list() == [f"u{i % 7}" for i in range(100)]
    assert table.row(1) == ("u1", "i1", 2.0, 1000.0, "21", 'The "1', "A", 1.5)
    assert table.row(6)[4] is None
    assert table.row(5)[6] == "A B C"


def test_atomic_interactions_alone(atomic_root: Path) -> None:
    (atomic_root / "mini.user").unlink()
    (atomic_root / "mini.item").unlink()
    assert atomic.load(atomic_root, prefix="mini").collect().width == 4


def test_atomic_reads_windows_line_ends(atomic_root: Path) -> None:
    path = atomic_root / "mini.user"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    table = atomic.load(atomic_root, prefix="mini").collect()
    assert table["age"][0] == "20"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("mini.inter", None, r"mini\.inter is missing"),
        ("mini.inter", "user_id:token\titem_id:id\n", "'item_id:id' is not `name:type`.*token_seq"),
        ("mini.inter", "user_id\n", "'user_id' is not `name:type`"),
        ("mini.inter", "a:token\ta:float\n", "two columns are called a"),
        ("mini.user", "user_id:token\tage:token\nu1\t2\nu2\n", r"mini\.user, line 3: 1 cells .* 2"),
        ("mini.user", "user_id:token\tage:token\nu1\t2\nu1\t3\n", "some user_id stands on two"),
        ("mini.user", "uid:token\tage:token\nu1\t2\n", "shares none"),
        ("mini.user", "user_id:token\trating:float\nu1\t2\n", "shares user_id, rating"),
    ],
)
def test_atomic_faults(file: str, text: str | None, message: str, atomic_root: Path) -> None:
    if text is None:
        (atomic_root / file).unlink()
    else:
        (atomic_root / file).write_text(text)
    with pytest.raises(StembenchError, match=message):
        atomic.load(atomic_root, prefix="mini")




def test_atomic_parts_are_one_table(atomic_root: Path) -> None:
    whole = atomic.load(atomic_root, prefix="mini").collect()
    lines = (atomic_root / "mini.inter").read_text().splitlines(keepends=True)
    (atomic_root / "mini.part2.inter").write_text("".join(lines[:61]))
    (atomic_root / "mini.part1.inter").write_text(lines[0] + "".join(lines[61:]))
    (atomic_root / "mini.inter").unlink()
    table = atomic.load(atomic_root, prefix="mini", parts=["part2", "part1"]).collect()
    assert table.equals(whole)
    (atomic_root / "mini.part1.inter").write_text("user_id:token\titem_id:token\nu\ti\n")
    with pytest.raises(StembenchError, match=r"part1\.inter: its header is not that of mini\.part2"):
        atomic.load(atomic_root, prefix="mini", parts=["part2", "part1"])


def test_atomic_a_number_that_is_none_is_refused(atomic_root: Path) -> None:
    path = atomic_root / "mini.inter"
    path.write_text(path.read_text() + "u1\ti1\tfour\t1\n")
    with pytest.raises(pl.exceptions.ComputeError, match="'rating'"):
        atomic.load(atomic_root, prefix="mini").collect()


def test_atomic_sequences_of_numbers_stay_as_written(atomic_root: Path) -> None:
    (atomic_root / "mini.item").write_text("item_id:token\tprices:float_seq\ni1\t1.50 2 7e1\n")
    row = atomic.load(atomic_root, prefix="mini").filter(pl.col("item_id") == "i1").collect()
    assert row["prices"][0] == "1.50 2 7e1"


def test_atomic_leaks_of_an_entry() -> None:
    assert atomic.leaks(leaks={"stay": "afterwards"}) == {"stay": "afterwards"}
    assert atomic.leaks() == {}
