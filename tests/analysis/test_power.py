import csv

import numpy as np
import pytest
from typer.testing import CliRunner

from stembench.analysis.power import from_pilot, from_runs
from stembench.analysis.runs import read
from stembench.cli import app as cli
from tests.conftest import ROOT
from tests.tiny_suite import make_suite


@pytest.mark.parametrize(
    ("sd", "seeds"), [(2e-4, 3), (5e-4, 5), (1e-3, 10), (1.5e-3, 20), (2e-3, 34)]
)
def test_a_pilot_over_seeds_is_answered_by_the_paired_t(sd, seeds):
    row = from_pilot(sd, 0.0, 5, 10_000, 1e-3, 0.05, 0.8)
    assert (row["seeds_needed"], row["users_needed"], row["mde_floor"]) == (seeds, None, 0)
    assert row["seen"] == ("yes" if seeds <= 5 else "no")


def test_runs_tell_what_they_can_see(tmp_path):
    suite = make_suite(tmp_path)
    group = read(suite["results"], suite["splits"], suite["expected"], partial=False)[0]
    rows = from_runs(group, "stem", 0.02, 0.05, 0.8)
    assert {(row["task"], row["model_b"]) for row in rows} == {
        (task, model) for task in ("click", "like") for model in ("mmoe", "ple")
    }
    for row in rows:
        assert (row["n_seeds"], row["n_users"]) == (
            3,
            len(np.unique(group.split.part("test").users)),
        )
        assert 0 <= row["mde_floor"] < row["mde"]
        assert (row["seen"] == "yes") == (row["mde"] <= 0.02)
        needed, at_least = row["users_needed"], row["users_at_least"]
        assert at_least is None or needed is None or at_least <= needed


def test_the_command_answers_without_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    path = tmp_path / "plan.csv"
    options = ["--sd-seed", "1e-3", "--sd-user", "0.2", "--users", "20000", "--csv", str(path)]
    done = CliRunner().invoke(cli.app, ["power", *options])
    assert done.exit_code == 0, done.output
    assert "none is enough" in done.output
    assert "AUC difference of 0.001" in done.output
    (row,) = csv.DictReader(path.open())
    assert row["seeds_needed"] == ""
    assert row["seeds_at_least"] == "10"
