r"""Tenrec's video logs of the platform QK: ctr_data_1M.csv, or QK-video.csv without histories.

Ids, labels and counts are integers, the features video_category, gender and age text; `\N` means
missing. There are no time stamps: the rows of a user stand in the file's order. Where the file has
hist_1 .. hist_10, the column `hist` holds them as one text, separated by spaces, for a bag.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
from pydantic import Field

from stembench.data.sources import text

Text = Annotated[str, Field(min_length=1)]

_LABELS = ["click", "follow", "like", "share"]
_FEATURES = ["video_category", "gender", "age"]
_COLUMNS = ["user_id", "item_id", *_LABELS, "video_category", "watching_times", "gender", "age"]
_HISTORY = [f"hist_{place}" for place in range(1, 11)]

#: Columns that tell the outcome of the impression, and why.
LEAKS: dict[str, str] = {
    **dict.fromkeys(_LABELS, "it is a label"),
    "watching_times": "it is measured after the impression",
}


def load(root: Path, *, file: Text) -> pl.LazyFrame:
    """The columns of `file`, in its order, and `hist` where it has histories.

    Raises StembenchError for a missing file or column, an unknown column, or a ragged line.
    """
    path = root / file
    names = text.header(path, ",")
    history = _HISTORY if _HISTORY[0] in names else []
    text.check_columns(path, names, [*_COLUMNS, *history])
    text.check_columns(path, [*_COLUMNS, *history], names)
    types = {name: pl.String if name in _FEATURES else pl.Int64 for name in names}
    table = text.scan(path, types, separator=",", null_values=["\\N"])
    if not history:
        return table
    joined = pl.concat_str(history, separator=" ", ignore_nulls=True)
    return table.with_columns(joined.alias("hist"))
