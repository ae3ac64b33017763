"""Reliability curves: against loops, on predictions whose calibration is known, with ties."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from stembench.analysis.calibration import ALL, BINS, COLUMNS, reliability
from stembench.analysis.suite import compare
from tests.tiny_suite import MODELS, SEEDS, TASKS, make_suite, run_path


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    made = make_suite(tmp_path_factory.mktemp("reliability"))
    compare(**made)
    return made


@pytest.fixture(scope="module")
def table(suite):
    return pd.read_csv(suite["results"] / "tables/calibration.csv", dtype={"bin": str})


def test_bins_are_of_equal_size_and_in_order() -> None:
    rng = np.random.default_rng(1)
    z = rng.permutation(np.linspace(-4, 4, 1000)).astype(np.float32)
    curve = reliability(rng.integers(0, 2, 1000), z)
    assert curve.rows.tolist() == [1000 // BINS] * BINS
    assert (np.diff(curve.predicted) > 0).all()
    lowest = np.sort(z)[:100].astype(np.float64)
    assert curve.predicted[0] == pytest.approx(expit(lowest).mean(), abs=1e-12)


def test_right_predictions_lie_on_the_diagonal_and_shifted_ones_do_not() -> None:
    rng = np.random.default_rng(2)
    p = rng.uniform(0.02, 0.98, 400_000)
    labels = rng.random(len(p)) < p
    right = reliability(labels, logit(p))
    assert right.error < 3 * np.sqrt(0.25 / (len(p) / BINS))
    over = reliability(labels, logit(p) + 0.5)
    assert (over.predicted > over.observed + 0.02).all()
    assert over.error == pytest.approx(np.mean(expit(logit(p) + 0.5) - p), abs=0.005)


def test_an_error_that_cancels_in_the_ratio_is_seen() -> None:
    rng = np.random.default_rng(3)
    z = rng.normal(size=200_000)
    labels = rng.random(len(z)) < expit(z)
    steep = reliability(labels, 3 * z)  # too sure of itself on both sides
    assert np.average(steep.predicted) / np.average(steep.observed) == pytest.approx(1, abs=0.02)
    assert steep.error > 0.1
    assert steep.predicted[0] < steep.observed[0]
    assert steep.predicted[-1] > steep.observed[-1]


def test_equal_predictions_share_a_bin() -> None:
    labels = np.array([1, 0, 0, 0, 1, 1])
    curve = reliability(labels, np.array([-1, -1, -1, 2, 2, 2], np.float32))
    full = curve.rows > 0
    assert sorted(curve.rows[full].tolist()) == [3, 3]
    assert sorted(curve.observed[full].tolist()) == pytest.approx([1 / 3, 2 / 3])
    assert np.isnan(curve.observed[~full]).all()
    one = reliability(labels, np.zeros(6))
    assert one.rows.sum() == one.rows.max() == 6
    assert one.error == 0


def test_the_table_is_the_mean_over_the_seeds(suite, table) -> None:
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 2 * len(TASKS) * len(MODELS) * (BINS + 1)
    labels = np.load(suite["splits"] / "real/test/labels.npy")[:, 1]
    found = []
    for seed in SEEDS:
        z = np.load(run_path(suite, "real", "ple", seed) / "test_logits.npy")[:, 1]
        order = np.sort(z)
        edge = order[int(np.ceil(0.1 * len(z))) - 1]  # the lowest tenth, and what ties with it
        low = z <= edge
        found.append((low.sum(), expit(z[low].astype(float)).mean(), labels[low].mean()))
    rows, predicted, observed = np.array(found).T
    mine = table.query("dataset == 'real' and model == 'ple' and task == 'like'").set_index("bin")
    first = mine.loc["1"]
    assert first["n_seeds"] == 3
    assert first["n_rows"] == pytest.approx(rows.mean())
    assert first["predicted"] == pytest.approx(predicted.mean())
    assert first["observed"] == pytest.approx(observed.mean())
    assert first["sd_observed"] == pytest.approx(observed.std(ddof=1))
    assert first["gap"] == pytest.approx(np.abs(observed - predicted).mean())
    assert mine.loc[ALL, "n_rows"] == len(labels)
    assert mine.loc[ALL, "observed"] == pytest.approx(labels.mean())


def test_the_row_of_all_agrees_with_the_ratio_that_the_runs_recorded(suite, table) -> None:
    runs = pd.read_csv(suite["results"] / "tables/runs.csv")
    runs = runs[(runs["part"] == "test") & (runs["metric"] == "calibration")]
    keys = ["dataset", "task", "model"]
    ratios = runs.groupby(keys)["value"].mean()
    whole = table[table["bin"] == ALL].set_index(keys)
    assert (whole["predicted"] / whole["observed"] - ratios).abs().max() < 1e-6


def test_runs_that_do_not_count_are_left_out(tmp_path) -> None:
    made = make_suite(tmp_path)
    for seed in SEEDS:
        (run_path(made, "real", "mmoe", seed) / "run.json").unlink()
    (run_path(made, "real", "ple", SEEDS[0]) / "run.json").unlink()
    compare(**made, partial=True)
    table = pd.read_csv(made["results"] / "tables/calibration.csv", dtype={"bin": str})
    real = table[table["dataset"] == "real"]
    assert set(real["model"]) == {"ple", "stem"}
    assert set(real.loc[real["model"] == "ple", "n_seeds"]) == {2}
