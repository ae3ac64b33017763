"""The entries of params.yaml against miniature archives with the members that they name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from stembench.data.directory import PARTS, SplitDirectory
from stembench.data.fetch.fetch import fetch
from stembench.data.prepare import columns as encode
from stembench.data.prepare import labels
from stembench.data.prepare.make import split_dataset
from stembench.data.schema import FIRST_ID
from stembench.data.sources import base as sources
from stembench.errors import StembenchError
from stembench.params import load as params
from stembench.params import resolve
from stembench.params.data import Dataset
from tests.conftest import ROOT
from tests.data.conftest import pack_tar, pack_zip, sha256
from tests.data.sources.miniature import files_of

SETTINGS = params.load(ROOT / "params.yaml")
NAMES = [
    *("kuairand_pure_sample", "kuairand_pure_sample_random", "kuairand_pure"),
    *("kuairand_pure_random", "kuairand_pure_unbiased", "kuairand_1k", "kuairand_1k_random"),
    *("kuairand_27k", "tiktok", "qk_video", "qk_video_user", "qk_video_full"),
]
#: All that a log says of the outcome, by kind.
OUTCOME = {
    "kuairand": [
        *("is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view"),
        *("is_profile_enter", "play_time_ms", "profile_stay_time", "comment_stay_time"),
    ],
    "tiktok": ["finish", "like"],
    "tenrec": ["click", "follow", "like", "share", "watching_times"],
    "atomic": ["rating", "label"],
}


def miniature(name: str, mirror: Path) -> Dataset:
    """The entry with its archives packed into `mirror`, as small as can be."""
    whole = SETTINGS.datasets[name].model_dump(exclude_unset=True)
    files = files_of(whole["source"])
    whole["source"].pop("rows", None)
    mirror.mkdir(exist_ok=True)
    for archive in whole["source"]["archives"]:
        path = mirror / archive["file"]
        pack = pack_zip if path.suffix == ".zip" else pack_tar
        pack(path, {member: files[member] for member in archive["members"]})
        archive.pop("md5", None)
        archive.pop("size", None)
        if not archive.get("manual"):
            archive["sha256"] = sha256(path.read_bytes())
        archive["mirrors"] = []
        archive["members"] = {
            member: None if seen is None else sha256(files[member])
            for member, seen in archive["members"].items()
        }
    return Dataset.model_validate(whole)


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Dataset, Path]]:
    root = tmp_path_factory.mktemp("entries")
    made = {}
    for name in NAMES:
        dataset = miniature(name, root / f"{name}-mirror")
        fetch(name, dataset.source, root / "raw" / name, [str(root / f"{name}-mirror")])
        made[name] = dataset, root / "raw" / name
    return made


@pytest.mark.parametrize("name", NAMES)
def test_the_table_has_what_the_entry_asks_for(
    name: str, fetched: dict[str, tuple[Dataset, Path]]
) -> None:
    dataset, raw = fetched[name]
    table = sources.load(dataset.source, raw)
    columns = table.collect_schema().names()
    split_column = getattr(dataset.split, "column", None)
    needed = encode.needed_columns(
        dataset.table, split_column, columns, sources.leaks(dataset.source)
    )
    rows = table.select(needed).collect(engine="streaming")
    assert rows.equals(table.select(needed).collect(engine="in-memory"))
    found = labels.labels(rows, dataset.table)
    assert found.shape == (len(rows), len(dataset.table.tasks))
    assert set(np.unique(found)) == {0, 1}


@pytest.mark.parametrize("name", NAMES)
def test_the_table_is_read_as_a_stream(name: str, fetched: dict[str, tuple[Dataset, Path]]) -> None:
    """Only joins may hold rows, those of their feature table; nothing leaves the streaming engine.

    In polars' drawing of the plan a node that may hold much, or falls back, is filled.
    """
    dataset, raw = fetched[name]
    plan = sources.load(dataset.source, raw).show_graph(
        engine="streaming", plan_stage="physical", raw_output=True
    )
    assert plan is not None
    nodes = re.findall(r'^\d+ \[label="(\S+).*?"(,style=filled)?\];$', plan, re.MULTILINE)
    assert any(kind.startswith("multi-scan") for kind, _ in nodes)
    assert {kind.split("\\n")[0] for kind, filled in nodes if filled} <= {"equi-join"}


@pytest.mark.parametrize("name", NAMES)
def test_entries_end_to_end(
    name: str, fetched: dict[str, tuple[Dataset, Path]], tmp_path: Path
) -> None:
    dataset, raw = fetched[name]
    manifest = split_dataset(name, dataset, raw, tmp_path / "split")
    made = SplitDirectory(tmp_path / "split")
    rows = manifest["rows"]
    assert all(rows[part] > 0 for part in PARTS)
    if not name.startswith("kuairand"):
        assert sum(rows.values()) == 200
        assert rows["test"] == 20 or name == "qk_video_user"
        return
    assert made.schema.num_columns == 40
    duplicates = sum(log.name.startswith("log") for log in raw.iterdir())
    assert manifest["duplicates_dropped"] == (duplicates if "pure" in name else 0)
    ragged = 0 if "pure" in name else 2 if "27k" in name else 1
    dropped = manifest["source_facts"]["ragged_lines_dropped"]
    assert sum(found["count"] for found in dropped.values()) == ragged


def test_random_impressions_are_a_part_of_their_own(
    fetched: dict[str, tuple[Dataset, Path]], tmp_path: Path
) -> None:
    """Those of the test period; none of them is in the other parts."""
    dataset, raw = fetched["kuairand_pure_unbiased"]
    split_dataset("kuairand_pure_unbiased", dataset, raw, tmp_path / "split")
    plain, raw = fetched["kuairand_pure"]
    split_dataset("kuairand_pure", plain, raw, tmp_path / "plain")
    made, other = SplitDirectory(tmp_path / "split"), SplitDirectory(tmp_path / "plain")
    for part in PARTS:
        assert np.array_equal(made.part(part).labels, other.part(part).labels)
    assert len(made.part("unbiased")) == len(made.part("test"))  # the miniature has as many


def test_histories_are_a_bag_where_an_entry_declares_them(
    fetched: dict[str, tuple[Dataset, Path]], tmp_path: Path
) -> None:
    dataset, raw = fetched["qk_video"]
    entry = dataset.model_dump(exclude_unset=True)
    entry["table"]["fields"]["user"].append("hist")
    entry["table"]["bags"] = {"hist": {"separator": " ", "length": 10}}
    entry["table"]["min_count"] = 1
    split_dataset("qk", Dataset.model_validate(entry), raw, tmp_path / "split")
    made = SplitDirectory(tmp_path / "split")
    hist = made.schema.fields[3]
    assert (hist.name, hist.kind, hist.columns) == ("hist", "bag", 10)
    assert hist.size == 9 + FIRST_ID  # items 0 .. 8


def test_the_parts_of_a_log_and_the_random_log_are_one_table(
    fetched: dict[str, tuple[Dataset, Path]],
) -> None:
    def table(name: str) -> pl.DataFrame:
        dataset, raw = fetched[name]
        return sources.load(dataset.source, raw).collect()

    assert len(table("kuairand_27k")) == 2 * len(table("kuairand_1k"))
    standard, both = table("kuairand_pure"), table("kuairand_pure_unbiased")
    assert standard["is_rand"].sum() == 0
    assert both["is_rand"].sum() == len(both) - len(standard) > 0
    assert both.head(len(standard)).equals(standard)


OPTIONS: dict[str, dict[str, Any]] = {"tenrec": {"file": "x.csv"}, "atomic": {"prefix": "x"}}


@pytest.mark.parametrize(
    ("kind", "column"), [(kind, column) for kind, names in OUTCOME.items() for column in names]
)
def test_what_tells_the_outcome_is_no_field(kind: str, column: str) -> None:
    """Labels besides the task's own, and what is measured afterwards, each with its reason."""
    known = sources.leaks(params.Dataset.model_validate(_entry(kind, "user_id")).source)
    dataset = params.Dataset.model_validate(_entry(kind, column))
    with pytest.raises(StembenchError, match=rf"field {column} leaks the outcome: {known[column]}"):
        encode.needed_columns(dataset.table, None, ["user_id", "other", column], known)


