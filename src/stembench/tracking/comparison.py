"""A suite's tables, figures and report as one record."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

from stembench.errors import StembenchError
from stembench.tracking.files import MALFORMED, PROJECTION, Record, finite, metric_name, text

#: Keys of tables/inputs.json shown as parameters of the comparison.
_SHOWN_INPUTS = ("complete", "n_cells", "n_ok", "reference", "alpha", "margin", "seeds")


def comparison_sha256(root: Path) -> str | None:
    """One hash over the tables, figures and report of results/<suite>; None without any."""
    files = comparison_files(root)
    lines = [
        f"{path.relative_to(root).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in files
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if files else None


def comparison_files(root: Path) -> list[Path]:
    """The files of results/<suite> that the run named comparison carries."""
    folders = (root / "tables", root / "figures", root / "data_cards")
    found = [path for folder in folders for path in sorted(folder.rglob("*"))]
    return [p for p in [*found, root / "report.html"] if p.is_file() and p.name[0] != "."]


def read_comparison(suite: str, root: Path, sha256: str) -> Record:
    """The record of a suite's tables, figures and report, whose hash is `sha256`.

    Raises StembenchError when tables/inputs.json or tables/metrics.csv cannot be understood.
    """
    newest = int(max(path.stat().st_mtime for path in comparison_files(root)) * 1000)
    inputs: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    try:
        if (root / "tables/inputs.json").is_file():
            inputs = json.loads((root / "tables/inputs.json").read_bytes())
        if (root / "tables/metrics.csv").is_file():
            metrics = _headline(root / "tables/metrics.csv")
        params = {name: text(inputs[name]) for name in _SHOWN_INPUTS if name in inputs}
        counts = f"{inputs.get('n_ok', '?')} of {inputs.get('n_cells', '?')} cells"
    except MALFORMED as error:
        raise StembenchError(
            f"{root / 'tables'} is damaged ({type(error).__name__}: {error}); write it again with "
            f"`stembench compare --suite {suite}`"
        ) from error
    return Record(
        name="comparison",
        start_ms=newest,
        end_ms=newest,
        tags={
            "kind": "comparison",
            "suite": suite,
            "content_sha256": sha256,
            "stembench.projection": PROJECTION,
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": "stembench compare",
            "mlflow.note.content": f"Suite `{suite}`, {counts}: tables, figures and report under "
            "Artifacts.",
        },
        params=params,
        metrics=metrics,
        artifacts=[
            path
            for name in ("tables", "figures", "data_cards", "report.html")
            if (path := root / name).exists()
        ],
    )


def _headline(path: Path) -> dict[str, float]:
    with path.open(encoding="utf-8", newline="") as file:
        values = {
            metric_name(f"test_auc_{row['dataset']}_{row['task']}_{row['model']}"): row["mean"]
            for row in csv.DictReader(file)
            if row["metric"] == "auc" and row["mean"]
        }
    return finite({name: float(text) for name, text in values.items()})
