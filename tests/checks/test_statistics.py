import csv

import numpy as np
import pytest
from typer.testing import CliRunner

from stembench.analysis.runs import read
from stembench.checks.statistics import checks, run, simulate
from stembench.cli import app as cli
from stembench.errors import StembenchError
from stembench.stats import user_influence
from tests.conftest import ROOT
from tests.tiny_suite import make_suite


def test_the_quick_form_passes_and_is_deterministic_by_seed(tmp_path):
    """The reduced battery; the full one is `make validate`."""
    suite = make_suite(tmp_path)
    groups = read(suite["results"], suite["splits"], suite["expected"], partial=False)
    rows = run(groups, True, 2, tmp_path / "out")
    assert not [row for row in rows if row["result"] == "FAIL"]
    told = {row["check"] for row in rows}
    assert told >= {
        "oracle", "type-I error", "coverage of 95% CI", "family-wise error", "user-swap null",
        "split-seed null", "power at the MDE",
    }  # fmt: skip
    assert {row["seeds"] for row in rows if row["setting"] == "runs of one model"} == set()
    written = list(csv.DictReader((tmp_path / "out" / "validation.csv").open()))
    assert len(written) == len(rows)
    assert tuple(written[0]) == checks.COLUMNS
    *cell, _ = checks.grid(True, 1)[0]
    assert simulate.tally(*cell, 100) == simulate.tally(*cell, 100)  # with the bootstrap


def test_a_rate_outside_its_bounds_fails():
    def outcome(hits, bounds, slack=0.0):
        return checks.row("c", "s", 5, (hits, 1000), bounds, slack)["result"]

    assert outcome(60, (None, 0.06)) == "pass"
    assert outcome(61, (None, 0.06)) == "FAIL"
    assert outcome(61, (None, 0.06), slack=3) == "pass"
    assert outcome(934, (0.935, 0.965)) == outcome(966, (0.935, 0.965)) == "FAIL"
    assert outcome(500, (None, None)) == "info"


def test_a_bound_that_is_missed_is_a_failure_whatever_the_check():
    """No check has an excuse: family-wise errors are held to alpha, type-I errors to .06."""
    setting = "12 tests, 12 of them null, balanced"
    row = checks.row("family-wise error", setting, 5, (51, 1000), (None, 0.05), 0)
    assert row["result"] == "FAIL"
    setting = "test parts, seed noise dominates, difference 0"
    assert checks.row("type-I error", setting, 5, (61, 1000), (None, 0.06), 0)["result"] == "FAIL"


def test_the_nulls_are_held_to_alpha_and_two_errors():
    p = [0.01] * 63 + [0.5] * 937
    (row,) = checks._null_rows("user-swap null", "s", 5, p, 0)
    assert row["upper"] == pytest.approx(0.05 + 2 * (0.05 * 0.95 / 1000) ** 0.5)
    assert row["result"] == "pass"
    (row,) = checks._null_rows("user-swap null", "s", 5, [0.01] * 2 + p[:-2], 0)
    assert row["result"] == "FAIL"


def test_halves_of_the_seeds_are_disjoint():
    d = np.eye(9)
    found = list(checks._splits(d, 4, 50, np.random.default_rng(0)))
    assert len(found) == 50
    assert all((np.abs(x).sum(axis=0) <= 1).all() and np.abs(x).sum() == 8 for x in found)
    assert len({x.tobytes() for x in found}) > 40


def test_the_expected_auc_of_simulated_test_parts_is_true():
    world = simulate.WORLDS["balanced"]
    means = simulate.means_for(world, 0.03)
    random = np.random.default_rng(0)
    found = []
    for _ in range(60):
        part = simulate.test_part(random, 2, world, means)
        found.append(
            [[user_influence(part.labels, z, part.users)[0] for z in m] for m in part.logits]
        )
    mean = np.mean(found, axis=(0, 2))
    expected = [simulate.true_auc(m, world, s) for m, s in zip(means, (1.0, 0.5), strict=True)]
    assert expected[0] - expected[1] == pytest.approx(0.03, abs=1e-6)
    np.testing.assert_allclose(mean, expected, atol=0.015)


def test_the_command_says_what_failed(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    failing = [{"check": "coverage of 95% CI", "result": "FAIL"}]
    monkeypatch.setattr("stembench.checks.statistics.run", lambda *_: failing)
    done = CliRunner().invoke(cli.app, ["validate", "--quick", "--out", str(tmp_path)])
    assert isinstance(done.exception, StembenchError)
    assert "coverage" in str(done.exception)
