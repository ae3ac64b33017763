"""What the tables say, before it is Markdown, LaTeX or HTML: one place for marks and emphasis."""

from __future__ import annotations

from stembench.report import names
from stembench.report.numbers import joined, plural
from stembench.report.results import Results, records, unique

#: Adjustment of a family of tests -> its name.
ADJUSTMENTS = {"holm": "Holm", "bh": "Benjamini-Hochberg"}


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
