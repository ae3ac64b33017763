"""The sections of params.yaml as types: keys, bounds, and what follows from one section alone."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic.fields import FieldInfo

from stembench.errors import StembenchError
from stembench.params_tuning import Factors, Space, Tuning

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
FileName = Annotated[str, Field(pattern=r"^[^./\\][^/\\]*$")]
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
    embedding_optimizer: Literal["dense", "rows"]
    lr: float = Field(gt=0, le=1)
    batch_size: Positive
    epochs: Positive
    patience: Positive
    embedding_l2: float = Field(ge=0, le=1)
    clip_norm: float = Field(gt=0)
    precision: Literal["float32", "bfloat16", "auto"]
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
    """One file to fetch, searched first in the mirror folders, and the members to take from it.

    Without members the file, or a folder of that name, is itself the raw data. A member without a
    checksum (null) rests on the archive's. `size` is in bytes, a folder's that of all its files.
    A `manual` file is not downloaded but placed by hand; it alone may have no checksum.
    """

    file: FileName
    sha256: Sha256 | None = None
    md5: Md5 | None = None
    size: Positive | None = None
    mirrors: list[Mirror] = []
    members: dict[str, Sha256 | None] = {}
    page: str | None = None
    licence: str | None = None
    manual: bool = False

    @property
    def checked(self) -> bool:
        """Whether a checksum says which file it must be."""
        return self.sha256 is not None or self.md5 is not None

    @property
    def names(self) -> dict[str, str | None]:
        """Raw file -> sha256 or None. Members lie flat in the raw folder, by their base names."""
        return {PurePosixPath(member).name: sha256 for member, sha256 in self.members.items()}

    @model_validator(mode="after")
    def _checksum(self) -> Self:
        if not self.checked and not self.manual:
            raise ValueError(
                "give the archive's `sha256` or `md5`; only a file that is placed by hand "
                "(`manual: true`) may be without"
            )
        if self.manual and self.mirrors:
            raise ValueError("`manual: true` (placed by hand) and `mirrors` exclude each other")
        return self

    @model_validator(mode="after")
    def _inside(self) -> Self:
        seen: dict[str, str] = {}
        for member in self.members:
            path = PurePosixPath(member)
            if path.is_absolute() or ".." in path.parts or "\\" in member or not path.name:
                raise ValueError(f"member {member!r} lies outside the archive")
            if path.name.startswith("."):
                raise ValueError(f"member {member!r}: files with a leading dot are not read")
            if path.name in seen:
                raise ValueError(
                    f"members {seen[path.name]} and {member} are both called {path.name}, and "
                    "members lie flat in one folder: take one of them"
                )
            seen[path.name] = member
        return self


class Source(Strict):
    """Raw files of a data set; `kind` names the module of data.sources that reads them.

    `rows`: how many rows the table must have, for files without a published checksum.
    """

    kind: Name
    archives: list[Archive] = []
    options: dict[str, Any] = {}
    rows: Positive | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        """Two archives must not put files of one name into the raw folder."""
        taken: set[str] = set()
        for archive in self.archives:
            names = set(archive.names) or {archive.file}
            if twice := sorted(names & taken):
                raise ValueError(f"two archives bring a file called {twice[0]}")
            taken |= names
        return self


class Bag(Strict):
    """A multi-valued field: tokens between `separator`s, at most `length` of them."""

    separator: str = Field(min_length=1)
    length: Positive


class Numeric(Strict):
    """A field of numbers in buckets: equally full ones, or equally wide ones of log(1 + |x|).

    The edges come from the training rows.
    """

    buckets: Annotated[int, Field(ge=2, le=10_000)]
    scale: Literal["quantile", "log"]


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
    numeric: dict[str, Numeric] = {}
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


class TrainTestSplit(Strict):
    """scikit-learn's train_test_split: `test` of all rows, then `valid` of what is left.

    Both with `seed` and in the table's order, as much published code does.
    """

    name: Name
    rule: Literal["train_test_split"]
    valid: Fraction
    test: Fraction
    seed: Seed


class UserOrderSplit(Strict):
    """The last rows of each user, by the `time` column or, without one, in the table's order."""

    name: Name
    rule: Literal["user_order"]
    valid: Fraction
    test: Fraction


class TimeSplit(Strict):
    """Global cut by the `time` column; a cut never parts rows of one time stamp.

    Rows that the SQL expression `unbiased` picks, such as random exposures, come into none of the
    three parts: those of the test period form a part of their own, the others are dropped.
    """

    name: Name
    rule: Literal["time"]
    valid: Fraction
    test: Fraction
    unbiased: str | None = None


class DaySplit(Strict):
    """Days up to and including each boundary, as integers yyyymmdd in `column`.

    `unbiased` as in TimeSplit.
    """

    name: Name
    rule: Literal["days"]
    column: str
    train_until: int
    valid_until: int
    test_until: int
    unbiased: str | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.train_until < self.valid_until < self.test_until:
            raise ValueError("train_until < valid_until < test_until must hold")
        return self


Split = Annotated[
    RandomSplit | TrainTestSplit | UserOrderSplit | TimeSplit | DaySplit,
    Field(discriminator="rule"),
]


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
    their own; `margin` stands for that of `analysis`."""

    name: Name
    datasets: list[Name] = Field(min_length=1)
    models: Literal["all"] | list[Name]
    seeds: Positive | Annotated[list[Seed], Field(min_length=1)]
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
        return self.seeds[: suite.seeds] if isinstance(suite.seeds, int) else list(suite.seeds)


def canonical(value: Any) -> str:
    """JSON with sorted keys: the same content always gives the same text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
