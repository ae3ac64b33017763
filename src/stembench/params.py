"""params.yaml: read, validated, resolved into runs.

Everything wrong with the file is found here, before any job starts, and is told in one message
that names the key and what is allowed there. No torch: constructor arguments of the models are
read from their source.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic.fields import FieldInfo

from stembench import params_models
from stembench.errors import StembenchError
from stembench.params_errors import explain

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
FileName = Annotated[str, Field(pattern=r"^[^/\\]+$")]
Positive = Annotated[int, Field(ge=1)]


class Strict(BaseModel):
    """Unknown keys and silent conversions are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Select(Strict):
    """Which epoch's weights are kept: the best validation `metric`, `over` the tasks."""

    metric: Literal["auc"]
    over: Literal["mean"]


class Train(Strict):
    """How every model is trained."""

    optimizer: Literal["adam"]
    lr: float = Field(gt=0, le=1)
    batch_size: Positive
    epochs: Positive
    patience: Positive
    embedding_l2: float = Field(ge=0, le=1)
    clip_norm: float = Field(gt=0)
    precision: Literal["float32"]
    device: Literal["auto", "cpu", "cuda"]
    select: Select
    keep_weights: bool


def _optional(info: FieldInfo) -> Any:
    """The field's type with its bounds, or None."""
    return (
        Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
    ) | None  # type: ignore[valid-type, operator]


#: `train` of a data set, model or suite: the same keys, types and bounds, none required.
PartialTrain: Any = create_model(  # type: ignore[call-overload]
    "PartialTrain",
    __base__=Strict,
    **{name: (_optional(info), None) for name, info in Train.model_fields.items()},
)


class Mirror(Strict):
    """Where an archive comes from: a URL, or a `name==version` on the package index."""

    url: str | None = Field(default=None, pattern=r"^https?://")
    package: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.]+$")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.url is None) == (self.package is None):
            raise ValueError("give either `url` or `package`")
        return self


class Archive(Strict):
    """One file to fetch (searched first in the mirror folders) and the members to take from it."""

    file: FileName
    sha256: Sha256 | None = None
    md5: Md5 | None = None
    mirrors: list[Mirror] = []
    members: dict[str, Sha256] = Field(min_length=1)
    page: str | None = None

    @model_validator(mode="after")
    def _checksum(self) -> Self:
        if self.sha256 is None and self.md5 is None:
            raise ValueError("give the archive's `sha256` or `md5`")
        return self


class Source(Strict):
    """Raw files of a data set; `kind` names the module of data.sources that reads them."""

    kind: Name
    archives: list[Archive] = []
    options: dict[str, Any] = {}


class Bag(Strict):
    """A multi-valued field: tokens between `separator`s, at most `length` of them."""

    separator: str = Field(min_length=1)
    length: Positive


class Roles(Strict):
    """Columns used as input fields, by role."""

    user: list[str] = []
    item: list[str] = []
    context: list[str] = []


class Table(Strict):
    """Which columns of the source's table are fields, tasks, the user and the time of a row."""

    user: str
    fields: Roles
    tasks: dict[Name, str] = Field(min_length=1)
    time: str | None = None
    bags: dict[str, Bag] = {}
    min_count: Positive = 1
    min_counts: dict[str, Positive] = {}
    drop_duplicates: bool = False
    probabilities: dict[Name, str] | None = None


class RandomSplit(Strict):
    """Rows at random with a seed."""

    name: Name
    rule: Literal["random"]
    valid: Fraction
    test: Fraction
    seed: int


class TimeSplit(Strict):
    """Global cut by the `time` column; a cut never parts rows of one time stamp."""

    name: Name
    rule: Literal["time"]
    valid: Fraction
    test: Fraction


class DaySplit(Strict):
    """Days up to and including each boundary, as integers yyyymmdd in `column`."""

    name: Name
    rule: Literal["days"]
    column: str
    train_until: int
    valid_until: int
    test_until: int

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.train_until < self.valid_until < self.test_until:
            raise ValueError("train_until < valid_until < test_until must hold")
        return self


Split = Annotated[RandomSplit | TimeSplit | DaySplit, Field(discriminator="rule")]


