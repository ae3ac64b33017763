"""What is in a split: the figures of a data card, counted in one pass over the mapped arrays.

Memory grows with users and items, not with rows: a block of rows is copied, counted and let go.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stembench.data.directory import PARTS, Part, PartName, SplitDirectory
from stembench.data.schema import FIRST_ID, MISSING, OUT_OF_VOCABULARY, PADDING, Schema
from stembench.params.data import Source

#: Cells of the field matrix that are in memory at a time.
BLOCK_CELLS = 1 << 21
QUANTILES = {"p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p99": 0.99}

Counts = NDArray[np.int64]


class Tally:
    """Sums over the rows of one part.

    users: rows by user code (U,); items: rows by id of the item field (I,), empty without one;
    joint: (T, T), rows on which both tasks are positive; by field (F,): `values` that are no
    padding, and how many of them are `missing` or out of vocabulary (`unknown`).
    """

    def __init__(self, part: Part, schema: Schema) -> None:
        self.rows = len(part)
        self.users, self.items = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.joint = np.zeros((schema.num_tasks, schema.num_tasks))
        self.values, self.missing, self.unknown = np.zeros((3, len(schema.fields)), np.int64)
        item = item_column(schema)
        bounds = np.cumsum([0, *(field.columns for field in schema.fields)]).tolist()
        for fields, labels, users in _blocks(part, BLOCK_CELLS // schema.num_columns):
            self.users = _added(self.users, users)
            y = labels.astype(np.float64)  # exact up to 2^53 rows
            self.joint += y.T @ y
            columns = np.ascontiguousarray(fields.T)
            if item is not None:
                self.items = _added(self.items, columns[item])
            for f, (left, right) in enumerate(pairwise(bounds)):
                ids = columns[left:right]
                self.values[f] += np.count_nonzero(ids != PADDING)
                self.missing[f] += np.count_nonzero(ids == MISSING)
                self.unknown[f] += np.count_nonzero(ids == OUT_OF_VOCABULARY)

    @property
    def distinct_items(self) -> int:
        """Distinct ids of the item field; items without an id of their own do not count."""
        return int(np.count_nonzero(self.items[FIRST_ID:]))


def facts(split: SplitDirectory) -> dict[str, Any]:
    """The figures of a split's data card, ready for JSON; the same bytes from the same split.

    Counts of users, activity and label pairs are over train, valid and test; a part with randomly
    exposed items has its own row in `parts` and counts nowhere else. Raises StembenchError when an
    array cannot be read.
    """
    schema, manifest = split.schema, split.manifest
    names: list[PartName] = [*PARTS, *(["unbiased"] if split.has_unbiased else [])]  # type: ignore[list-item]
    tallies = {name: Tally(split.part(name), schema) for name in names}
    main = [tallies[name] for name in PARTS]
    users = _summed([tally.users for tally in main])
    items = _summed([tally.items for tally in main])
    return {
        "format": 1,
        "dataset": manifest["dataset"],
        "split": manifest["split"],
        "sha256": manifest["sha256"],
        "rule": manifest.get("rule") or {},
        "tasks": list(schema.tasks),
        "item_field": _item_field(schema),
        "rows": sum(tally.rows for tally in main),
        "users": int(np.count_nonzero(users)),
        "items": int(np.count_nonzero(items[FIRST_ID:])),
        "parts": [_part(name, tallies[name], tallies["train"], schema, manifest) for name in names],
        "fields": [
            {"name": field.name, "role": field.role, "kind": field.kind, "size": field.size}
            | {
                kind: {
                    name: _share(getattr(t, kind)[f], t.values[f]) for name, t in tallies.items()
                }
                for kind in ("unknown", "missing")
            }
            for f, field in enumerate(schema.fields)
        ],
        "activity": _activity(users[users > 0]),
        "pairs": _pairs(sum(t.joint for t in main), sum(t.rows for t in main), schema.tasks),  # type: ignore[arg-type]
        "left_out": _left_out(manifest),
        "days": manifest.get("days") or {},
        "files": manifest.get("sources") or {},
    }


def dataset_facts(split: SplitDirectory, source: Source) -> dict[str, Any]:
    """`facts`, and what params.yaml says of the source: archives, pages, licences."""
    archives = [
        {
            key: getattr(archive, key, None)
            for key in ("file", "sha256", "md5", "page", "licence")
            if getattr(archive, key, None)
        }
        for archive in source.archives
    ]
    return facts(split) | {"archives": archives, "generated": source.kind == "synthetic"}


def item_column(schema: Schema) -> int | None:
    """Column of the item's id, the first field of role item; None without one."""
    left = 0
    for field in schema.fields:
        if field.role == "item":
            return left
        left += field.columns
    return None


