"""What a suite will need, before anything is downloaded: rows, disk, parameters, memory, time.

Sizes come from a data set's split where it is made, else from its entry in params.yaml; what
neither tells is assumed, and said to be so. Parameters are counted on the really built model,
without memory for its weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import nn

from stembench.data.directory import PARTS, SplitDirectory
from stembench.data.fetch import copies
from stembench.data.schema import FIRST_ID, Field, Kind, Role, Schema
from stembench.models.base import count_parameters
from stembench.models.embeddings import EmbeddingBank
from stembench.params.data import Archive, Dataset
from stembench.params.load import Params, Suite
from stembench.params.resolve import expand
from stembench.training.build import build

#: Assumed where nothing is known: rows per id of a user or item, and ids of any other field.
ROWS_PER_ID, IDS = 50, 1000
#: The epoch that is best in a typical run; training ends `patience` epochs later.
TYPICAL_BEST = 3
#: MB of a process that has torch loaded and trains next to nothing.
BASE_MB = 270
#: Copies of the weights in memory: themselves, gradient, two of Adam; those of the chosen epochs
#: are files. Some cells take room for a fifth, see benchmarks/memory.py. The optimiser's: gradient
#: and Adam.
COPIES, OPTIMISER_COPIES = 4, 3
#: Bytes per row of the largest evaluated part: its file, logits, the sorting of the metrics.
METRIC_BYTES = 125


@dataclass(frozen=True)
class Missing:
    """An archive that must be placed by hand."""

    file: str
    page: str
    licence: str
    places: list[str]


@dataclass(frozen=True)
class Data:
    """A data set's sizes; sizes in bytes, None where unknown.

    known: where rows and vocabularies come from; assumed: what was not known, in sentences; state:
    what is there already.
    """

    name: str
    rows: dict[str, int]
    schema: Schema
    known: str
    state: str
    download: float | None
    raw: float | None
    split: int
    assumed: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)


@dataclass(frozen=True)
class Needs:
    """What a cell needs; memory in bytes."""

    dataset: str
    model: str
    embedding: int
    dense: int
    optimiser: int
    peak: int
    epochs: int
    typical_epochs: int
    seeds: int


@dataclass(frozen=True)
class Speed:
    """Measured here: a step over B rows takes B `row_s` + (embedding parameters) `table_s`.

    start_s: seconds that a cell's process takes to begin.
    """

    row_s: float
    table_s: float
    eval_row_s: float
    start_s: float


def survey(params: Params, suite: Suite, raw: Path, splits: Path) -> list[Data]:
    """The suite's data sets."""
    folders = copies.folders(params.mirrors)
    return [
        data_of(name, params.datasets[name], raw / name, splits / name, folders)
        for name in suite.datasets
    ]


def data_of(name: str, entry: Dataset, raw: Path, split: Path, folders: list[Path]) -> Data:
    """Sizes of one data set. Raises StembenchError when its split is damaged."""
    expected, assumed = entry.expected, []
    if (split / "manifest.json").exists():
        directory = SplitDirectory(split)
        rows = {part: int(n) for part, n in directory.manifest["rows"].items()}
        schema, known = directory.schema, "its split"
    else:
        known = "params.yaml" if expected else "nothing"
        rows, told = _rows(entry)
        schema, more = _schema(name, entry, sum(rows.values()))
        assumed = told + more
    states, missing = [], []
    for archive in entry.source.archives:
        state = _state(archive, raw, folders)
        states.append(state)
        if state == "missing":
            places = [str(folder / archive.file) for folder in folders]
            page, licence = archive.page or "unknown", archive.licence
            missing.append(Missing(archive.file, page, licence or "see the page", places))
    there = _folder_bytes(raw)
    download = expected.download_mb * 1e6 if expected and expected.download_mb else None
    sizes = [archive.size for archive in entry.source.archives]
    if download is None and None not in sizes:
        download = float(sum(sizes))  # type: ignore[arg-type]
    return Data(
        name,
        rows,
        schema,
        known,
        "split made" if known == "its split" else _states(states, entry),
        download if "download" in states or missing else 0.0,
        there or (expected.raw_mb * 1e6 if expected and expected.raw_mb else None),
        split_bytes(rows, schema, entry.table.probabilities is not None),
        assumed,
        missing,
    )


def _rows(entry: Dataset) -> tuple[dict[str, int], list[str]]:
    """Rows by part, and what had to be assumed."""
    if entry.expected is None:
        return dict.fromkeys(PARTS, 0), ["unknown: rows (no `expected` in params.yaml); taken as 0"]
    if entry.expected.parts:
        return {part: entry.expected.parts[part] for part in PARTS}, []  # type: ignore[index]
    total = entry.expected.rows
    shares = [getattr(entry.split, part, None) for part in ("valid", "test")]
    if None in shares:
        told = "unknown: rows of each part; assumed all in train, the dearest case"
        return {"train": total, "valid": 0, "test": 0}, [told]
    valid, test = (round(total * share) for share in shares)  # type: ignore[operator]
    return {"train": total - valid - test, "valid": valid, "test": test}, []


