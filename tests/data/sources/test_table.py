"""A user's own log as CSV, TSV or Parquet."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stembench.data.sources import table
from stembench.errors import StembenchError

CSV = (
    "user,item,zip,price,score,when,day,bought,note\n"
    '12,9007199254740993,00501,1.50,3,2024-01-31 23:59:59.250,2024-01-31,1,"a, b"\n'
    "13,7,10001,2,,2024-02-01 00:00:00.000,2024-02-01,0,\n"
    "14,8,1e5,-0.25,4,2024-02-01 00:00:01.000,2024-02-01,0,x\n"
)


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def read(root: Path, **options: Any) -> pl.DataFrame:
    lazy = table.load(root, **options)
    rows = lazy.collect(engine="streaming")
    assert rows.equals(lazy.collect(engine="in-memory"))
    return rows


def test_types_are_inferred_without_changing_a_value(tmp_path: Path) -> None:
    write(tmp_path, "log.csv", CSV)
    rows = read(tmp_path)
    assert dict(rows.schema) == {
        **{"user": pl.Int64, "item": pl.Int64, "zip": pl.String, "price": pl.Float64},
        **{"score": pl.Int64, "when": pl.String, "day": pl.String, "bought": pl.Int64},
        "note": pl.String,
    }
    assert rows["item"][0] == 9007199254740993  # a float would make it ...992
    assert rows["zip"].to_list() == ["00501", "10001", "1e5"]
    assert rows["score"].to_list() == [3, None, 4]  # a gap makes no floats
    assert rows["note"].to_list() == ["a, b", None, "x"]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2", "0"], pl.Int64),
        (["1", "007"], pl.String),
        (["1", "+1"], pl.String),
        (["-0"], pl.String),
        (["999999999999999999"], pl.Int64),
        (["9999999999999999999"], pl.String),  # 19 digits may not fit
        (["1", "1.5"], pl.Float64),
        (["1e5", "2"], pl.String),  # half a hash
        (["1.5", "nan"], pl.String),
        (["true", "false"], pl.String),
        (["12345678901234567.5"], pl.String),
        ([None, None], pl.String),
        ([None, "3"], pl.Int64),
    ],
)
def test_inference(cells: list[str | None], kind: type[pl.DataType]) -> None:
    assert table._inferred(pl.Series(cells, dtype=pl.String)) == kind


def test_types_of_the_entry_come_first(tmp_path: Path) -> None:
    write(tmp_path, "log.csv", CSV)
    types = {"user": "text", "score": "float", "when": "datetime", "day": "date", "bought": "int"}
    rows = read(tmp_path, types=types)
    assert rows["user"].to_list() == ["12", "13", "14"]
    assert rows["score"].to_list() == [3.0, None, 4.0]
    moment = datetime(2024, 1, 31, 23, 59, 59, 250_000, tzinfo=UTC)
    assert rows["when"][0] == round(moment.timestamp() * 1000)
    assert rows["day"].to_list() == [20240131, 20240201, 20240201]


def test_a_later_cell_of_another_type_is_an_error_not_a_guess(tmp_path: Path) -> None:
    lines = "".join(f"{row}\n" for row in range(table._SAMPLE + 1))
    write(tmp_path, "a.csv", "user\n" + lines + "u1\n")
    with pytest.raises(pl.exceptions.ComputeError, match="`u1` as dtype `i64` at column 'user'"):
        table.load(tmp_path).collect()
    assert read(tmp_path, types={"user": "text"})["user"][-1] == "u1"


def test_tsv_headerless_and_null_values(tmp_path: Path) -> None:
    write(tmp_path, "log.tsv", '1\t\\N\tsay "hi"\n2\tNA\t\n')
    rows = read(tmp_path, columns=["user", "age", "text"], null_values=["\\N", "NA"])
    assert rows.rows() == [(1, None, 'say "hi"'), (2, None, None)]
    write(tmp_path, "log.tsv", "1|2\n3|4\n")
    assert read(tmp_path, columns=["a", "b"], separator="|").rows() == [(1, 2), (3, 4)]


def test_a_folder_of_files_is_one_table_in_the_order_of_names(tmp_path: Path) -> None:
    for part in (2, 1, 3):
        write(tmp_path, f"part-{part}.csv", f"user,item\n{part},1\n{part},2\n")
    write(tmp_path, "_SUCCESS", "")
    write(tmp_path, ".part.crc", "x")
    assert read(tmp_path)["user"].to_list() == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_hive_folders_are_columns(suffix: str, tmp_path: Path) -> None:
    for day, country in (("20240102", "n%2Fa"), ("20240101", table._NO_VALUE)):
        folder = tmp_path / f"day={day}" / f"country={country}"
        folder.mkdir(parents=True)
        frame = pl.DataFrame({"user": [1, 2]})
        getattr(frame, f"write_{suffix}")(folder / f"x.{suffix}")
    rows = read(tmp_path)
    assert rows.columns == ["user", "day", "country"]
    assert rows["day"].to_list() == [20240101, 20240101, 20240102, 20240102]
    assert rows["country"].to_list() == [None, None, "n/a", "n/a"]
    assert read(tmp_path, types={"day": "text"})["day"][0] == "20240101"


def test_parquet_types_become_plain(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "user": pl.Series([1, 2], dtype=pl.UInt32),
            "item": pl.Series([12.0, float("nan")], dtype=pl.Float64),
            "brand": pl.Series(["a", "b"], dtype=pl.Categorical),
            "price": pl.Series(["1.50", "2.25"]).cast(pl.Decimal(10, 2)),
            "tags": [["x", "y"], []],
            "ids": [[3, 1], None],
            "day": [date(2024, 1, 31), date(2024, 2, 1)],
            "when": [datetime(2024, 1, 31), datetime(2024, 2, 1)],
            "zoned": pl.Series([datetime(2024, 1, 31, tzinfo=UTC)] * 2),
            "bought": [True, False],
        }
    )
    frame.write_parquet(tmp_path / "log.parquet")
    rows = read(tmp_path, types={"item": "int", "zoned": "date"})
    stamp = 1_706_659_200_000
    assert rows.rows() == [
        (1, 12, "a", 1.5, "x,y", "3,1", 20240131, stamp, 20240131, True),
        (2, None, "b", 2.25, "", None, 20240201, stamp + 86_400_000, 20240131, False),
    ]


def test_a_float_id_that_is_no_integer_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"item": [1.0, 4.5]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(pl.exceptions.InvalidOperationError, match="4.5"):
        table.load(tmp_path, types={"item": "int"}).collect()


def test_ragged_lines_as_the_entry_says(tmp_path: Path) -> None:
    write(tmp_path, "log.csv", "user,item\n1,2\n3\n4,5\n")
    with pytest.raises(StembenchError, match=r"log\.csv, line 3: 1 cells"):
        table.load(tmp_path)
    assert read(tmp_path, max_ragged=1).rows() == [(1, 2), (4, 5)]
    assert table.facts(tmp_path)["ragged_lines_dropped"] == {"log.csv": {"count": 1, "lines": [3]}}


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({}, {}, "no files in .*put the table there"),
        ({"a.csv": "u\n1\n", "b.tsv": "u\n1\n"}, {}, "holds csv, tsv: a table is all csv"),
        ({"a.xlsx": "x"}, {}, r"holds \.xlsx: a table is all csv"),
        ({"a.csv": "u,i\n1,2\n", "b.csv": "i,u\n1,2\n"}, {}, r"b\.csv: its header is not that of"),
        ({"a.csv": "u,u\n1,2\n"}, {}, "two columns are called 'u'"),
        ({"a.csv": "u\n1\n"}, {"types": {"x": "int"}}, "unknown column 'x', one of u"),
        ({"a.csv": "u\n1\n"}, {"types": {"u": "real"}}, "unknown type 'real', one of int, float"),
        ({"a.csv": "u\n1\n"}, {"leaks": {"x": "y"}}, r"leaks: no column 'x', only u"),
        ({"a.csv": "u,i\n1,2\n"}, {"columns": ["u"]}, "2 columns, expected 1: u"),
        ({"d=1/a.csv": "u\n1\n", "a.csv": "u\n1\n"}, {}, "lies in folders d.*such without|without"),
        ({"a.csv": ""}, {}, r"a\.csv is empty"),
        ({"a.csv": "u\n1\n"}, {"separator": "::"}, "separator must be one ASCII character"),
        ({"a.csv": "u\n1\n"}, {"quote": ""}, "quote must be one ASCII character"),
        ({"u=1/a.csv": "u\n1\n"}, {}, "u is a folder and a column"),
    ],
)
def test_faults(
    files: dict[str, str], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        write(tmp_path, name, text)
    with pytest.raises(StembenchError, match=message):
        table.load(tmp_path, **options)


def test_parquet_files_of_other_columns_are_told(tmp_path: Path) -> None:
    pl.DataFrame({"u": [1]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"u": ["1"]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(StembenchError, match=r"b\.parquet: .*u is String, not Int64"):
        table.load(tmp_path)


def test_leaks_of_an_entry_are_those_it_declares() -> None:
    assert table.leaks(leaks={"stay_*": "afterwards"}) == {"stay_*": "afterwards"}
    assert table.leaks() == {}


def test_marks_of_other_programs_are_read_as_they_are_meant(tmp_path: Path) -> None:
    """A byte order mark, Windows line ends, a line end and quotes inside a quoted cell."""
    text = '\ufeffuser,note\r\n1,"a,\r\nb"\r\n2,"say ""hi"""\r\n'
    (tmp_path / "log.csv").write_bytes(text.encode())
    assert read(tmp_path).rows() == [(1, "a,\r\nb"), (2, 'say "hi"')]
    (tmp_path / "log.csv").write_bytes(b"user,caf\xe9\n1,2\n")
    with pytest.raises(StembenchError, match="not UTF-8 text"):
        table.load(tmp_path)
