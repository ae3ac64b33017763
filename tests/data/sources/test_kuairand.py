"""KuaiRand's logs and feature files."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from stembench.data.sources import kuairand
from stembench.errors import StembenchError
from tests.data.conftest import kuairand_log, kuairand_members


@pytest.fixture
def kuairand_root(tmp_path: Path) -> Path:
    logs = {"4_08_to_4_21": kuairand_log([20220408]), "4_22_to_5_08": kuairand_log([20220422])}
    for name, content in kuairand_members(logs).items():
        (tmp_path / Path(name).name).write_bytes(content)
    return tmp_path


def test_kuairand_joins_logs_and_features(kuairand_root: Path) -> None:
    (kuairand_root / "log_random_4_22_to_5_08_pure.csv").write_text("not,read\n")
    table = kuairand.load(kuairand_root).collect()
    assert len(table) == 80
    assert table["date"].to_list() == [20220408] * 40 + [20220422] * 40
    assert table.schema["user_id"] == table.schema["author_id"] == pl.Int64
    assert table.schema["is_click"] == pl.Int64
    assert table.schema["onehot_feat4"] == table.schema["tag"] == pl.String
    by_user = table.unique("user_id").sort("user_id")
    unknown = by_user["user_id"].to_numpy() % 3 != 0
    assert by_user["is_live_streamer"].is_null().to_numpy().tolist() == unknown.tolist()
    assert by_user["follow_user_num_range"].unique().to_list() == ["(0,10]"]
    assert by_user["onehot_feat4"].null_count() == 3
    by_video = table.unique("video_id").sort("video_id")
    untagged = by_video["video_id"].to_numpy() % 5 == 0
    assert by_video["tag"].is_null().to_numpy().tolist() == untagged.tolist()
    assert "0,1,2,3" in by_video["tag"].to_list()
    assert set(kuairand.LEAKS) >= {"play_time_ms", "is_profile_enter", "is_like", "play_progress"}
    assert not set(kuairand.LEAKS) & {"duration_ms", "follow_user_num", "tab", "video_id"}


def test_kuairand_unknown_ids_have_null_features(kuairand_root: Path) -> None:
    path = kuairand_root / "log_standard_4_08_to_4_21_pure.csv"
    text = path.read_text().splitlines()
    path.write_text("\n".join([*text, "999,999," + text[1].split(",", 2)[2]]) + "\n")
    row = kuairand.load(kuairand_root).filter(pl.col("user_id") == 999).collect()
    assert row["user_active_degree"][0] is None
    assert row["author_id"][0] is None


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("log_standard_4_08_to_4_21_pure.csv", "ragged", r"pure\.csv, line 7: 18 cells .* has 19"),
        ("log_standard_4_08_to_4_21_pure.csv", "column", "no column tab, only user_id"),
        ("user_features_pure.csv", "twice", "some user_id stands on two lines"),
        ("user_features_pure.csv", "gone", r"no user_features\*\.csv in"),
    ],
)
def test_kuairand_faults(file: str, change: str, message: str, kuairand_root: Path) -> None:
    path = kuairand_root / file
    lines = path.read_text().splitlines()
    if change == "ragged":
        lines[6] = lines[6].rsplit(",", 1)[0]
    elif change == "column":
        lines = [line.rsplit(",", 1)[0] for line in lines]
    elif change == "twice":
        lines.append(lines[1])
    path.write_text("\n".join(lines) + "\n")
    if change == "gone":
        path.unlink()
    with pytest.raises(StembenchError, match=message):
        kuairand.load(kuairand_root)




def test_kuairand_ragged_rows_are_dropped_by_the_rule_and_counted(kuairand_root: Path) -> None:
    path = kuairand_root / "log_standard_4_08_to_4_21_pure.csv"
    whole = kuairand.load(kuairand_root).collect()
    lines = path.read_text().splitlines()
    # One short and one long row, with text where numbers belong; the rest must stay as it is.
    lines.insert(6, "x,y,z")
    lines.insert(20, lines[3] + ",too,many")
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(StembenchError, match=r"line 7: 3 cells .*\(2 such lines in all, of which 1"):
        kuairand.load(kuairand_root, max_ragged=1)
    for engine in ("in-memory", "streaming"):
        assert kuairand.load(kuairand_root, max_ragged=2).collect(engine=engine).equals(whole)
    assert kuairand.facts(kuairand_root) == {
        "ragged_lines_dropped": {path.name: {"count": 2, "lines": [7, 21]}}
    }


def test_kuairand_a_log_without_ragged_rows_has_nothing_to_tell(kuairand_root: Path) -> None:
    assert kuairand.facts(kuairand_root) == {"ragged_lines_dropped": {}}


def test_kuairand_random_log_only_where_asked_for(kuairand_root: Path) -> None:
    standard = kuairand.load(kuairand_root).collect()
    with pytest.raises(StembenchError, match=r"no log_random_\*\.csv in"):
        kuairand.load(kuairand_root, random_log=True)
    log = (kuairand_root / "log_standard_4_22_to_5_08_pure.csv").read_text()
    (kuairand_root / "log_random_4_22_to_5_08_pure.csv").write_text(log)
    assert kuairand.load(kuairand_root).collect().equals(standard)
    table = kuairand.load(kuairand_root, random_log=True).collect()
    assert len(table) == 120
    assert table.head(80).equals(standard)


def test_kuairand_quoted_commas_are_no_separators(kuairand_root: Path) -> None:
    """In tags and ranges; the streaming join keeps the log's order."""
    table = kuairand.load(kuairand_root).collect(engine="streaming")
    assert table["follow_user_num_range"].unique().to_list() == ["(0,10]"]
    assert table["tag"].drop_nulls().str.contains(",").any()
    assert table["time_ms"].to_list() == sorted(table["time_ms"].to_list())


def test_kuairand_a_label_that_is_no_integer_is_refused(kuairand_root: Path) -> None:
    path = kuairand_root / "log_standard_4_08_to_4_21_pure.csv"
    lines = path.read_text().splitlines()
    cells = lines[5].split(",")
    cells[5] = "yes"
    lines[5] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(pl.exceptions.ComputeError, match="`yes` as dtype `i64` at column 'is_click'"):
        kuairand.load(kuairand_root).collect()


def test_kuairand_header_missing(kuairand_root: Path) -> None:
    path = kuairand_root / "log_standard_4_08_to_4_21_pure.csv"
    path.write_text("\n".join(path.read_text().splitlines()[1:]) + "\n")
    with pytest.raises(StembenchError, match="two columns are called|no column user_id"):
        kuairand.load(kuairand_root)
