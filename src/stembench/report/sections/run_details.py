"""The details behind each cell of the main table: a collapsed section a data set and model.

Settings that all runs of the suite share are written once, those of a data set once there, so that
a large grid stays a small page.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from markupsafe import Markup

from stembench.report import names
from stembench.report.figures import svg as plots
from stembench.report.numbers import number, plural
from stembench.report.results import Results
from stembench.report.sections.run_files import RunFile, read_runs

_METRICS = ("auc", "gauc", "logloss", "calibration")
_DECIMALS = {"auc": 4, "gauc": 4, "logloss": 4, "calibration": 3}
#: Column title -> keys in run.json and decimals; None for text.
_FACTS: tuple[tuple[str, tuple[str, ...], int | None], ...] = (
    ("best epoch", ("best_epoch",), 0),
    ("epochs", ("epochs_run",), 0),
    ("stopped", ("stopped",), None),
    ("fit, s", ("timing", "fit_s"), 1),
    ("total, s", ("timing", "total_s"), 1),
    ("samples / s", ("timing", "samples_per_s"), 0),
    ("peak memory, MB", ("peak_memory_mb",), 0),
    ("finished", ("timing", "finished_at"), None),
)
Flat = dict[str, str]


def anchor(dataset: str, model: str) -> str:
    """The id of a section, another for every pair: letters, digits, `_`, `-` and `.` only."""
    return "run-" + "-".join(
        re.sub(r"[^A-Za-z0-9_]", lambda m: f".{ord(m[0]):x}", key) for key in (dataset, model)
    )


def section(results: Results) -> dict[str, Any]:
    """Everything that runs.html.j2 shows."""
    runs = {
        (dataset, model): read_runs(results, dataset, model)
        for dataset in results.datasets
        for model in results.models(dataset)
    }
    specs = {key: [_spec(run) for run in mine if run.run] for key, mine in runs.items()}
    shared = _common([spec for mine in specs.values() for spec in mine])
    blocks = []
    for dataset in results.datasets:
        here = [spec for (d, _), mine in specs.items() if d == dataset for spec in mine]
        own = _without(_common(here), shared)
        known = shared | own
        groups = [
            _group(results, dataset, model, mine, known)
            for (d, model), mine in runs.items()
            if d == dataset
        ]
        blocks.append({"name": names.dataset(dataset), "settings": own, "groups": groups})
    return {"shared": shared, "blocks": blocks}


def _spec(run: RunFile) -> Flat:
    """The settings of a run as dotted names; the seed, which the tables have, is left out."""
    flat = _flat(run.get("spec", default={}))
    return {key: value for key, value in flat.items() if key != "seed"}


def _flat(value: dict[str, Any], prefix: str = "") -> Flat:
    found: Flat = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            found |= _flat(item, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = item if isinstance(item, str) else json.dumps(item)
    return found


def _common(dicts: list[Flat]) -> Flat:
    """What all of them say alike, in the order of the first."""
    if not dicts:
        return {}
    first, *rest = dicts
    return {k: v for k, v in first.items() if all(other.get(k) == v for other in rest)}


def _without(settings: Flat, known: Flat) -> Flat:
    return {key: value for key, value in settings.items() if known.get(key) != value}


def _group(
    results: Results, dataset: str, model: str, runs: list[RunFile], known: Flat
) -> dict[str, Any]:
    tasks = results.tasks(dataset)
    shown = [run for run in runs if run.run]
    specs = [_spec(run) for run in shown]
    own = _common(specs)
    n_ok = sum(run.status == "ok" for run in runs)
    return {
        "id": anchor(dataset, model),
        "title": f"{names.model(model)} on {names.dataset(dataset)}",
        "count": f"{n_ok} of {plural(len(runs), 'seed')}",
        "complete": n_ok == len(runs),
        "settings": _without(own, known),
        # What differs between the seeds of a group, as the settings that a search has found.
        "differing": [
            (run.seed, _without(_without(spec, own), known))
            for run, spec in zip(shown, specs, strict=True)
            if _without(_without(spec, own), known)
        ],
        "lacking": [
            (run.seed, run.why or names.status(run.status)) for run in runs if not run.run
        ],
        "header": _metric_header(tasks),
        "metrics": [_metric_row(results, dataset, model, run, tasks) for run in runs],
        "facts_header": ["Seed", *(title for title, *_ in _FACTS)],
        "facts": [_fact_row(run) for run in shown],
        "curves": _curves(f"{names.model(model)} on {names.dataset(dataset)}", tasks, shown),
        "code": _told([_code(run) for run in shown], [run.seed for run in shown]),
        "environment": _told([_environment(run) for run in shown], [run.seed for run in shown]),
        "data": _told(
            [{"split": str(r.get("data", "split")), "sha256": str(r.get("data", "sha256"))}
             for r in shown],
            [run.seed for run in shown],
        ),
        "parameters": _parameters(shown),
        "hashes": [_hashes(run) for run in runs if run.sha256],
    }  # fmt: skip


def _metric_header(tasks: list[str]) -> list[str]:
    return ["Seed", *(f"{names.task(t)} {names.metric(m)}" for t in tasks for m in _METRICS)]


def _metric_row(
    results: Results, dataset: str, model: str, run: RunFile, tasks: list[str]
) -> list[str]:
    """Test metrics of a seed from runs.csv, which is there also where the runs are not."""
    if run.status != "ok":
        return [run.seed, *["missing"] * (len(tasks) * len(_METRICS))]
    values = results.run_values.get((dataset, model, run.seed), {})
    return [
        run.seed,
        *(
            number(values.get((task, metric), math.nan), _DECIMALS[metric])
            for task in tasks
            for metric in _METRICS
        ),
    ]


def _fact_row(run: RunFile) -> list[str]:
    cells = [run.seed]
    for _, keys, decimals in _FACTS:
        value = run.get(*keys)
        if decimals is None:
            cells.append("n/a" if value is None else str(value)[:19].replace("T", " "))
        elif isinstance(value, int | float) and math.isfinite(value):
            cells.append(f"{value:,.{decimals}f}")
        else:
            cells.append("n/a")
    return cells


def _curves(title: str, tasks: list[str], runs: list[RunFile]) -> list[tuple[str, Markup]]:
    found = []
    for task in tasks:
        lines = [(run.seed, run.curves[task]) for run in runs if run.curves.get(task)]
        if lines:
            best = [run.get("selection", _over(run), "epochs", task) for run in runs
                    if run.curves.get(task)]  # fmt: skip
            label = f"{title}: validation AUC of {names.task(task)} by epoch, a line a seed"
            found.append((names.task(task), plots.lines(lines, best, label)))
    return found


def _over(run: RunFile) -> str:
    return str(run.get("spec", "train", "select", "over", default="mean"))


def _code(run: RunFile) -> Flat:
    dirty = run.get("provenance", "git_dirty")
    commit = str(run.get("provenance", "git_commit") or "unknown")
    return {
        "code fingerprint": str(run.get("provenance", "source_sha256") or "unknown"),
        "commit": commit + (" with changes that were not committed" if dirty else ""),
        "lock file": str(run.get("provenance", "lock_sha256") or "unknown"),
    }


def _environment(run: RunFile) -> Flat:
    keys = ("device", "cpu", "instructions", "cores", "threads", "precision", "platform", "python",
            "torch", "numpy")  # fmt: skip
    values = {key: run.get("environment", key) for key in keys}
    return {key: str(value) for key, value in values.items() if value is not None}


def _told(each: list[Flat], seeds: list[str]) -> list[tuple[str, Flat]]:
    """(seeds, what they say): one entry where all seeds agree, then without naming them."""
    found: list[tuple[list[str], Flat]] = []
    for seed, mine in zip(seeds, each, strict=True):
        for who, known in found:
            if known == mine:
                who.append(seed)
                break
        else:
            found.append(([seed], mine))
    if len(found) == 1:
        return [("", found[0][1])]
    return [(f"seed {', '.join(who)}" if len(who) == 1 else f"seeds {', '.join(who)}", what)
            for who, what in found]  # fmt: skip


def _parameters(runs: list[RunFile]) -> str:
    counts = [
        ", ".join(f"{name} {n:,}" for name, n in run.get("parameters", default={}).items())
        for run in runs
    ]
    return "; ".join(dict.fromkeys(count for count in counts if count))


def _hashes(run: RunFile) -> dict[str, Any]:
    files = run.get("files", default={})
    return {
        "seed": run.seed,
        "files": [
            ("run.json", run.sha256),
            *([("settings", str(run.get("spec_sha256")))] if run.run else []),
            *((str(name), str(sha)) for name, sha in files.items()),
        ],
    }
