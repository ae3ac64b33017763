"""The section objectives: faults told before anything runs, precedence, identity."""

from __future__ import annotations

import pytest

from stembench import provenance
from stembench.errors import StembenchError
from stembench.params import load as params
from stembench.params import resolve
from tests.params.test_load import edited

UW = "  uw: {class: weighting.UncertaintyWeighting}\n"
TASKS = "tasks: {click: click, like: like}\n      probabilities: {click: p_click, like: p_like}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (UW, "", r"models\.shared_bottom_uw\.objective: unknown 'uw', one of equal, dwa"),
        (UW, UW.replace("}", ", args: {lr: 0.0}}"), r"uw\.args\.lr: must be above 0, not 0\.0"),
        (UW, UW.replace("}", ", args: {lr: 0}}"), r"uw\.args\.lr: must be above 0, not 0"),
        (UW, UW.replace("}", ", args: {lr: fast}}"), r"uw\.args\.lr: must be a number"),
        (UW, UW.replace("}", ", args: {rate: 1.0}}"), r"unknown argument 'rate', one of lr"),
        (
            UW,
            "  uw: {class: weighting.UW}\n",
            r"uw\.class: no class UW in objectives",
        ),
        (UW, "  uw: {class: weighted.UW}\n", r"no objectives file weighted\.py, one of equal"),
        (UW, "  uw: {class: gradients.GradientMethod}\n", r"uw\.class: no class GradientMethod"),
        (UW, "  uw: {class: weighting.Static}\n", r"uw\.args\.weights: this key is missing"),
        (
            UW,
            "  uw: {class: weighting.Static, args: {weights: {click: 1.0, like: 2.0}}}\n",
            r"uw\.args\.weights must name the tasks of movielens: like, love, dislike",
        ),
        (
            "  pcgrad: {class: gradients.PCGrad}\n",
            "  pcgrad: {class: gradients.PCGrad, args: {tables: none}}\n",
            r"pcgrad\.args\.tables: one of weighted, sum, not 'none'",
        ),
        (
            "  equal: {class: equal.Equal}\n",
            "  equal: {class: gradients.MGDA}\n",
            r"objectives\.equal: must be \{class: equal\.Equal\}",
        ),
        (
            "    class: single_task.SingleTask\n",
            "    class: single_task.SingleTask\n    objective: mgda\n",
            r"models\.single_task\.objective: mgda makes no sense for single_task: .* use equal",
        ),
        (
            "    name: demo\n",
            "    name: demo\n    objective: famo\n",
            r"suites\.demo\.objective: famo makes no sense for single_task",
        ),
        (
            TASKS,
            "tasks: {click: click}\n      probabilities: {click: p_click}",
            r"models\.shared_bottom_uw\.objective: uw weighs tasks against each other, and "
            r"synthetic_conflict has one task: use equal",
        ),
        ("over: mean, both: false", "over: each, both: false", r"select\.over: must be 'mean' or"),
        ("over: mean, both: false", "over: mean", r"train\.select\.both: this key is missing"),
        ("  diagnostics: true ", "  diagnostics: 1 ", r"train\.diagnostics: must be a valid bool"),
    ],
)
def test_each_fault_is_told(old: str, new: str, message: str) -> None:
    with pytest.raises(StembenchError, match=message):
        params.parse(edited(old, new))


def test_the_spec_holds_the_resolved_objective(settings: params.Params) -> None:
    suite = settings.select("objectives")
    found = resolve.resolve(settings, suite, "movielens", "shared_bottom_cagrad", 1).spec
    assert found["objective"] == {
        "name": "cagrad",
        "class": "gradients.CAGrad",
        "args": {"c": 0.4, "tables": "weighted"},
    }
    plain = resolve.resolve(settings, suite, "movielens", "shared_bottom", 1).spec
    assert plain["objective"] == {"name": "equal", "class": "equal.Equal", "args": {}}


def test_a_suite_overrides_its_models(settings: params.Params) -> None:
    suite = settings.select("objectives").model_copy(update={"objective": "gls"})
    for model in ("shared_bottom", "shared_bottom_dwa", "stem"):
        found = resolve.resolve(settings, suite, "movielens", model, 1).spec["objective"]
        assert found["name"] == "gls"


def test_models_all_leaves_out_entries_with_an_objective(settings: params.Params) -> None:
    every = settings.models_of(settings.select("demo").model_copy(update={"models": "all"}))
    assert "shared_bottom" in every
    assert not [name for name in every if settings.models[name].objective]


def test_editing_a_method_retrains_its_runs_alone() -> None:
    def names(objective: str) -> set[str]:
        return {path.name for path in provenance.training_sources("mmoe.MMoE", objective)}

    assert {"gradients.py", "solvers.py"} <= names("gradients.MGDA")
    assert "weighting.py" in names("weighting.UncertaintyWeighting")
    assert not {"gradients.py", "solvers.py", "weighting.py"} & names("equal.Equal")
    for objective in ("gradients.MGDA", "weighting.GLS", "equal.Equal"):
        assert {"selection.py", "diagnostics.py", "base.py", "shared.py"} <= names(objective)
