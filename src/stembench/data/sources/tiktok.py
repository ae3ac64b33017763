"""TikTok's log of the ICME 2019 challenge, track 1: tab-separated integers without a header.

Twelve columns, every cell an integer (checked while it is read). What the challenge stores is
kept: where it writes -1 for unknown, -1 is a value of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
from pydantic import Field

from stembench.data.sources import text
from stembench.errors import StembenchError

Text = Annotated[str, Field(min_length=1)]

COLUMNS = [
    *("uid", "user_city", "item_id", "author_id", "item_city", "channel", "finish", "like"),
    *("music_id", "device_id", "create_time", "video_duration"),
]

#: Columns that tell the outcome of the impression, and why.
LEAKS: dict[str, str] = dict.fromkeys(["finish", "like"], "it is a label")


def load(root: Path, *, file: Text = "final_track1_train.txt") -> pl.LazyFrame:
    """The twelve columns, in the order of the file.

    Raises StembenchError for a missing file, another number of columns, a header, a ragged line.
    """
    path = root / file
    first = text.first_line(path, "\t")
    if not all(cell.lstrip("-").isdigit() for cell in first):
        raise StembenchError(
            f"{path}: the first line holds {' '.join(first)[:80]!r}, not twelve integers: the "
            "challenge's file has no header; take the file as it comes"
        )
    return text.scan(path, dict.fromkeys(COLUMNS, pl.Int64), separator="\t", has_header=False)
