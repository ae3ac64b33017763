"""The sections of params.yaml as types: keys, bounds, and what follows from one section alone."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic.fields import FieldInfo

from stembench.errors import StembenchError
from stembench.params_tuning import Factors, Space, Tuning

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
FileName = Annotated[str, Field(pattern=r"^[^/\\]+$")]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Strict(BaseModel):
    """Unknown keys and silent conversions are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Select(Strict):
    """Which epoch's weights are kept: the best validation `metric`, as the mean `over` the tasks or
    task by task; `both`: train on until either rule has stopped, and read the test part by both."""

    metric: Literal["auc"]
    over: Literal["mean", "task"]
    both: bool


class Train(Strict):
    """How every model is trained."""

    optimizer: Literal["adam"]
    lr: float = Field(gt=0, le=1)
    batch_size: Positive
    epochs: Positive
    patience: Positive
    embedding_l2: float = Field(ge=0, le=1)
    clip_norm: float = Field(gt=0)
    precision: Literal["float32"]
    device: Literal["auto", "cpu", "cuda"]
    select: Select
    diagnostics: bool
    keep_weights: bool


def _bounded(info: FieldInfo) -> Any:
    """The field's type with its bounds."""
    return Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation


#: `train` of a data set, model or suite: the same keys, types and bounds, none required. A key
#: without a value is refused; None stands for a key that is not there.
PartialTrain: Any = create_model(  # type: ignore[call-overload]
    "PartialTrain",
    __base__=Strict,
    **{name: (_bounded(info), None) for name, info in Train.model_fields.items()},
)


class Mirror(Strict):
    """Where an archive comes from: a URL, or a `name==version` on the package index."""

    url: str | None = Field(default=None, pattern=r"^https?://")
    package: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.]+$")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.url is None) == (self.package is None):
            raise ValueError("give either `url` or `package`")
        return self


class Archive(Strict):
    """One file to fetch (searched first in the mirror folders) and the members to take from it."""

    file: FileName
    sha256: Sha256 | None = None
    md5: Md5 | None = None
    mirrors: list[Mirror] = []
    members: dict[str, Sha256] = Field(min_length=1)
    page: str | None = None

    @model_validator(mode="after")
    def _checksum(self) -> Self:
        if self.sha256 is None and self.md5 is None:
            raise ValueError("give the archive's `sha256` or `md5`")
        return self


class Source(Strict):
    """Raw files of a data set; `kind` names the module of data.sources that reads them."""

    kind: Name
    archives: list[Archive] = []
    options: dict[str, Any] = {}


class Bag(Strict):
    """A multi-valued field: tokens between `separator`s, at most `length` of them."""

    separator: str = Field(min_length=1)
    length: Positive


class Roles(Strict):
    """Columns used as input fields, by role."""

    user: list[str] = []
    item: list[str] = []
    context: list[str] = []


class Table(Strict):
    """Which columns of the source's table are fields, tasks, the user and the time of a row."""

    user: str
    fields: Roles
    tasks: dict[Name, str] = Field(min_length=1)
    time: str | None = None
    bags: dict[str, Bag] = {}
    min_count: Positive = 1
    min_counts: dict[str, Positive] = {}
    drop_duplicates: bool = False
    probabilities: dict[Name, str] | None = None


class RandomSplit(Strict):
    """Rows at random with a seed."""

    name: Name
    rule: Literal["random"]
    valid: Fraction
    test: Fraction
    seed: Seed


class TimeSplit(Strict):
    """Global cut by the `time` column; a cut never parts rows of one time stamp."""

    name: Name
    rule: Literal["time"]
    valid: Fraction
    test: Fraction


class DaySplit(Strict):
    """Days up to and including each boundary, as integers yyyymmdd in `column`."""

    name: Name
    rule: Literal["days"]
    column: str
    train_until: int
    valid_until: int
    test_until: int

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.train_until < self.valid_until < self.test_until:
            raise ValueError("train_until < valid_until < test_until must hold")
        return self


Split = Annotated[RandomSplit | TimeSplit | DaySplit, Field(discriminator="rule")]


class Expected(Strict):
    """Size of a data set as published: what `stembench plan` goes by until its split is made.

    parts: rows of each part, where the split's rule does not tell them from `rows`; ids: distinct
    values of single fields; other_ids: of all other fields together; sizes in MB of 10^6 bytes.
    Nothing but the plan reads this.
    """

    rows: Positive
    parts: dict[Literal["train", "valid", "test"], Positive] = {}
    ids: dict[str, Positive] = {}
    other_ids: Positive | None = None
    download_mb: float | None = Field(default=None, gt=0)
    raw_mb: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _all_parts(self) -> Self:
        if self.parts and len(self.parts) < 3:
            raise ValueError("parts: give the rows of train, valid and test")
        return self


class Dataset(Strict):
    """A data set: where it comes from, what is taken of it, how it is split.

    `nested`: the tasks are a chain in their order, a positive label implying one of the task before
    (a funnel: click, cart, purchase). Models that need it run only where it is declared, and check
    the training labels.
    """

    source: Source
    table: Table
    split: Split
    nested: bool = False
    train: PartialTrain = PartialTrain()
    args: dict[str, Any] = {}
    expected: Expected | None = None

    @model_validator(mode="after")
    def _fractions(self) -> Self:
        split = self.split
        if not isinstance(split, DaySplit) and split.valid + split.test >= 1:
            raise ValueError("split.valid + split.test must stay below 1")
        if isinstance(split, TimeSplit) and self.table.time is None:
            raise ValueError("split.rule time needs table.time")
        if self.table.probabilities and set(self.table.probabilities) != set(self.table.tasks):
            raise ValueError("table.probabilities must name the same tasks as table.tasks")
        return self

    def data_json(self) -> str:
        """Sorted JSON of all that decides the split directory."""
        return canonical(self.model_dump(include={"source", "table", "split"}))


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


class Suite(Strict):
    """A grid of data sets × models × seeds. `models: all` are the entries without an `objective` of
    their own."""

    name: Name
    datasets: list[Name] = Field(min_length=1)
    models: Literal["all"] | list[Name]
    seeds: Positive | Annotated[list[Seed], Field(min_length=1)]
    protocol: Literal["released", "equal", "tuned"] = "equal"
    objective: Name | None = None
    train: PartialTrain = PartialTrain()
    args: dict[str, Any] = {}


class Analysis(Strict):
    """Settings of the comparison, fixed before the runs."""

    reference: Name
    alpha: Fraction
    margin: float = Field(gt=0, lt=1)
    factors: dict[Name, Factors] = {}
    protocols: dict[Name, list[Name]] = {}


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

    def seeds_of(self, suite: Suite) -> list[int]:
        return self.seeds[: suite.seeds] if isinstance(suite.seeds, int) else list(suite.seeds)


def canonical(value: Any) -> str:
    """JSON with sorted keys: the same content always gives the same text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
