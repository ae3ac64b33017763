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


