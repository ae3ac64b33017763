"""The comparable-sample analysis on suites whose conflict is planted in the logits."""

import json

import numpy as np
import pandas as pd
import pytest

from stembench.analysis.runs import read
from stembench.analysis.transfer import COLUMNS, INTERACTION, Setting, alternatives, transfer_gaps
from stembench.errors import StembenchError
from stembench.records.writing import write_csv
from stembench.report.tables.comparable import write_comparable
from stembench.stats import user_influence
from tests.tiny_suite import write_run

TASKS = ("click", "like")
USERS, ITEMS, SEEDS = 300, 40, (1, 2, 3, 4, 5)
PRIMARY = Setting("user", 3, 1.0)


def make(tmp_path, loss, random_seed=0):
    """A suite of single_task, mmoe and stem; `loss` is how much noise mmoe adds by user (U,).

    Users differ in their mix of clicks and likes. mix (U,) in [-1, 1]: click-heavy to like-heavy.
    """
    random = np.random.default_rng(random_seed)
    mix = random.permutation(np.linspace(-1, 1, USERS))
    split = tmp_path / "splits" / "planted"
    rows = {"train": 20_000, "valid": 10, "test": 10_000}
    truth = {}
    for part in ("train", "test"):
        folder = split / part
        folder.mkdir(parents=True)
        users = random.integers(0, USERS, rows[part]).astype(np.int32)
        truth[part] = random.normal(size=(rows[part], 2)) * 1.5
        truth[part] += 1.5 * mix[users, None] * [-1, 1] - 0.5
        labels = random.random((rows[part], 2)) < 1 / (1 + np.exp(-truth[part]))
        items = random.integers(0, ITEMS, (rows[part], 1)).astype(np.int32)
        for name, array in (("users", users), ("labels", labels.astype(np.uint8))):
            np.save(folder / f"{name}.npy", array)
        np.save(folder / "fields.npy", items)
    field = {"name": "item", "role": "item", "kind": "categorical", "size": ITEMS, "columns": 1}
    schema = {"dataset": "planted", "fields": [field], "tasks": list(TASKS)}
    (split / "schema.json").write_text(json.dumps(schema))
    manifest = {"dataset": "planted", "split": "p", "sha256": "split-planted", "rows": rows}
    (split / "manifest.json").write_text(json.dumps(manifest))

    users = np.load(split / "test" / "users.npy")
    expected = []
    results = tmp_path / "results" / "planted"
    for model in ("single_task", "mmoe", "stem"):
        for seed in SEEDS:
            noise = random.normal(size=truth["test"].shape)
            scale = loss(mix)[users, None] if model == "mmoe" else 0.8
            entry = {"dataset": "planted", "model": model, "seed": seed, "spec_sha256": model}
            path = results / "runs" / "planted" / model / str(seed)
            write_run(path, split, truth["test"] + scale * noise, model)
            expected.append(entry)
    (group,) = read(results, tmp_path / "splits", expected, partial=False)
    return group


def table(rows):
    return (
        pd.DataFrame(rows, columns=list(COLUMNS))
        .set_index(["model", "task", "bucket"])
        .sort_index()
    )


@pytest.fixture(scope="module")
def conflict(tmp_path_factory):
    """mmoe loses on users whose mix is balanced and gains on the others."""
    return make(tmp_path_factory.mktemp("conflict"), lambda mix: np.where(abs(mix) < 0.35, 2, 0.5))


def test_planted_conflict_is_found_where_it_is(conflict):
    found = table(transfer_gaps(conflict, "single_task", PRIMARY, 0.05))
    for task in TASKS:
        mine = found.loc["mmoe", task]
        assert mine.loc["comparable", "verdict"] == "negative"
        assert mine.loc["comparable", "ci_hi"] < 0
        assert mine.loc[INTERACTION, "verdict"] == "negative"
        # The bucket is a third of the rows, the planted conflict the middle 35% of the users.
        assert (mine.loc[["a1", "b1"], "delta"] > 0.5 * mine.loc["comparable", "delta"]).all()
    others = found.loc["stem"]
    assert (others.verdict.drop("none", level="bucket") == "inconclusive").all()


