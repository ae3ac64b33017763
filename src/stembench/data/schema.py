"""What a model knows of a data set: fields, vocabulary sizes, tasks. No torch here."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from stembench.errors import StembenchError

#: Padding of a bag; never looked up.
PADDING = -1
#: The value is absent in the raw table.
MISSING = 0
#: The value was seen fewer than `min_count` times in the training part, or never.
OUT_OF_VOCABULARY = 1
#: Ids below this one are reserved.
FIRST_ID = 2

Role = Literal["user", "item", "context"]
Kind = Literal["categorical", "bag", "numeric"]


@dataclass(frozen=True)
class Field:
    """One input field.

    `size` counts the embedding rows, the two reserved ids included. A bag (a multi-valued field
    such as tags) takes `columns` columns of the field matrix, filled with PADDING at the end. The
    ids of a numeric field are those of its buckets, in the order of the numbers.
    """

    name: str
    role: Role
    kind: Kind
    size: int
    columns: int = 1


@dataclass(frozen=True)
class Schema:
    """Fields in the order of the field matrix's columns, and tasks in that of the labels."""

    dataset: str
    fields: tuple[Field, ...]
    tasks: tuple[str, ...]

    @property
    def num_columns(self) -> int:
        """Width C of the field matrix."""
        return sum(field.columns for field in self.fields)

    @property
    def num_tasks(self) -> int:
        return len(self.tasks)

    @property
    def num_rows(self) -> int:
        """Embedding rows over all fields."""
        return sum(field.size for field in self.fields)

    def to_json(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "fields": [asdict(field) for field in self.fields],
            "tasks": list(self.tasks),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Schema:
        return cls(
            dataset=value["dataset"],
            fields=tuple(Field(**field) for field in value["fields"]),
            tasks=tuple(value["tasks"]),
        )

    @classmethod
    def read(cls, path: Path) -> Schema:
        """Read `schema.json`; raises StembenchError when it is absent or damaged."""
        try:
            return cls.from_json(json.loads(path.read_text()))
        except FileNotFoundError:
            raise StembenchError(
                f"{path} is missing: make the split with `stembench data make {path.parent.name}`"
            ) from None
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise StembenchError(
                f"{path} is damaged ({error}): delete {path.parent} and make the split again with "
                f"`stembench data make {path.parent.name}`"
            ) from None
