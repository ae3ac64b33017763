"""Generated data: what the equations promise, seen in the rows; rows as a stream."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.metrics import roc_auc_score

from stembench.analysis import buckets as comparable
from stembench.data.sources import synthetic
from stembench.errors import StembenchError
from tests.conftest import EXAMPLES

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


def make(root: Path, **changes: Any) -> pl.DataFrame:
    synthetic.generate(root, **OPTIONS | changes)
    return synthetic.load(root).collect()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return make(tmp_path_factory.mktemp("made"))


def test_columns_and_rates(made: pl.DataFrame) -> None:
    assert made.columns == [
        *("user_id", "item_id", "item_category", "hour"),
        *("click", "p_click", "like", "p_like"),
    ]
    assert made["p_click"].mean() == pytest.approx(0.4, abs=1e-9)
    assert made["p_like"].mean() == pytest.approx(0.15, abs=1e-9)
    assert made["click"].mean() == pytest.approx(0.4, abs=0.015)
    assert made["like"].mean() == pytest.approx(0.15, abs=0.015)
    assert sorted(made["hour"].unique()) == list(range(24))
    assert sorted(made["item_id"].unique()) == list(range(200))
    assert made.group_by("item_id").agg(pl.col("item_category").n_unique())[:, 1].max() == 1


def test_users_have_a_long_tail_and_a_few_rows_at_least(made: pl.DataFrame) -> None:
    rows = made.group_by("user_id").len()["len"]
    assert len(rows) == 600
    assert rows.min() >= 5
    assert rows.max() > 3 * rows.median()


def test_rows_come_in_random_order(made: pl.DataFrame) -> None:
    """Neither the users nor the halves of the table can be told by the place of a row."""
    place = np.arange(len(made))
    for column in ("user_id", "item_id", "hour", "p_click"):
        assert abs(np.corrcoef(place, made[column].to_numpy())[0, 1]) < 0.03
    ids = made["user_id"].to_numpy()
    assert abs(np.corrcoef(ids[1:], ids[:-1])[0, 1]) < 0.03
    first, second = (np.bincount(half, minlength=600) for half in np.split(ids, 2))
    z = (first - second) / np.sqrt(first + second)
    assert z.std() == pytest.approx(1.0, abs=0.1)


def test_terms_have_the_stated_size(made: pl.DataFrame) -> None:
    """Var(logit) = shared² + specific² + hour, and their difference only has the own tastes."""
    click, like = logit(made["p_click"].to_numpy()), logit(made["p_like"].to_numpy())
    assert click.std() == pytest.approx(np.hypot(1.0, 1.5), rel=0.1)
    # y_A - y_B of unit variance and correlation rho, up to sampling of users and items.
    assert (click - like).std() == pytest.approx(1.5 * np.sqrt(2 + 1.6), rel=0.05)


def test_labels_follow_their_true_probabilities(made: pl.DataFrame) -> None:
    for task in ("click", "like"):
        p, label = made[f"p_{task}"].to_numpy(), made[task].to_numpy()
        for decile in np.array_split(np.argsort(p), 10):
            error = (label[decile] - p[decile]).sum()
            assert abs(error) < 4 * np.sqrt((p[decile] * (1 - p[decile])).sum())
        assert 0.75 < roc_auc_score(label, p) < 0.95
    # Given the probabilities, the labels of two tasks are independent.
    noise = [made[task].to_numpy() - made[f"p_{task}"].to_numpy() for task in ("click", "like")]
    assert abs(np.corrcoef(*noise)[0, 1]) < 0.03


MATRIX = [[1.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 1.0]]


@pytest.mark.parametrize(
    ("correlation", "tasks"),
    [
        (-1.0, 2),
        (-0.8, 2),
        (0.0, 2),
        (1.0, 2),
        (0.5, 4),
        (-0.5, 3),
        (1.0, 3),
        (MATRIX, 3),
        (0.3, 1),
    ],
)
def test_tastes_have_the_stated_correlation(correlation: Any, tasks: int) -> None:
    matrix = synthetic.correlations(correlation, tasks)
    made = synthetic.tastes(np.random.default_rng(1), 8000, 5, matrix)
    assert made.shape == (tasks, 8000, 5)
    seen = np.corrcoef(made.reshape(tasks, -1)).reshape(tasks, tasks)
    assert seen == pytest.approx(matrix, abs=0.02)
    assert made.std(axis=(1, 2)) == pytest.approx(np.ones(tasks), abs=0.02)


def test_two_tasks_are_those_of_the_equation_with_one_rho() -> None:
    """t_B = rho t_A + sqrt(1 - rho²) n, from the same random numbers."""
    rho = -0.8
    first, second = synthetic.tastes(
        np.random.default_rng(4), 50, 3, synthetic.correlations(rho, 2)
    )
    random = np.random.default_rng(4)
    a, n = random.standard_normal((50, 3)), random.standard_normal((50, 3))
    assert first == pytest.approx(a)
    assert second == pytest.approx(rho * a + np.sqrt(1 - rho**2) * n)


def test_conflict_and_rates_of_five_tasks(tmp_path: Path) -> None:
    rates = {"a": 0.5, "b": 0.3, "c": 0.1, "d": 0.02, "e": 0.7}
    table = make(tmp_path, positive_rates=rates, correlation=-0.2, shared=0.0, latent=8)
    for task, rate in rates.items():
        assert table[f"p_{task}"].mean() == pytest.approx(rate, abs=1e-9)
    scores = np.stack([logit(table[f"p_{task}"].to_numpy()) for task in rates])
    off = np.corrcoef(scores)[np.triu_indices(5, 1)]
    # Of the terms r_i is common to all tasks: by row the sign is that of the tastes.
    assert off.mean() == pytest.approx(-0.2, abs=0.06)


def test_one_task(tmp_path: Path) -> None:
    table = make(tmp_path, positive_rates={"click": 0.2})
    assert table.columns[4:] == ["click", "p_click"]


def test_without_conflict_ranks_alike(tmp_path: Path) -> None:
    table = make(tmp_path, correlation=1.0)
    apart = logit(table["p_click"].to_numpy()) - logit(table["p_like"].to_numpy())
    assert apart.std() < 1e-6


def test_items_are_uniform_or_have_a_long_tail(tmp_path: Path) -> None:
    counts = make(tmp_path)["item_id"].value_counts()["count"]
    assert counts.std() == pytest.approx(np.sqrt(20_000 / 200), rel=0.2)  # binomial
    tailed = make(tmp_path, item_tail=1.5)["item_id"].value_counts()["count"]
    top = tailed.sort(descending=True).head(20).sum() / 20_000
    assert 0.4 < top < 0.9
    assert counts.sort(descending=True).head(20).sum() / 20_000 < 0.15
    flat = make(tmp_path, user_tail=0.0).group_by("user_id").len()["len"]
    assert flat.max() < 3 * flat.median()


# --- rows as a stream -------------------------------------------------------------------------


def world(rows: int) -> synthetic.World:
    made = synthetic.World(rows, 600, 200, 3, synthetic.correlations(-0.8, 2), 7, 0.7, 1.0)
    made.calibrate(1.0, 1.5, {"click": 0.4, "like": 0.15})
    return made


def test_any_range_of_rows_can_be_made_alone() -> None:
    whole = world(5000)
    for first, last in ((0, 5000), (0, 1), (1234, 1301), (4999, 5000)):
        part = world(5000).rows(first, last)
        for name, column in whole.rows(0, 5000).items():
            assert np.array_equal(column[first:last], part[name]), name


def test_the_size_of_a_block_changes_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: pl.DataFrame
) -> None:
    monkeypatch.setattr(synthetic, "_BLOCK", 777)
    assert make(tmp_path).equals(made)


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    content = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        (tmp_path / name).mkdir()
        synthetic.generate(tmp_path / name, **OPTIONS | {"seed": seed, "rows": 3000})
        content.append((tmp_path / name / "rows.parquet").read_bytes())
    assert content[0] == content[1] != content[2]


@settings(max_examples=60 * EXAMPLES, deadline=None)
@given(size=st.integers(1, 700), seed=st.integers(0, 2**32))
def test_a_shuffle_is_a_permutation(size: int, seed: int) -> None:
    keys = np.random.default_rng(seed).integers(0, 2**63, 6, dtype=np.uint64)
    places = synthetic.shuffled(np.arange(size), size, keys)
    assert sorted(places.tolist()) == list(range(size))


def test_memory_goes_with_the_block_not_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "_BLOCK", 4096)
    monkeypatch.setattr(synthetic, "_SAMPLE", 4096)
    peaks = []
    for rows in (20_000, 200_000):
        tracemalloc.start()
        assert sum(len(block["hour"]) for block in world(rows).blocks()) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_rates_from_a_sample_are_off_by_its_error_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "_SAMPLE", 10_000)
    table = make(tmp_path, rows=100_000)
    for task, rate in OPTIONS["positive_rates"].items():
        p = table[f"p_{task}"].to_numpy()
        error = p.std() / np.sqrt(10_000)
        assert 0 < abs(p.mean() - rate) < 4 * error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positive_rates": {}}, "names none"),
        ({"positive_rates": {"a": 1.0}}, r"must lie in \(0, 1\)"),
        ({"correlation": 1.1}, r"must lie in \[-1, 1\]"),
        (
            {"correlation": -0.6, "positive_rates": {"a": 0.1, "b": 0.1, "c": 0.1}},
            r"no 3 tastes have that correlation: .* \[-0\.5, 1\]",
        ),
        ({"correlation": MATRIX}, r"correlation is \(3, 3\), with 2 tasks"),
        ({"correlation": [[1.0, 0.1], [0.2, 1.0]]}, "symmetric with ones"),
        ({"rows": 10}, "10 rows, 600 users"),
        ({"seed": -1}, "must not be negative"),
        ({"item_tail": -0.1}, "tail must not be negative"),
    ],
)
def test_faults(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(StembenchError, match=message):
        synthetic.generate(tmp_path, **OPTIONS | changes)
    assert not any(tmp_path.iterdir())


def test_every_label_and_true_probability_is_refused_as_a_field() -> None:
    known = synthetic.LEAKS | synthetic.leaks(positive_rates={"click": 0.4, "like": 0.1})
    assert set(known) == {"p_*", "click", "like"}


TILT = {"tilt": 2.0, "tilted_correlation": 1.0}


def test_tilted_users_differ_in_positives_and_the_comparable_ones_in_taste(tmp_path: Path) -> None:
    """The truth that the buckets of comparable samples are to find."""
    options = OPTIONS | {"rows": 40_000, "users": 400, "seed": 3}
    synthetic.generate(tmp_path, **options, **TILT)
    table = synthetic.load(tmp_path).collect()
    world = synthetic.World(40_000, 400, options["items"], 3, synthetic.correlations(-0.8, 2), 3)
    world.tilt(2.0, synthetic.correlations(1.0, 2))
    assert world.tilts is not None
    opposed = np.abs(world.tilts[:, 0]) < 0.4307
    assert 0.25 < opposed.mean() < 0.42
    first, second = world.tastes
    assert np.allclose(first[~opposed], second[~opposed])
    assert np.corrcoef(first[opposed].ravel(), second[opposed].ravel())[0, 1] < -0.7
    users = table["user_id"].to_numpy()
    labels = table.select("click", "like").to_numpy()
    rows = comparable.Rows(users, users)
    found = comparable.assign(rows, labels, rows, "user", 5, 1.0).of
    share = [opposed[users[found == bucket]].mean() for bucket in range(5)]
    assert share[2] > 0.7
    assert max(share[0], share[4]) < 0.1
    rates = [labels[found == bucket].mean(axis=0) for bucket in range(5)]
    assert np.all(np.diff([a / b for a, b in rates]) < 0)  # from click-heavy to like-heavy


def test_without_a_tilt_nothing_changes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    synthetic.generate(tmp_path / "a", **OPTIONS)
    synthetic.generate(tmp_path / "b", **OPTIONS, tilt=0.0, tilted_correlation=None)
    same = [(tmp_path / name / synthetic.FILE).read_bytes() for name in ("a", "b")]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    "options", [{"tilt": 1.0}, {"tilted_correlation": 0.5}, {**TILT, "tilt": -1.0}]
)
def test_half_a_tilt_is_refused(tmp_path: Path, options: dict) -> None:
    with pytest.raises(StembenchError, match="give both, tilt above 0, or none"):
        synthetic.generate(tmp_path, **OPTIONS, **options)


def test_comparable_samples_are_not_where_synthetic_conflict_lies(tmp_path: Path) -> None:
    """True conflict of a user: correlation of the true logits of its tasks over its rows."""
    synthetic.generate(tmp_path, **OPTIONS | {"rows": 60_000})
    table = synthetic.load(tmp_path).collect()
    users = table["user_id"].to_numpy()
    labels = table.select("click", "like").to_numpy()
    rows = comparable.Rows(users, users)
    found = comparable.assign(rows, labels, rows, "user", 5, 1.0).of
    scores = logit(table.select("p_click", "p_like").to_numpy())
    agreement = np.array([np.corrcoef(scores[users == u].T)[0, 1] for u in range(600)])
    by_bucket = [agreement[np.unique(users[found == bucket])] for bucket in range(5)]
    middle, rest = by_bucket[2].mean(), np.concatenate(by_bucket[:2] + by_bucket[3:]).mean()
    assert abs(middle - rest) < 0.1 < agreement.std()
    assert by_bucket[4].mean() < by_bucket[2].mean() - 0.1  # the like-heavy users disagree most
