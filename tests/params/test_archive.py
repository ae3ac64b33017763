"""Archives in params.yaml: what may be left out, and what is said when it may not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from stembench.params.data import Archive, Source

SUM = "0" * 64


def refused(match: str, *archives: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=match):
        Source.model_validate({"kind": "table", "archives": list(archives)})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, r"give the archive's `sha256` or `md5`; only .*`manual: true`\) may be without"),
        ({"members": {"a": None}}, r"give the archive's `sha256` or `md5`"),
        ({"manual": True, "mirrors": [{"url": "https://x.org"}]}, r"`mirrors` exclude each other"),
        ({"sha256": SUM, "members": {"../x": None}}, r"'\.\./x' lies outside the archive"),
        ({"sha256": SUM, "members": {"/x": None}}, r"'/x' lies outside the archive"),
        ({"sha256": SUM, "members": {"a\\..\\x": None}}, r"lies outside the archive"),
        ({"sha256": SUM, "members": {"a/.x": None}}, r"files with a leading dot are not read"),
        ({"sha256": SUM, "members": {"a/x": None, "b/x": None}}, r"a/x and b/x are both called x"),
        ({"sha256": SUM, "members": {"a": "12"}}, r"members\.a\n.*should match pattern"),
        ({"sha256": SUM, "size": 0}, r"size\n.*greater than or equal to 1"),
        ({"sha256": SUM, "file": "../x"}, r"file\n.*should match pattern"),
        ({"sha256": SUM, "file": ".x"}, r"file\n.*should match pattern"),
    ],
)
def test_a_wrong_entry(entry: dict[str, Any], message: str) -> None:
    refused(message, {"file": "x.zip"} | entry)


def test_two_archives_must_not_bring_one_file() -> None:
    refused(
        "two archives bring a file called x.csv",
        {"file": "a.zip", "sha256": SUM, "members": {"a/x.csv": None}},
        {"file": "x.csv", "sha256": SUM},
    )


def test_what_may_be_left_out() -> None:
    own = Archive.model_validate({"file": "my_log", "manual": True})
    assert not own.checked
    assert own.names == {}
    vouched = Archive.model_validate({"file": "x.tgz", "md5": "0" * 32, "members": {"a/b": None}})
    assert vouched.checked
    assert vouched.names == {"b": None}
