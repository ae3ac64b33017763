"""What the tables say, before it is Markdown, LaTeX or HTML: one place for marks and emphasis."""

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
#: Adjustment of a family of tests -> its name.
ADJUSTMENTS = {"holm": "Holm", "bh": "Benjamini-Hochberg"}
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


def plural(n: int, noun: str) -> str:
    """`1 seed`, `5 seeds`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def joined(items: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def number(value: float, decimals: int = 4, sign: bool = False) -> str:
    """Fixed decimals; `n/a` where there is no value; never a negative zero."""
    if not math.isfinite(value):
        return "n/a"
    value = round(value, decimals) + 0.0
    return f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"


def p_value(value: float) -> str:
    """Four decimals, so that .0496 is not shown as .050."""
    if not math.isfinite(value):
        return "n/a"
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


def interval(lo: float, hi: float) -> str:
    """Ends of a confidence interval with their signs."""
    if not (math.isfinite(lo) and math.isfinite(hi)):
        return "n/a"
    return f"[{number(lo, sign=True)}, {number(hi, sign=True)}]"


def level(results: Results) -> str:
    """Level of the confidence intervals, e.g. `95%`."""
    return f"{100 * (1 - results.alpha):g}%"


def split_line(results: Results, dataset: str) -> str:
    """Name, short hash and rows of the split that a data set's numbers come from."""
    split = results.inputs["splits"].get(dataset)
    if not split:
        return "split unknown"
    rows = split.get("rows") or {}
    parts = ", ".join(f"{part} {n:,}" for part, n in rows.items())
    return f"split {split['split']} ({str(split['sha256'])[:12]}); rows: {parts}"


def gauc_line(results: Results, dataset: str, part: str = "test") -> str:
    """Share of a part's users that gAUC counts, by task; empty where unknown."""
    table = results.runs
    table = table[
        (table["dataset"] == dataset)
        & (table["part"] == part)
        & (table["metric"] == "gauc_users_kept")
    ]
    # The share depends on labels and users alone: the first run of a task tells it.
    shares = table.drop_duplicates("task")
    parts = [f"{names.task(row.task)} {100 * row.value:.0f}%" for row in records(shares)]
    return f"gAUC counts the users with both outcomes: {', '.join(parts)}." if parts else ""


def unbiased_line(results: Results, dataset: str) -> str:
    """What the rows with randomly exposed items are, and how the marks beside them were made."""
    rows = records(results.comparison_on("unbiased").query("dataset == @dataset"))
    counts = [row for row in rows if row.n_rows == row.n_rows]
    size = f"{counts[0].n_rows:,.0f} rows of {counts[0].n_users:,.0f} users" if counts else "rows"
    return (
        f"On randomly exposed items: {size} of the test's period whose items were drawn at random, "
        "not chosen by a recommender; none of them was trained on. The comparisons there are "
        "adjusted as a family of their own."
    )


def cells_line(results: Results) -> str:
    """`n of N cells`, and what that means when n < N."""
    n, total = int(results.inputs["n_ok"]), int(results.inputs["n_cells"])
    if n >= total and results.inputs["complete"]:
        return f"{n} of {total} cells."
    return (
        f"Incomplete: {n} of {total} cells. The others are named below and count nowhere; "
        "a mean is over the seeds there are, a comparison over those both models have."
    )


def missing_lines(results: Results) -> list[str]:
    """The cells that do not count, by name: `movielens / ple, seeds 76, 525: no finished run`."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for cell in results.inputs["not_ok"]:
        key = (str(cell["dataset"]), str(cell["model"]), str(cell["status"]))
        groups.setdefault(key, []).append(str(cell["seed"]))
    return [
        f"{dataset} / {model}, {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds)}: "
        f"{names.status(status)}"
        for (dataset, model, status), seeds in groups.items()
    ]


def warning_lines(results: Results) -> list[str]:
    """A line for each data set on which a model is better than the true probabilities."""
    found: dict[str, list[str]] = {}
    for dataset, task, models in results.passed:
        who = joined([names.model(model) for model in models])
        found.setdefault(dataset, []).append(f"{who} on task {names.task(task)}")
    return [
        f"FAULT on {names.dataset(dataset)}: a higher test AUC than that of the true probabilities "
        f"(the oracle): {'; '.join(places)}. No model can do that in expectation; look for a leak "
        "before any number of this data set is used."
        for dataset, places in found.items()
    ]


def test_line(results: Results) -> str:
    """How the p-values were made."""
    families = unique(f.split(":")[0] for f in results.main_comparison["family"] if f)
    family = f" (family {', '.join(families)})" if families else ""
    adjust = adjustment(results, "test", "holm")
    return (
        f"p: paired two-way test (seeds × users) on the AUC difference, {adjust}-adjusted over "
        f"baselines × tasks within the data set{family}; alpha {results.alpha:g}. Equivalence: "
        f"TOST within ±{results.margin:g} AUC, not adjusted."
    )


def adjustment(results: Results, of: str, usual: str) -> str:
    """How the p values of AUC comparisons are adjusted; `usual` where the tables do not tell."""
    told = {(f["of"], f["metric"]): f["adjust"] for f in results.inputs.get("families", [])}
    return ADJUSTMENTS[told.get((of, "auc"), usual)]


def seeds_line(results: Results) -> str:
    """Number of replicates and their seeds; long runs of neighbours as a range."""
    seeds = [int(seed) for seed in results.inputs["seeds"]]
    told = ", ".join(map(str, seeds))
    if len(seeds) > 5 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        told = f"{seeds[0]} to {seeds[-1]}"
    return f"Mean ± SD over {plural(len(seeds), 'seed')} ({told})."


def provenance_line(results: Results) -> str:
    """Command and fingerprint of the inputs."""
    return (
        f"Made by `{results.inputs['command']}` from the runs with fingerprint "
        f"{str(results.inputs['inputs_sha256'])[:12]}."
    )
