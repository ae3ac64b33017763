"""A tuned suite through Snakemake: what is searched and trained, and what a change runs again."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from tests.conftest import ROOT
from tests.workflow.test_workflow import Project, nothing_to_do

pytestmark = pytest.mark.workflow

MODELS = ("shared_bottom", "stem")
CELLS = [f"results/tiny/runs/tiny_a/{model}/2023/run.json" for model in MODELS]
#: As `rule all`: a search's outcome is wanted for itself, or one that is lost would not be noticed.
TARGETS = [*(f"results/tiny/tuned/tiny_a/{model}.yaml" for model in MODELS), *CELLS]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    tuned = "    datasets: [tiny_a]\n    protocol: tuned\n"
    project.edit("    datasets: [tiny_a, tiny_b]\n", tuned)
    project.edit("    seeds: 2\n", "    seeds: 1\n")
    project.edit("  trials: 12\n", "  trials: 2\n")
    (project.results / "logs").mkdir(parents=True)
    (project.results / "logs/database.ok").touch()  # MLflow is not needed here
    project.run("snakemake", "--cores", "2", *TARGETS)
    return project


def planned(project: Project) -> set[tuple[str, str]]:
    """(rule, model) of the jobs that would run; none is run."""
    output = project.run("snakemake", "-n", "--cores", "2", *TARGETS)
    if nothing_to_do(output):
        return set()
    jobs = re.findall(r"^rule (\w+):(.*?)^(?=\S|\n)", output, flags=re.MULTILINE | re.DOTALL)
    return {(rule, model) for rule, text in jobs for model in re.findall(r"model=(\w+)", text)}


def test_cells_are_trained_with_what_their_search_found(project: Project) -> None:
    for cell in CELLS:
        run = json.loads((project.root / cell).read_text())
        model = run["spec"]["model"]
        found = yaml.safe_load((project.results / f"tuned/tiny_a/{model}.yaml").read_text())
        assert run["spec"]["train"]["lr"] == found["train"]["lr"]
        assert run["tuned"]["trials"] == found["trials"] == 2
        assert len(list((project.results / f"tuned/tiny_a/{model}.trials").glob("*.json"))) == 2
    assert planned(project) == set()


def test_a_change_of_the_space_searches_and_trains_what_it_touches(project: Project) -> None:
    old, new = "num_shared_experts: {choices: [1, 3, 6]}", "num_shared_experts: {choices: [1, 2]}"
    project.edit(old, new)
    assert planned(project) == {("tune", "stem"), ("train", "stem")}
    project.edit(new, old)
    assert planned(project) == set()
    # Another outcome trains its model again, though no parameter of the rule has changed.
    path = project.results / "tuned/tiny_a/shared_bottom.yaml"
    text = path.read_text()
    path.write_text(text + "# other bytes\n")
    assert planned(project) == {("train", "shared_bottom")}
    path.write_text(text)
    path.unlink()
    assert planned(project) == {("tune", "shared_bottom"), ("train", "shared_bottom")}


def test_dvc_looks_at_the_sections_that_a_search_depends_on() -> None:
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["benchmark"]
    assert {"tuning", "protocols", "models", "train", "args"} <= set(stage["params"])
