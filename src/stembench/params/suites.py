"""The section `suites`: which data sets, models and seeds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from stembench.params.train import PartialTrain
from stembench.params.types import Name, Positive, Seed, Strict


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
