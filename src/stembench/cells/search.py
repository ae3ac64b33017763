"""Search the settings of one model on one data set: the same number of trials for every model.

A trial trains on the training part and is scored on the validation part. No other part is opened,
and nothing imported here can open it. Each finished trial is a file, so a search that was killed
goes on where it was. What a trial draws follows from the seed, its number and the results of the
trials before it, never from how often the search was started.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import tempfile
import time
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import optuna
import torch
import yaml
from filelock import FileLock, Timeout
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from stembench import provenance
from stembench.data.directory import Part, SplitDirectory
from stembench.data.schema import Schema
from stembench.errors import StembenchError
from stembench.params import tuned
from stembench.params.types import canonical
from stembench.records import writing
from stembench.training import fit as training
from stembench.training.device import choose

logger = logging.getLogger(__name__)

#: What a trial may fail by: diverged weights, arguments that do not go together, no memory left.
FAULTS = (StembenchError, ValueError, ArithmeticError, RuntimeError, MemoryError)
#: AUC that the sampler is told of a trial that failed, so that it looks elsewhere.
WORST = 0.0

Space = dict[str, dict[str, Any]]
Trial = dict[str, Any]


def tune(plan: str, split_path: Path, out: Path, threads: int = 1) -> tuned.Tuned:
    """Carry out a plan (see `tuned.plan`): write all trials, and the best one to `out`.

    out: `results/<suite>/tuned/<dataset>/<model>.yaml`; beside it `<model>.trials.csv`, and
    `<model>.trials/` with a file per finished trial. Of equal scores the earlier trial wins. Raises
    StembenchError for bad data, for a search that another process is at, and when all trials fail.
    """
    wanted = json.loads(plan)
    spec, space, number = wanted["spec"], wanted["space"], wanted["trials"]
    torch.set_num_threads(threads)
    split = SplitDirectory(split_path)
    parts = split.schema, split.part("train"), split.part("valid")
    device = choose(spec["train"]["device"])
    folder = out.with_suffix(".trials")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            identity = _fingerprint(wanted, str(split.manifest["sha256"]))
            trials = _finished(folder, identity)
            for i in range(number):
                if i not in trials:
                    earlier = [trials[j] for j in range(i)]
                    drawn = draw(space, wanted["sampler"], spec, earlier)
                    trial = {"fingerprint": identity, "number": i, "values": drawn}
                    trials[i] = trial | run_trial(*parts, set_values(spec, drawn), device)
                    writing.write_json(folder / f"{i:04d}.json", trials[i])
                    _tell(trials[i], number)
            return _conclude(out, plan, [trials[i] for i in range(number)])
    except Timeout:
        raise StembenchError(f"another process is tuning {out}: wait for it") from None


def draw(space: Space, sampler: str, spec: dict[str, Any], earlier: list[Trial]) -> dict[str, Any]:
    """The values of trial number len(earlier), by name (`train.lr`).

    Trial 0 is the untuned setting where the space contains it. Each dimension has a stream of its
    own, so that models with a dimension in common try the same values before any result counts.
    """
    untuned = {name: _get(spec, name) for name in space}
    if not earlier and all(_contains(space[name], value) for name, value in untuned.items()):
        return untuned
    drawn = {}
    for name, dimension in space.items():
        distribution = _distribution(dimension)
        digest = hashlib.sha256(f"{spec['seed']}/tune/{len(earlier)}/{name}".encode()).digest()
        study = optuna.create_study(
            direction="maximize",
            sampler=_sampler(sampler, int.from_bytes(digest[:4], "little")),
        )
        for trial in earlier:
            study.add_trial(
                optuna.trial.create_trial(
                    params={name: _encode(dimension, trial["values"][name])},
                    distributions={name: distribution},
                    value=WORST if trial["valid_auc"] is None else trial["valid_auc"],
                )
            )
        value = study.ask({name: distribution}).params[name]
        drawn[name] = json.loads(value) if "choices" in dimension else value
    return drawn


def set_values(spec: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The spec with values by name (`train.lr`) in place of its own."""
    changed = spec | {"train": dict(spec["train"]), "args": dict(spec["args"])}
    for name, value in values.items():
        section, key = name.split(".", 1)
        changed[section][key] = value
    return changed


def run_trial(
    schema: Schema, train: Part, valid: Part, spec: dict[str, Any], device: torch.device
) -> Trial:
    """Train one setting and score it on the validation part; no file is left.

    A fault of FAULTS is recorded with its reason, and the score is None.
    """
    clock = time.perf_counter()
    found: Trial = {"valid_auc": None, "tasks": None, "best_epoch": None, "reason": None}
    try:
        with tempfile.TemporaryDirectory() as scratch:
            history = Path(scratch) / "history.csv"
            fit = training.fit(schema, train, valid, spec, history, device)
            with history.open(newline="") as file:
                found |= score(list(csv.DictReader(file)), schema.tasks, fit.choice.epochs)
    except FAULTS as error:
        found["reason"] = str(error).splitlines()[0] if str(error) else repr(error)
    return found | {"seconds": round(time.perf_counter() - clock, 3)}


