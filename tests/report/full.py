"""Adds to a generated suite what only the runs and the newer tables hold: run.json, calibration."""

import hashlib
import json
from pathlib import Path

import pandas as pd

from tests.report.conftest import _noise, _sha


def spec_of(dataset: str, model: str, seed: int) -> dict[str, object]:
    """A resolved spec: `train` is the suite's, fields_max the data set's, args.name the model's."""
    return {
        "dataset": dataset,
        "model": model,
        "seed": seed,
        "class": f"{model}.Model",
        "args": {"embedding_dim": 8, "expert_units": [64, 32], "name": f"<{model}>"},
        "data": {"fields_max": len(dataset)},
        "train": {"batch_size": 1024, "lr": 0.003, "select": {"metric": "auc", "over": "mean"}},
    }


def run_of(root: Path, dataset: str, model: str, seed: int, tasks: list[str]) -> dict[str, object]:
    """What cell.py leaves in run.json, as far as the report reads it."""
    return {
        "spec": spec_of(dataset, model, seed),
        "spec_sha256": _sha("spec", dataset, model, seed),
        "suite": root.name,
        "tasks": tasks,
        "format": 1,
        "data": {"dataset": dataset, "split": f"{dataset}_t1", "sha256": _sha(dataset)},
        "selection": {"mean": {"epochs": dict.fromkeys(tasks, 3)}},
        "best_epoch": 3,
        "epochs_run": 5,
        "stopped": "early",
        "timing": {
            "finished_at": "2026-11-25T22:13:04.891840+00:00",
            "fit_s": 3.2 + _noise(dataset, model, seed),
            "total_s": 5.1,
            "samples_per_s": 98765.4,
        },
        "peak_memory_mb": 512.25,
        "parameters": {"embedding": 20440, "dense": 38943, "total": 59383},
        "provenance": {
            "git_commit": _sha("commit")[:40],
            "git_dirty": False,
            "lock_sha256": _sha("lock"),
            "source_sha256": _sha("code", model),
        },
        "environment": {
            "python": "3.11.7",
            "platform": "Linux-6.1-x86_64-with-glibc2.36",
            "cpu": "Some CPU",
            "cores": 2,
            "torch": "2.13.0+cpu",
            "numpy": "2.4.6",
            "threads": 1,
            "device": "cpu",
            "precision": "float32",
        },
        "files": {
            name: _sha(name, dataset, model, seed)
            for name in ("diagnostics.csv", "history.csv", "test_logits.npy")
        },
    }


def complete(root: Path) -> Path:
    """Give every cell of `root` that is ok its run.json, and the suite its calibration table."""
    cells = pd.read_csv(root / "tables/cells.csv", dtype=str)
    metrics = pd.read_csv(root / "tables/metrics.csv")
    tasks = {d: list(dict.fromkeys(part["task"])) for d, part in metrics.groupby("dataset")}
    inputs = json.loads((root / "tables/inputs.json").read_text())
    for row in cells[cells["status"] == "ok"].itertuples():
        folder = root / "runs" / row.dataset / row.model / row.seed
        folder.mkdir(parents=True, exist_ok=True)
        run = run_of(root, row.dataset, row.model, int(row.seed), tasks[row.dataset])
        text = json.dumps(run, indent=1)
        (folder / "run.json").write_text(text)
        sha = hashlib.sha256(text.encode()).hexdigest()
        inputs["runs"][f"{row.dataset}/{row.model}/{row.seed}"] = sha
    (root / "tables/inputs.json").write_text(json.dumps(inputs))
    ok = cells[cells["status"] == "ok"].drop_duplicates(["dataset", "model"])
    calibration(ok, tasks).to_csv(root / "tables/calibration.csv", index=False)
    return root


def calibration(ok: pd.DataFrame, tasks: dict[str, list[str]]) -> pd.DataFrame:
    """Ten bins and `all` of each model and task; predictions are too high by a tenth."""
    rows = []
    for cell in ok.itertuples():
        for task in tasks[cell.dataset]:
            off = 0.1 + 0.05 * _noise(cell.model, task)
            head = (cell.dataset, task, cell.model)
            for i in range(10):
                p = 0.05 + 0.06 * i
                rows.append((*head, str(i + 1), 5, 1000.0, p * (1 + off), p, 0.001, p * off))
            rows.append((*head, "all", 5, 10000.0, 0.32 * (1 + off), 0.32, 0.0, 0.32 * off))
    columns = ["dataset", "task", "model", "bin", "n_seeds", "n_rows"]
    return pd.DataFrame(rows, columns=[*columns, "predicted", "observed", "sd_observed", "gap"])
