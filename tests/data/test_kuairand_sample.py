"""The real sample of KuaiRand-Pure, end to end, where its archive is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stembench.data.directory import PARTS, SplitDirectory
from stembench.data.fetch.fetch import fetch
from stembench.data.prepare import rules as split
from stembench.data.prepare.make import split_dataset
from stembench.data.sources import base as sources
from stembench.params import load as params
from stembench.params.load import Dataset
from tests.data.conftest import stored

ROOT = Path(__file__).parents[2]
ARCHIVE = "KuaiRand-Pure-sample.tar.gz"
NAME = "kuairand_pure_sample"
MIRRORS = [os.environ.get("STEMBENCH_MIRROR"), ROOT / "mirror", ROOT.parent / "shared" / "data"]
FOUND = [Path(folder) for folder in MIRRORS if folder and (Path(folder) / ARCHIVE).is_file()]

pytestmark = pytest.mark.skipif(
    not FOUND, reason=f"no {ARCHIVE} in mirror/, ../shared/data or $STEMBENCH_MIRROR"
)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return params.load(ROOT / "params.yaml").datasets[NAME]


@pytest.fixture(scope="module")
def raw(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample") / "raw"
    fetch(NAME, dataset.source, root, [str(FOUND[0])])
    return root


@pytest.fixture(scope="module")
def made(dataset: Dataset, raw: Path) -> SplitDirectory:
    split_dataset(NAME, dataset, raw, raw.with_name("splits"))
    return SplitDirectory(raw.with_name("splits"))


def test_the_log_is_the_published_one(dataset: Dataset, raw: Path) -> None:
    """Rows, users, videos, rates and rows per day as stated with the sample, before any drop."""
    log = sources.load(dataset.source, raw).collect()
    assert len(log) == 228_329
    assert log["user_id"].n_unique() == 25_156
    assert log["video_id"].n_unique() == 6_361
    rates = {
        **{"is_click": 0.442, "long_view": 0.311, "is_profile_enter": 0.0185, "is_like": 0.0171},
        **{"is_comment": 0.0025, "is_follow": 0.0013, "is_forward": 0.00085, "is_hate": 0.00083},
    }
    for task, rate in rates.items():
        assert log[task].mean() == pytest.approx(rate, rel=0.03), task
    days = log.group_by("date").len().sort("date")["len"].to_list()
    assert days == [
        *(14911, 14530, 14328, 13972, 15839, 21204, 20790),
        *(19554, 18943, 17600, 13390, 13834, 13687, 15747),
    ]
    for column in ("user_active_degree", "author_id"):
        assert log[column].null_count() == 0


def test_parts(made: SplitDirectory) -> None:
    manifest = made.manifest
    assert manifest["rows_read"] == 228_329
    assert manifest["duplicates_dropped"] == 5_460
    assert manifest["dropped_after_end"] == 0
    assert manifest["rows"] == {"train": 150_055, "valid": 30_329, "test": 42_485}
    assert manifest["users"]["train"] == 23_651
    for part in PARTS:
        rates = made.part(part).labels.mean(axis=0)
        assert rates == pytest.approx(list(manifest["positive_rates"][part].values()))
        assert rates == pytest.approx([0.442, 0.311, 0.0171], rel=0.15)


def test_fields(made: SplitDirectory) -> None:
    assert made.schema.num_columns == 40
    sizes = {field.name: field.size for field in made.schema.fields}
    for part in PARTS:
        fields = made.part(part).fields
        left = 0
        for field in made.schema.fields:
            block = fields[:, left : left + field.columns]
            assert block.max() < sizes[field.name]
            assert block[:, 0].min() >= 0
            left += field.columns


def test_no_later_day_in_an_earlier_part(dataset: Dataset, raw: Path) -> None:
    """By the day column. The log's time stamps of the last hour before midnight can bear the next
    day's date, so a few rows overlap there; the manifest counts them.
    """
    log = sources.load(dataset.source, raw).select("date", "time_ms").collect()
    with stored(log, time=dataset.table.time, batch=50_000) as rows:
        codes = split.assign(rows, dataset.split, rows.store.folder / "spill")
    days, times = log["date"].to_numpy(), log["time_ms"].to_numpy()
    for code in (0, 1):
        assert days[codes == code].max() < days[codes > code].min()
        overlap = times[codes == code].max() - times[codes > code].min()
        assert overlap < 3_600_000


def test_rows_that_overlap_in_time_are_counted(made: SplitDirectory) -> None:
    late, rows = made.manifest["late_rows"], made.manifest["rows"]
    assert 0 < late["train"] < 0.01 * rows["train"]
    assert 0 < late["valid"] < 0.02 * rows["valid"]
