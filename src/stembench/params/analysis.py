"""The section `analysis`: what is tested, and how."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stembench.params.tuning import Factors
from stembench.params.types import Fraction, Name, Strict

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
