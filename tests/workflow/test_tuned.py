"""A tuned suite through Snakemake and DVC: what is searched again, what is trained again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.workflow.test_workflow import SUITE, Project, nothing_to_do

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    assert SUITE.count("datasets: [tiny_a, tiny_b]") == 1
    project.edit(
        "    datasets: [tiny_a, tiny_b]\n", "    datasets: [tiny_a]\n    protocol: tuned\n"
    )
    project.edit("    seeds: 2\n", "    seeds: 1\n")
    project.edit("  trials: 20\n", "  trials: 2\n")
    return project


def searches(project: Project) -> dict[str, dict]:
    found = sorted((project.results / "tuned/tiny_a").glob("*.yaml"))
    return {path.stem: yaml.safe_load(path.read_text()) for path in found}


def trials(project: Project) -> dict[Path, int]:
    found = (project.results / "tuned").glob("*/*.trials/*.json")
    return {path: path.stat().st_mtime_ns for path in found}


def test_searches_then_cells_with_their_values(project: Project) -> None:
    project.snakemake()
    assert set(searches(project)) == {"shared_bottom", "stem"}
    assert len(trials(project)) == 4
    for cell in project.cells():
        model = cell.split("/")[1]
        run = json.loads((project.results / "runs" / cell / "run.json").read_text())
        assert run["spec"]["train"]["lr"] == searches(project)[model]["train"]["lr"]
        assert run["tuned"]["trials"] == 2
    assert project.inputs()["complete"]
    assert "2 trials for every model" in (project.results / "tables/main.md").read_text()
    assert nothing_to_do(project.snakemake())


def test_a_change_of_the_space_searches_and_trains_what_it_touches(project: Project) -> None:
    before, tried = project.cells(), trials(project)
    project.edit(
        "num_shared_experts: {choices: [1, 3, 6]}", "num_shared_experts: {choices: [1, 2]}"
    )
    project.run("dvc", "repro")
    assert project.trained_since(before) == {"tiny_a/stem/2023"}
    changed = {
        path.parent.name for path, time in trials(project).items() if tried.get(path) != time
    }
    assert changed == {"stem.trials"}
    assert nothing_to_do(project.snakemake())
    assert project.inputs()["complete"]


def test_more_trials_go_on_from_those_there_are(project: Project) -> None:
    tried = trials(project)
    shutil.rmtree(project.results / "tuned/tiny_a/stem.trials")
    (project.results / "tuned/tiny_a/stem.yaml").unlink()
    project.snakemake()  # an outcome that is lost is searched anew
    assert len(trials(project)) == 4
    kept = {path: time for path, time in trials(project).items() if "shared_bottom" in str(path)}
    assert all(tried[path] == time for path, time in kept.items())
