"""What a table of the report holds, before it is Markdown, LaTeX or HTML: marks and emphasis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from stembench.report import names
from stembench.report.results import Results, records, unique

Mark = Literal["", "beats_all", "below", "above", "equivalent"]
#: Mark of a baseline, from the verdict on (reference - baseline).
_MARK_OF: dict[str, Mark] = {"better": "below", "worse": "above", "equivalent": "equivalent"}
#: Decimals shown for a metric.
DECIMALS = {"auc": 4, "gauc": 4, "logloss": 4, "calibration": 3}
DECIMALS |= {"unbiased_auc": 4, "unbiased_gauc": 4}
#: Metric that carries marks -> bucket of the comparison they come from.
_BUCKETS = {"auc": "all", "unbiased_auc": "unbiased"}


@dataclass(frozen=True)
class Cell:
    """A model's metric on a task: mean and SD (ddof 1) over its seeds, NaN where unknown.

    place: 1 best mean of the column, 2 second best, 0 otherwise.
    """

    metric: str
    mean: float
    sd: float
    n_seeds: int
    n_expected: int
    place: int = 0
    mark: Mark = ""

    @property
    def missing(self) -> bool:
        return not math.isfinite(self.mean)

    @property
    def partial(self) -> bool:
        return not self.missing and self.n_seeds < self.n_expected


@dataclass(frozen=True)
class Row:
    """One model of a block; cells in the order tasks × metrics."""

    model: str
    name: str
    cells: list[Cell]


@dataclass(frozen=True)
class Block:
    """The table of one data set: rows are models, columns tasks × metrics.

    oracle: values of the true probabilities by column (NaN where unknown), None without them.
    """

    dataset: str
    tasks: list[str]
    metrics: list[str]
    rows: list[Row]
    oracle: list[float] | None

    @property
    def columns(self) -> list[tuple[str, str]]:
        return [(task, metric) for task in self.tasks for metric in self.metrics]


def _count(value: float) -> int:
    return int(value) if math.isfinite(value) else 0


def _marks(results: Results, dataset: str, bucket: str) -> dict[tuple[str, str], Mark]:
    """Mark by (model, task), beside the AUC."""
    table = results.comparison_on(bucket)
    table = table[table["dataset"] == dataset]
    marks: dict[tuple[str, str], Mark] = {
        (row.model_b, row.task): _MARK_OF.get(row.verdict, "") for row in records(table)
    }
    others = [model for model in results.models(dataset) if model != results.reference]
    for task in unique(table["task"]):
        # A baseline that could not be compared takes the star away: "every other" means every one.
        if others and all(marks.get((model, task)) == "below" for model in others):
            marks[results.reference, task] = "beats_all"
    return marks


def block(results: Results, dataset: str, metrics: list[str]) -> Block:
    """Lay out the table of a data set for some metrics."""
    tasks, models = results.tasks(dataset), results.models(dataset)
    table = results.metrics[results.metrics["dataset"] == dataset]
    found = {(row.model, row.task, row.metric): row for row in records(table)}
    marks = {
        metric: _marks(results, dataset, _BUCKETS[metric])
        for metric in metrics
        if metric in _BUCKETS
    }
    expected = {
        model: int(
            ((results.cells["dataset"] == dataset) & (results.cells["model"] == model)).sum()
        )
        for model in models
    }
    columns = [(task, metric) for task in tasks for metric in metrics]
    cells: dict[str, list[Cell]] = {model: [] for model in models}
    for task, metric in columns:
        have = {m: found[m, task, metric] for m in models if (m, task, metric) in found}
        means = {m: float(row.mean) for m, row in have.items() if math.isfinite(row.mean)}
        # Best and second, where there is something to be better than.
        places = {m: int(have[m].rank) for m in means if have[m].rank <= 2 and len(means) > 1}
        for m in models:
            cells[m].append(
                Cell(
                    metric,
                    means.get(m, math.nan),
                    float(have[m].sd) if m in have else math.nan,
                    _count(have[m].n_seeds) if m in have else 0,
                    expected[m],
                    places.get(m, 0),
                    marks.get(metric, {}).get((m, task), ""),
                )
            )
    truth = results.oracle[results.oracle["dataset"] == dataset]
    values = {(row.task, row.metric): float(row.value) for row in records(truth)}
    oracle = [values.get(column, math.nan) for column in columns] if values else None
    rows = [Row(m, names.model(m), cells[m]) for m in models]
    return Block(dataset, tasks, metrics, rows, oracle)
