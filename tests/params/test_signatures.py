"""Annotations of arguments, read from source text: what bounds they set, and what they may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stembench.errors import StembenchError
from stembench.params.signatures import check, keywords

SOURCE = """
from stembench.models.base import Rate
Share = Annotated[float, Field(gt=0, lt=1)]

def load(root, *, value: {annotation}): ...
"""


def faults(folder: Path, annotation: str, value: Any) -> list[str]:
    path = folder / "source.py"
    path.write_text(SOURCE.replace("{annotation}", annotation))
    return check("at", {"value": value}, [keywords(path, None, "load")])


@pytest.mark.parametrize(
    ("annotation", "good", "bad", "message"),
    [
        ("Share", 0.5, 0, "must lie in (0, 1), not 0"),
        ("Rate", 0, 1.0, "must lie in [0, 1), not 1.0"),
        ("Rate", 0.5, True, "must be a number, not True (write 1.0e-4, not 1e-4)"),
        ("float", -3, float("nan"), "must be a finite number, not nan"),
        ("int", -1, 1.0, "must be an integer, not 1.0"),
        ("Annotated[int, Field(ge=2)]", 2, 1, "must be an integer of at least 2, not 1"),
        ("Annotated[float, Field(le=2)]", 2, 3, "must be at most 2, not 3"),
        ("Annotated[str, Field(min_length=1)]", "x", [], "must be text, not []"),
        ("Annotated[list[str], Field(min_length=1)]", ["x"], [], "must hold at least one entry"),
        ("Sequence[Share]", [0.5], [1], "must be a list of numbers in (0, 1), not [1]"),
        ("Mapping[str, Share]", {}, {"a": 1}, "must map names to numbers in (0, 1), not {'a': 1}"),
        ("list[list[float]]", [[1]], [[1], [2]], "must be a square matrix of numbers"),
        ("Literal['a', 'b'] | None", None, 1, "one of a, b, not 1"),
        ("bool | Share", True, 2, "must be true or false, not 2, or must lie in (0, 1), not 2"),
    ],
)
def test_bounds_are_those_of_the_annotation(
    tmp_path: Path, annotation: str, good: Any, bad: Any, message: str
) -> None:
    assert faults(tmp_path, annotation, good) == []
    (fault,) = faults(tmp_path, annotation, bad)
    assert fault.startswith(f"at.value: {message}")


@pytest.mark.parametrize(
    "annotation", ["Unknown", "print(1)", "Field.x", "Annotated[int, open('x')]", "tuple[int, ...]"]
)
def test_nothing_else_is_evaluated(tmp_path: Path, annotation: str) -> None:
    with pytest.raises(StembenchError, match=r"source\.py: annotation .* is not supported"):
        faults(tmp_path, annotation, 1)
