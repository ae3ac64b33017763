"""The sections of params.yaml on search spaces and factor designs, as types.

`params_schema` imports this module; what spans several sections is checked in `params_protocols`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import product
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stembench.params.types import Strict

Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


class Dimension(Strict):
    """What a trial may draw for one setting: one of `choices`, or a number in [low, high].

    Two whole numbers make a range of whole numbers; `log` draws evenly on the logarithm.
    """

    choices: list[Any] | None = None
    low: Any = None
    high: Any = None
    log: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("give either `choices` or `low` and `high`")
            distinct = {repr(choice) for choice in self.choices}
            if len(distinct) < 2 or len(distinct) < len(self.choices):
                raise ValueError("choices must hold at least two values, none twice")
            return self
        for key, value in (("low", self.low), ("high", self.high)):
            if value is None:
                raise ValueError("give either `choices` or `low` and `high`")
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{key} must be a number, not {value!r} (write 1.0e-4, not 1e-4)")
            if not math.isfinite(value):
                raise ValueError(f"{key} must be a finite number, not {value!r}")
        if not self.low < self.high:
            raise ValueError(f"the range is empty: low {self.low} must be below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range must start above 0, not at {self.low}")
        return self

    def bounds(self) -> list[Any]:
        """Values that stand for the whole dimension when it is checked."""
        return [self.low, self.high] if self.choices is None else list(self.choices)

    def json(self) -> dict[str, Any]:  # type: ignore[override]
        """What defines it, and nothing else."""
        if self.choices is not None:
            return {"choices": self.choices}
        return {"low": self.low, "high": self.high, "log": self.log}


class Space(Strict):
    """Settings of `train` and constructor arguments that a trial draws."""

    train: dict[str, Dimension] = {}
    args: dict[str, Dimension] = {}


class Tuning(Strict):
    """The budget of every model: `trials`, trained with `seed`, drawn from `space`.

    Of the common arguments a model takes those that its constructor has; its own `tune` adds to
    them or replaces them, key by key.
    """

    seed: int = Field(ge=0, lt=2**31)
    trials: int = Field(ge=1)
    sampler: Literal["tpe", "random"] = "tpe"
    space: Space = Space()


class Factors(Strict):
    """A crossed design: model entries with their level of each factor, and what is asked of it.

    contrasts: factor -> pairs of levels; the effect is the mean over the entries at the first
    level minus that at the second. interactions: pairs of factors; how the effect of one differs
    between the levels of the other. Designs whose other factors do not balance are refused, for
    there a difference of means would be that of several factors at once.
    """

    models: dict[str, dict[str, str]] = Field(min_length=2)
    contrasts: dict[str, Annotated[list[Pair], Field(min_length=1)]] = Field(min_length=1)
    interactions: list[Pair] = []

    @model_validator(mode="after")
    def _design(self) -> Self:
        first, *others = self.models.items()
        for model, levels in others:
            if set(levels) != set(first[1]):
                raise ValueError(
                    f"{model} has the factors {', '.join(levels)}, {first[0]} has "
                    f"{', '.join(first[1])}: give every entry a level of each factor"
                )
        for factor, pairs in self.contrasts.items():
            if factor not in first[1]:
                raise ValueError(f"unknown factor {factor!r}, one of {', '.join(first[1])}")
            known = {levels[factor] for levels in self.models.values()}
            for level in (level for pair in pairs for level in pair):
                if level not in known:
                    raise ValueError(
                        f"no entry has {factor} {level!r}, one of {', '.join(sorted(known))}"
                    )
            if any(a == b for a, b in pairs):
                raise ValueError(f"a contrast of {factor} needs two different levels")
        for one, other in self.interactions:
            if one == other or not {one, other} <= set(self.contrasts):
                raise ValueError(
                    f"the interaction of {one} and {other} needs two factors that have contrasts"
                )
        self.effects()
        return self

    def effects(self) -> list[tuple[str, str, dict[str, float]]]:
        """(effect, what is subtracted, weight by model) of each contrast, then each interaction.

        The weights of an effect sum to 0. Raises ValueError for a design out of balance.
        """
        found = []
        for factor, pairs in self.contrasts.items():
            for a, b in pairs:
                signs = [({factor: a}, 1.0), ({factor: b}, -1.0)]
                found.append((factor, f"{a} - {b}", self._weights(signs)))
        for one, other in self.interactions:
            for (a, b), (c, d) in product(self.contrasts[one], self.contrasts[other]):
                signs = [
                    ({one: level, other: second}, sign * weight)
                    for level, sign in ((a, 1.0), (b, -1.0))
                    for second, weight in ((c, 1.0), (d, -1.0))
                ]
                words = f"({a} - {b} at {c}) - ({a} - {b} at {d})"
                found.append((f"{one} × {other}", words, self._weights(signs)))
        return found

    def _weights(self, signs: Iterable[tuple[dict[str, str], float]]) -> dict[str, float]:
        """Sum over the cells of sign × the mean of the entries in the cell."""
        weights: dict[str, float] = {}
        profiles = []
        for wanted, sign in signs:
            cell = [m for m, levels in self.models.items() if wanted.items() <= levels.items()]
            if not cell:
                where = ", ".join(f"{factor} {level}" for factor, level in wanted.items())
                raise ValueError(f"no entry has {where}: the design lacks that combination")
            for model in cell:
                weights[model] = sign / len(cell)
            rest = [
                tuple(sorted((f, v) for f, v in self.models[model].items() if f not in wanted))
                for model in cell
            ]
            profiles.append((Counter(rest), len(cell), wanted))
        for counts, size, wanted in profiles[1:]:
            reference, of, base = profiles[0]
            shares = {key: n * of for key, n in counts.items()}
            if shares != {key: n * size for key, n in reference.items()}:
                raise ValueError(
                    f"the entries at {wanted} and at {base} differ in other factors too: complete "
                    "the design, or declare the part that is crossed as a design of its own"
                )
        return weights
