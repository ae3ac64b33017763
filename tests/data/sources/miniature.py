"""Raw files in the official layouts, a few rows each: every column, nulls, unknowns, duplicates."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from tests.data.conftest import kuairand_log, kuairand_members

DAYS = range(20220430, 20220509)
TIKTOK = [
    *("uid", "user_city", "item_id", "author_id", "item_city", "channel", "finish", "like"),
    *("music_id", "device_id", "create_time", "video_duration"),
]
TENREC = (
    "user_id,item_id,click,follow,like,share,video_category,watching_times,gender,age"
)
HISTORY = [f"hist_{i}" for i in range(1, 11)]


def files_of(source: dict[str, Any]) -> dict[str, bytes]:
    """Member -> content for the archives of an entry of params.yaml."""
    members = [member for archive in source["archives"] for member in archive["members"]]
    return {member: content(source["kind"], PurePosixPath(member).name) for member in members}


def content(kind: str, name: str) -> bytes:
    if kind == "tiktok":
        return tiktok(200)
    if kind == "tenrec":
        return tenrec(200, history=name.startswith("ctr"))
    (made,) = kuairand(name).values()
    return made


def kuairand(name: str) -> dict[str, bytes]:
    """One file of KuaiRand by its name. The first log has a row without its last cell."""
    if not name.startswith("log"):
        feature = "user" if name.startswith("user") else "video"
        whole = kuairand_members({})
        return {name: next(text for path, text in whole.items() if f"/{feature}_" in path)}
    late = "4_22" in name or "4_25" in name
    days: Iterable[int] = DAYS if late else range(20220408, 20220410)
    lines = kuairand_log(days)
    if name.startswith("log_random"):
        lines = [",".join([*(cells := line.split(","))[:17], "1", cells[18]]) for line in lines]
    (text,) = (
        text for path, text in kuairand_members({"x": lines}).items() if "/log_" in path
    )
    if late or "pure" in name:
        return {name: text + text.splitlines(keepends=True)[-1]}  # an exact duplicate
    return {name: text + b"1,2,20220408\n"}  # a ragged row


def tiktok(rows: int) -> bytes:
    """Tab-separated, no header; item_city and music_id are -1 in some rows."""
    random = np.random.default_rng(1)
    table = random.integers(0, 8, (rows, 12))
    table[:, [6, 7]] = random.integers(0, 2, (rows, 2))
    table[::7, 4] = table[::5, 8] = -1
    table[:, 10] = 53_000_000_000 + np.arange(rows)
    return "".join("\t".join(map(str, row)) + "\n" for row in table.tolist()).encode()


def tenrec(rows: int, history: bool) -> bytes:
    r"""With a header; `\N` in video_category of every ninth row; two equal rows at the end."""
    random = np.random.default_rng(2)
    lines = [TENREC + ("," + ",".join(HISTORY) if history else "")]
    for row in range(rows - 1):
        clicked, liked = random.integers(0, 2, 2)
        cells = [row // 20, random.integers(0, 9), clicked, 0, liked, 0]
        cells += ["\\N" if row % 9 == 0 else row % 2, row % 4, row // 20 % 3, row // 20 % 5]
        cells += random.integers(0, 9, 10).tolist() if history else []
        lines.append(",".join(map(str, cells)))
    return ("\n".join([*lines, lines[-1]]) + "\n").encode()
