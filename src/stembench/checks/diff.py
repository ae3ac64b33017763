"""`stembench diff`: what moved between two suites, folders of results or commits, beyond noise or
not.

Per data set, task, metric and model the values of each seed (tables/runs.csv) are compared. On the
same split the runs of a seed are paired, else Welch's test is taken; p is adjusted over all rows
(Benjamini-Hochberg). Both count seeds alone: on one split this asks whether the change moved the
result on these test rows; between splits the test users' share of the noise is not counted.
"""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from stembench.errors import StembenchError
from stembench.stats import benjamini_hochberg

COLUMNS = (
    *("dataset", "part", "task", "metric", "model", "n_a", "n_b", "mean_a", "mean_b", "delta"),
    *("se", "df", "ci_lo", "ci_hi", "p", "p_adj", "test", "moved"),
)
METRICS = ("auc", "gauc", "logloss", "calibration")
#: Keys of inputs.json that are settings of the tables.
SETTINGS = ("reference", "alpha", "margin", "protocol", "seeds", "complete")
#: Parts of run.json that may differ without any setting doing so.
PLATFORM = ("cpu", "instructions", "torch", "numpy", "python", "threads", "device", "precision")

Rows = list[dict[str, Any]]
Key = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Side:
    """One side of the comparison, as its tables tell.

    values: (data set, part, task, metric, model) -> seed -> value; verdicts: (data set, bucket,
    task, model_a, model_b) -> verdict; runs: facts of run.json by cell, empty without run files.
    """

    name: str
    inputs: dict[str, Any]
    values: dict[Key, dict[str, float]]
    verdicts: dict[tuple[str, ...], str]
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_side(text: str, results: Path) -> Side:
    """A suite (a folder of `results`), a folder with tables/, or `REVISION:` and one of both.

    Raises StembenchError for anything else, an unknown revision included.
    """
    for folder in (Path(text), results / text):
        if (folder / "tables").is_dir():
            return _side(text, partial(_file, folder), _run_facts(folder))
    revision, colon, inside = text.partition(":")
    if not colon:
        raise StembenchError(
            f"{text} is no suite with tables in {results}, no folder with tables/ and no "
            "REVISION:FOLDER"
        )
    if revision.startswith("-") or _git("rev-parse", "--verify", f"{revision}^{{commit}}") is None:
        raise StembenchError(f"{revision!r} is no revision of this repository: see `git log`")
    for place in (inside.rstrip("/"), f"{results.as_posix()}/{inside.rstrip('/')}"):
        if _git("cat-file", "-e", f"{revision}:./{place}/tables/inputs.json") is not None:
            return _side(text, partial(_shown, f"{revision}:./{place}"), {})
    raise StembenchError(
        f"{inside!r} has no tables/inputs.json at {revision}: name a suite, or a folder as in "
        f"{revision}:{results.as_posix()}/demo"
    )


def compare_sides(a: Side, b: Side, alpha: float) -> Rows:
    """Rows of COLUMNS, delta = B - A; what one side alone has is named so and not tested."""
    rows: Rows = []
    for key in [*a.values, *(key for key in b.values if key not in a.values)]:
        row: dict[str, Any] = dict(zip(COLUMNS[:5], key, strict=True))
        old, new = a.values.get(key, {}), b.values.get(key, {})
        row |= {"n_a": len(old), "n_b": len(new), "mean_a": _mean(old), "mean_b": _mean(new)}
        if not (old and new):
            rows.append(row | {"p": math.nan, "moved": "only in A" if old else "only in B"})
            continue
        rows.append(row | _test(old, new, _same_split(a, b, key[0]), alpha))
    tested = [row for row in rows if not math.isnan(row["p"])]
    for row, p_adj in zip(tested, benjamini_hochberg([row["p"] for row in tested]), strict=True):
        row["p_adj"] = float(p_adj)
        if row["moved"] == "":
            row["moved"] = "beyond noise" if p_adj < alpha else "within noise"
    return rows


def verdict_changes(a: Side, b: Side) -> Rows:
    """Comparisons of both sides whose verdict is another one."""
    return [
        dict(zip(("dataset", "bucket", "task", "model_a", "model_b"), key, strict=True))
        | {"verdict_a": old, "verdict_b": b.verdicts[key]}
        for key, old in a.verdicts.items()
        if key in b.verdicts and b.verdicts[key] != old
    ]


