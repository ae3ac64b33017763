"""What a search found, and the runs that follow from it. No torch, no Optuna: all commands read it.

A suite with the protocol `tuned` has one file a data set and model,
`results/<suite>/tuned/<dataset>/<model>.yaml`, written by `stembench tune`. The plan of a search is
known from params.yaml alone; a file made by another plan counts as not there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stembench.errors import StembenchError
from stembench.params import protocols as params_protocols
from stembench.params.load import Params, Suite
from stembench.params.resolve import Run, expand, resolve
from stembench.params.types import canonical

#: In place of the spec's hash of a cell whose search is not done: no run has it.
NOT_TUNED = "not tuned"


@dataclass(frozen=True)
class Tuned:
    """The best trial of a search.

    sha256: of the file; plan_sha256: of the plan it carried out; train, args: the values found;
    trials, failed: how many there were, and how many of them failed; best: the best one's number;
    valid_auc: its validation AUC.
    """

    sha256: str
    plan_sha256: str
    train: dict[str, Any]
    args: dict[str, Any]
    trials: int
    failed: int
    best: int
    valid_auc: float


def file(results: Path, dataset: str, model: str) -> Path:
    """Where the outcome of a search is; results: `results/<suite>`."""
    return results / "tuned" / dataset / f"{model}.yaml"


def plan(params: Params, suite: Suite, dataset: str, model: str) -> str:
    """All that decides a search, the data and the code aside, as sorted JSON."""
    tuning = params.tuning
    if suite.protocol != "tuned" or tuning is None:
        raise StembenchError(
            f"the suite {suite.name} has the protocol {suite.protocol}: only a suite with "
            "`protocol: tuned` is tuned"
        )
    space = params_protocols.space(params, model)
    dimensions = {f"train.{key}": dimension.json() for key, dimension in space.train.items()}
    dimensions |= {f"args.{key}": dimension.json() for key, dimension in space.args.items()}
    spec = resolve(params, suite, dataset, model, tuning.seed).spec
    # What changes no trial must not make a search begin anew.
    spec["train"] |= {"diagnostics": False, "keep_weights": False}
    spec["train"]["select"]["both"] = False
    content = {"spec": spec, "space": dimensions, "trials": tuning.trials}
    return canonical(content | {"sampler": tuning.sampler})


def sha256(text: str) -> str:
    """Hex digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def read(path: Path) -> Tuned:
    """Read the outcome of a search; raises StembenchError when it is absent or damaged."""
    again = f"run `stembench tune {path.parent.name} {path.stem} --suite {path.parts[-4:][0]}`"
    try:
        content = path.read_bytes()
        found = yaml.safe_load(content)
        return Tuned(
            sha256=hashlib.sha256(content).hexdigest(),
            plan_sha256=str(found["plan_sha256"]),
            train=dict(found["train"]),
            args=dict(found["args"]),
            trials=int(found["trials"]),
            failed=int(found["failed"]),
            best=int(found["best"]),
            valid_auc=float(found["valid_auc"]),
        )
    except FileNotFoundError:
        raise StembenchError(f"{path} is not there: {again}") from None
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise StembenchError(f"{path} is damaged ({error!r}): delete it and {again}") from None


def record(found: Tuned) -> dict[str, Any]:
    """What run.json keeps of a search, besides the values, which are in its spec."""
    kept = ("sha256", "plan_sha256", "trials", "failed", "best", "valid_auc")
    return {key: getattr(found, key) for key in kept}


def apply(run: Run, found: Tuned) -> Run:
    """The run with the values found in place of its own. Raises StembenchError for other keys."""
    spec = run.spec
    for section, values in (("train", found.train), ("args", found.args)):
        unknown = sorted(set(values) - set(spec[section]))
        if unknown:
            raise StembenchError(
                f"{run.model} has no {section}.{unknown[0]}: the tuned values are of another model"
            )
        spec[section] |= values
    return Run(run.dataset, run.model, run.seed, canonical(spec))


def outcomes(params: Params, suite: Suite, results: Path) -> dict[tuple[str, str], Tuned]:
    """The searches of a tuned suite that are done as params.yaml now wants them."""
    done = {}
    for dataset in suite.datasets:
        for model in params.models_of(suite):
            path = file(results, dataset, model)
            if path.exists():
                found = read(path)
                if found.plan_sha256 == sha256(plan(params, suite, dataset, model)):
                    done[dataset, model] = found
    return done


def cells(params: Params, suite: Suite, results: Path) -> list[dict[str, Any]]:
    """Dataset, model, seed and spec_sha256 of each cell of a suite, tuned values included."""
    runs = expand(params, suite)
    if suite.protocol == "tuned":
        done = outcomes(params, suite, results)
        hashes = [
            apply(run, done[run.dataset, run.model]).sha256
            if (run.dataset, run.model) in done
            else NOT_TUNED
            for run in runs
        ]
    else:
        hashes = [run.sha256 for run in runs]
    return [
        {"dataset": run.dataset, "model": run.model, "seed": run.seed, "spec_sha256": digest}
        for run, digest in zip(runs, hashes, strict=True)
    ]


def protocol(params: Params, suite: Suite, results: Path) -> dict[str, Any]:
    """What the tables tell of a suite's protocol and of the budget of each model's search."""
    told: dict[str, Any] = {"name": suite.protocol}
    if suite.protocol == "released":
        released = params.protocols.released
        assert released is not None  # params.yaml is checked
        told |= {"source": released.source}
    if suite.protocol == "tuned":
        tuning = params.tuning
        assert tuning is not None
        told |= {"trials": tuning.trials, "seed": tuning.seed, "sampler": tuning.sampler}
        told["searches"] = [
            {"dataset": dataset, "model": model, "trials": found.trials, "failed": found.failed}
            | {"best": found.best, "valid_auc": found.valid_auc}
            | {"train": found.train, "args": found.args}
            for (dataset, model), found in outcomes(params, suite, results).items()
        ]
    return told
