"""The sections of params.yaml as types: keys, bounds, and what follows from one section alone.

Those on data sets are in `params_data`, on training in `params_train`, on searches and factors in
`params_tuning`.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from stembench.errors import StembenchError
from stembench.params.analysis import Analysis
from stembench.params.data import Dataset
from stembench.params.suites import Protocols, SeedRange, Suite
from stembench.params.train import PartialTrain, Train
from stembench.params.tuning import Factors, Space, Tuning
from stembench.params.types import Name, Seed, Strict


class Objective(Strict):
    """How the tasks' losses become one gradient: `class` is `<module>.<Class>` in objectives."""

    class_: str = Field(alias="class", pattern=r"^[a-z][a-z0-9_]*\.[A-Za-z]\w*$")
    args: dict[str, Any] = {}


class Model(Strict):
    """An architecture: `class` is `<module>.<Class>` in stembench.models."""

    class_: str = Field(alias="class", pattern=r"^[a-z][a-z0-9_]*\.[A-Za-z]\w*$")
    objective: Name | None = None
    args: dict[str, Any] = {}
    train: PartialTrain = PartialTrain()
    tune: Space = Space()


class Params(Strict):
    """The whole of params.yaml."""

    mirrors: list[str]
    suites: dict[Name, Suite] = Field(min_length=1)
    suite: Suite
    seeds: list[Seed] = Field(min_length=1)
    train: Train
    args: dict[str, Any] = {}
    datasets: dict[Name, Dataset]
    objectives: dict[Name, Objective]
    models: dict[Name, Model]
    tuning: Tuning | None = None
    protocols: Protocols = Protocols()
    analysis: Analysis

    def select(self, name: str | None = None) -> Suite:
        """The suite of that name, or the one that `suite:` points to.

        Raises StembenchError for an unknown name, listing the known ones.
        """
        if name is None:
            return self.suite
        if name not in self.suites:
            raise StembenchError(f"unknown suite {name!r}: one of {', '.join(self.suites)}")
        return self.suites[name]

    def models_of(self, suite: Suite) -> list[str]:
        if suite.models == "all":
            return [name for name, model in self.models.items() if model.objective is None]
        return list(suite.models)

    def objective_name(self, suite: Suite, model: str) -> str:
        """Precedence, later wins: equal < model < suite."""
        return suite.objective or self.models[model].objective or "equal"

    def objective_of(self, suite: Suite, model: str) -> Objective:
        """The entry of `objectives` that a model is trained with."""
        return self.objectives[self.objective_name(suite, model)]

    def designs_of(self, suite: Suite) -> dict[str, Factors]:
        """The factor designs all of whose models the suite runs; those over selection rules
        (`stem@task`) only where its runs are read by both."""
        read = set(self.models_of(suite))
        select = suite.train.select or self.train.select
        if select.both:
            read |= {f"{model}@{rule}" for model in read for rule in ("mean", "task")}
        return {k: d for k, d in self.analysis.factors.items() if read.issuperset(d.models)}

    def has_comparable(self, suite: Suite) -> bool:
        """Whether transfer on comparable samples can be told: the suite runs the baseline beside
        other models, on a data set of two tasks or more."""
        models = self.models_of(suite)
        several = any(len(self.datasets[name].table.tasks) > 1 for name in suite.datasets)
        return several and self.analysis.baseline in models and len(models) > 1

    def analysis_of(self, suite: Suite) -> Analysis:
        """The settings of the comparison, with the suite's own margin if it has one."""
        own = {} if suite.margin is None else {"margin": suite.margin}
        return self.analysis.model_copy(update=own)

    def seeds_of(self, suite: Suite) -> list[int]:
        """The first n of `seeds`, or those that the suite names."""
        if isinstance(suite.seeds, SeedRange):
            return list(range(suite.seeds.first, suite.seeds.first + suite.seeds.count))
        return self.seeds[: suite.seeds] if isinstance(suite.seeds, int) else list(suite.seeds)