def differences(a: Side, b: Side) -> list[str]:
    """What else differs: settings, splits, runs, and, where there are run files, their facts."""
    lines = [
        f"{key}: {json.dumps(a.inputs.get(key))} -> {json.dumps(b.inputs.get(key))}"
        for key in SETTINGS
        if a.inputs.get(key) != b.inputs.get(key)
    ]
    for dataset in dict.fromkeys([*a.inputs["splits"], *b.inputs["splits"]]):
        old, new = a.inputs["splits"].get(dataset), b.inputs["splits"].get(dataset)
        if old is None or new is None:
            lines.append(f"split of {dataset}: only in {'A' if old else 'B'}")
        elif old["sha256"] != new["sha256"]:
            lines.append(
                f"split of {dataset}: {old['split']} {old['sha256'][:12]} -> {new['split']} "
                f"{new['sha256'][:12]}"
            )
    common = [cell for cell in a.inputs["runs"] if cell in b.inputs["runs"]]
    other = [cell for cell in common if a.inputs["runs"][cell] != b.inputs["runs"][cell]]
    lines.append(f"run files: {len(other)} of the {len(common)} cells in both are other runs")
    shared = [cell for cell in common if cell in a.runs and cell in b.runs]
    if not shared:
        lines.append("code, settings and platform of the runs: not known without run files")
        return lines
    for fact in dict.fromkeys(f for cell in shared for f in (*a.runs[cell], *b.runs[cell])):
        pairs = [(a.runs[cell].get(fact), b.runs[cell].get(fact)) for cell in shared]
        changed = [pair for pair in pairs if pair[0] != pair[1]]
        if changed:
            old, new = (json.dumps(value)[:80] for value in changed[0])
            lines.append(f"{fact}: in {len(changed)} of {len(shared)} cells, e.g. {old} -> {new}")
    return lines


def _test(
    old: dict[str, float], new: dict[str, float], paired: bool, alpha: float
) -> dict[str, Any]:
    """delta with its interval and p; moved "" where the adjusted p is to decide."""
    row: dict[str, Any] = {"delta": _mean(new) - _mean(old), "p": math.nan}
    if old == new:
        return row | {"moved": "unchanged", "test": "the same values"}
    seeds = [seed for seed in old if seed in new] if paired else []
    if len(seeds) >= 2:
        d = np.array([new[seed] - old[seed] for seed in seeds])
        mean, se, df = float(d.mean()), float(d.std(ddof=1) / math.sqrt(len(d))), len(d) - 1.0
        row |= {"delta": mean, "test": f"paired over {len(d)} seeds"}
    elif len(old) >= 2 and len(new) >= 2:
        x, y = (np.array([*side.values()]) for side in (old, new))
        mean, (se, df) = row["delta"], _welch(x, y)
        row |= {"test": "Welch over seeds" + ("" if paired else "; the splits differ")}
    else:
        return row | {"moved": "not testable", "test": "fewer than two seeds"}
    half = float(student.ppf(1 - alpha / 2, df)) * se
    p = float(2 * student.sf(abs(mean) / se, df)) if se > 0 else float(mean == 0)
    row |= {"se": se, "df": df, "ci_lo": mean - half, "ci_hi": mean + half, "p": p}
    return row | {"moved": ""}


def _welch(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Standard error of a difference of means and Welch-Satterthwaite's degrees of freedom."""
    u, v = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    spread = u**2 / (len(x) - 1) + v**2 / (len(y) - 1)
    df = (u + v) ** 2 / spread if spread > 0 else float(len(x) + len(y) - 2)
    return math.sqrt(u + v), float(df)


def _same_split(a: Side, b: Side, dataset: str) -> bool:
    splits = [side.inputs["splits"].get(dataset, {}).get("sha256") for side in (a, b)]
    return splits[0] is not None and splits[0] == splits[1]


def _mean(values: dict[str, float]) -> float:
    return float(np.mean([*values.values()])) if values else math.nan


def _side(name: str, read: Callable[[str], str | None], runs: dict[str, dict[str, Any]]) -> Side:
    try:
        inputs = json.loads(_text(read, "tables/inputs.json"))
        values: dict[Key, dict[str, float]] = {}
        for row in csv.DictReader(io.StringIO(_text(read, "tables/runs.csv"))):
            if row["part"] != "valid" and row["metric"] in METRICS and row["value"]:
                key = row["dataset"], row["part"], row["task"], row["metric"], row["model"]
                values.setdefault(key, {})[row["seed"]] = float(row["value"])
        verdicts = {
            tuple(row[k] for k in ("dataset", "bucket", "task", "model_a", "model_b")):
            row["verdict"]
            for row in csv.DictReader(io.StringIO(_text(read, "tables/comparison.csv")))
        }  # fmt: skip
        inputs["splits"], inputs["runs"]
    except (ValueError, KeyError, TypeError) as error:
        raise StembenchError(f"the tables of {name} cannot be read ({error!r})") from None
    return Side(name, inputs, values, verdicts, runs)


def _text(read: Callable[[str], str | None], name: str) -> str:
    found = read(name)
    if found is None:
        raise ValueError(f"{name} is not there")
    return found


def _shown(place: str, name: str) -> str | None:
    return _git("show", f"{place}/{name}")


def _file(folder: Path, name: str) -> str | None:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except OSError:
        return None


def _run_facts(folder: Path) -> dict[str, dict[str, Any]]:
    """Code, spec and platform by cell; cells whose run.json cannot be read are left out."""
    facts: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("runs/*/*/*/run.json")):
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            mine = {f"environment {key}": run["environment"].get(key) for key in PLATFORM}
            mine |= {
                f"code {key}": run["provenance"].get(key)
                for key in ("source_sha256", "lock_sha256", "git_commit")
            }
            mine |= {f"train.{key}": value for key, value in run["spec"]["train"].items()}
            mine |= {f"args.{key}": value for key, value in run["spec"]["args"].items()}
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            continue
        facts[path.parent.relative_to(folder / "runs").as_posix()] = mine
    return facts


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=True, timeout=60)
        return done.stdout.decode("utf-8")
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
