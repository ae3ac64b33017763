"""Raw files to tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.special import logit
from sklearn.metrics import roc_auc_score

from stembench.data.files import check_rectangular
from stembench.data.sources import atomic, kuairand, synthetic
from stembench.errors import StembenchError
from tests.data.conftest import kuairand_log, kuairand_members

OPTIONS: dict[str, Any] = {
    "rows": 20_000,
    "users": 600,
    "items": 200,
    "latent": 3,
    "correlation": -0.8,
    "shared": 1.0,
    "specific": 1.5,
    "positive_rates": {"click": 0.4, "like": 0.15},
    "seed": 7,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    root = tmp_path_factory.mktemp("made")
    synthetic.generate(root, **OPTIONS)
    return synthetic.load(root).collect()


def test_synthetic_columns_and_rates(made: pl.DataFrame) -> None:
    assert made.columns == [
        *("user_id", "item_id", "item_category", "hour"),
        *("click", "p_click", "like", "p_like"),
    ]
    assert made["p_click"].mean() == pytest.approx(0.4, abs=1e-9)
    assert made["p_like"].mean() == pytest.approx(0.15, abs=1e-9)
    assert made["click"].mean() == pytest.approx(0.4, abs=0.015)
    assert made["like"].mean() == pytest.approx(0.15, abs=0.015)
    rows = made.group_by("user_id").len()["len"]
    assert len(rows) == 600
    assert rows.min() >= 5
    assert rows.max() > 3 * rows.median()
    assert made.group_by("item_id").agg(pl.col("item_category").n_unique())[:, 1].max() == 1


def test_synthetic_terms_have_the_stated_size(made: pl.DataFrame) -> None:
    """Var(logit) = shared² + specific² + hour, and their difference only has the own tastes."""
    click, like = logit(made["p_click"].to_numpy()), logit(made["p_like"].to_numpy())
    assert click.std() == pytest.approx(np.hypot(1.0, 1.5), rel=0.1)
    # y_A - y_B of unit variance and correlation rho, up to sampling of users and items.
    assert (click - like).std() == pytest.approx(1.5 * np.sqrt(2 + 1.6), rel=0.05)


@pytest.mark.parametrize("correlation", [-1.0, -0.8, 0.0, 0.5, 1.0])
def test_synthetic_tastes_have_the_stated_correlation(correlation: float) -> None:
    first, second = synthetic.tastes(np.random.default_rng(1), 4000, 5, correlation)
    seen = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert seen == pytest.approx(correlation, abs=0.02)
    assert second.std() == pytest.approx(1.0, abs=0.02)


def test_synthetic_without_conflict_ranks_alike(tmp_path: Path) -> None:
    synthetic.generate(tmp_path, **OPTIONS | {"correlation": 1.0})
    table = synthetic.load(tmp_path).collect()
    apart = logit(table["p_click"].to_numpy()) - logit(table["p_like"].to_numpy())
    assert apart.std() < 1e-6


def test_synthetic_oracle_is_above_chance(made: pl.DataFrame) -> None:
    for task in ("click", "like"):
        auc = roc_auc_score(made[task].to_numpy(), made[f"p_{task}"].to_numpy())
        assert 0.75 < auc < 0.95


def test_synthetic_same_seed_same_bytes(tmp_path: Path) -> None:
    content = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        (tmp_path / name).mkdir()
        synthetic.generate(tmp_path / name, **OPTIONS | {"seed": seed, "rows": 3000})
        content.append((tmp_path / name / "rows.parquet").read_bytes())
    assert content[0] == content[1] != content[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positive_rates": {"a": 0.1, "b": 0.1, "c": 0.1}}, "one or two tasks, .* names 3"),
        ({"positive_rates": {}}, "names 0"),
        ({"positive_rates": {"a": 1.0}}, r"must lie in \(0, 1\)"),
        ({"correlation": 1.1}, r"must lie in \[-1, 1\]"),
        ({"rows": 10}, "10 rows, 600 users"),
        ({"seed": -1}, "must not be negative"),
    ],
)
def test_synthetic_faults(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(StembenchError, match=message):
        synthetic.generate(tmp_path, **OPTIONS | changes)
    assert not any(tmp_path.iterdir())


# --- atomic ----------------------------------------------------------------------------------


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


# --- kuairand --------------------------------------------------------------------------------


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


# --- lines -----------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [3, 7, 1 << 20])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,4\n", None),
        ("a,b\n1,2\n3,4", None),
        ('a,b\n"1,\n1",2\n3,"4"\n', None),
        ("a\n1\n", None),
        ("", None),
        ("a,b\n1,2\n3\n4,5\n", "line 3: 1 cells"),
        ("a,b\n1,2,3\n", "line 2: 3 cells"),
        ("a,b\n1,2\n3", "line 3: 1 cells"),
        ("a,b\n1,2\n\n", "line 3: 1 cells"),
        ('a,b\n1,"2\n', "quoted cell does not end"),
    ],
)
def test_ragged_lines(
    text: str, message: str | None, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stembench.data.files.CHUNK", chunk)
    path = tmp_path / "t.csv"
    path.write_text(text)
    if message is None:
        check_rectangular(path, ",", '"')
    else:
        with pytest.raises(StembenchError, match=message):
            check_rectangular(path, ",", '"')
