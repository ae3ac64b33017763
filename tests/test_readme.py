"""Commands of README and docs exist, the example runs, the table is the one in results/."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.main import get_command

from stembench.cli.app import app
from tests.conftest import ROOT, make_fields, make_schema

README = (ROOT / "README.md").read_text()
#: The pages that hold what the README leaves out.
DOCS = {
    name: (ROOT / "docs" / f"{name}.md").read_text()
    for name in ("commands", "mlflow", "data", "suites", "contributing")
}
PAGES = {Path("README.md"): README} | {Path("docs") / f"{k}.md": v for k, v in DOCS.items()}


def blocks(language: str, *pages: str) -> list[str]:
    """Fenced blocks of that language, in the order of the pages."""
    pattern = rf"^```{language}\n(.*?)^```"
    return [b for page in pages for b in re.findall(pattern, page, re.MULTILINE | re.DOTALL)]


TABLE_FILES = ("results/demo/tables/inputs.json", "results/demo/tables/main.md")


def commands(*pages: str) -> list[list[str]]:
    """Command lines of the pages, each once."""
    lines = (line for block in blocks("bash", *pages) for line in block.splitlines())
    found = [shlex.split(line, comments=True) for line in lines if line.strip()]
    return [list(command) for command in dict.fromkeys(map(tuple, found))]


COMMANDS = commands(*PAGES.values())


def test_there_are_commands_of_every_tool() -> None:
    assert {command[0] for command in COMMANDS} == {"make", "snakemake", "dvc", "stembench"}


def test_the_readme_is_short_and_has_the_first_commands() -> None:
    assert len(README.splitlines()) <= 170
    assert len(README.split()) <= 1200
    assert [shlex.join(command) for command in commands(README)] == [
        "make", "make test", "snakemake --cores 8", "dvc repro", "make ui",
    ]  # fmt: skip


@pytest.mark.parametrize("name", list(DOCS))
def test_the_readme_links_every_page(name: str) -> None:
    assert f"](docs/{name}.md)" in README


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] == "make"], ids=shlex.join)
def test_make_targets_exist(command: list[str]) -> None:
    subprocess.run([*command, "-n"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] == "snakemake"], ids=shlex.join)
def test_snakemake_commands_plan_their_suite(command: list[str]) -> None:
    plan = [str(Path(sys.executable).with_name("snakemake")), *command[1:], "-n", "-q", "--nolock"]
    done = subprocess.run(plan, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] == "stembench"], ids=shlex.join)
def test_stembench_commands_are_subcommands(command: list[str]) -> None:
    assert command[1] in get_command(app).commands  # type: ignore[attr-defined]


def test_every_rule_has_a_subcommand_that_the_page_of_commands_names() -> None:
    for name in ("fetch", "split", "train", "track", "compare", "report", "list", "show"):
        assert name in get_command(app).commands  # type: ignore[attr-defined]
        assert f"`{name}`" in DOCS["commands"] or f"stembench {name}" in DOCS["commands"]


def test_the_example_model_is_a_model(tmp_path: Path) -> None:
    (code,) = blocks("python", README)
    path = tmp_path / "wide.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location("wide", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    schema = make_schema(3)
    logits = module.Wide(schema)(torch.from_numpy(make_fields(schema, 5)))
    assert logits.shape == (5, 3)


def committed(path: str) -> str:
    """A file as committed: a suite that was run here has replaced those of results/."""
    done = subprocess.run(
        ["git", "show", f"HEAD:./{path}"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    return done.stdout if done.returncode == 0 else (ROOT / path).read_text()


def test_the_table_is_the_one_in_results() -> None:
    shown = README.split("<!-- demo: begin -->")[1].split("<!-- demo: end -->")[0]
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    (fingerprint,) = re.findall(r"^Runs with fingerprint ([0-9a-f]{12})\.$", shown, re.MULTILINE)
    sources = [(ROOT / file).read_text() for file in TABLE_FILES], list(map(committed, TABLE_FILES))
    produced = [
        table for inputs, table in sources
        if json.loads(inputs)["inputs_sha256"].startswith(fingerprint)
    ]  # fmt: skip
    if not produced:
        # The numbers of another processor differ; without git the committed ones are gone.
        assert not (ROOT / ".git").exists(), (
            "the README's table is not that of results/: make readme"
        )
        pytest.skip(
            "the demo was run here again, and there is no git that has the committed tables"
        )
    assert len(rows) > 15
    assert [row for row in rows if row not in produced[0]] == []


@pytest.mark.parametrize("page", list(PAGES), ids=str)
def test_links_lead_to_files(page: Path) -> None:
    text, folder = PAGES[page], (ROOT / page).parent
    targets = re.findall(r"\]\((?!https?://)([^)#]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    assert [target for target in targets if not (folder / target).exists()] == []
