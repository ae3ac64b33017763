"""The answer in sentences, made from the numbers: true whatever they are."""

from __future__ import annotations

from typing import Any

from stembench.report import names
from stembench.report.numbers import joined, number, plural
from stembench.report.results import Results, records, unique
from stembench.report.sections import comparable

#: As many places as are named in one sentence; the tables have them all.
_NAMED = 6
#: Verdict on (reference - other) -> how a data set's sentence begins.
_OPENINGS = {
    "better": "significantly better than",
    "worse": "significantly worse than",
    "equivalent": "equivalent to",
    "inconclusive": "neither shown to differ from nor to be equivalent to",
    "missing": "not compared with",
}


def question(results: Results) -> str:
    """What the suite asks."""
    name, rows = names.model(results.reference), _rows(results)
    others = unique(row.model_b for row in rows)
    if not others:
        return f"How good is {name}?"
    rivals = names.model(others[0]) if len(others) == 1 else f"each of {len(others)} other models"
    return (
        f"Does {name} rank the items a user responds to above the others (test AUC) better than "
        f"{rivals}, beyond what seeds and users alone would give?"
    )


def _verdict(rows: list[Any]) -> str:
    """The answer in a word or two."""
    found = {row.verdict for row in rows}
    if found == {"better"}:
        return "Yes"
    if "better" in found:
        return "Mixed" if "worse" in found else "In part"
    return "No" if "worse" in found else "Not shown"


def _named(items: list[str]) -> str:
    if len(items) <= _NAMED:
        return joined(items)
    return joined([*items[:_NAMED], f"{len(items) - _NAMED} more"])


def _rows(results: Results, dataset: str | None = None) -> list[Any]:
    table = results.main_comparison
    return records(table if dataset is None else table[table["dataset"] == dataset])


def _tallies(results: Results, rows: list[Any]) -> str:
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in _OPENINGS}
    better = str(counts["better"])
    small = sum(row.verdict == "better" and abs(row.delta) < results.margin for row in rows)
    if small:
        better += f" ({small} of them by less than {results.margin:g})"
    text = (
        f"significantly better in {better}, significantly worse in {counts['worse']}, equivalent "
        f"within ±{results.margin:g} in {counts['equivalent']}, and in {counts['inconclusive']} "
        "nothing can be said"
    )
    missing = counts["missing"]
    return text + (f"; {missing} could not be made" if missing else "")


def _wins(results: Results, rows: list[Any]) -> str:
    """Tasks on which the reference beats every other model of the suite."""
    name = names.model(results.reference)
    wins: dict[str, list[str]] = {}
    for dataset in results.datasets:
        others = {m for m in results.models(dataset) if m != results.reference}
        mine = [row for row in rows if row.dataset == dataset]
        for task in unique(row.task for row in mine):
            beaten = {row.model_b for row in mine if row.task == task and row.verdict == "better"}
            if others and beaten == others:
                wins.setdefault(dataset, []).append(names.task(task))
    total = len(results.datasets)
    if not wins:
        where = "the one data set" if total == 1 else f"any of the {total} data sets"
        return f"On no task of {where} is {name} significantly better than every other model."
    places = [f"{joined(tasks)} of {names.dataset(dataset)}" for dataset, tasks in wins.items()]
    return (
        f"On {len(wins)} of {plural(total, 'data set')} {name} is significantly better than every "
        f"other model on at least one task: {_named(places)}."
    )


def _losses(results: Results, rows: list[Any]) -> str:
    name = names.model(results.reference)
    losses: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.verdict == "worse":
            losses.setdefault((row.dataset, row.model_b), []).append(names.task(row.task))
    if not losses:
        return f"In no comparison is {name} significantly worse."
    # Models that are better on the same tasks of a data set share a clause.
    clauses: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (dataset, model), tasks in losses.items():
        clauses.setdefault((dataset, tuple(tasks)), []).append(names.model(model))
    places = [
        f"{_named(models)} on {joined(list(tasks))} of {names.dataset(dataset)}"
        for (dataset, tasks), models in clauses.items()
    ]
    shown = places if len(places) <= _NAMED else [*places[:_NAMED], "others (see the table)"]
    return f"{name} is significantly worse than {'; than '.join(shown)}."


