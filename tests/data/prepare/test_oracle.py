"""Split directories against a plain in-memory implementation, and over batches of any size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stembench.data.directory import SplitDirectory
from stembench.data.prepare import reader as rows
from stembench.data.prepare.make import split_dataset
from stembench.data.schema import FIRST_ID, MISSING, OUT_OF_VOCABULARY, PADDING
from stembench.errors import StembenchError
from stembench.params.data import Dataset, DaySplit
from tests.conftest import EXAMPLES
from tests.data.conftest import tree, untouched

RULES: dict[str, dict[str, Any]] = {
    "random": {"rule": "random", "valid": 0.2, "test": 0.2, "seed": 3},
    "train_test_split": {"rule": "train_test_split", "valid": 0.2, "test": 0.2, "seed": 42},
    "time": {"rule": "time", "valid": 0.2, "test": 0.2},
    "time_unbiased": {"rule": "time", "valid": 0.2, "test": 0.2, "unbiased": "rand = 1"},
    "days": {
        **{"rule": "days", "column": "day", "train_until": 5, "valid_until": 7},
        **{"test_until": 9, "unbiased": "rand = 1"},
    },
    "user_order": {"rule": "user_order", "valid": 0.2, "test": 0.2},
}


def table(size: int, seed: int = 0) -> pl.DataFrame:
    """Rows of every kind of column: nulls, repeated rows, wide ids, text, lists, numbers."""
    random = np.random.default_rng(seed)
    user = random.integers(0, 7, size)
    time = random.integers(0, size, size)
    frame = pl.DataFrame(
        {
            "user": user * 2**40 - 2**41,
            "item": [None if i == 0 else f"i{i}" for i in random.integers(0, 12, size)],
            "tags": [
                ",".join(random.choice(list("abcde"), n)) for n in random.integers(0, 4, size)
            ],
            "price": np.where(random.random(size) < 0.1, np.nan, random.normal(size=size)),
            "tab": random.integers(0, 3, size).astype(np.int8),
            "time": time,
            "day": time * 10 // size,
            "rand": (random.random(size) < 0.4).astype(np.int8),
            "click": random.integers(0, 2, size),
            "rating": random.integers(1, 6, size),
        }
    )
    return pl.concat([frame, frame[::9]])


def dataset(rule: str, repeats: bool = True) -> Dataset:
    return Dataset.model_validate(
        {
            "source": {"kind": "table"},
            "table": {
                "user": "user",
                "time": "time",
                "drop_duplicates": repeats,
                "min_count": 3,
                "min_counts": {"tab": 1},
                "fields": {"user": ["user"], "item": ["item", "tags"], "context": ["price", "tab"]},
                "bags": {"tags": {"separator": ",", "length": 2}},
                "numeric": {"price": {"buckets": 4, "scale": "quantile"}},
                "tasks": {"click": "click", "like": "rating >= 4"},
            },
            "split": {"name": "mini_x1", **RULES[rule]},
        }
    )


def write(frame: pl.DataFrame, folder: Path) -> Path:
    folder.mkdir(parents=True)
    frame.write_parquet(folder / "rows.parquet", row_group_size=50)
    return folder


def in_pieces(patch: pytest.MonkeyPatch, size: int) -> None:
    """Rows come `size` at a time."""
    whole = rows.batches

    def pieces(lazy: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        for frame in whole(lazy):
            yield from frame.iter_slices(size)

    patch.setattr(rows, "batches", pieces)


@pytest.mark.parametrize("rule", list(RULES))
def test_the_split_does_not_depend_on_the_batches(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write(table(400), tmp_path / "raw")
    trees = []
    for size in (10_000, 64, 7):
        with monkeypatch.context() as patch:
            in_pieces(patch, size)
            split_dataset("mini", dataset(rule), raw, tmp_path / str(size))
        trees.append(tree(tmp_path / str(size)))
    assert trees[0] == trees[1] == trees[2]
    assert any(name.startswith("unbiased/") for name in trees[0]) == ("unbiased" in RULES[rule])


@settings(max_examples=15 * EXAMPLES)
@given(
    rule=st.sampled_from(list(RULES)),
    size=st.integers(300, 400),
    seed=st.integers(0, 99),
    repeats=st.booleans(),
)
def test_against_a_plain_implementation(rule: str, size: int, seed: int, repeats: bool) -> None:
    frame, entry = table(size, seed), dataset(rule, repeats)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        raw, out = write(frame, Path(folder) / "raw"), Path(folder) / "splits" / "mini"
        in_pieces(patch, 37)
        manifest = split_dataset("mini", entry, raw, out)
        found = SplitDirectory(out)
        kept = frame.with_row_index("row")
        if repeats:
            kept = kept.unique(frame.columns, keep="first", maintain_order=True)
        assert manifest["duplicates_dropped"] == len(frame) - len(kept)
        parts = plain_parts(kept, entry)
        assert manifest["rows"] == {part: len(part_rows) for part, part_rows in parts.items()}
        dropped = manifest["dropped_after_end"] + manifest.get("unbiased_dropped", 0)
        assert sum(manifest["rows"].values()) + dropped == len(kept)
        assert found.has_unbiased == ("unbiased" in RULES[rule])
        every = pl.concat(parts.values())
        users = sorted(set(every["user"]))
        for part, expected in parts.items():
            assert expected["row"].is_sorted()
            arrays = found.part(part)  # type: ignore[arg-type]
            np.testing.assert_array_equal(arrays.fields, plain_fields(expected, parts["train"]))
            labels = expected.select("click", like=pl.col("rating") >= 4)
            np.testing.assert_array_equal(arrays.labels, labels.to_numpy().astype(np.uint8))
            assert arrays.users.tolist() == [users.index(user) for user in expected["user"]]
            ends = [expected["time"].min(), expected["time"].max()]
            assert manifest["times"][part] == ends
            assert ("days" in manifest) == isinstance(entry.split, DaySplit)
            if isinstance(entry.split, DaySplit):
                days = expected[entry.split.column].cast(pl.String).value_counts()
                assert manifest["days"][part] == dict(days.iter_rows())
            assert manifest["users"][part] == expected["user"].n_unique()
            rates = manifest["positive_rates"][part]
            assert list(rates.values()) == pytest.approx(arrays.labels.mean(axis=0).tolist())


def plain_parts(kept: pl.DataFrame, entry: Dataset) -> dict[str, pl.DataFrame]:
    """The rows of each part, in the table's order."""
    rule: Any = entry.split
    marked = getattr(rule, "unbiased", None) == "rand = 1"
    plain = kept.filter(pl.col("rand") != 1) if marked else kept
    rest, size = kept.filter(pl.col("rand") == 1), len(plain)
    names = ["train", "valid", "test"]
    if rule.rule in ("random", "train_test_split"):
        codes = np.zeros(size, np.int8)
        if rule.rule == "random":
            drawn = np.random.default_rng([rule.seed, *b"split"]).permutation(size)
            test, valid = round(size * rule.test), round(size * rule.valid)
            codes[drawn[:test]], codes[drawn[test : test + valid]] = 2, 1
        else:
            from sklearn.model_selection import train_test_split

            left, test = train_test_split(
                np.arange(size), test_size=rule.test, random_state=rule.seed
            )
            _, valid = train_test_split(left, test_size=rule.valid, random_state=rule.seed)
            codes[test], codes[valid] = 2, 1
        late = pl.lit(False)
    elif rule.rule == "time":
        ranked = sorted(plain["time"])
        test = size - round(size * rule.test)
        cuts = ranked[test - round(size * rule.valid)], ranked[test]
        codes = np.array([sum(t >= cut for cut in cuts) for t in plain["time"]])
        late = pl.col("time") >= cuts[1]
    elif rule.rule == "days":
        bounds = [rule.train_until, rule.valid_until, rule.test_until]
        codes = np.array([sum(day > bound for bound in bounds) for day in plain["day"]])
        late = pl.col("day").is_between(rule.valid_until + 1, rule.test_until)
    else:
        codes = np.zeros(size, np.int8)
        times = plain["time"].to_list()
        for user in plain["user"].unique():
            own = [i for i, u in enumerate(plain["user"]) if u == user]
            own.sort(key=lambda i: times[i])
            test, valid = int(len(own) * 0.2 + 1e-9), int(len(own) * 0.2 + 1e-9)
            if test and valid:
                codes[own[-test:]] = 2
                codes[own[-test - valid : -test]] = 1
        late = pl.lit(False)
    parts = {name: plain.filter(pl.Series(codes == code)) for code, name in enumerate(names)}
    return parts | ({"unbiased": rest.filter(late)} if marked else {})


