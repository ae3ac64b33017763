"""The sections of params.yaml as types: keys, bounds, and what follows from one section alone."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic.fields import FieldInfo

from stembench.errors import StembenchError

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
    """Which epoch's weights are kept: the best validation `metric`, `over` the tasks."""

    metric: Literal["auc"]
    over: Literal["mean"]


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


class Dataset(Strict):
    """A data set: where it comes from, what is taken of it, how it is split."""

    source: Source
    table: Table
    split: Split
    train: PartialTrain = PartialTrain()
    args: dict[str, Any] = {}

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


class Model(Strict):
    """An architecture: `class` is `<module>.<Class>` in stembench.models."""

    class_: str = Field(alias="class", pattern=r"^[a-z][a-z0-9_]*\.[A-Za-z]\w*$")
    args: dict[str, Any] = {}
    train: PartialTrain = PartialTrain()


class Suite(Strict):
    """A grid of data sets × models × seeds."""

    name: Name
    datasets: list[Name] = Field(min_length=1)
    models: Literal["all"] | list[Name]
    seeds: Positive | Annotated[list[Seed], Field(min_length=1)]
    protocol: Literal["equal"] = "equal"
    train: PartialTrain = PartialTrain()
    args: dict[str, Any] = {}


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


class Analysis(Strict):
    """Settings of the comparison, fixed before the runs."""

    reference: Name
    baseline: Name
    alpha: Fraction
    margin: float = Field(gt=0, lt=1)
    power: Fraction
    bootstrap: int = Field(ge=100)
    comparable: Comparable


class Params(Strict):
    """The whole of params.yaml."""

    mirrors: list[str]
    suites: dict[Name, Suite] = Field(min_length=1)
    suite: Suite
    seeds: list[Seed] = Field(min_length=1)
    train: Train
    args: dict[str, Any] = {}
    datasets: dict[Name, Dataset]
    models: dict[Name, Model]
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
        return list(self.models) if suite.models == "all" else list(suite.models)

    def seeds_of(self, suite: Suite) -> list[int]:
        return self.seeds[: suite.seeds] if isinstance(suite.seeds, int) else list(suite.seeds)


def canonical(value: Any) -> str:
    """JSON with sorted keys: the same content always gives the same text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
