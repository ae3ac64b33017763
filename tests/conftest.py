"""Fixtures shared by the tests: the repository's params, a small schema, a small split."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings

from stembench.data.directory import PARTS
from stembench.data.schema import FIRST_ID, PADDING, Field, Schema
from stembench.params import load as params

ROOT = Path(__file__).parents[1]

#: `EXAMPLES=20 make test` tries twenty times as many cases of each property.
EXAMPLES = int(os.environ.get("EXAMPLES", "1"))
#: No deadline: times say nothing on a machine that others use too.
hypothesis_settings.register_profile(
    "stembench", deadline=None, max_examples=100 * EXAMPLES, print_blob=True
)
hypothesis_settings.load_profile("stembench")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Draw fresh cases each time, from a seed that the header shows."""
    if config.option.hypothesis_seed is None:  # workers of xdist are given the controller's
        config.option.hypothesis_seed = secrets.randbelow(2**32)


def pytest_report_header(config: pytest.Config) -> str:
    seed = config.option.hypothesis_seed
    return f"properties: seed {seed}; the same cases again: make test ARGS=--hypothesis-seed={seed}"


@pytest.fixture(scope="session")
def settings() -> params.Params:
    """The repository's own params.yaml."""
    return params.load(ROOT / "params.yaml")


def make_schema(tasks: int = 2) -> Schema:
    """Three categorical fields and a bag of up to three tokens."""
    return Schema(
        dataset="small",
        fields=(
            Field("user_id", "user", "categorical", 30),
            Field("item_id", "item", "categorical", 20),
            Field("tags", "item", "bag", 9, 3),
            Field("hour", "context", "categorical", 8),
        ),
        tasks=tuple(f"task_{t}" for t in range(tasks)),
    )


def make_fields(schema: Schema, rows: int, seed: int = 0) -> np.ndarray:
    """Random ids (rows, C) in each field's range; bags padded at the end."""
    rng = np.random.default_rng(seed)
    columns = []
    for field in schema.fields:
        ids = rng.integers(FIRST_ID, field.size, size=(rows, field.columns))
        lengths = rng.integers(1, field.columns + 1, size=rows)
        ids[np.arange(field.columns) >= lengths[:, None]] = PADDING
        columns.append(ids)
    return np.concatenate(columns, axis=1).astype(np.int32)


def write_split(
    path: Path, rows: int = 400, tasks: int = 2, sha256: str = "0" * 64, nested: bool = False
) -> Path:
    """A split directory whose labels depend on user and item, so that one can learn.

    `nested`: a positive label implies one of the task before.
    """
    schema = make_schema(tasks)
    rng = np.random.default_rng(5)
    taste = rng.normal(size=(tasks, schema.num_rows))
    counts = {"train": rows, "valid": rows // 2, "test": rows // 2}
    for seed, part in enumerate(PARTS):
        folder = path / part
        folder.mkdir(parents=True)
        fields = make_fields(schema, counts[part], seed)
        signal = taste[:, fields[:, 0]].T + taste[:, fields[:, 1]].T
        labels = (signal + rng.normal(size=signal.shape) > 0.3).astype(np.uint8)
        labels = np.minimum.accumulate(labels, axis=1) if nested else labels
        np.save(folder / "fields.npy", fields)
        np.save(folder / "labels.npy", labels)
        np.save(folder / "users.npy", fields[:, 0].astype(np.int32))
    (path / "schema.json").write_text(json.dumps(schema.to_json()))
    manifest = {"dataset": "small", "split": "small_r1", "rows": counts, "sha256": sha256}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


@pytest.fixture
def split_path(tmp_path: Path) -> Path:
    """A fresh small split directory."""
    return write_split(tmp_path / "splits" / "small")