class Dataset(Strict):
    """A data set: where it comes from, what is taken of it, how it is split."""

    source: Source
    table: Table
    split: Split
    train: PartialTrain = PartialTrain()
    args: dict[str, Any] = {}

    @model_validator(mode="after")
    def _fractions(self) -> Self:
        split = self.split
        if not isinstance(split, DaySplit) and split.valid + split.test >= 1:
            raise ValueError("split.valid + split.test must stay below 1")
        if isinstance(split, TimeSplit) and self.table.time is None:
            raise ValueError("split.rule time needs table.time")
        if self.table.probabilities and set(self.table.probabilities) != set(self.table.tasks):
            raise ValueError("table.probabilities must name the same tasks as table.tasks")
        return self

    def data_json(self) -> str:
        """Sorted JSON of all that decides the split directory."""
        return canonical(self.model_dump(include={"source", "table", "split"}))


class Model(Strict):
    """An architecture: `class` is `<module>.<Class>` in stembench.models."""

    class_: str = Field(alias="class", pattern=r"^[a-z][a-z0-9_]*\.[A-Za-z]\w*$")
    args: dict[str, Any] = {}
    train: PartialTrain = PartialTrain()


class Suite(Strict):
    """A grid of data sets × models × seeds."""

    name: Name
    datasets: list[Name] = Field(min_length=1)
    models: Literal["all"] | list[Name]
    seeds: Positive | list[int]
    protocol: Literal["equal"] = "equal"
    train: PartialTrain = PartialTrain()
    args: dict[str, Any] = {}


class Analysis(Strict):
    """Settings of the comparison, fixed before the runs."""

    reference: Name
    alpha: Fraction
    margin: float = Field(gt=0, lt=1)


class Params(Strict):
    """The whole of params.yaml."""

    mirrors: list[str]
    suites: dict[Name, Suite] = Field(min_length=1)
    suite: Suite
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(min_length=1)
    train: Train
    args: dict[str, Any] = {}
    datasets: dict[Name, Dataset]
    models: dict[Name, Model]
    analysis: Analysis

    def select(self, name: str | None = None) -> Suite:
        """The suite of that name, or the one that `suite:` points to.

        Raises StembenchError for an unknown name, listing the known ones.
        """
        if name is None:
            return self.suite
        if name not in self.suites:
            raise StembenchError(f"unknown suite {name!r}: one of {', '.join(self.suites)}")
        return self.suites[name]

    def models_of(self, suite: Suite) -> list[str]:
        return list(self.models) if suite.models == "all" else list(suite.models)

    def seeds_of(self, suite: Suite) -> list[int]:
        return self.seeds[: suite.seeds] if isinstance(suite.seeds, int) else list(suite.seeds)


@dataclass(frozen=True)
class Run:
    """One cell of the grid, fully resolved. `json` is the sorted JSON of the spec, its identity."""

    dataset: str
    model: str
    seed: int
    json: str

    @property
    def spec(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.json)
        return value

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.json.encode()).hexdigest()


