"""The data card of a split: what its figures say, for the terminal's tables and for HTML alike."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stembench.errors import StembenchError
from stembench.report import names

Facts = dict[str, Any]

_RULES = {
    "random": "rows at random with a seed",
    "time": "one cut in time for all users",
    "days": "by day",
    "user_order": "the last rows of each user",
    "train_test_split": "as published, by scikit-learn's train_test_split",
}
#: Keys of a rule in the order in which they are told; others follow.
_ORDER = ("column", "by", "train_until", "valid_until", "test_until", "valid", "test", "seed")
_QUANTILES = ("min", "p10", "p25", "p50", "p75", "p90", "p99", "max")
_LEFT_OUT = {
    "rows_read": "rows read",
    "duplicates_dropped": "duplicate rows dropped",
    "ragged_dropped": "ragged rows dropped",
    "unbiased_dropped": "rows with randomly exposed items before the test's period, dropped",
    "source_facts": "told by the source",
    "dropped_after_end": "rows after the end of the test part, dropped",
    "late_rows": "rows no earlier than a later part's first",
}


@dataclass(frozen=True)
class Grid:
    """A table: `text` columns are words, the others numbers."""

    title: str
    header: list[str]
    rows: list[list[str]]
    text: tuple[int, ...] = (0,)


def percent(share: float | None, digits: int = 3) -> str:
    """`44.2%`, `0.0853%`, `0%`; `n/a` where there is nothing to divide by."""
    if share is None:
        return "n/a"
    value = 100 * share
    text = f"{value:.{digits}g}"
    return f"{float(text):g}%" if "e" not in text else f"{value:.1e}%"


def kind_line(facts: Facts) -> str:
    """Whether the data are generated or a sample; empty for a whole real data set."""
    about = names.describe(facts["dataset"])
    if about.kind == "synthetic" or facts.get("generated"):
        return "Synthetic: generated data, made to test models, not a log of real users."
    if about.kind == "sample":
        return (
            "A sample of a real log, not the official archive: numbers on it are not comparable "
            "with numbers published on the whole."
        )
    return ""


def rule_line(facts: Facts) -> str:
    """The split's name, rule and boundaries in words."""
    rule = dict(facts["rule"])
    kind = rule.pop("rule", "")
    rule.pop("name", None)
    keys = sorted(rule, key=lambda key: (_ORDER.index(key) if key in _ORDER else 9, key))
    told = ", ".join(f"{key} {rule[key]}" for key in keys if rule[key] is not None)
    words = _RULES.get(kind, kind) or "rule unknown"
    return f"{facts['split']}: {words}{f' ({told})' if told else ''}"


def key_facts(facts: Facts) -> list[tuple[str, str]]:
    """What one wants to know first, as (name, value)."""
    parts = {part["part"]: part for part in facts["parts"]}
    rates = rates_of(facts)
    days = sorted({day for counts in facts["days"].values() for day in counts})
    found = [
        ("rows", f"{facts['rows']:,}"),
        ("users", f"{facts['users']:,}"),
        ("items with an id", f"{facts['items']:,}" if facts["item_field"] else "n/a"),
        ("positive rates", ", ".join(f"{names.task(t)} {percent(r)}" for t, r in rates.items())),
        ("fields", f"{len(facts['fields'])}"),
        ("rows per user", f"{facts['activity']['mean']:.4g} on average"),
        ("new users in the test part", percent(parts["test"]["unseen_users"])),
    ]
    if days:
        found.append(("days", f"{len(days)}, {days[0]} to {days[-1]}"))
    if "unbiased" in parts:
        found.append(("rows with randomly exposed items", f"{parts['unbiased']['rows']:,}"))
    return found


def rates_of(facts: Facts) -> dict[str, float]:
    """Positive rate of each task over train, valid and test."""
    main = [part for part in facts["parts"] if part["part"] != "unbiased"]
    return {
        task: sum(part["rates"][task] * part["rows"] for part in main) / max(facts["rows"], 1)
        for task in facts["tasks"]
    }


def parts_grid(facts: Facts) -> Grid:
    """A row per part."""
    times = any(part["time"] for part in facts["parts"])
    days = facts["days"]
    header = ["part", "rows", "users", "new users", "items"]
    header += [names.task(task) for task in facts["tasks"]]
    header += (["days"] if days else []) + (["first time", "last time"] if times else [])
    rows = []
    for part in facts["parts"]:
        row = [part["part"], f"{part['rows']:,}", f"{part['users']:,}"]
        row += ["" if part["part"] == "train" else percent(part["unseen_users"])]
        row += [f"{part['items']:,}" if facts["item_field"] else "n/a"]
        row += [percent(part["rates"][task]) for task in facts["tasks"]]
        there = sorted(days.get(part["part"], {}))
        row += [f"{there[0]} to {there[-1]}" if there else ""] if days else []
        row += [f"{value}" for value in part["time"] or ["", ""]] if times else []
        rows.append(row)
    return Grid("Parts, with the rate of positives by task", header, rows)


def items_line(facts: Facts) -> str:
    """How the items were counted."""
    if not facts["item_field"]:
        return "There is no field of role item, so items cannot be counted."
    return (
        f"Items are the distinct ids of the field {facts['item_field']}: an item without an id of "
        "its own, because the training part has it too rarely or never, is not counted. Users are "
        "counted before such folding."
    )


