"""workflow/published.yaml: what others have published, and what we assume when we compare with it.

An entry is a `number` (the metric of one model in one row of a table) or a `claim` (one model is
better or worse than others). Each says where it stands, how it is known (`tag`), what its source
tells of data, split, features, setting and hardware, and for each of our data sets that it is
compared on what is assumed there and whether that is the same. Entries of a user's own are added to
the same file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stembench.errors import StembenchError
from stembench.params.load import UniqueKeys
from stembench.params.messages import explain

PUBLISHED = Path("workflow/published.yaml")
#: In place of a data set's name: every data set of ours that the entry does not name.
EVERY = "*"
ASPECTS = ("data", "split", "features", "setting", "hardware")
#: What must be the same, and known to be, before a value can be compared with ours.
DECISIVE = ("data", "split")

Text = Annotated[str, Field(min_length=1)]
Metric = Literal["auc", "gauc", "logloss"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """What the source tells of its experiment; "unknown" where it tells nothing."""

    data: Text
    split: Text
    features: Text
    setting: Text
    hardware: Text


class Assumption(_Strict):
    """What we do, and how that stands to what the source tells."""

    ours: Text
    match: Literal["same", "differs", "unknown"]


class Here(_Strict):
    """An entry on one of our data sets.

    tasks: the source's name of a task -> ours, where it differs.
    """

    data: Assumption
    split: Assumption
    features: Assumption
    setting: Assumption
    hardware: Assumption
    tasks: dict[str, Text] = {}

    def comparable(self) -> bool:
        """Whether values can be compared, not signs and orders alone.

        Data and split must be known to be the same, and the features not known to differ.
        """
        same = all(getattr(self, aspect).match == "same" for aspect in DECISIVE)
        return same and self.features.match != "differs"

    def deviations(self) -> list[str]:
        """`data differs`, `split unknown`, ...: every aspect that is not the same."""
        found = [(aspect, getattr(self, aspect).match) for aspect in ASPECTS]
        return [f"{aspect} {match}" for aspect, match in found if match != "same"]


class _Entry(_Strict):
    paper: Text
    source: Text
    tag: Literal["seen", "second-hand", "inferred"]
    dataset: Text
    table: Text
    row: Text
    note: str = ""
    source_says: Source
    here: dict[str, Here]

    def on(self, dataset: str) -> Here | None:
        """The entry's assumptions on one of our data sets, None where it is not compared."""
        return self.here.get(dataset, self.here.get(EVERY))


class Number(_Entry):
    """A published value: mean of `runs` runs of the model, which is named as in params.yaml."""

    kind: Literal["number"]
    task: Text
    metric: Metric
    model: Text
    value: float
    runs: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _in_range(self) -> Number:
        if self.metric != "logloss" and not 0 <= self.value <= 1:
            raise ValueError(f"value: a {self.metric} lies between 0 and 1, not {self.value}")
        return self


class Claim(_Entry):
    """`model` is better or worse than each of `others`, by a metric, overall or where comparable.

    tasks: by the source's names, or all.
    """

    kind: Literal["claim"]
    statement: Text
    model: Text
    relation: Literal["better", "worse"]
    others: Annotated[list[Text], Field(min_length=1)]
    metric: Metric
    tasks: Literal["all"] | Annotated[list[Text], Field(min_length=1)]
    where: Literal["overall", "comparable"]

    @model_validator(mode="after")
    def _not_itself(self) -> Claim:
        if self.model in self.others:
            raise ValueError(f"others: {self.model} cannot be compared with itself")
        return self


class Published(_Strict):
    """The whole file: entries by a name of their own."""

    entries: dict[str, Annotated[Number | Claim, Field(discriminator="kind")]]


def load(path: Path = PUBLISHED) -> Published:
    """Read and check the file.

    Raises StembenchError with a line for each fault: absent, not YAML, an unknown or missing key.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeys)  # a SafeLoader
    except FileNotFoundError:
        raise StembenchError(
            f"{path} is not there: run from the project's folder, or restore it with "
            f"`git checkout {path}`"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StembenchError(f"{path} is not valid YAML: {error}") from None
    try:
        return Published.model_validate(raw)
    except ValidationError as error:
        lines = [_told(line) for line in explain(error, Published)]
        raise StembenchError(
            f"{path}:\n" + "\n".join(lines) + "\n  see docs/verify.md for the keys of an entry"
        ) from None


def _told(line: str) -> str:
    """A fault's line in the file's own keys: pydantic puts the kind of an entry into the path."""
    path, _, message = line.partition(": ")
    parts = path.split(".")
    if len(parts) > 2 and parts[2] in ("number", "claim"):
        kind = Number if parts.pop(2) == "number" else Claim
        sections: tuple[type[BaseModel], ...] = (kind,)
        if len(parts) > 3:
            sections = (Source,) if parts[2] == "source_says" else (Here, Assumption)
            sections = sections[-1:] if len(parts) > 5 else sections[:1]
        if message == "unknown key":
            message += f", one of {', '.join(sections[0].model_fields)}"
    elif message.startswith("the key rule is missing") or "expected tags" in message:
        message = "the key kind must be number or claim"
    elif "is not allowed, one of" in message:
        message += " (the key kind)"
    return ".".join(parts) + ": " + message