def canonical(value: Any) -> str:
    """JSON with sorted keys: the same content always gives the same text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def resolve(params: Params, suite: Suite, dataset: str, model: str, seed: int) -> Run:
    """One run's spec. Precedence, later wins: train < dataset < model < suite.

    The same holds for constructor arguments: class default < args < dataset < model < suite; of
    the common ones a model takes those that its constructor has.
    """
    data, entry = params.datasets[dataset], params.models[model]
    train = params.train.model_dump()
    signature = params_models.signature(entry.class_)
    args = {name: argument.default for name, argument in signature.items()}
    args |= {key: value for key, value in params.args.items() if key in signature}
    for layer in (data, entry, suite):
        train |= layer.train.model_dump(exclude_unset=True)
        args |= {key: value for key, value in layer.args.items() if key in signature}
    spec = {
        "dataset": dataset,
        "model": model,
        "class": entry.class_,
        "args": args,
        "train": train,
        "seed": seed,
        "protocol": suite.protocol,
    }
    return Run(dataset, model, seed, canonical(spec))


def expand(params: Params, suite: Suite) -> list[Run]:
    """All runs of a suite, data set by data set, model by model, seed by seed."""
    return [
        resolve(params, suite, dataset, model, seed)
        for dataset in suite.datasets
        for model in params.models_of(suite)
        for seed in params.seeds_of(suite)
    ]


def load(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml.

    Raises StembenchError with one line per fault when the file is absent, not YAML, or wrong.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise StembenchError(f"no {path} here: run from the project's folder") from None
    return parse(text, str(path))


@cache
def parse(text: str, origin: str = "params.yaml") -> Params:
    """Check the text of a params file; see `load`."""
    try:
        raw = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise StembenchError(f"{origin} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise StembenchError(f"{origin} must be a mapping with {', '.join(Params.model_fields)}")
    if isinstance(raw.get("suite"), str):
        raise StembenchError(
            f"{origin}: suite: write `suite: *{raw['suite']}`, an alias of the entry marked "
            f"&{raw['suite']} under suites; DVC reads the data sets through it"
        )
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        raise StembenchError(f"{origin}:\n" + "\n".join(explain(error, Params))) from None
    faults = _cross_check(params)
    if faults:
        raise StembenchError(f"{origin}:\n" + "\n".join(f"  {fault}" for fault in faults))
    return params


class _UniqueKeys(yaml.SafeLoader):
    """YAML keeps the last of two equal keys in silence; here that is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _cross_check(params: Params) -> list[str]:
    """Faults that span several sections."""
    faults: list[str] = []
    if params.suites.get(params.suite.name) != params.suite:
        faults.append("suite: must be an alias of an entry of suites, e.g. `suite: *demo`")
    faults += _duplicates("seeds", params.seeds)
    signatures = {}
    for name, model in params.models.items():
        try:
            signatures[name] = params_models.signature(model.class_)
        except StembenchError as error:
            faults.append(f"models.{name}.class: {error}")
            continue
        faults += params_models.check(f"models.{name}.args", model.args, [signatures[name]])
    every = list(signatures.values())
    faults += params_models.check("args", params.args, every)
    for name, dataset in params.datasets.items():
        faults += params_models.check(f"datasets.{name}.args", dataset.args, every)
        faults += params_models.check_source(name, dataset.source.kind, dataset.source.options)
        faults += _check_table(f"datasets.{name}.table", dataset.table)
    for key, suite in params.suites.items():
        where = f"suites.{key}"
        if suite.name != key:
            faults.append(f"{where}.name: must be {key}, as the entry is called")
        chosen = params.models_of(suite)
        faults += _unknown(f"{where}.datasets", suite.datasets, list(params.datasets))
        faults += _unknown(f"{where}.models", chosen, list(params.models))
        faults += _duplicates(f"{where}.datasets", suite.datasets)
        faults += _duplicates(f"{where}.models", chosen)
        faults += _duplicates(f"{where}.seeds", params.seeds_of(suite))
        if isinstance(suite.seeds, int) and suite.seeds > len(params.seeds):
            faults.append(f"{where}.seeds: at most {len(params.seeds)}, the length of seeds")
        if params.analysis.reference not in chosen:
            faults.append(
                f"{where}.models: must hold {params.analysis.reference}, the analysis.reference"
            )
        taken = [signatures[name] for name in chosen if name in signatures]
        faults += params_models.check(f"{where}.args", suite.args, taken)
    return faults


def _check_table(where: str, table: Table) -> list[str]:
    names = [*table.fields.user, *table.fields.item, *table.fields.context]
    faults = _duplicates(f"{where}.fields", names)
    if not names:
        faults.append(f"{where}.fields: name at least one column")
    faults += _unknown(f"{where}.bags", list(table.bags), names)
    faults += _unknown(f"{where}.min_counts", list(table.min_counts), names)
    return faults


def _unknown(where: str, names: list[str], allowed: list[str]) -> list[str]:
    return [
        f"{where}: unknown {name!r}, one of {', '.join(allowed)}"
        for name in names
        if name not in allowed
    ]


def _duplicates(where: str, values: list[Any]) -> list[str]:
    twice = sorted({value for value in values if values.count(value) > 1})
    return [f"{where}: {value} stands twice" for value in twice]
