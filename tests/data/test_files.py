"""Ragged lines: the fast count against a plain one, character by character."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stembench.data import files
from stembench.data.sources.ragged import Ragged, check_rectangular, ragged_lines
from stembench.errors import StembenchError
from tests.conftest import EXAMPLES


def plain(text: str, quote: str | None) -> Ragged | None:
    """The same by a loop; None when a quoted cell does not end."""
    counts, cells, quoted = [], 1, False
    for character in text:
        if character == quote:
            quoted = not quoted
        elif not quoted and character == ",":
            cells += 1
        elif not quoted and character == "\n":
            counts.append(cells)
            cells = 1
    if text and text[-1] != "\n":
        counts.append(cells)
    if quoted:
        return None
    expected = counts[0] if counts else 0
    odd = [(line, count) for line, count in enumerate(counts, 1) if count != expected]
    return Ragged(expected, len(counts), len(odd), odd)


@settings(
    max_examples=150 * EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    text=st.text(alphabet='a,,\n"', max_size=300),
    chunk=st.sampled_from([1, 5, 63, 64, 65, 130, 4096]),
    quote=st.sampled_from([None, '"']),
)
def test_ragged_lines_equal_a_plain_count(
    text: str, chunk: int, quote: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    expected = plain(text, quote)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK", chunk)
        if expected is None:
            with pytest.raises(StembenchError, match="quoted cell does not end"):
                ragged_lines(path, ",", quote)
        else:
            assert ragged_lines(path, ",", quote) == expected


def test_a_table_without_header_has_as_many_rows_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("1\t2\n" * 5 + "1\t2\t3\n" + "1\t2")
    assert ragged_lines(path, "\t") == Ragged(2, 7, 1, [(6, 3)])
    with pytest.raises(StembenchError, match="line 6: 3 cells where the first line has 2"):
        check_rectangular(path, "\t")


def test_of_many_odd_lines_the_first_thousand_are_told(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("1\t2\n" + "1\n" * 3000)
    found = ragged_lines(path, "\t")
    assert (found.rows, found.odd, len(found.lines)) == (3001, 3000, 1000)
    assert found.lines[-1] == (1001, 1)


@pytest.mark.parametrize("chunk", [3, 7, 1 << 20])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,4\n", None),
        ("a,b\n1,2\n3,4", None),
        ('a,b\n"1,\n1",2\n3,"4"\n', None),
        ("a\n1\n", None),
        ("", None),
        ("a,b\n1,2\n3\n4,5\n", "line 3: 1 cells"),
        ("a,b\n1,2,3\n", "line 2: 3 cells"),
        ("a,b\n1,2\n3", "line 3: 1 cells"),
        ("a,b\n1,2\n\n", "line 3: 1 cells"),
        ('a,b\n1,"2\n', "quoted cell does not end"),
    ],
)
def test_a_ragged_table_is_refused(
    text: str, message: str | None, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stembench.data.sources.ragged.CHUNK", chunk)
    path = tmp_path / "t.csv"
    path.write_text(text)
    if message is None:
        check_rectangular(path, ",", '"')
    else:
        with pytest.raises(StembenchError, match=message):
            check_rectangular(path, ",", '"')
