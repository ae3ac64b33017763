"""A finished suite of three models, as run and split directories, written with numpy alone."""

import hashlib
import json
import shutil

import numpy as np
import pandas as pd

from stembench.analysis.suite import COLUMNS
from stembench.metrics import evaluate_task

ALPHA, MARGIN = 0.05, 1e-3
TASKS = ("click", "like")
MODELS = ("mmoe", "ple", "stem")
SEEDS = (2023, 76, 525)
#: How much noise each model adds to the true logits.
NOISE = {"mmoe": 1.2, "ple": 0.8, "stem": 0.3}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_split(path, seed=0, rows=600, users=40, oracle=True):
    """A split directory with a test part as the reader wants it; returns the true logits (N, T)."""
    rng = np.random.default_rng(seed)
    test = path / "test"
    test.mkdir(parents=True)
    codes = rng.integers(0, users, rows).astype(np.int32) * 2
    truth = rng.normal(size=(2 * users, 2))[codes] + rng.normal(size=(rows, 2))
    p = 1 / (1 + np.exp(-truth))
    np.save(test / "fields.npy", rng.integers(0, 5, (rows, 1)).astype(np.int32))
    np.save(test / "labels.npy", (rng.random((rows, 2)) < p).astype(np.uint8))
    np.save(test / "users.npy", codes)
    if oracle:
        np.save(test / "probabilities.npy", p)
    field = {"name": "item", "role": "item", "kind": "categorical", "size": 5, "columns": 1}
    schema = {"dataset": path.name, "fields": [field], "tasks": list(TASKS)}
    (path / "schema.json").write_text(json.dumps(schema))
    manifest = {"dataset": path.name, "split": f"{path.name}_t1", "sha256": f"split-{path.name}"}
    manifest["rows"] = {"train": 10, "valid": 10, "test": rows}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return truth


def write_run(path, split, logits, spec_sha256):
    """A run directory with those test logits (N, T)."""
    path.mkdir(parents=True)
    labels, users = (np.load(split / "test" / f"{name}.npy") for name in ("labels", "users"))
    np.save(path / "test_logits.npy", logits.astype(np.float32))
    (path / "history.csv").write_text("epoch,time\n1,0.0\n")
    scored = {
        task: evaluate_task(labels[:, t], logits[:, t].astype(np.float32), users)
        for t, task in enumerate(TASKS)
    }
    run = {
        "format": 1,
        "spec_sha256": spec_sha256,
        "data": {"dataset": split.name, "sha256": f"split-{split.name}"},
        "metrics": {"valid": scored, "test": scored},
        "best_epoch": 2,
        "epochs_run": 3,
        "timing": {"fit_s": 1.5, "total_s": 2.0, "samples_per_s": 1e4 / 3},
        "peak_memory_mb": None,
        "parameters": {"embedding": 100, "dense": 20, "total": 120},
        "files": {name: sha256(path / name) for name in ("history.csv", "test_logits.npy")},
    }
    (path / "run.json").write_text(json.dumps(run))


def make_suite(tmp_path):
    """A finished suite of 2 data sets × 3 models × 3 seeds, as the arguments of `compare`."""
    results, splits = tmp_path / "results" / "tiny", tmp_path / "splits"
    expected = []
    for d, dataset in enumerate(("synthetic", "real")):
        truth = write_split(splits / dataset, seed=d, oracle=dataset == "synthetic")
        for m, model in enumerate(MODELS):
            for seed in SEEDS:
                rng = np.random.default_rng([d, m, seed])
                entry = {"dataset": dataset, "model": model, "seed": seed}
                entry["spec_sha256"] = f"{dataset}-{model}-{seed}"
                logits = np.round(truth + NOISE[model] * rng.normal(size=truth.shape), 1)
                path = results / "runs" / dataset / model / str(seed)
                write_run(path, splits / dataset, logits, entry["spec_sha256"])
                expected.append(entry)
    return {"results": results, "splits": splits, "expected": expected} | {
        "reference": "stem",
        "alpha": ALPHA,
        "margin": MARGIN,
    }


def add_unbiased(suite, dataset, rows=300):
    """Give a data set of the suite, and its runs, a part with randomly exposed items."""
    split = suite["splits"] / dataset
    test, unbiased = split / "test", split / "unbiased"
    unbiased.mkdir()
    for name in ("fields", "labels", "users"):
        np.save(unbiased / f"{name}.npy", np.load(test / f"{name}.npy")[::-1][:rows])
    manifest = json.loads((split / "manifest.json").read_text())
    manifest["rows"]["unbiased"] = rows
    (split / "manifest.json").write_text(json.dumps(manifest))
    labels, users = (np.load(unbiased / f"{name}.npy") for name in ("labels", "users"))
    for path in (suite["results"] / "runs" / dataset).glob("*/*"):
        logits = np.load(path / "test_logits.npy")[::-1][:rows]
        np.save(path / "unbiased_logits.npy", logits)
        scored = {
            task: evaluate_task(labels[:, t], logits[:, t], users) for t, task in enumerate(TASKS)
        }

        def add(run, path=path, scored=scored):
            run["metrics"]["unbiased"] = scored
            run["files"]["unbiased_logits.npy"] = sha256(path / "unbiased_logits.npy")

        edit_run(path, add)


def run_path(suite, dataset, model, seed):
    return suite["results"] / "runs" / dataset / model / str(seed)


def edit_run(path, change):
    run = json.loads((path / "run.json").read_text())
    change(run)
    (path / "run.json").write_text(json.dumps(run))


def table(suite, name):
    frame = pd.read_csv(suite["results"] / "tables" / f"{name}.csv")
    assert tuple(frame.columns) == COLUMNS[name]
    return frame


def everything(suite):
    files = [*(suite["results"] / "tables").iterdir(), suite["results"] / "metrics.json"]
    return {path.name: path.read_bytes() for path in files}


def rewrite_run(suite, dataset, model, seed, logits):
    """Put a run with other test logits (N, T) in the place of a run of the suite."""
    path = run_path(suite, dataset, model, seed)
    shutil.rmtree(path)
    write_run(path, suite["splits"] / dataset, logits, f"{dataset}-{model}-{seed}")


def brute_force(suite, dataset, t, model, part="test"):
    """AUCs (S,) and D (S, G) of a model by loops over all pairs of rows."""
    folder = suite["splits"] / dataset / part
    y, users = np.load(folder / "labels.npy")[:, t], np.load(folder / "users.npy")
    distinct = sorted(set(users.tolist()))
    areas, d = [], []
    for seed in SEEDS:
        z = np.load(run_path(suite, dataset, model, seed) / f"{part}_logits.npy")[:, t]
        difference = z[y == 1][:, None] - z[y == 0]
        wins = np.where(difference > 0, 1.0, np.where(difference == 0, 0.5, 0.0))
        area = wins.mean()
        v10, v01 = wins.mean(axis=1) - area, wins.mean(axis=0) - area
        row = []
        for user in distinct:
            a = v10[users[y == 1] == user].sum() / len(v10)
            b = v01[users[y == 0] == user].sum() / len(v01)
            row.append(area + len(distinct) * (a + b))
        areas.append(area)
        d.append(row)
    return np.array(areas), np.array(d)
