"""Which folder may import which, and which code a rule or stage says that it depends on."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from stembench import provenance
from tests.conftest import ROOT

SOURCE = ROOT / "src/stembench"
NUMERIC = {"numpy", "scipy", "pandas", "statsmodels"}

#: Folder or module -> what it may import of the package; `cli` may import everything.
MAY_IMPORT = {
    "errors": "", "processes": "", "progress": "", "provenance": "",
    "records": "errors",
    "params": "errors",
    "metrics": "errors",
    "stats": "errors metrics",
    "data": "errors params records progress processes provenance",
    "models": "errors data.schema",
    "objectives": "errors models data.batches",
    "training": "errors models objectives data.schema data.batches data.directory metrics progress",
    "cells": "errors training models.base data metrics params.tuned params.types params.train "
    "records provenance processes",
    "planning": "training models data params provenance records",
    "analysis": "errors data.schema data.directory metrics stats records provenance",
    "report": "errors records",
    "tracking": "errors records processes",
    "checks": "errors analysis stats metrics records report.tables cells.train params.load "
    "params.messages provenance",
}  # fmt: skip


@cache
def imports(path: Path) -> frozenset[str]:
    """Absolute names of the modules that a file imports, those inside functions included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def module(name: str) -> Path | None:
    """The file of `stembench.a.b`; None for a folder and for a name inside a module."""
    path = SOURCE.joinpath(*name.split(".")[1:])
    return path.with_suffix(".py") if path.with_suffix(".py").exists() else None


def unit(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_down_the_table(path: Path) -> None:
    if unit(path) in ("__init__", "__main__", "cli"):
        return
    allowed = [unit(path), *MAY_IMPORT[unit(path)].split()]
    own = {n.removeprefix("stembench.") for n in imports(path) if n.startswith("stembench.")}
    wrong = {n for n in own if module(f"stembench.{n}") and not inside(n, allowed)}
    assert wrong == set()
    if path != SOURCE / "cells" / "evaluate.py":
        assert not re.search(r"""part\(["']test["']\)""", path.read_text()) or unit(path) in (
            "analysis", "checks", "data", "planning",
        )  # fmt: skip
    if path == SOURCE / "training" / "fit.py":
        assert not any("evaluate" in name for name in own)


def inside(name: str, folders: list[str]) -> bool:
    return any(f"{name}.".startswith(f"{folder}.") for folder in folders)


@pytest.mark.parametrize("folder", ["analysis", "stats"])
def test_the_analysis_is_numpy_scipy_and_pandas_only(folder: str) -> None:
    roots = {n.split(".")[0] for p in (SOURCE / folder).rglob("*.py") for n in imports(p)}
    assert roots - sys.stdlib_module_names - NUMERIC <= {"stembench", "__future__"}


def test_at_most_seven_modules_beside_the_folders_and_no_prefix_stands_for_a_folder() -> None:
    assert len(list(SOURCE.glob("*.py"))) <= 7
    for folder in {path.parent for path in FILES}:
        stems = [path.stem for path in folder.glob("*.py")]
        assert not [(a, b) for a in stems for b in stems if b.startswith(f"{a}_")]


#: Ground that no result depends on: messages, progress bars, fingerprints, process numbers; the
#: resolved settings are a rule's parameter, so that only the settings that matter trigger it.
NO_SOURCE = ("errors", "progress", "processes", "provenance", "params", "cli")


def reachable(*names: str) -> set[Path]:
    """The modules named, and all that they import, directly or not, less NO_SOURCE."""
    todo = {path for name in names if (path := module(f"stembench.{name}"))}
    assert len(todo) == len(names)
    done: set[Path] = set()
    while todo:
        path = todo.pop()
        done.add(path)
        for name in imports(path):
            next_ = module(name) if name.startswith("stembench.") else None
            if next_ and not inside(name.removeprefix("stembench."), list(NO_SOURCE)):
                todo |= {next_} - done
    return done


#: Rule or stage -> the modules that its command calls, and the sources that it names.
RULES = {
    "data": (["data.prepare.make"], provenance.split_sources("table")),
    "train": (["cells.train"], provenance.training_sources("mmoe.MMoE", "equal.Equal")),
    "tune": (["cells.search"], provenance.tuning_sources("mmoe.MMoE", "gradients.MGDA")),
    "compare": (
        ["analysis.suite", "analysis.comparison", "analysis.across", "report.tables.markdown",
         "report.tables.side"],
        [*provenance.COMPARISON_SOURCES, *provenance.REPORT_SOURCES],
    ),
    "comparable": (
        ["analysis.transfer", "report.tables.comparable"], provenance.COMPARABLE_SOURCES
    ),
    "verdicts": (["checks.verdicts", "checks.write_verdicts"], provenance.VERDICT_SOURCES),
    "card": (
        ["data.facts", "report.cards.html", "report.cards.text"], provenance.CARD_SOURCES
    ),
    "report": (["report.page", "report.gallery"], provenance.REPORT_SOURCES),
    "track": (["tracking.sync"], provenance.TRACKING_SOURCES),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_every_module_that_a_command_imports_is_among_its_sources(rule: str) -> None:
    entries, sources = RULES[rule]
    assert {p.relative_to(SOURCE) for p in reachable(*entries) - set(sources)} == set()


def test_every_rule_with_sources_is_in_the_table() -> None:
    text = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    blocks = re.findall(r"rule (\w+):(.*?)(?=\nrule |\n    rule |\Z)", text, re.DOTALL)
    assert {name for name, body in blocks if "provenance." in body} == set(RULES)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_nothing_imports_cli(path: Path) -> None:
    if path.name != "__main__.py" and unit(path) != "cli":
        assert not [name for name in imports(path) if name.startswith("stembench.cli")]


def test_snakemake_side_does_not_import_torch_and_the_trainer_no_mlflow_or_pandas() -> None:
    for modules, heavy in (
        (
            "stembench.params.load, stembench.provenance, stembench.params.tuned",
            {"torch", "mlflow", "pandas", "optuna"},
        ),
        ("stembench.cells.train", {"mlflow", "pandas", "polars", "matplotlib", "optuna"}),
    ):
        code = f"import sys, {modules}; print(*sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert not heavy & set(done.stdout.split())
