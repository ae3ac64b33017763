"""The section of params.yaml on data sets as types: a log, what is taken of it, how it is split."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stembench.params.train import PartialTrain
from stembench.params.types import Fraction, Name, Positive, Seed, Strict, canonical

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
FileName = Annotated[str, Field(pattern=r"^[^./\\][^/\\]*$")]


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