def plain_fields(part: pl.DataFrame, train: pl.DataFrame) -> list[list[int]]:
    """The field matrix, a row at a time."""

    def ids(column: list[Any], least: int) -> dict[Any, int]:
        counts = Counter(value for value in column if value not in (None, ""))
        ranked = sorted(counts, key=lambda value: (-counts[value], value))
        kept = [value for value in ranked if counts[value] >= least]
        return {value: place for place, value in enumerate(kept, FIRST_ID)}

    def of(value: Any, known: dict[Any, int]) -> int:
        return MISSING if value in (None, "") else known.get(value, OUT_OF_VOCABULARY)

    users, items = ids(train["user"].to_list(), 3), ids(train["item"].to_list(), 3)
    tabs = ids(train["tab"].to_list(), 1)
    tags = ids([tag for tags in train["tags"] for tag in tags.split(",")[:2]], 3)
    prices = sorted(price for price in train["price"] if not np.isnan(price))
    edges = sorted({prices[len(prices) * i // 4] for i in (1, 2, 3)} - {prices[0]})
    matrix = []
    for row in part.iter_rows(named=True):
        bag = [of(tag, tags) for tag in row["tags"].split(",")[:2]]
        price = row["price"]
        bucket = MISSING if np.isnan(price) else FIRST_ID + sum(edge <= price for edge in edges)
        matrix.append(
            [
                *(of(row["user"], users), of(row["item"], items)),
                *(bag + [PADDING] * (2 - len(bag))),
                *(bucket, of(row["tab"], tabs)),
            ]
        )
    return matrix


def test_a_split_without_random_exposures_has_no_such_part(tmp_path: Path) -> None:
    raw, out = write(table(200), tmp_path / "raw"), tmp_path / "splits" / "mini"
    split_dataset("mini", dataset("time"), raw, out)
    with pytest.raises(StembenchError, match="has no unbiased part: name its rows by `unbiased`"):
        SplitDirectory(out).part("unbiased")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": None}, r"column 'time' is missing in 220 rows"),
        ({"time": "x"}, r"column 'time' must hold numbers, not String"),
        ({"user": None}, r"user column 'user' is missing in 223 of 223 rows"),
        ({"price": "x"}, r"numeric field price must hold numbers, not String"),
        ({"rand": 2}, r"split\.unbiased \(rand = 1\): .*no row|unbiased part without rows"),
        ({"rand": None}, r"split\.unbiased \(rand = 1\): 223 of 223 rows.*row 1 gives null"),
        ({"rating": 5}, r"task like has only positives among the \d+ rows of the train part"),
        ({"click": 2}, r"task click \(click\): 223 of 223 rows are neither 0 nor 1 \(row 1 gives"),
    ],
)
def test_faults_of_columns(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    frame = table(200)
    (name, value), dtype = *change.items(), frame.schema[next(iter(change))]
    column = pl.lit(value) if isinstance(value, str) else pl.lit(value, dtype)
    frame = frame.with_columns(column.alias(name))
    if change == {"time": None}:
        frame = table(200).with_columns(
            pl.when(pl.int_range(pl.len()) > 2).then(None).otherwise("time").alias("time")
        )
    raw, out = write(frame, tmp_path / "raw"), tmp_path / "splits" / "mini"
    with pytest.raises(StembenchError, match=message):
        split_dataset("mini", dataset("time_unbiased"), raw, out)
    assert untouched(out)


def test_the_number_of_rows_is_checked(tmp_path: Path) -> None:
    raw, out = write(table(200), tmp_path / "raw"), tmp_path / "splits" / "mini"
    entry = dataset("time")
    wrong = entry.model_copy(update={"source": entry.source.model_copy(update={"rows": 1000})})
    with pytest.raises(StembenchError, match=r"holds 223 rows, source\.rows .* says 1,000: the"):
        split_dataset("mini", wrong, raw, out)
    assert untouched(out)
    right = entry.model_copy(update={"source": entry.source.model_copy(update={"rows": 223})})
    assert split_dataset("mini", right, raw, out)["rows_read"] == 223
