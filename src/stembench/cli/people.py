"""What `stembench list` and `stembench show` print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stembench.errors import StembenchError
from stembench.params import tuned
from stembench.params.load import Params, Suite
from stembench.params.resolve import expand


def overview(params: Params, suite: Suite, results: Path, splits: Path) -> str:
    """Suites, data sets, models, and the state of the suite's cells."""
    lines = ["suites"]
    for name, entry in params.suites.items():
        count = len(expand(params, entry))
        mark = "*" if name == suite.name else " "
        lines.append(f" {mark} {name}: {', '.join(entry.datasets)}; {count} cells")
    lines.append("data sets")
    for name in params.datasets:
        lines.append(f"   {name}: {_split(splits / name)}")
    lines.append("models")
    lines += [f"   {name}: {entry.class_}" for name, entry in params.models.items()]
    lines.append(f"cells of {suite.name} (done/all; + done, ~ made with other settings, . to do)")
    cells = tuned.cells(params, suite, results / suite.name)
    width = max(len(cell["model"]) for cell in cells)
    for dataset in suite.datasets:
        lines.append(f"   {dataset}")
        for model in params.models_of(suite):
            marks = [
                _state(
                    results / suite.name / "runs" / dataset / model / str(cell["seed"]),
                    cell["spec_sha256"],
                )
                for cell in cells
                if (cell["dataset"], cell["model"]) == (dataset, model)
            ]
            done = sum(mark == "+" for mark in marks)
            lines.append(f"     {model:<{width}} {done}/{len(marks)} {''.join(marks)}")
    return "\n".join(lines)


def describe(folder: Path) -> str:
    """One run as text. Raises StembenchError when there is no finished run."""
    path = folder / "run.json"
    if not path.exists():
        raise StembenchError(f"no finished run in {folder}: `stembench list` shows what there is")
    try:
        return _text(json.loads(path.read_text()), (folder / "history.csv").read_text())
    except (json.JSONDecodeError, KeyError, TypeError, OSError) as error:
        raise StembenchError(
            f"{folder} is damaged ({error!r}): delete it and run snakemake again"
        ) from None


def _text(run: dict[str, Any], history: str) -> str:
    spec, data, environment = run["spec"], run["data"], run["environment"]
    lines = [
        f"{spec['model']} on {spec['dataset']}, seed {spec['seed']} (suite {run['suite']})",
        f"spec {run['spec_sha256'][:12]}  data {data['sha256'][:12]} ({data['split']})  "
        f"code {(run['provenance']['git_commit'] or 'no git')[:12]}"
        f"{' with changes' if run['provenance']['git_dirty'] else ''}",
        f"{spec['class']} {json.dumps(spec['args'])}",
        f"train {json.dumps(spec['train'])}",
        f"best epoch {run['best_epoch']} of {run['epochs_run']} ({run['stopped']}), "
        f"{run['timing']['total_s']:.1f} s, {run['timing']['samples_per_s']:,.0f} rows/s, "
        f"{run['parameters']['total']:,} parameters, {run['peak_memory_mb']:.0f} MB, "
        f"{environment['device']} ({environment['cpu']})",
        "",
        f"{'part':<8} {'task':<14} {'AUC':>8} {'gAUC':>8} {'log loss':>9} {'pred/obs':>9}"
        f" {'rows':>9} {'positive':>9} {'users in gAUC':>14}",
    ]
    for part, tasks in run["metrics"].items():
        for task, m in tasks.items():
            gauc = "-" if m["gauc"] is None else f"{m['gauc']:.4f}"
            lines.append(
                f"{part:<8} {task:<14} {m['auc']:>8.4f} {gauc:>8} {m['logloss']:>9.5f}"
                f" {m['calibration']:>9.4f} {m['n_rows']:>9,} {m['n_pos']:>9,}"
                f" {m['gauc_users_kept']:>14.1%}"
            )
    lines += ["", history.rstrip()]
    return "\n".join(lines)


def _split(folder: Path) -> str:
    path = folder / "manifest.json"
    if not path.exists():
        return "not made yet"
    manifest = json.loads(path.read_text())
    rows = "/".join(f"{count:,}" for count in manifest["rows"].values())
    return f"{manifest['split']} {manifest['sha256'][:12]}, {rows} rows"


def _state(folder: Path, spec_sha256: str) -> str:
    try:
        made = json.loads((folder / "run.json").read_text())["spec_sha256"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError):
        return "."
    return "+" if made == spec_sha256 else "~"
