"""Models that need nested tasks: told in params.yaml, and again by the training labels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stembench.data.directory import SplitDirectory
from stembench.errors import StembenchError
from stembench.models.base import require_nested
from stembench.params import load as params
from stembench.params import signatures as params_models
from stembench.training.build import build
from stembench.training.fit import fit
from tests.conftest import ROOT, make_schema, write_split
from tests.contract.test_models import tiny_spec

TEXT = (ROOT / "params.yaml").read_text()
NESTED = ["esmm", "resflow", "aitm_calibrated"]
DEMO = "    models: [single_task, shared_bottom, mmoe, ple, stem]\n"


@pytest.mark.parametrize("model", NESTED)
def test_a_suite_with_a_model_that_needs_nested_tasks_is_refused(model: str) -> None:
    with pytest.raises(StembenchError) as caught:
        params.parse(TEXT.replace(DEMO, f"    models: [{model}, stem]\n", 1))
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == 3  # one per data set of the demo
    assert f"suites.demo.models: {model} on synthetic_conflict: " in lines[0]
    assert "needs nested tasks: set `nested: true` there if click, like are" in lines[0]


def test_a_wrong_number_of_tasks_is_told_first() -> None:
    text = TEXT.replace(DEMO, "    models: [esmm, stem]\n", 1)
    text = text.replace("    datasets: [synthetic_conflict, ", "    datasets: [", 1)
    with pytest.raises(StembenchError, match="ESMM is defined for 2 tasks, and there are 3"):
        params.parse(text)


def test_a_declared_chain_is_accepted_and_aitm_without_calibrator_needs_none() -> None:
    tasks = ("click", "buy")
    for model in NESTED:
        spec = tiny_spec(model)
        assert params_models.check_tasks(spec["class"], spec["args"], tasks, True) is None
        assert params_models.check_tasks(spec["class"], spec["args"], tasks, False)
    spec = tiny_spec("aitm")
    assert params_models.check_tasks(spec["class"], spec["args"], tasks, False) is None


@pytest.mark.parametrize("model", NESTED)
def test_training_refuses_labels_that_are_not_nested(model: str, tmp_path: Path) -> None:
    split = SplitDirectory(write_split(tmp_path / "small"))
    train, valid = split.part("train"), split.part("valid")
    rows = int((train.labels[:, 1] > train.labels[:, 0]).sum())
    message = f"needs nested tasks, and in {rows} training rows of small task_1 is positive without"
    with pytest.raises(StembenchError, match=message):
        fit(split.schema, train, valid, tiny_spec(model), tmp_path / "h.csv", torch.device("cpu"))
    assert not (tmp_path / "h.csv").exists()


def test_training_takes_nested_labels_and_other_models_any(tmp_path: Path) -> None:
    nested = SplitDirectory(write_split(tmp_path / "nested", tasks=3, nested=True))
    plain = SplitDirectory(write_split(tmp_path / "plain", tasks=3))
    for model in ("resflow", "aitm_calibrated"):
        labels = nested.part("train").labels
        require_nested(build(nested.schema, tiny_spec(model)), nested.schema, labels)
    for model in ("aitm", "stem"):
        labels = plain.part("train").labels
        require_nested(build(plain.schema, tiny_spec(model)), plain.schema, labels)


def test_stem_refuses_arguments_that_contradict_each_other() -> None:
    for args, message in (
        ({"backward": "all", "isolation": "strict"}, "no meaning where backward is all"),
        (
            {"backward": "shared_detached", "gate_input": "task", "num_layers": 2},
            "trains no shared gate",
        ),
    ):
        spec = tiny_spec("stem")
        with pytest.raises(StembenchError, match=message):
            build(make_schema(2), spec | {"args": spec["args"] | args})