def _schema(name: str, entry: Dataset, rows: int) -> tuple[Schema, list[str]]:
    """Fields with their expected vocabularies, an upper bound where rare values lose their id."""
    table, expected = entry.table, entry.expected
    roles: dict[str, Role] = {}
    for role in ("user", "item", "context"):
        roles |= dict.fromkeys(getattr(table.fields, role), role)  # type: ignore[arg-type]
    ids = {column: bucket.buckets for column, bucket in table.numeric.items() if column in roles}
    ids |= expected.ids if expected else {}
    others, assumed = [column for column in roles if column not in ids], []
    if others and expected and expected.other_ids:
        each, more = divmod(expected.other_ids, len(others))
        ids |= {column: each + (i < more) for i, column in enumerate(others)}
    elif others:
        keys = {next(iter(columns), None) for columns in (table.fields.user, table.fields.item)}
        guess = {c: max(IDS, rows // ROWS_PER_ID) if c in keys else IDS for c in others}
        ids |= guess
        told = [f"{count:,} for {column}" for column, count in guess.items() if column in keys]
        rest = [column for column in others if column not in keys]
        shown = ", ".join(rest[:4]) + (f" and {len(rest) - 4} more" if len(rest) > 4 else "")
        told += [f"{IDS:,} each for {shown}"] if rest else []
        assumed = [f"unknown: vocabulary of {len(others)} fields; assumed {', '.join(told)}"]
    fields = []
    for column, role in roles.items():
        bag = table.bags.get(column)
        width = bag.length if bag else 1
        kind: Kind = "bag" if bag else "numeric" if column in table.numeric else "categorical"
        fields.append(Field(column, role, kind, ids[column] + FIRST_ID, width))
    return Schema(name, tuple(fields), tuple(table.tasks)), assumed


def split_bytes(rows: dict[str, int], schema: Schema, probabilities: bool = False) -> int:
    """Bytes of the split's arrays: int32 fields and users, uint8 labels, float64 probabilities."""
    more = 8 * schema.num_tasks if probabilities else 0
    return sum(rows.values()) * (row_bytes(schema) + more)


def row_bytes(schema: Schema) -> int:
    """Bytes of a row's fields, user and labels."""
    return 4 * schema.num_columns + 4 + schema.num_tasks


def needs(params: Params, suite: Suite, data: list[Data]) -> list[tuple[Needs, dict[str, Any]]]:
    """What each model needs on each data set, and the spec of its first seed."""
    by_name = {each.name: each for each in data}
    seeds = len(params.seeds_of(suite))
    found: dict[tuple[str, str], tuple[Needs, dict[str, Any]]] = {}
    for run in expand(params, suite):
        if (run.dataset, run.model) not in found:
            spec = run.spec
            found[run.dataset, run.model] = (cell_needs(spec, by_name[run.dataset], seeds), spec)
    return list(found.values())


def cell_needs(spec: dict[str, Any], data: Data, seeds: int = 1) -> Needs:
    """Parameters of the really built model, and the memory of its training."""
    model = skeleton(data.schema, spec)
    counted, train = count_parameters(model), spec["train"]
    weights = 4 * counted["total"]
    # Kept for the backward pass: a layer's output before and after its activation.
    widths = sum(2 * m.out_features for m in model.modules() if isinstance(m, nn.Linear))
    banks = [m for m in model.modules() if isinstance(m, EmbeddingBank)]
    widths += sum(2 * bank.output_dim * bank.copies for bank in banks)
    evaluated = max([n for part, n in data.rows.items() if part != "train"] or [0])
    peak = (
        BASE_MB * 10**6
        + COPIES * weights
        + 2 * 4 * train["batch_size"] * widths  # activations and their gradients
        + (4 + row_bytes(data.schema)) * data.rows["train"]  # the order of the rows, and they
        + METRIC_BYTES * evaluated
    )
    return Needs(
        data.name,
        spec["model"],
        counted["embedding"],
        counted["dense"],
        OPTIMISER_COPIES * weights,
        peak,
        train["epochs"],
        min(train["epochs"], TYPICAL_BEST + train["patience"]),
        seeds,
    )


def skeleton(schema: Schema, spec: dict[str, Any]) -> nn.Module:
    """The model with the shapes of its weights and no memory behind them."""
    with torch.device("meta"):
        return build(schema, spec)


def cell_seconds(need: Needs, data: Data, batch_size: int, speed: Speed, epochs: int) -> float:
    """Seconds of a cell over so many epochs: start, training, validations, the last evaluation."""
    train, valid = data.rows["train"], data.rows["valid"]
    steps = -(-train // batch_size)
    epoch = train * speed.row_s + steps * need.embedding * speed.table_s + valid * speed.eval_row_s
    rest = sum(n for part, n in data.rows.items() if part != "train")
    return speed.start_s + epochs * epoch + rest * speed.eval_row_s


def suite_seconds(cells: list[tuple[float, int]], cores: int) -> float:
    """Seconds of a suite from (seconds of a cell, its seeds): as many cells at a time as cores."""
    if not cells:
        return 0.0
    return max(sum(s * n for s, n in cells) / cores, max(s for s, _ in cells))


def _states(states: list[str], entry: Dataset) -> str:
    if states:
        return ", ".join(dict.fromkeys(states))
    return "generated here" if entry.source.kind == "synthetic" else "no archive named"


def _state(archive: Archive, raw: Path, folders: list[Path]) -> str:
    """`unpacked`, `in FOLDER`, `download` or `missing`."""
    members = [PurePosixPath(member).name for member in archive.members] or [archive.file]
    there = {path.name for path in raw.rglob("*")} if raw.is_dir() else set()
    if there.issuperset(members):
        return "unpacked"
    for folder in folders:
        if (folder / archive.file).exists():
            return f"in {folder}"
    return "download" if archive.mirrors and not archive.manual else "missing"


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