def _entry(kind: str, field: str) -> dict[str, Any]:
    return {
        "source": {"kind": kind, "options": OPTIONS.get(kind, {})},
        "table": {"user": "user_id", "fields": {"item": [field]}, "tasks": {"other": "other"}},
        "split": {"name": "r1", "rule": "random", "valid": 0.1, "test": 0.1, "seed": 1},
    }


def test_statistics_of_the_whole_month_are_no_fields_and_never_read() -> None:
    known = sources.leaks(params.Dataset.model_validate(_entry("kuairand", "tab")).source)
    assert "average over the whole month" in known["show_cnt"]
    for name in NAMES:
        for archive in SETTINGS.datasets[name].source.archives:
            assert not any("statistic" in member for member in archive.members)


def test_no_entry_has_a_field_that_leaks() -> None:
    for name, dataset in SETTINGS.datasets.items():
        known = sources.leaks(dataset.source)
        fields = encode.roles(dataset.table)
        columns = [*fields, dataset.table.user, *known]
        for expression in labels.task_expressions(dataset.table).values():
            columns += expression.meta.root_names()
        columns += [dataset.table.time] if dataset.table.time else []
        columns += list((dataset.table.probabilities or {}).values())
        encode.needed_columns(dataset.table, None, columns, known)
        assert name


def test_the_papers_suite_is_the_papers() -> None:
    suite = SETTINGS.select("paper")
    assert suite.datasets == ["tiktok", "qk_video", "kuairand_1k"]
    spec = resolve.resolve(SETTINGS, suite, "tiktok", "stem", 2023).spec
    assert spec["args"]["num_shared_experts"] == 8
    assert spec["args"]["expert_units"] == [512, 512, 512]
    tiktok = SETTINGS.datasets["tiktok"]
    assert tiktok.source.rows == 275_855_531
    assert (tiktok.table.min_count, tiktok.split.name) == (10, "tiktok_x1")
    assert sorted(encode.roles(tiktok.table)) == sorted(
        [
            *("uid", "item_id", "author_id", "item_city", "channel"),
            *("music_id", "device_id", "video_duration"),
        ]
    )


def test_the_split_of_the_kuairand_suite_is_all_that_differs() -> None:
    first, second = (
        SETTINGS.datasets[name] for name in SETTINGS.select("kuairand_splits").datasets
    )
    same = {"split": second.split, "expected": second.expected}
    assert first.model_copy(update=same) == second
    assert {first.split.rule, second.split.rule} == {"days", "random"}


def test_params_are_data_that_dvc_can_template() -> None:
    """Its templates know no other types: a key that is no text, a date, would end every command."""

    def check(value: Any) -> None:
        if isinstance(value, dict):
            assert all(isinstance(key, str) for key in value)
        children = value.values() if isinstance(value, dict) else value
        if isinstance(value, (dict, list)):
            for child in children:
                check(child)
        else:
            assert value is None or isinstance(value, (str, int, float, bool))

    check(yaml.safe_load((ROOT / "params.yaml").read_text()))
