"""Evidence for all metrics, power, models over data sets, and how the statistics were tested.

Read from tables/evidence.csv, power.csv and across.csv, which `stembench compare` writes, and from
results/validation/validation.csv, which `stembench validate` writes. What is not there is said to
be missing, with the command that makes it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from stembench.errors import StembenchError
from stembench.report import names, numbers
from stembench.report import sentences as content
from stembench.report.figures.svg import critical_difference
from stembench.report.numbers import number
from stembench.report.results import Results, records, unique

EVIDENCE_HEADER = (
    *("Task", "Metric", "against", "seeds", "users", "Δ", "CI", "p", "family", "adjusted p"),
    *("Verdict", "p over seeds", "bootstrap CI", "signed-rank p", "P(improve)"),
)
POWER_HEADER = (
    *("Data set", "Task", "seeds", "users", "comparisons", "smallest Δ seen (MDE)", "MDE floor"),
    *("CI width", "seeds needed", "users needed", "Underpowered"),
)
ACROSS_HEADER = (
    *("Metric", "Model", "data sets", "average rank", "CI of rank", "P(rank = 1)"),
    *("P(improve)", "CI of P", "IQM of Δ", "CI of IQM"),
)
VALIDATION_HEADER = (
    *("Check", "Setting", "seeds", "repetitions", "estimate", "SE", "bounds", "Result", "Note"),
)
#: Columns of each table that are text, counted from 0.
TEXT = {"evidence": (0, 1, 2, 8, 10), "power": (0, 1, 10), "across": (0, 1)}
_OF = {
    "test": "on the test part, over models × tasks",
    "unbiased": "on randomly exposed items, over models × tasks",
    "buckets": "on comparable samples, over buckets × tasks of a model",
    "interaction": "their interaction contrasts",
    "factors": "effects of the crossed designs (ablations)",
}


def section(results: Results) -> dict[str, Any]:
    """Everything that evidence.html.j2 shows."""
    tables = {name: _table(results, name) for name in ("evidence", "power", "across")}
    return {
        "missing": [f"tables/{name}.csv" for name, table in tables.items() if table is None],
        "command": f"stembench compare --suite {results.suite}",
        "families": families(results),
        "header": EVIDENCE_HEADER,
        "datasets": _evidence(results, tables["evidence"]),
        "remarks": _remarks(tables["evidence"]),
        "power_header": POWER_HEADER,
        "power": _power(tables["evidence"], tables["power"]),
        "power_words": _power_words(results, tables["evidence"]),
        "across_header": ACROSS_HEADER,
        "baseline": _baseline(tables["across"]),
        "across": _across(tables["across"]),
        "across_notes": _notes(tables["across"]),
        "diagram": _diagram(results, tables["across"]),
        "text": TEXT,
    }


def families(results: Results) -> list[str]:
    """One line a family of tests, as the comparison was told them."""
    lines: dict[str, list[str]] = {}
    for row in results.inputs.get("families", []):
        end = f"{_OF[row['of']]}: {content.ADJUSTMENTS[row['adjust']]}"
        lines.setdefault(f"{row['name']}|{end}", []).append(_metric(row["metric"]))
    return [
        f"{key.split('|')[0]}: {', '.join(metrics)}, {key.split('|')[1]}"
        for key, metrics in lines.items()
    ]


def _table(results: Results, name: str) -> pd.DataFrame | None:
    path = results.root / "tables" / f"{name}.csv"
    return read(path, f"run `stembench compare --suite {results.suite}` again")


def read(path: Path, remedy: str) -> pd.DataFrame | None:
    """A CSV table, None where it is not there; raises StembenchError where it is unreadable."""
    try:
        return pd.read_csv(path, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StembenchError(f"{path} cannot be read ({error}): {remedy}") from None


def _metric(key: str) -> str:
    return "calibration error" if key == "calibration" else names.metric(key)


def _evidence(results: Results, table: pd.DataFrame | None) -> list[dict[str, Any]]:
    if table is None:
        return []
    found = []
    for dataset in unique(table["dataset"]):
        for bucket in unique(table.loc[table["dataset"] == dataset, "bucket"]):
            mine = table[(table["dataset"] == dataset) & (table["bucket"] == bucket)]
            name = names.dataset(dataset)
            name += ": randomly exposed items" if bucket == "unbiased" else ""
            found.append({"name": name, "rows": [_evidence_row(row) for row in records(mine)]})
    return found


def _evidence_row(row: Any) -> list[str]:
    start = [names.task(row.task), _metric(row.metric), names.model(row.model_b)]
    return [
        *start,
        _count(row.n_seeds),
        _count(row.n_users),
        number(row.delta, sign=True),
        numbers.interval(row.ci_lo, row.ci_hi),
        numbers.p_value(row.p_total),
        str(row.family).split(":")[0],
        numbers.p_value(row.p_adj),
        names.verdict(row.verdict),
        numbers.p_value(row.p_seed),
        numbers.interval(row.boot_lo, row.boot_hi),
        numbers.p_value(row.p_wilcoxon),
        number(row.prob_improve, 2),
    ]


def _remarks(table: pd.DataFrame | None) -> list[str]:
    """Why the signed-rank test has no p where it has none."""
    if table is None or "wilcoxon_note" not in table:
        return []
    return [f"Exact signed-rank test: {note}." for note in unique(table["wilcoxon_note"].dropna())]


def _power(table: pd.DataFrame | None, plans: pd.DataFrame | None) -> list[list[str]]:
    """A row for each data set and task: the range over the other models, the worst where one."""
    if table is None or plans is None:
        return []
    tested = table[(table["metric"] == "auc") & (table["bucket"] == "all")]
    rows = []
    for (dataset, task), mine in plans.groupby(["dataset", "task"], sort=False):
        same = tested[(tested["dataset"] == dataset) & (tested["task"] == task)]
        same = same[same["underpowered"].notna()]
        weak = int((same["underpowered"] == "yes").sum())
        widths = same["ci_hi"] - same["ci_lo"]
        rows.append(
            [
                names.dataset(str(dataset)),
                names.task(str(task)),
                _count(mine["n_seeds"].min()),
                _count(mine["n_users"].min()),
                str(len(mine)),
                _range(mine["mde"]),
                _range(mine["mde_floor"]),
                _range(widths),
                _needed(mine["seeds_needed"]),
                _needed(mine["users_needed"]),
                f"underpowered in {weak} of {len(same)}" if weak else "no",
            ]
        )
    return rows


def _power_words(results: Results, table: pd.DataFrame | None) -> list[str]:
    """What underpowered means, and how many comparisons are."""
    if table is None:
        return []
    known = table[(table["metric"] == "auc") & table["underpowered"].notna()]
    weak = int((known["underpowered"] == "yes").sum())
    margin = f"{results.margin:g}"
    return [
        f"{weak} of {numbers.plural(len(known), 'AUC comparison')} "
        f"{'is' if weak == 1 else 'are'} underpowered: the confidence interval is wider than twice "
        f"the margin of {margin}, or the smallest difference that these runs see (MDE) is above "
        "it. There, no significant difference is no sign of equality.",
        "Ranges are over the other models. MDE floor: with any number of seeds on this test part. "
        f"Seeds and users needed: to see {margin} against every other model, with the present "
        "number of the other; none: no number of them is enough. `stembench power` answers for "
        "other differences.",
    ]


def _across(table: pd.DataFrame | None) -> list[list[str]]:
    if table is None:
        return []
    return [
        [
            _metric(row.metric),
            names.model(row.model),
            _count(row.n_datasets),
            number(row.rank, 2),
            _between(row.rank_lo, row.rank_hi),
            number(row.p_first, 2),
            number(row.prob_improve, 2),
            _between(row.prob_lo, row.prob_hi),
            number(row.iqm_delta, sign=True),
            numbers.interval(row.iqm_lo, row.iqm_hi),
        ]
        for row in records(table)
    ]


def _baseline(table: pd.DataFrame | None) -> str:
    """The model that the differences are to: the one without any; "the baseline" if not told."""
    if table is None or not table["iqm_delta"].notna().any():
        return "the baseline"
    without = table[table["iqm_delta"].isna()]
    return names.model(str(without["model"].iloc[0])) if len(without) else "the baseline"


def _notes(table: pd.DataFrame | None) -> list[str]:
    if table is None:
        return []
    return [f"{note[0].upper()}{note[1:]}." for note in unique(table["note"].dropna())]


def _diagram(results: Results, table: pd.DataFrame | None) -> dict[str, Any] | None:
    """The critical-difference diagram of the AUC; None with fewer than five data sets."""
    if table is None or not len(table):
        return None
    auc = table[(table["metric"] == "auc") & table["critical_difference"].notna()]
    if not len(auc):
        return None
    n, width = int(auc["n_datasets"].iloc[0]), float(auc["critical_difference"].iloc[0])
    ranked = [(names.model(row.model), float(row.rank)) for row in records(auc)]
    told = ", ".join(f"{name} {rank:.2f}" for name, rank in sorted(ranked, key=lambda x: x[1]))
    descriptive = " Descriptive only: with fewer than ten data sets the test has little power."
    caption = (
        f"Average ranks by AUC over {n} data sets; models joined by a bar differ by less than the "
        f"critical difference of Nemenyi, {width:.2f} at alpha {results.alpha:g}."
    )
    svg: Markup = critical_difference(ranked, width, f"Average ranks by AUC: {told}.")
    return {"svg": svg, "caption": caption + (descriptive if n < 10 else "")}


def validation(results: Results) -> dict[str, Any]:
    """The appendix: what the statistics' own test found."""
    folder = results.root.parent / "validation"
    table = read(folder / "validation.csv", "run `make validate` again")
    if table is None:
        return {"rows": [], "header": VALIDATION_HEADER, "words": "", "failed": []}
    results_of = list(table["result"])
    tested = [result for result in results_of if result != "info"]
    failed = [f"{r.check}, {r.setting}" for r in records(table) if r.result == "FAIL"]
    words = (
        f"{tested.count('pass')} of {len(tested)} checks pass, {len(failed)} fail; "
        f"{results_of.count('info')} more rows are for comparison. Made by `make validate`."
    )
    rows = [
        [
            *(str(row.check), str(row.setting), _count(row.seeds), f"{int(row.repetitions):,}"),
            *(_short(row.estimate), _short(row.mc_se), _bounds(row.lower, row.upper)),
            *(str(row.result), "" if row.note != row.note else str(row.note)),
        ]
        for row in records(table)
    ]
    return {"rows": rows, "header": VALIDATION_HEADER, "words": words, "failed": failed}


def _bounds(low: float, high: float) -> str:
    if math.isfinite(low):
        return f"{_short(low)} to {_short(high)}"
    return f"≤ {_short(high)}" if math.isfinite(high) else ""


def _between(low: float, high: float) -> str:
    return f"[{low:.2f}, {high:.2f}]" if math.isfinite(low) else "n/a"


def _short(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else ""


def _count(value: float) -> str:
    return f"{int(value):,}" if math.isfinite(value) else ""


def _range(values: pd.Series) -> str:
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(low):
        return "n/a"
    return number(low) if number(low) == number(high) else f"{number(low)} to {number(high)}"


def _needed(values: pd.Series) -> str:
    """The most that any comparison needs."""
    return "none is enough" if values.isna().any() else f"{int(values.max()):,}"
