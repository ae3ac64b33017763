"""params.yaml: read, validated, resolved into runs.

Everything wrong with the file is found here, before any job starts, and is told in one message
that names the key and what is allowed there. No torch: constructor arguments of the models are
read from their source.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stembench.errors import StembenchError
from stembench.params.cross_checks import cross_check
from stembench.params.data import Dataset
from stembench.params.messages import explain
from stembench.params.schema import Params
from stembench.params.suites import Suite

__all__ = [
    "Dataset",
    "Params",
    "Suite",
    "load",
    "parse",
]


def load(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml.

    Raises StembenchError with one line per fault when the file is absent, not YAML, or wrong.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise StembenchError(f"no {path} here: run from the project's folder") from None
    except UnicodeDecodeError:
        raise StembenchError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    return parse(text, str(path))


@cache
def parse(text: str, origin: str = "params.yaml") -> Params:
    """Check the text of a params file; see `load`."""
    try:
        raw = yaml.load(text, Loader=UniqueKeys)
    except yaml.YAMLError as error:
        raise StembenchError(f"{origin} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise StembenchError(f"{origin} must be a mapping with {', '.join(Params.model_fields)}")
    if isinstance(raw.get("suite"), str):
        raise StembenchError(
            f"{origin}: suite: write `suite: *{raw['suite']}`, an alias of the entry marked "
            f"&{raw['suite']} under suites; DVC reads the data sets through it"
        )
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        raise StembenchError(f"{origin}:\n" + "\n".join(explain(error, Params))) from None
    faults = cross_check(params)
    if faults:
        raise StembenchError(f"{origin}:\n" + "\n".join(f"  {fault}" for fault in faults))
    return params


class UniqueKeys(yaml.SafeLoader):
    """YAML keeps the last of two equal keys in silence; here that is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a plain word", key_node.start_mark
                )
            key = self.construct_object(key_node)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