def test_other_settings_tell_the_same(conflict):
    tried = alternatives(PRIMARY, {"buckets": [3, 5], "smoothing": [0.5, 5.0]})
    assert tried == [
        Setting("user", 5, 1.0, False), Setting("user", 3, 0.5, False),
        Setting("user", 3, 5.0, False),
    ]  # fmt: skip
    for setting in tried:
        found = table(transfer_gaps(conflict, "single_task", setting, 0.05)).loc["mmoe"]
        assert (found.xs(INTERACTION, level="bucket").verdict == "negative").all()


def test_items_without_conflict_show_none(tmp_path):
    """The conflict is one of users: by items' ratios the same suites have none."""
    rejected = 0
    for seed in range(4):
        group = make(tmp_path / str(seed), lambda mix: np.where(abs(mix) < 0.35, 2, 0.5), seed)
        found = table(transfer_gaps(group, "single_task", Setting("item", 3, 1.0), 0.05))
        rejected += (found.loc["mmoe"].xs(INTERACTION, level="bucket").p_adj < 0.05).any()
    assert rejected <= 1


def test_on_the_null_nothing_is_found(tmp_path):
    rejected = 0
    for seed in range(4):
        group = make(tmp_path / str(seed), lambda mix: np.full(len(mix), 0.8), seed)
        found = table(transfer_gaps(group, "single_task", PRIMARY, 0.05))
        rejected += found.verdict.isin(["negative", "positive"]).any()
    assert rejected <= 1  # 4 families of level .05 each


def test_a_bucket_is_the_difference_of_the_aucs_of_its_rows(conflict):
    rows = transfer_gaps(conflict, "single_task", PRIMARY, 0.05, ("auc", "gauc"))
    found = pd.DataFrame(rows)
    row = found.query("model == 'mmoe' and task == 'like' and bucket == 'b1' and metric == 'auc'")
    row = row.iloc[0]
    part = conflict.split.part("test")
    train = conflict.split.part("train")
    a, b = (np.bincount(train.users, train.labels[:, t], USERS) for t in range(2))
    share = a.sum() / (a.sum() + b.sum())
    ratio = np.log((a + share) / (b + 1 - share)) - np.log(share / (1 - share))
    at = (ratio[part.users] <= row.ratio_hi) & (ratio[part.users] > row.ratio_lo)
    assert (at.sum(), part.labels[at, 1].sum()) == (row.n_rows, row.n_pos)
    aucs = {
        model: [
            user_influence(
                part.labels[at, 1], np.load(cell.path / "test_logits.npy")[at, 1], part.users[at]
            )[0]
            for cell in conflict.sound(model)
        ]
        for model in ("mmoe", "single_task")
    }
    assert row.delta == pytest.approx(np.mean(aucs["mmoe"]) - np.mean(aucs["single_task"]))
    assert set(found.metric) == {"auc", "gauc"}
    assert found.query("bucket == 'none'").verdict.eq("missing").all()  # every user was seen


def test_small_buckets_are_not_tested(conflict):
    setting = Setting("user", 49, 1.0)
    found = pd.DataFrame(transfer_gaps(conflict, "single_task", setting, 0.05))
    small = found[(found.n_users < 10) & (found.bucket != "none")]
    assert len(small)
    assert small.p.isna().all()
    assert small.ci_lo.isna().all()
    assert "small" in set(small.verdict) <= {"small", "missing"}


def test_tables_and_figures(conflict, tmp_path):
    rows = transfer_gaps(conflict, "single_task", PRIMARY, 0.05, ("auc", "gauc"))
    for name in ("comparable", "comparable_sensitivity"):
        write_csv(tmp_path / "tables" / f"{name}.csv", rows, COLUMNS)
    paths = write_comparable(tmp_path, "stem")
    assert {path.name for path in paths} == {
        "comparable.md", "comparable.svg", "comparable.png",
        "comparable_sensitivity.svg", "comparable_sensitivity.png",
    }  # fmt: skip
    text = paths[0].read_text()
    assert "MMoE" in text
    assert " ↓" in text
    assert "missing" in text
    before = [path.read_bytes() for path in paths]
    write_comparable(tmp_path, "stem")
    assert before == [path.read_bytes() for path in paths]


def test_the_baseline_must_be_run(conflict):
    with pytest.raises(StembenchError, match="baseline ple"):
        transfer_gaps(conflict, "ple", PRIMARY, 0.05)