def _item_field(schema: Schema) -> str | None:
    return next((field.name for field in schema.fields if field.role == "item"), None)


def _part(
    name: str, tally: Tally, train: Tally, schema: Schema, manifest: dict[str, Any]
) -> dict[str, Any]:
    """Sizes and rates of a part; `unseen_users`: share of its users that are not in train."""
    there = np.flatnonzero(tally.users)
    known = np.zeros(max(len(tally.users), len(train.users)), np.bool_)
    known[: len(train.users)] = train.users > 0
    rates = np.diag(tally.joint) / max(tally.rows, 1)
    return {
        "part": name,
        "rows": tally.rows,
        "users": len(there),
        "unseen_users": _share(len(there) - int(known[there].sum()), len(there)),
        "items": tally.distinct_items,
        "rates": dict(zip(schema.tasks, rates.tolist(), strict=True)),
        "time": (manifest.get("times") or {}).get(name),
    }


def _activity(rows: Counts) -> dict[str, Any]:
    """Rows per user (of the users that have some): quantiles, and a histogram by doubling."""
    if not len(rows):
        return {"mean": 0.0, "quantiles": {}, "histogram": []}
    points = np.quantile(rows, list(QUANTILES.values()), method="inverted_cdf").tolist()
    quantiles = {"min": int(rows.min())} | dict(zip(QUANTILES, map(int, points), strict=True))
    step = np.frexp(rows)[1] - 1  # of n: the largest k with 2^k <= n
    users, share = np.bincount(step), np.bincount(step, weights=rows)
    return {
        "mean": float(rows.mean()),
        "quantiles": quantiles | {"max": int(rows.max())},
        "histogram": [
            {"from": 2**k, "to": 2 ** (k + 1) - 1, "users": int(n), "rows": int(share[k])}
            for k, n in enumerate(users.tolist())
            if k >= step.min()
        ],
    }


def _pairs(joint: NDArray[np.float64], rows: int, tasks: tuple[str, ...]) -> list[dict[str, Any]]:
    """Of each two tasks a, b: rate of both, P(a|b), P(b|a), phi coefficient and odds ratio.

    None where undefined: a rate without rows to condition on, phi of a constant label, odds with
    an empty cell below the line.
    """
    found = []
    for i, j in combinations(range(len(tasks)), 2):
        both, a, b = (float(joint[at]) for at in ((i, j), (i, i), (j, j)))
        neither, only_a, only_b = rows - a - b + both, a - both, b - both
        spread = np.sqrt(a * (rows - a)) * np.sqrt(b * (rows - b))
        found.append(
            {
                "a": tasks[i],
                "b": tasks[j],
                "joint": _share(both, rows),
                "a_given_b": _share(both, b),
                "b_given_a": _share(both, a),
                "phi": _share(both * neither - only_a * only_b, float(spread)),
                "odds": _share(both * neither, only_a * only_b),
            }
        )
    return found


def _left_out(manifest: dict[str, Any]) -> dict[str, Any]:
    """What the manifest says of rows read, dropped and late, whichever of these it has."""
    return {
        key: value
        for key, value in manifest.items()
        if value is not None
        and (key in ("rows_read", "late_rows", "source_facts") or "dropped" in key)
    }


def _share(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole else None


def _blocks(
    part: Part, rows: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int32]]]:
    """Copies of (fields, labels, users), so many rows at a time."""
    rows = max(rows, 1)
    for start in range(0, len(part), rows):
        at = slice(start, start + rows)
        yield np.array(part.fields[at]), np.array(part.labels[at]), np.array(part.users[at])
        for array in (part.fields, part.labels, part.users):
            _let_go(array)


def _let_go(array: NDArray[Any]) -> None:
    """Give the pages read so far back: they would count as this process's memory."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)  # nothing was written, so nothing is lost


def _added(total: Counts, codes: NDArray[np.int32]) -> Counts:
    """Counts by code, those of `codes` added; negative codes (padding) are left out."""
    return _summed([total, np.bincount(codes[codes >= 0], minlength=len(total))])


def _summed(counts: list[Counts]) -> Counts:
    total = np.zeros(max(map(len, counts)), np.int64)
    for each in counts:
        total[: len(each)] += each
    return total
