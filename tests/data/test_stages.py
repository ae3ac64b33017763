"""data/dvc.yaml: what DVC makes a split again for is what Snakemake makes it again for."""

from __future__ import annotations

import yaml

from stembench import provenance
from tests.conftest import ROOT


def test_the_split_stage_depends_on_the_splits_sources() -> None:
    stages = yaml.safe_load((ROOT / "data/dvc.yaml").read_text())["stages"]
    deps = stages["split"]["do"]["deps"]
    expected = {f"src/stembench/{name}" for name in provenance.SPLIT}
    expected.add("src/stembench/data/sources/${item.source.kind}.py")
    assert {dep for dep in deps if dep.startswith("src/")} == expected
    assert len(deps) == len(set(deps))


def test_the_stages_depend_on_files_that_are_there() -> None:
    stages = yaml.safe_load((ROOT / "data/dvc.yaml").read_text())["stages"]
    deps = [dep for stage in stages.values() for dep in stage["do"]["deps"]]
    named = [dep for dep in deps if dep.startswith("src/") and "${" not in dep]
    assert len(named) > 5
    assert [dep for dep in named if not (ROOT / dep).exists()] == []
