"""`stembench verify`: are the tables those of the runs, the files those recorded, a run repeatable?

Nothing is written into the results: tables are made again in a temporary folder by the same
commands and compared byte by byte, and a cell is trained again beside it. A folder without its runs
is checked as far as its tables go; `verify_retrain` has the training.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stembench.errors import StembenchError
from stembench.provenance import PACKAGE, sha256_file
from stembench.report.tables.markdown import write_tables
from stembench.report.tables.side import write_side_tables

Status = Literal["ok", "MISMATCH", "not verified"]
#: A table that a suite may have -> the command that makes it, beside `compare`, in this order.
FURTHER = {"comparable.csv": "comparable", "verdicts.csv": "verdicts"}


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, how it came out, and what that means."""

    check: str
    subject: str
    status: Status
    note: str = ""


def read_inputs(results: Path) -> dict[str, Any]:
    """tables/inputs.json of a folder of results; raises StembenchError where there is none."""
    path = results / "tables" / "inputs.json"
    try:
        inputs: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for key in ("suite", "complete", "runs", "splits", "inputs_sha256"):
            inputs[key]
    except FileNotFoundError:
        raise StembenchError(
            f"{path} is not there: give a suite with tables, or a folder that holds tables/"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StembenchError(f"{path} cannot be read ({error!r}): restore the file") from None
    return inputs


def records(results: Path) -> Iterator[Finding]:
    """What the tables say of each other; needs no run."""
    inputs = read_inputs(results)
    runs = inputs["runs"]
    digest = hashlib.sha256(json.dumps(sorted(runs.items())).encode()).hexdigest()
    yield _finding("records", "inputs.json", digest == inputs["inputs_sha256"],
                   "inputs_sha256 is not the hash of the runs listed there")  # fmt: skip
    cells = rows_of(results / "tables" / "cells.csv")
    listed = {
        f"{c['dataset']}/{c['model']}/{c['seed']}": c["run_sha256"]
        for c in cells
        if c["status"] == "ok"
    }
    yield _finding("records", "cells.csv", listed == runs,
                   "its runs are not those of inputs.json")  # fmt: skip
    values: dict[tuple[str, ...], list[float]] = {}
    for row in rows_of(results / "tables" / "runs.csv"):
        prefix = {"test": "", "unbiased": "unbiased_"}.get(row["part"])
        if prefix is not None and row["value"]:
            key = row["dataset"], row["task"], prefix + row["metric"], row["model"]
            values.setdefault(key, []).append(float(row["value"]))
    wrong: list[str] = []
    means: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows_of(results / "tables" / "metrics.csv"):
        key = row["dataset"], row["task"], row["metric"], row["model"]
        found = values.get(key, [])
        expected = [statistics.fmean(found) if found else math.nan,
                    statistics.stdev(found) if len(found) > 1 else math.nan]  # fmt: skip
        shown = [float(row[name] or "nan") for name in ("mean", "sd")]
        if not all(_close(a, b) for a, b in zip(shown, expected, strict=True)):
            wrong.append("/".join(key))
        if row["metric"] == "auc" and row["mean"]:
            of_task = means.setdefault(row["dataset"], {}).setdefault(row["task"], {})
            of_task[row["model"]] = float(row["mean"])
    yield _finding("records", "metrics.csv", not wrong,
                   f"not the means and SDs of runs.csv: {_some(wrong)}")  # fmt: skip
    yield _finding("records", "metrics.json", _same_means(results / "metrics.json", means),
                   "not the AUCs of metrics.csv")  # fmt: skip


def run_files(results: Path) -> Iterator[Finding]:
    """Every run.json against the tables' record, and every file against its run.json."""
    for cell, recorded in read_inputs(results)["runs"].items():
        folder = results / "runs" / cell
        path = folder / "run.json"
        if not path.exists():
            yield Finding("run files", cell, "MISMATCH", "run.json is not there")
            continue
        wrong = []
        if sha256_file(path) != recorded:
            wrong.append("run.json is not the one that the tables were made from")
        try:
            files = dict(json.loads(path.read_text(encoding="utf-8"))["files"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            yield Finding("run files", cell, "MISMATCH", f"run.json cannot be read ({error!r})")
            continue
        for name, digest in files.items():
            file = folder / Path(name).name
            if not file.exists():
                wrong.append(f"{name} is not there")
            elif sha256_file(file) != digest:
                wrong.append(f"{name} was changed")
        yield _finding("run files", cell, not wrong, "; ".join(wrong))


def splits_there(results: Path, splits: Path) -> Iterator[Finding]:
    """The splits on disk against those that the tables were made on."""
    for dataset, recorded in read_inputs(results)["splits"].items():
        path = splits / dataset / "manifest.json"
        if not path.exists():
            note = f"{path.parent} is not there: `stembench data make {dataset}`"
            yield Finding("splits", dataset, "not verified", note)
            continue
        digest = json.loads(path.read_text(encoding="utf-8"))["sha256"]
        note = f"{digest[:12]} on disk, the tables were made on {recorded['sha256'][:12]}"
        yield _finding("splits", dataset, digest == recorded["sha256"], note)


def tables(results: Path, splits: Path, project: Path) -> Iterator[Finding]:
    """Make the tables again from the run files, elsewhere, and compare byte by byte.

    project: the folder of params.yaml and workflow/, by which the suite is read.
    """
    inputs = read_inputs(results)
    suite, partial = inputs["suite"], [] if inputs["complete"] else ["--partial"]
    with tempfile.TemporaryDirectory(prefix="stembench-verify-") as name:
        root = Path(name)
        again = root / "results" / suite
        again.mkdir(parents=True)
        (root / "data").mkdir()
        (root / "data/splits").symlink_to(splits.resolve())
        for link in ("params.yaml", "workflow"):
            (root / link).symlink_to((project / link).resolve())
        for link in ("runs", "tuned"):
            if (results / link).exists():
                (again / link).symlink_to((results / link).resolve())
        there = {path.name for path in (results / "tables").iterdir()}
        for command in ["compare", *(c for table, c in FURTHER.items() if table in there)]:
            fault = _command(root, [command, "--suite", suite, *partial])
            if fault:
                yield Finding("tables", command, "MISMATCH", f"cannot be made again: {fault}")
                if command == "compare":
                    return
        yield from _same_files(results, again)


def rendered(results: Path) -> Iterator[Finding]:
    """Without runs: the Markdown and LaTeX tables, made again from the CSV tables beside them."""
    with tempfile.TemporaryDirectory(prefix="stembench-verify-") as name:
        again = Path(name) / results.resolve().name
        (again / "tables").mkdir(parents=True)
        copied = [p for p in (results / "tables").iterdir() if p.suffix in (".csv", ".json")]
        for path in copied:
            (again / "tables" / path.name).write_bytes(path.read_bytes())
        write_tables(again)
        write_side_tables(again)
        made = {p.name for p in (again / "tables").iterdir()} - {p.name for p in copied}
        for each in sorted(made):
            yield _same(results / "tables" / each, again / "tables" / each)


def _same_files(results: Path, again: Path) -> Iterator[Finding]:
    ours = {f"tables/{path.name}" for path in (again / "tables").iterdir()} | {"metrics.json"}
    theirs = {f"tables/{path.name}" for path in (results / "tables").iterdir() if path.is_file()}
    for name in sorted(ours):
        yield _same(results / name, again / name)
    for name in sorted(theirs - ours):
        yield Finding("tables", Path(name).name, "not verified", "made by a command not run here")


def _same(recorded: Path, again: Path) -> Finding:
    if not recorded.exists():
        return Finding("tables", recorded.name, "MISMATCH", "is not there; made again, it is")
    old, new = sha256_file(recorded), sha256_file(again)
    note = f"sha256 {old[:12]}, made again {new[:12]}"
    return Finding("tables", recorded.name, "ok" if old == new else "MISMATCH", note)


def _command(root: Path, arguments: list[str]) -> str:
    """Run a subcommand of this package in `root`; the last line of what it says if it fails."""
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "stembench", *arguments],
        cwd=root, env=os.environ | {"PYTHONPATH": path}, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else f"exit {done.returncode}")


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows of a table as text; raises StembenchError where it cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError) as error:
        raise StembenchError(f"{path} cannot be read ({error}): restore the file") from None


def _same_means(path: Path, means: dict[str, dict[str, dict[str, float]]]) -> bool:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found.keys() == means.keys() and all(
            found[d].keys() == means[d].keys()
            and all(
                found[d][t].keys() == means[d][t].keys()
                and all(abs(found[d][t][m] - x) < 1e-6 for m, x in means[d][t].items())
                for t in means[d]
            )
            for d in means
        )
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return False


def _finding(check: str, subject: str, good: bool, fault: str) -> Finding:
    return Finding(check, subject, "ok" if good else "MISMATCH", "" if good else fault)


def _close(a: float, b: float) -> bool:
    """Equal up to the ten digits that the tables have; NaN equals NaN."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)


def _some(items: list[str]) -> str:
    more = f" and {len(items) - 5} more" if len(items) > 5 else ""
    return ", ".join(items[:5]) + more
