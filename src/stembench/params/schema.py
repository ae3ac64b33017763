"""The sections of params.yaml as types: keys, bounds, and what follows from one section alone.

Those on data sets are in `params_data`, on training in `params_train`, on searches and factors in
`params_tuning`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stembench.errors import StembenchError
from stembench.params.data import Dataset
from stembench.params.train import Fraction, Name, PartialTrain, Positive, Seed, Strict, Train
from stembench.params.tuning import Factors, Space, Tuning


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


class Published(Strict):
    """Settings that a model was published with, and where they stand."""

    source: str | None = None
    train: PartialTrain = PartialTrain()
    args: dict[str, Any] = {}


class Released(Published):
    """The settings shared by all published models, and what each has of its own."""

    source: str
    models: dict[Name, Published] = Field(min_length=1)


class Protocols(Strict):
    """What a suite's `protocol` stands for, where it is not told by the other sections."""

    released: Released | None = None


class SeedRange(Strict):
    """`count` seeds from `first` on, for suites of many."""

    first: int = Field(ge=0, le=2 * 10**9)  # the last one is below 2^31, as every seed
    count: int = Field(ge=1, le=10**6)


class Suite(Strict):
    """A grid of data sets × models × seeds. `models: all` are the entries without an `objective` of
    their own; `margin` stands for that of `analysis`."""

    name: Name
    datasets: list[Name] = Field(min_length=1)
    models: Literal["all"] | list[Name]
    seeds: Positive | Annotated[list[Seed], Field(min_length=1)] | SeedRange
    protocol: Literal["released", "equal", "tuned"] = "equal"
    objective: Name | None = None
    train: PartialTrain = PartialTrain()
    args: dict[str, Any] = {}
    margin: float | None = Field(default=None, gt=0, lt=1)


Buckets = Annotated[int, Field(ge=3, le=99)]
Smoothing = Annotated[float, Field(gt=0)]
Definition = Literal["user", "item", "user_item"]


class ComparableAlternatives(Strict):
    """Other settings of the comparable samples, each tried with the others as they are."""

    definition: list[Definition] = []
    buckets: list[Buckets] = []
    smoothing: list[Smoothing] = []


class Comparable(Strict):
    """How samples are sorted by the relative amount of two tasks' training positives."""

    definition: Definition
    buckets: Buckets
    smoothing: Smoothing
    alternatives: ComparableAlternatives = ComparableAlternatives()

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if any(count % 2 == 0 for count in (self.buckets, *self.alternatives.buckets)):
            raise ValueError("buckets must be odd, as the comparable one is in the middle")
        return self


class FamilyOfTests(Strict):
    """Tests adjusted together, within a data set and one metric at a time.

    of: what is compared. test: the reference with each other model, over models × tasks; unbiased:
    the same on random exposures; buckets and interaction: transfer gaps of comparable samples, and
    the contrasts between them; factors: effects of the crossed designs. adjust: Holm bounds the
    chance of any false rejection, bh (Benjamini and Hochberg) the share of false ones.
    """

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    of: Literal["test", "unbiased", "buckets", "interaction", "factors"]
    metrics: list[Literal["auc", "gauc", "logloss", "calibration"]] = Field(min_length=1)
    adjust: Literal["holm", "bh"]


#: What needs a family, as the tables test it.
TESTED = (
    *(("test", metric) for metric in ("auc", "gauc", "logloss", "calibration")),
    *((of, metric) for of in ("unbiased", "buckets", "interaction") for metric in ("auc", "gauc")),
    ("factors", "auc"),
)


class Analysis(Strict):
    """Settings of the comparison, fixed before the runs."""

    reference: Name
    baseline: Name
    alpha: Fraction
    margin: float = Field(gt=0, lt=1)
    families: list[FamilyOfTests]
    factors: dict[Name, Factors] = {}
    protocols: dict[Name, list[Name]] = {}
    power: Fraction
    bootstrap: int = Field(ge=100)
    comparable: Comparable

    @model_validator(mode="after")
    def _each_test_has_one_family(self) -> Self:
        told: list[tuple[str, str]] = [
            (family.of, metric) for family in self.families for metric in family.metrics
        ]
        for what in dict.fromkeys((*TESTED, *told)):
            if told.count(what) != 1:
                raise ValueError(
                    f"families must name {what[1]} of {what[0]} once, not {told.count(what)} times"
                )
        return self

    def adjustments(self) -> dict[tuple[str, str], tuple[str, str]]:
        """(what is compared, metric) -> name of its family, and how it is adjusted."""
        return {
            (family.of, metric): (family.name, family.adjust)
            for family in self.families
            for metric in family.metrics
        }


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
