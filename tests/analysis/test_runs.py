import json
import math

import numpy as np
import pytest

from stembench.analysis.suite import compare
from stembench.errors import StembenchError
from tests.tiny_suite import SEEDS, brute_force, edit_run, make_suite, run_path, sha256, table


@pytest.fixture
def suite(tmp_path):
    return make_suite(tmp_path)


def spoil_logits(path):
    logits = np.load(path / "test_logits.npy")
    np.save(path / "test_logits.npy", logits + 1)


def swap_logits(path):
    """Other logits, with their checksum: only the AUC tells."""
    np.save(path / "test_logits.npy", np.load(path / "test_logits.npy")[::-1])
    edit_run(path, lambda run: run["files"].update({n: sha256(path / n) for n in run["files"]}))


def reshape_logits(path):
    np.save(path / "test_logits.npy", np.load(path / "test_logits.npy")[:-1])
    edit_run(path, lambda run: run["files"].update({n: sha256(path / n) for n in run["files"]}))


def nan_logits(path):
    np.save(path / "test_logits.npy", np.load(path / "test_logits.npy") * np.float32(np.nan))
    edit_run(path, lambda run: run["files"].update({n: sha256(path / n) for n in run["files"]}))


FAULTS = {
    "missing": lambda path: (path / "run.json").unlink(),
    "stale": lambda path: edit_run(path, lambda run: run.update(spec_sha256="old")),
    "wrong_split": lambda path: edit_run(path, lambda run: run["data"].update(sha256="old")),
    "damaged: other logits": spoil_logits,
    "damaged: no logits": lambda path: (path / "test_logits.npy").unlink(),
    "damaged: other history": lambda path: (path / "history.csv").write_text(""),
    "damaged: not JSON": lambda path: (path / "run.json").write_text("{"),
    "damaged: not an object": lambda path: (path / "run.json").write_text("[]"),
    "damaged: no checksum": lambda path: edit_run(path, lambda run: run.update(files={})),
    "damaged: no metric": lambda path: edit_run(path, lambda run: run["metrics"].pop("valid")),
    "damaged: no cost": lambda path: edit_run(path, lambda run: run.pop("timing")),
    "damaged: text": lambda path: edit_run(path, lambda run: run.update(best_epoch="two")),
    "damaged: another AUC": swap_logits,
    "damaged: too few rows": reshape_logits,
    "damaged: NaN": nan_logits,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_cell_that_is_not_ok_stops_or_is_named(suite, fault):
    FAULTS[fault](run_path(suite, "real", "ple", 76))
    status = fault.split(":")[0]
    message = rf"^1 of \d+ cells are not ready: real/ple/76 \({status}\)\. .*snakemake --cores N"
    with pytest.raises(StembenchError, match=message):
        compare(**suite)
    assert not (suite["results"] / "tables").exists()

    compare(**suite, partial=True)
    cells = table(suite, "cells")
    assert list(cells.query("status != 'ok'").status) == [status]
    if status == "missing":
        assert cells.run_sha256[13:14].isna().all()
    else:
        assert cells.run_sha256[13] == sha256(run_path(suite, "real", "ple", 76) / "run.json")
    assert table(suite, "runs").query("dataset == 'real' and model == 'ple' and seed == 76").empty
    row = table(suite, "metrics").query("dataset == 'real' and model == 'ple'").iloc[0]
    assert (row.n_seeds, row.n_expected, row.missing_seeds) == (2, 3, 76)
    pairs = table(suite, "comparison").query("dataset == 'real'").groupby("model_b").n_seeds.first()
    assert dict(pairs) == {"mmoe": 3, "ple": 2}
    inputs = json.loads((suite["results"] / "tables" / "inputs.json").read_text())
    assert inputs["complete"] is False
    assert (inputs["n_cells"], inputs["n_ok"]) == (18, 17)
    assert inputs["not_ok"] == [{"dataset": "real", "model": "ple", "seed": 76, "status": status}]
    assert "real/ple/76" not in inputs["runs"]


def test_models_with_different_seeds_are_compared_on_the_common_ones(suite):
    FAULTS["missing"](run_path(suite, "real", "stem", 2023))
    FAULTS["missing"](run_path(suite, "real", "ple", 525))
    compare(**suite, partial=True)
    rows = table(suite, "comparison").query("dataset == 'real' and task == 'click'")
    mmoe, ple = rows.itertuples()
    assert (mmoe.n_seeds, ple.n_seeds) == (2, 1)
    _, a = brute_force(suite, "real", 0, "stem")
    _, b = brute_force(suite, "real", 0, "mmoe")
    assert mmoe.delta == pytest.approx((a - b)[1:].mean(), rel=1e-8)
    assert ple.verdict == "missing"
    assert math.isnan(ple.delta)
    assert math.isnan(ple.p_adj)
    # Holm still counts the two tests that could not be made.
    family = table(suite, "comparison").query("dataset == 'real'")
    assert family.p_adj.min() == pytest.approx(min(1, 4 * family.p_total.min()))


def test_a_model_without_any_run_is_named(suite):
    for seed in SEEDS:
        FAULTS["missing"](run_path(suite, "real", "mmoe", seed))
    compare(**suite, partial=True)
    rows = table(suite, "metrics").query("dataset == 'real' and metric == 'auc'")
    mmoe = rows.query("model == 'mmoe'").iloc[0]
    assert (mmoe.n_seeds, mmoe.n_expected, mmoe.missing_seeds) == (0, 3, "2023;76;525")
    assert rows.query("model == 'mmoe'")[["mean", "sd", "rank"]].isna().all(axis=None)
    assert set(rows.query("model != 'mmoe'")["rank"]) == {1, 2}
    assert set(table(suite, "comparison").query("verdict == 'missing'").model_b) == {"mmoe"}
    cost = table(suite, "cost").query("dataset == 'real' and model == 'mmoe'").iloc[0]
    assert cost.n_seeds == 0
    assert math.isnan(cost.fit_s)
    summary = json.loads((suite["results"] / "metrics.json").read_text())
    assert set(summary["real"]["click"]) == {"ple", "stem"}


def test_nothing_has_run_yet(suite):
    for entry in suite["expected"]:
        FAULTS["missing"](run_path(suite, entry["dataset"], entry["model"], entry["seed"]))
    with pytest.raises(StembenchError, match=r"^18 of 18 cells .* and 8 more\. "):
        compare(**suite)
    compare(**suite, partial=True)
    assert (table(suite, "cells").status == "missing").all()
    assert (table(suite, "comparison").verdict == "missing").all()
    assert len(table(suite, "runs")) == 0


def test_a_split_that_cannot_be_read(suite):
    (suite["splits"] / "real" / "schema.json").unlink()
    with pytest.raises(StembenchError, match=r"schema\.json is missing"):
        compare(**suite)
    compare(**suite, partial=True)
    assert set(table(suite, "cells").query("dataset == 'real'").status) == {"wrong_split"}
    assert set(table(suite, "metrics").dataset) == {"synthetic"}
