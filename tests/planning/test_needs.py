"""The plan's arithmetic, exactly; its parameters are those of the really built models."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from stembench.cli.app import app
from stembench.data.directory import SplitDirectory
from stembench.data.schema import FIRST_ID
from stembench.errors import StembenchError
from stembench.models.base import count_parameters
from stembench.params import load as params
from stembench.params import resolve
from stembench.params.data import Dataset
from stembench.planning import needs as plan
from stembench.planning import speed as plan_speed
from stembench.planning import text as plan_text
from stembench.planning.needs import Data, Needs, Speed
from stembench.training.build import build
from tests.conftest import ROOT, make_schema
from tests.contract.test_models import demo_spec, every

ROWS = {"train": 1000, "valid": 100, "test": 300}


def data(**changes: Any) -> Data:
    values = {"name": "small", "rows": ROWS, "schema": make_schema(2), "known": "its split"}
    values |= {"state": "", "download": 0.0, "raw": None, "split": 0}
    return Data(**(values | changes))


def entry(settings: params.Params, name: str = "kuairand_pure", **changes: Any) -> Dataset:
    value = settings.datasets[name].model_dump(by_alias=True, exclude_unset=True)
    return Dataset.model_validate(value | changes)


@pytest.mark.parametrize(("model", "tasks"), every(1, 2, 3))
def test_parameters_are_those_of_the_built_model(model: str, tasks: int) -> None:
    spec, schema = demo_spec(model), make_schema(tasks)
    need = plan.cell_needs(spec, data(schema=schema))
    counted = count_parameters(build(schema, spec))
    assert (need.embedding, need.dense) == (counted["embedding"], counted["dense"])
    assert need.optimiser == 3 * 4 * counted["total"]


def test_a_model_larger_than_memory_is_counted(settings: params.Params) -> None:
    big = entry(settings, expected={"rows": 10, "ids": {"user_id": 10**10}, "other_ids": 100})
    schema, _ = plan._schema("big", big, 10)
    need = plan.cell_needs(demo_spec("single_task"), data(schema=schema))
    assert need.embedding > 10**11


def test_peak_memory_is_the_sum_that_it_says() -> None:
    spec = demo_spec("shared_bottom", batch_size=64)
    spec["args"] |= {"embedding_dim": 2, "bottom_units": [5], "tower_units": [3], "dropout": 0.0}
    need = plan.cell_needs(spec, data())
    embedding = 2 * make_schema(2).num_rows
    dense = (8 * 5 + 5) + 2 * ((5 * 3 + 3) + (3 + 1))
    assert (need.embedding, need.dense) == (embedding, dense)
    activations = 2 * 4 * 64 * (2 * (5 + 2 * (3 + 1)) + 2 * 8)
    rest = 270 * 10**6 + (4 + 4 * 6 + 4 + 2) * 1000 + 125 * 300
    assert need.peak == rest + 4 * 4 * (embedding + dense) + activations
    assert (need.epochs, need.typical_epochs) == (
        spec["train"]["epochs"],
        3 + spec["train"]["patience"],
    )


def test_split_bytes_are_those_of_the_arrays(split_path: Path) -> None:
    directory = SplitDirectory(split_path)
    parts = [directory.part(name) for name in ("train", "valid", "test")]
    arrays = sum(p.fields.nbytes + p.labels.nbytes + p.users.nbytes for p in parts)
    rows = {name: len(p) for name, p in zip(("train", "valid", "test"), parts, strict=True)}
    assert plan.split_bytes(rows, directory.schema) == arrays
    probabilities = 8 * directory.schema.num_tasks * sum(rows.values())
    assert plan.split_bytes(rows, directory.schema, True) == arrays + probabilities


def test_sizes_come_from_the_split_where_it_is_made(
    settings: params.Params, split_path: Path, tmp_path: Path
) -> None:
    found = plan.data_of("small", entry(settings), tmp_path / "raw", split_path, [])
    assert found.schema == SplitDirectory(split_path).schema
    assert found.rows == {"train": 400, "valid": 200, "test": 200}
    assert (found.state, found.known, found.assumed) == ("split made", "its split", [])


def test_expected_sizes_before_there_is_a_split(settings: params.Params, tmp_path: Path) -> None:
    expected = {"rows": 1001, "ids": {"user_id": 70, "item_id": 30}, "other_ids": 12, "raw_mb": 2.5}
    movielens = entry(settings, "movielens", expected=expected | {"download_mb": 1.5})
    found = plan.data_of("movielens", movielens, tmp_path / "raw", tmp_path / "split", [])
    assert found.rows == {"train": 801, "valid": 100, "test": 100}
    sizes = {field.name: field.size - FIRST_ID for field in found.schema.fields}
    assert (sizes["user_id"], sizes["item_id"], sum(sizes.values())) == (70, 30, 112)
    assert found.schema.num_columns == 6 + 6  # a bag of six columns
    assert (found.download, found.raw, found.assumed) == (1.5e6, 2.5e6, [])
    assert found.split == plan.split_bytes(found.rows, found.schema)


def test_what_is_unknown_is_said_to_be_assumed(settings: params.Params, tmp_path: Path) -> None:
    pure = entry(settings, expected={"rows": 5_000_000, "ids": {"video_id": 9}})
    found = plan.data_of("kuairand_pure", pure, tmp_path / "raw", tmp_path / "split", [])
    sizes = {field.name: field.size - FIRST_ID for field in found.schema.fields}
    assert (sizes["user_id"], sizes["video_id"], sizes["author_id"]) == (100_000, 9, 1000)
    parts, ids = found.assumed
    assert parts.startswith("unknown: rows of each part; assumed all in train")
    assert found.rows == {"train": 5_000_000, "valid": 0, "test": 0}
    assert ids.startswith("unknown: vocabulary of 36 fields; assumed 100,000 for user_id")
    assert "video_id" not in ids
    nothing = entry(settings, expected=None)
    found = plan.data_of("kuairand_pure", nothing, tmp_path / "raw", tmp_path / "split", [])
    assert found.assumed[0].startswith("unknown: rows")
    assert found.download == 47_432_272  # the archive's size


def test_archives_are_found_downloaded_or_missing(settings: params.Params, tmp_path: Path) -> None:
    mirror, raw = tmp_path / "mirror", tmp_path / "raw"
    mirror.mkdir()

    def state(name: str) -> Data:
        return plan.data_of(name, entry(settings, name), raw, tmp_path / "split", [mirror])

    assert state("kuairand_pure").state == "download"
    sample = state("kuairand_pure_sample")
    assert sample.state == "missing"
    assert sample.missing[0].places == [str(mirror / "KuaiRand-Pure-sample.tar.gz")]
    (mirror / "KuaiRand-Pure-sample.tar.gz").touch()
    sample = state("kuairand_pure_sample")
    assert (sample.state, sample.missing, sample.download) == (f"in {mirror}", [], 0.0)
    raw.mkdir()
    for member in settings.datasets["kuairand_pure"].source.archives[0].members:
        (raw / Path(member).name).write_text("12345")
    pure = state("kuairand_pure")
    assert (pure.state, pure.download, pure.raw) == ("unpacked", 0.0, 20)


def test_seconds_of_a_cell_and_of_a_suite() -> None:
    need = Needs("small", "stem", 10**6, 10, 0, 0, 20, 4, 5)
    speed = Speed(row_s=1e-3, table_s=1e-9, eval_row_s=2e-4, start_s=1.5)
    # 1000 rows in 16 steps of 64, 16 times over the tables, 100 rows of validation.
    epoch = 1000 * 1e-3 + 16 * 1e6 * 1e-9 + 100 * 2e-4
    expected = 1.5 + 4 * epoch + (100 + 300) * 2e-4
    assert plan.cell_seconds(need, data(), 64, speed, 4) == pytest.approx(expected)
    assert plan.suite_seconds([(10.0, 5), (4.0, 5)], 2) == 35.0
    assert plan.suite_seconds([(10.0, 1), (4.0, 1)], 8) == 10.0  # never shorter than a cell
    assert plan.suite_seconds([], 2) == 0.0


def test_calibration_takes_real_steps_of_every_model() -> None:
    work = [(demo_spec(model), data()) for model in ("shared_bottom", "stem")]
    speeds = plan_speed.calibrate(work, 0.5)
    assert set(speeds) == {("small", "shared_bottom"), ("small", "stem")}
    for speed in speeds.values():
        assert 0 < speed.row_s < 0.1
        assert 0 <= speed.table_s < 1e-6
        assert 0 <= speed.eval_row_s < 0.1


def test_tables_are_cut_to_what_may_be_built() -> None:
    spec, schema = demo_spec("stem"), make_schema(2)
    counted = count_parameters(plan.skeleton(schema, spec))["embedding"]
    assert plan_speed.shrunk(schema, spec, counted) == schema
    half = plan_speed.shrunk(schema, spec, counted // 2)
    assert count_parameters(plan.skeleton(half, spec))["embedding"] == pytest.approx(
        counted / 2, rel=0.1
    )


def test_the_page_says_what_is_missing_and_how_long_it_takes() -> None:
    gap = plan.Missing("x.zip", "https://example.org", "by form", ["mirror/x.zip"])
    each = data(missing=[gap], state="missing", assumed=["unknown: rows"], download=None)
    need = Needs("small", "stem", 10**6, 10, 12 * 10**6, 5 * 10**8, 20, 4, 5)
    console = Console(width=120, record=True, file=io.StringIO())
    speeds = {("small", "stem"): Speed(1e-3, 1e-9, 2e-4, 1.5)}
    plan_text.print_plan("paper", [each], [(need, 64)], speeds, 2, console)
    text = " ".join(console.export_text().split())
    assert "MISSING by hand, small: get x.zip from https://example.org (licence: by form)" in text
    assert "small: unknown: rows" in text
    assert "12 MB 500 MB 4 to 20" in text
    assert "and what is unknown" in text
    typical = plan.cell_seconds(need, each, 64, speeds["small", "stem"], 4)
    assert f"about {plan_text.duration(5 * typical / 2)} if" in text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(3.2, "3 s"), (99, "99 s"), (150, "2.5 min"), (7200, "2 h"), (260_000, "3 days")],
)
def test_duration(seconds: float, shown: str) -> None:
    assert plan_text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, "unknown"), (0, "-"), (47_432_272, "47.4 MB"), (1.43e9, "1.43 GB"), (512, "0.512 kB")],
)
def test_size(count: float | None, shown: str) -> None:
    assert plan_text.size(count) == shown


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rows": 5, "ids": {"userid": 3}}, "expected.ids: unknown 'userid', one of user_id"),
        ({"rows": 5, "parts": {"train": 3}}, "give the rows of train, valid and test"),
        ({"rows": 5, "row": 3}, "unknown key, one of rows, parts, ids"),
    ],
)
def test_a_wrong_expectation_is_refused(change: dict[str, Any], told: str) -> None:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["datasets"]["movielens"]["expected"] = change
    with pytest.raises(StembenchError, match=told):
        params.parse(yaml.safe_dump(raw))


def test_what_is_expected_is_no_part_of_a_splits_identity(settings: params.Params) -> None:
    bare = entry(settings, expected=None)
    assert bare.data_json() == settings.datasets["kuairand_pure"].data_json()


def test_the_command_needs_no_data(
    settings: params.Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stembench.params.load.load", lambda: settings)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STEMBENCH_MIRROR", raising=False)
    arguments = ["plan", "--suite", "kuairand_pure_sample", "--no-calibrate"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "MISSING by hand, kuairand_pure_sample: get KuaiRand-Pure-sample.tar.gz" in text
    cells = len(resolve.expand(settings, settings.select("kuairand_pure_sample")))
    assert f"{cells} cells" in text
    assert not list(tmp_path.iterdir())


def test_the_start_of_a_process_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one that loads what a cell loads: nearly all of it is torch."""
    asked: list[list[str]] = []
    run = plan_speed.subprocess.run

    def spy(command: list[str], **options: Any) -> Any:
        asked.append(command)
        return run(command, **options)

    monkeypatch.setattr(plan_speed.subprocess, "run", spy)
    assert plan_speed._start_seconds() > 0.3
    assert "import stembench.cli, stembench.cells.train" in asked[0][-1]
