"""`source.options` of params.yaml: checked before anything runs, told with what is allowed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from stembench.params.signatures import check_source

SYNTHETIC: dict[str, Any] = {
    "rows": 100,
    "users": 10,
    "items": 10,
    "latent": 2,
    "correlation": 0.5,
    "shared": 1.0,
    "specific": 1.0,
    "positive_rates": {"a": 0.5},
    "seed": 1,
}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("kuairand", {}),
        ("kuairand", {"random_log": True, "max_ragged": 0}),
        ("tiktok", {"file": "part.txt"}),
        ("tenrec", {"file": "ctr_data_1M.csv"}),
        ("atomic", {"prefix": "x", "parts": ["part1", "part2"], "leaks": {"stay": "afterwards"}}),
        ("table", {}),
        ("table", {"format": "csv", "separator": "|", "columns": ["a"], "null_values": ["", "NA"]}),
        ("table", {"format": None, "types": {"a": "text"}, "leaks": None}),
        ("synthetic", SYNTHETIC),
        ("synthetic", SYNTHETIC | {"correlation": [[1.0, 0.2], [0.2, 1]], "item_tail": 1.0}),
    ],
)
def test_allowed(kind: str, options: dict[str, Any]) -> None:
    assert check_source("x", kind, options) == []


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (
            "kuairand",
            {"random": True},
            "options: unknown argument 'random', one of max_ragged, ran",
        ),
        ("kuairand", {"random_log": "yes"}, "random_log: must be true or false, not 'yes'"),
        ("kuairand", {"max_ragged": -1}, "max_ragged: must be an integer of at least 0, not -1"),
        ("tenrec", {}, "options.file: this key is missing"),
        ("atomic", {"prefix": "x", "parts": "part1"}, "parts: must be a list of texts"),
        ("table", {"format": "xlsx"}, "format: one of csv, tsv, parquet, not 'xlsx'"),
        ("table", {"types": {"a": 1}}, "types: must map names to texts"),
        ("table", {"leaks": ["a"]}, "leaks: must map names to texts"),
        ("synthetic", SYNTHETIC | {"correlation": 2.0}, r"correlation: must lie in \[-1, 1\]"),
        ("synthetic", SYNTHETIC | {"correlation": [[1.0], [0.2]]}, "must be a square matrix"),
        ("synthetic", SYNTHETIC | {"correlation": None}, "correlation: must be a number"),
        ("synthetic", SYNTHETIC | {"item_tail": -1.0}, "item_tail: must be at least 0"),
        ("tabel", {}, "kind: unknown 'tabel', one of atomic, kuairand, synthetic, table, tenrec"),
    ],
)
def test_faults(kind: str, options: dict[str, Any], message: str) -> None:
    (fault,) = check_source("x", kind, options)
    assert re.search(message, fault), fault