def score(history: list[dict[str, str]], tasks: tuple[str, ...], epochs: tuple[int, ...]) -> Trial:
    """The validation AUC, averaged over tasks, of what `train.select` keeps.

    history: rows of history.csv; epochs: by task, the epoch (1-based) whose weights are kept.
    """
    aucs = {
        task: float(history[epoch - 1][f"valid_auc_{task}"])
        for task, epoch in zip(tasks, epochs, strict=True)
    }
    mean = sum(aucs.values()) / len(aucs)
    return {"valid_auc": mean, "tasks": aucs, "best_epoch": max(epochs)}


def _conclude(out: Path, plan: str, trials: list[Trial]) -> tuned.Tuned:
    """Write the trial table, then the best trial."""
    wanted = json.loads(plan)
    model, dataset = wanted["spec"]["model"], wanted["spec"]["dataset"]
    sound = [trial for trial in trials if trial["valid_auc"] is not None]
    writing.write_text(out.with_suffix(".trials.csv"), _table(trials, list(wanted["space"])))
    if not sound:
        raise StembenchError(
            f"all {len(trials)} trials of {model} on {dataset} failed, the first by: "
            f"{trials[0]['reason']}. Change tuning.space or models.{model}.tune"
        )
    best = max(sound, key=lambda trial: (trial["valid_auc"], -trial["number"]))
    found: dict[str, dict[str, Any]] = {"train": {}, "args": {}}
    for name, value in best["values"].items():
        section, key = name.split(".", 1)
        found[section][key] = value
    content: dict[str, Any] = {"dataset": dataset, "model": model, "trials": len(trials)}
    content |= {"failed": len(trials) - len(sound), "seed": wanted["spec"]["seed"]}
    content |= {"sampler": wanted["sampler"], "best": best["number"]}
    content |= {"valid_auc": best["valid_auc"], **found, "plan_sha256": tuned.sha256(plan)}
    # No time, no host: the same search gives the same bytes, and trains nothing again.
    writing.write_text(out, yaml.safe_dump(content, sort_keys=False))
    return tuned.read(out)


def _table(trials: list[Trial], names: list[str]) -> str:
    """trials.csv: a line per trial, the values as they stand in params.yaml."""
    tasks = next((list(trial["tasks"]) for trial in trials if trial["tasks"]), [])
    rows = [["number", "status", *names, "valid_auc", *(f"valid_auc_{t}" for t in tasks)]]
    rows[0] += ["best_epoch", "seconds", "reason"]
    for trial in trials:
        scored = trial["valid_auc"] is not None
        row = [str(trial["number"]), "ok" if scored else "failed"]
        row += [json.dumps(trial["values"][name]) for name in names]
        row += [repr(trial["valid_auc"]) if scored else ""]
        row += [repr(trial["tasks"][task]) if scored else "" for task in tasks]
        row += [str(trial["best_epoch"] or ""), str(trial["seconds"]), trial["reason"] or ""]
        rows.append(row)
    with tempfile.SpooledTemporaryFile(mode="w+", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
        file.seek(0)
        return str(file.read())


def _fingerprint(wanted: dict[str, Any], split_sha256: str) -> str:
    """What a finished trial counts for: all but the number of trials, which may grow."""
    content = {key: value for key, value in wanted.items() if key != "trials"}
    spec = wanted["spec"]
    sources = provenance.tuning_sources(spec["class"], spec["objective"]["class"])
    code = provenance.sha256_files(sources)
    return tuned.sha256(canonical(content | {"split": split_sha256, "code": code}))


def _finished(folder: Path, identity: str) -> dict[int, Trial]:
    """The finished trials of this search; those of another one, and halves, are deleted."""
    trials, others = {}, 0
    for path in sorted(folder.glob("*.json*")):
        try:
            trial = json.loads(path.read_text())
            current = (
                trial["fingerprint"] == identity and path.name == f"{trial['number']:04d}.json"
            )
        except (json.JSONDecodeError, KeyError, TypeError, ValueError):
            current = False
        if current:
            trials[trial["number"]] = trial
        else:
            path.unlink()
            others += 1
    if others:
        logger.info("%s: %d files of another search deleted", folder, others)
    # A trial draws from all before it: what follows a gap is done again.
    return {number: trials[number] for number in takewhile(trials.__contains__, count())}


def _tell(trial: Trial, number: int) -> None:
    values = ", ".join(f"{name} {value}" for name, value in trial["values"].items())
    scored = trial["valid_auc"] is not None
    outcome = f"validation AUC {trial['valid_auc']:.4f}" if scored else f"failed: {trial['reason']}"
    logger.info("trial %d of %d: %s; %s", trial["number"] + 1, number, values, outcome)


def _sampler(name: str, seed: int) -> BaseSampler:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return RandomSampler(seed=seed) if name == "random" else TPESampler(seed=seed)


def _distribution(dimension: dict[str, Any]) -> BaseDistribution:
    if "choices" in dimension:
        return CategoricalDistribution([canonical(choice) for choice in dimension["choices"]])
    low, high, log = dimension["low"], dimension["high"], dimension["log"]
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _encode(dimension: dict[str, Any], value: Any) -> Any:
    """Optuna's choices are plain values: a list of widths goes in as text."""
    return canonical(value) if "choices" in dimension else value


def _contains(dimension: dict[str, Any], value: Any) -> bool:
    if "choices" in dimension:
        return value in dimension["choices"]
    return bool(dimension["low"] <= value <= dimension["high"])


def _get(spec: dict[str, Any], name: str) -> Any:
    section, key = name.split(".", 1)
    return spec[section][key]