def _caveat(results: Results) -> str:
    """What synthetic and sample data cannot tell."""
    kinds = {dataset: names.describe(dataset).kind for dataset in results.datasets}
    made = [names.dataset(d) for d, kind in kinds.items() if kind == "synthetic"]
    parts = [names.dataset(d) for d, kind in kinds.items() if kind == "sample"]
    sentences = []
    if made:
        verb = "is" if len(made) == 1 else "are"
        sentences.append(
            f"{joined([f'“{name}”' for name in made])} {verb} generated data: they show what the "
            "models do under known tastes, not on real users."
        )
    if parts:
        verb = "is a sample" if len(parts) == 1 else "are samples"
        sentences.append(
            f"{joined([f'“{name}”' for name in parts])} {verb} of a real log: not comparable with "
            "numbers published on the whole."
        )
    return " ".join(sentences)


def transfer(results: Results) -> str | None:
    """The reference's own gap to the baseline on comparable samples, in a sentence.

    None where there is no such table, or the reference is the baseline itself.
    """
    path = results.root / "tables" / "comparable.csv"
    if not path.exists():
        return None
    table = comparable.read_table(path)
    mine = table[(table["metric"] == "auc") & (table["bucket"] == "comparable")]
    rows = records(mine[mine["model"] == results.reference])
    if not rows:
        return None
    name, baseline = names.model(results.reference), names.model(str(rows[0].baseline))
    tested = [row for row in rows if row.verdict in ("negative", "positive", "inconclusive")]
    if not tested:
        return f"On comparable samples {name} could not be tested against {baseline}."
    counts = {v: sum(row.verdict == v for row in tested) for v in ("negative", "positive")}
    ends = [min(tested, key=lambda row: row.delta), max(tested, key=lambda row: row.delta)]
    told = " to ".join(
        f"{_signed(row.delta)} (interval {_signed(row.ci_lo)} to {_signed(row.ci_hi)}; "
        f"{names.task(row.task)} of {names.dataset(row.dataset)})"
        for row in (ends if len(tested) > 1 else ends[:1])
    )
    untested = len(rows) - len(tested)
    return (
        f"On comparable samples, where negative transfer is claimed to lie, {name}'s AUC is after "
        f"Holm's adjustment significantly below that of {baseline} in {counts['negative']} and "
        f"above it in {counts['positive']} of {len(tested)} tests"
        + (f", with {untested} more too small to test" if untested else "")
        + f"; the difference is {told}, intervals not adjusted."
    )


def _signed(value: float) -> str:
    return number(value, sign=True).replace("-", "−")


def summary(results: Results) -> list[str]:
    """The answer for the whole suite, one statement a string."""
    rows = _rows(results)
    name = names.model(results.reference)
    if not rows:
        return [f"There is no other model to compare {name} with."]
    if all(row.verdict == "missing" for row in rows):
        n, total = results.inputs["n_ok"], results.inputs["n_cells"]
        return [f"Nothing can be said yet: no comparison could be made ({n} of {total} cells)."]
    others = unique(row.model_b for row in rows)
    n_tasks = len({(row.dataset, row.task) for row in rows})
    sentences = [
        f"{_verdict(rows)}: of {plural(len(rows), 'comparison')} by test AUC "
        f"({plural(len(others), 'other model')}, {plural(n_tasks, 'task')} of "
        f"{plural(len({row.dataset for row in rows}), 'data set')}, "
        f"{plural(len(results.inputs['seeds']), 'seed')}), {name} is {_tallies(results, rows)}.",
        _wins(results, rows),
        _losses(results, rows),
    ]
    if told := transfer(results):
        sentences.append(told)
    unheard = [d for d in results.datasets if not any(row.dataset == d for row in rows)]
    if unheard:
        sentences.append(f"Nothing is known of {joined([names.dataset(d) for d in unheard])}.")
    if not results.inputs["complete"]:
        n, total = results.inputs["n_ok"], results.inputs["n_cells"]
        sentences.append(f"The suite is incomplete: this is from {n} of {total} cells.")
    caveat = _caveat(results)
    return [*sentences, caveat] if caveat else sentences


def by_dataset(results: Results) -> list[tuple[str, list[str]]]:
    """(data set, ends of a sentence that begins "<reference> is"): which model, task, how much."""
    found = []
    for dataset in results.datasets:
        rows = _rows(results, dataset)
        lines = []
        for verdict, opening in _OPENINGS.items():
            models: dict[str, list[str]] = {}
            for row in rows:
                if row.verdict == verdict:
                    delta = _signed(row.delta)
                    task = names.task(row.task) + ("" if verdict == "missing" else f" {delta}")
                    models.setdefault(names.model(row.model_b), []).append(task)
            if models:
                parts = [f"{model} ({', '.join(tasks)})" for model, tasks in models.items()]
                lines.append(f"{opening} {joined(parts)}")
        found.append((dataset, lines or ["not compared with any model"]))
    return found
