"""Lines of a table of text whose number of cells differs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stembench.data.files import CHUNK
from stembench.errors import StembenchError

_BLOCK = 1 << 20  # counted at a time: stays in the processor's cache
_KEPT = 1000  # odd lines told of a table


@dataclass(frozen=True)
class Ragged:
    """What `ragged_lines` found in a table of text.

    expected: cells of the first line; rows: lines in all, a header among them; odd: lines with
    another number of cells; lines: the first thousand of them as (line, cells), counted from 1.
    """

    expected: int
    rows: int
    odd: int
    lines: list[tuple[int, int]]


def ragged_lines(path: Path, separator: str, quote: str | None = None) -> Ragged:
    """The lines whose number of cells is not that of the first one.

    Readers of CSV fill a short line with nulls in silence. Separators and line ends between two
    `quote` characters do not count. Raises StembenchError when a quoted cell does not end.

    A bit per byte, 64 to a word: what stands before a line end is a population count, and what is
    inside quotes a prefix XOR, so that no array has more than a number per line.
    """
    expected = rows = odd = 0
    lines: list[tuple[int, int]] = []
    pending, quoted, last = 0, False, b"\n"  # separators of the line that goes on; in quotes
    block = min(CHUNK, _BLOCK)
    buffer = np.empty(-(-block // 64) * 64, np.uint8)
    with path.open("rb") as file:
        while size := file.readinto(buffer.data[:block]):
            data = buffer[: -(-size // 64) * 64]
            data[size:] = 0
            last = data[size - 1 : size].tobytes()
            commas, ends = _words(data == ord(separator)), data == ord("\n")
            if quote is not None and (quoted or (data == ord(quote)).any()):
                inside, quoted = _inside(_words(data == ord(quote)), quoted)
                commas &= ~inside
                ends &= np.unpackbits(inside.view(np.uint8), bitorder="little") == 0
            at = np.flatnonzero(ends)
            before = np.cumsum(np.bitwise_count(commas), dtype=np.int64)
            below = (np.uint64(1) << (at & 63).astype(np.uint64)) - np.uint64(1)
            words = commas[at >> 6]
            total = before[at >> 6] - np.bitwise_count(words & ~below)  # separators before each end
            if len(at):
                cells = np.diff(total, prepend=-pending) + 1
                expected = expected or int(cells[0])
                found = np.flatnonzero(cells != expected)
                odd += len(found)
                for place in found[: _KEPT - len(lines)].tolist():
                    lines.append((rows + place + 1, int(cells[place])))
                rows += len(at)
                pending = int(before[-1] - total[-1])
            else:
                pending += int(before[-1])
    if quoted:
        raise StembenchError(f"{path}: a quoted cell does not end; get the file again")
    if last != b"\n":
        rows += 1
        expected = expected or pending + 1
        if pending + 1 != expected:
            odd += 1
            lines += [(rows, pending + 1)] if len(lines) < _KEPT else []
    return Ragged(expected, rows, odd, lines)


def check_rectangular(path: Path, separator: str, quote: str | None = None) -> Ragged:
    """Every line must have as many cells as the first; see `ragged_lines`.

    Raises StembenchError with the first odd line's number.
    """
    found = ragged_lines(path, separator, quote)
    if found.odd:
        raise _ragged(path, *found.lines[0], found.expected)
    return found


def _words(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """A bit per byte: that of byte i is bit i % 64 of word i // 64."""
    return np.packbits(mask, bitorder="little").view("<u8")


def _inside(marks: NDArray[np.uint64], quoted: bool) -> tuple[NDArray[np.uint64], bool]:
    """Bits from an opening quote up to its end, and whether one is open after the last byte."""
    inside = marks.copy()
    for shift in (1, 2, 4, 8, 16, 32):
        inside ^= inside << np.uint64(shift)
    open_before = (np.cumsum(np.bitwise_count(marks), dtype=np.int64) + quoted) & 1
    carry = np.concatenate([[int(quoted)], open_before[:-1]]).astype(bool)
    inside[carry] = ~inside[carry]
    return inside, bool(open_before[-1])


def _ragged(path: Path, line: int, cells: int, expected: int) -> StembenchError:
    return StembenchError(
        f"{path}, line {line}: {cells} cells where the first line has {expected}; "
        "correct or remove the line, or get the file again"
    )