def users_grid(facts: Facts) -> Grid:
    """Quantiles of rows per user."""
    quantiles = facts["activity"]["quantiles"]
    return Grid(
        "Rows per user: quantiles over users",
        list(_QUANTILES),
        [[f"{quantiles[name]:,}" for name in _QUANTILES]] if quantiles else [],
        (),
    )


def histogram_grid(facts: Facts) -> Grid:
    """Users and their rows by activity."""
    users, rows = max(facts["users"], 1), max(facts["rows"], 1)
    return Grid(
        "Users by their number of rows",
        ["rows per user", "users", "share of users", "share of rows"],
        [
            [
                span(step),
                f"{step['users']:,}",
                percent(step["users"] / users),
                percent(step["rows"] / rows),
            ]
            for step in facts["activity"]["histogram"]
        ],
    )


def span(step: dict[str, int]) -> str:
    """`1`, `2–3`, `4–7`."""
    a, b = step["from"], step["to"]
    return f"{a:,}" if a == b else f"{a:,}–{b:,}"


def pairs_grid(facts: Facts) -> Grid:
    """How the labels of each two tasks go together."""
    return Grid(
        "Labels of two tasks together",
        ["tasks A, B", "both", "A if B", "B if A", "phi", "odds ratio"],
        [
            [
                f"{names.task(pair['a'])}, {names.task(pair['b'])}",
                percent(pair["joint"]),
                percent(pair["a_given_b"]),
                percent(pair["b_given_a"]),
                "n/a" if pair["phi"] is None else f"{pair['phi']:+.3f}",
                # No row has only one of the two: one label implies the other.
                "∞" if pair["odds"] is None else f"{pair['odds']:.4g}",
            ]
            for pair in facts["pairs"]
        ],
    )


def fields_grid(facts: Facts) -> Grid:
    """Vocabulary of each field, and what of it valid and test do not know."""
    parts = [part["part"] for part in facts["parts"]]
    later = [part for part in parts if part != "train"]
    header = ["field", "role", "ids"]
    header += [f"OOV {part}" for part in later] + ["missing"]
    rows = []
    for field in facts["fields"]:
        row = [field["name"], field["role"], f"{field['size']:,}"]
        row += [percent(field["unknown"][part]) for part in later]
        rows.append([*row, percent(field["missing"]["train"])])
    title = "Values without an id of their own (OOV), and missing ones in train"
    return Grid(title, header, rows, (0, 1))


def days_grid(facts: Facts) -> Grid:
    """Rows per day and part; no rows where the days are not known."""
    rows = [[day, part, f"{n:,}"] for day, part, n in day_rows(facts)]
    return Grid("Rows per day", ["day", "part", "rows"], rows, (0, 1))


def day_rows(facts: Facts) -> list[tuple[str, str, int]]:
    """(day, part, rows) by day, one that two parts share standing twice."""
    parts = [part["part"] for part in facts["parts"]]
    found = [
        (str(day), part, int(rows))
        for part in parts
        for day, rows in facts["days"].get(part, {}).items()
    ]
    return sorted(found, key=lambda row: (row[0], parts.index(row[1])))


def left_out_grid(facts: Facts) -> Grid:
    """Rows read, dropped and late."""
    rows = []
    for key, value in facts["left_out"].items():
        for name, count in _flat(_LEFT_OUT.get(key, key.replace("_", " ")), value):
            rows.append([name, f"{count:,}" if isinstance(count, int) else str(count)])
    return Grid("Rows read and left out", ["what", "rows"], rows)


def _flat(name: str, value: Any) -> list[tuple[str, Any]]:
    """What a nested record says, one value each; lists as text."""
    if not isinstance(value, dict):
        return [(name, ", ".join(map(str, value)) if isinstance(value, list) else value)]
    return [pair for key, inner in value.items() for pair in _flat(f"{name}, {key}", inner)]


def sources_grid(facts: Facts) -> Grid:
    """The raw files by checksum."""
    rows = [[name, str(sha256)] for name, sha256 in facts["files"].items()]
    return Grid("Raw files", ["file", "sha256"], rows, (0, 1))


def archive_lines(facts: Facts) -> list[str]:
    """Where the raw files come from, and under which terms, as far as it is known."""
    lines = []
    for archive in facts.get("archives", []):
        keys = [key for key in ("page", "licence", "sha256", "md5") if archive.get(key)]
        told = "; ".join(f"{key} {archive[key]}" for key in keys)
        lines.append(f"{archive['file']}: {told or 'no checksum, page or licence in params.yaml'}")
    return lines


def read_cards(root: Path, datasets: list[str]) -> dict[str, Facts]:
    """Facts of the data sets whose card is in `root`/data_cards (results/<suite>).

    Raises StembenchError when one is damaged.
    """
    found = {}
    for dataset in datasets:
        path = root / "data_cards" / f"{dataset}.json"
        if not (path.exists() and path.with_suffix(".html").exists()):
            continue
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            key_facts(facts)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StembenchError(
                f"{path} is damaged ({error!r}): make it again with `stembench data show {dataset} "
                f"--html {path.with_suffix('.html')} --json {path}`"
            ) from None
        found[dataset] = facts
    return found
