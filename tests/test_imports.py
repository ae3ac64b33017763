"""Which module may import which: data flows one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from stembench import provenance
from tests.conftest import ROOT

SOURCE = ROOT / "src/stembench"
NUMERIC = {"numpy", "scipy", "pandas", "statsmodels"}
STANDARD = sys.stdlib_module_names

STATS = sorted(p.stem for p in (SOURCE / "stats").glob("*.py") if p.stem != "__init__")

#: module or package -> stembench modules it may import
ALLOWED = {
    "allocator": set(),
    "errors": set(),
    "params": {
        "errors", "params_data", "params_errors", "params_models", "params_objectives",
        "params_protocols", "params_schema", "params_train",
    },
    "params_schema": {"errors", "params_data", "params_train", "params_tuning"},
    "params_data": {"errors", "params_train"},
    "params_train": set(),
    "params_tuning": {"params_train"},
    "params_protocols": {
        "params_errors", "params_models", "params_schema", "params_train", "params_tuning",
    },
    "tuned": {"errors", "params", "params_protocols", "params_train"},
    "params_objectives": {"errors", "params_models", "params_schema"},
    "provenance": set(),
    "data/schema": {"errors"},
    "data/splits": {"errors", "data.schema"},
    "data/card": {"data.schema", "data.splits", "params_data"},
    "metrics": {"errors"},
    "factors": {"errors", "runs", "stats"},
    "stats/__init__": {f"stats.{name}" for name in STATS},
    **{f"stats/{name}": {"errors", "metrics"} for name in STATS},
    "stats/power": {"errors", "stats.crossed"},
    "comparable": {"errors"},
    "pairs": {"errors", "runs", "stats", "data.splits"},
    "power": {"errors", "pairs", "runs", "stats.power"},
    "tables": {"provenance"},
    "across": {"runs", "stats"},
    "evidence": {"across", "compare", "pairs", "power", "provenance", "runs", "stats", "tables"},
    "published": {"errors", "params", "params_errors"},
    "verdicts": {"errors", "pairs", "published", "runs", "stats"},
    "verdicts_text": {"provenance", "tables", "verdicts"},
    "verify": {"errors", "provenance", "report.side_tables", "report.tables"},
    "verify_retrain": {"cell", "errors", "provenance", "verify"},
    "diff": {"errors", "stats"},
    "diff_text": {"diff", "tables"},
    "transfer": {"comparable", "data.schema", "errors", "pairs", "runs", "stats"},
    "runs": {"errors", "metrics", "stats", "data.splits"},
    "readings": {"runs"},
    "reliability": {"runs"},
    "compare": {
        "errors", "factors", "metrics", "readings", "reliability", "stats", "runs", "data.splits",
        "data.schema", "provenance",
    },
    "optimizer": {"models.layers"},
    "precision": {"errors"},
    "checkpoints": set(),
    "selection": {"checkpoints"},
    "objectives/base": {"errors"},
    "objectives/equal": {"objectives.base"},
    "objectives/weighting": {"errors", "objectives.base"},
    "objectives/solvers": set(),
    "objectives/shared": {"models.layers", "objectives.base"},
    "objectives/gradients": {
        "errors", "objectives", "objectives.base", "objectives.shared", "objectives.solvers",
    },
    "diagnostics": {
        "data.batches", "data.schema", "models.layers", "models.linear", "objectives",
        "objectives.shared", "selection",
    },
    "compiled": {"errors", "models.layers", "objectives"},
    "training": {
        "allocator", "checkpoints", "compiled", "errors", "metrics", "progress", "data.batches",
        "data.schema", "data.splits", "diagnostics", "models.layers", "objectives", "optimizer",
        "precision", "selection",
    },
    "tuning": {
        "errors", "provenance", "training", "tuned", "params_train", "device", "data.schema",
        "data.splits",
    },
    "evaluation": {"metrics", "selection", "training", "data.batches", "data.splits"},
}  # fmt: skip


def imports(path: Path) -> set[str]:
    """Modules that a file imports, absolute names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "stembench":
                found |= {f"stembench.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return found


@pytest.mark.parametrize("module", list(ALLOWED))
def test_module_imports_only_what_lies_below_it(module: str) -> None:
    own = {
        name.removeprefix("stembench.")
        for name in imports(SOURCE / f"{module}.py")
        if name.startswith("stembench")
    }
    assert own <= ALLOWED[module]


@pytest.mark.parametrize(
    "module",
    ["metrics", "runs", "readings", "reliability", "compare", "factors"]
    + ["pairs", "power", "evidence", "across", "transfer", "comparable"]
    + [f"stats/{name}" for name in STATS],
)
def test_analysis_is_numpy_scipy_and_pandas_only(module: str) -> None:
    roots = {name.split(".")[0] for name in imports(SOURCE / f"{module}.py")}
    assert roots - STANDARD - NUMERIC <= {"stembench", "__future__"}


def test_whatever_the_tables_are_made_by_makes_them_again() -> None:
    """All that compare and evidence import, but what the splits and the errors are made of."""
    found: set[Path] = set()
    todo = [SOURCE / "analysis/suite.py", SOURCE / "analysis/comparison.py"]
    while todo:
        path = todo.pop()
        found.add(path)
        for name in imports(path):
            parts = name.split(".")[1:] if name.startswith("stembench.") else []
            file = SOURCE.joinpath(*parts)
            file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
            if parts and file not in found:
                todo.append(file)
    apart = {SOURCE / "errors.py", SOURCE / "provenance.py", *(SOURCE / "data").glob("*.py")}
    assert len(found) > 15
    assert found - apart <= set(provenance.COMPARISON_SOURCES)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.stem)
def test_nothing_imports_cli(path: Path) -> None:
    if path.name != "__main__.py":
        assert "stembench.cli" not in imports(path)


@pytest.mark.parametrize("path", sorted((SOURCE / "report").glob("*.py")), ids=lambda p: p.stem)
def test_the_report_reads_files_only(path: Path) -> None:
    own = {name for name in imports(path) if name.startswith("stembench.")}
    assert all(n.startswith(("stembench.report", "stembench.errors")) for n in own)


def test_snakemake_side_does_not_import_torch_and_the_trainer_no_mlflow_or_pandas() -> None:
    for modules, heavy in (
        (
            "stembench.params, stembench.provenance, stembench.params.tuned",
            {"torch", "mlflow", "pandas", "optuna"},
        ),
        ("stembench.cells.train", {"mlflow", "pandas", "polars", "matplotlib", "optuna"}),
    ):
        code = f"import sys, {modules}; print(*sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert not heavy & set(done.stdout.split())
