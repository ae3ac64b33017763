"""Every metric tested, with robustness columns, and what these runs can see at all.

Written beside the comparison's tables by `stembench compare`. The families are those of
params.yaml: F1 (AUC), F2 (the other metrics), FU (randomly exposed items).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from stembench.analysis.across import ACROSS
from stembench.analysis.pairs import Pair, pairs
from stembench.analysis.power import COLUMNS as POWER
from stembench.analysis.power import planned
from stembench.analysis.runs import Group
from stembench.analysis.suite import verdict
from stembench.records.writing import markdown, write_csv, write_text
from stembench.stats import (
    ADJUSTMENTS,
    FAMILIES,
    Families,
    probability_of_improvement,
    t_test,
    tost,
    two_way,
    two_way_bootstrap,
    wilcoxon,
)

EVIDENCE = (
    *("dataset", "task", "metric", "bucket", "model_a", "model_b"),
    *("n_seeds", "n_users", "n_rows", "n_pos", "mean_a", "sd_a", "mean_b", "sd_b"),
    *("delta", "se_seed", "se_user", "se_total", "df", "ci_lo", "ci_hi", "p_total", "p_seed"),
    *("family", "p_adj", "p_tost", "verdict", "prob_improve", "boot_lo", "boot_hi", "n_boot"),
    *("p_wilcoxon", "wilcoxon_note", "mde", "underpowered"),
)
#: Metrics of which more is better; the margin is one of AUC.
RISING = ("auc", "gauc")
#: Part of the split -> its name in the column `bucket`, as in comparison.csv.
BUCKETS = {"test": "all", "unbiased": "unbiased"}

Rows = list[dict[str, Any]]


class Question(NamedTuple):
    """What is asked of all data sets: see `analysis` in params.yaml.

    level: the power; draws: of the bootstrap.
    """

    reference: str
    alpha: float
    margin: float
    level: float
    draws: int
    families: Families = FAMILIES


def evidence(group: Group, ask: Question) -> tuple[Rows, Rows]:
    """Rows of EVIDENCE and of `power.COLUMNS`: the reference against each other model.

    By part, task and metric, and for the power by task (AUC, test part). A pair without two common
    seeds has NaN and counts in its family as a test that was not made.
    """
    rows: Rows = []
    plans: Rows = []
    for part in BUCKETS:
        metrics = [metric for of, metric in ask.families if of == part]
        if not metrics or part not in group.parts:
            continue
        found = {}
        for pair in pairs(group, ask.reference, metrics, part):
            found[pair.task, pair.metric, pair.model_b] = row = _row(pair, ask)
            if part == "test" and pair.metric == "auc" and pair.d.shape[1] >= 2:
                plans.append(planned(pair, ask.margin, ask.alpha, ask.level))
                row["mde"] = plans[-1]["mde"]
                narrow = row["ci_hi"] - row["ci_lo"] <= 2 * ask.margin
                enough = narrow and row["mde"] <= ask.margin
                row["underpowered"] = "no" if enough else "yes"
        others = [model for model in group.models if model != ask.reference]
        for metric in metrics:
            keys = [(task, metric, model) for task in group.tasks for model in others]
            rows += _family([found.get(key, _missing(group, ask, key)) for key in keys], ask, part)
    return rows, plans


def _row(pair: Pair, ask: Question) -> dict[str, Any]:
    """The columns of one pair, all but those of its family."""
    seeds, users = pair.d.shape
    row: dict[str, Any] = {key: getattr(pair, key) for key in ("dataset", "task", "metric")}
    row |= {"model_a": pair.model_a, "model_b": pair.model_b, "n_seeds": seeds, "n_users": users}
    row |= {"n_rows": pair.n_rows, "n_pos": pair.n_pos}
    row |= {"mean_a": float(pair.a.mean()), "mean_b": float(pair.b.mean())}
    row |= {"sd_a": float(pair.a.std(ddof=1)), "sd_b": float(pair.b.std(ddof=1))}
    if users < 2:  # a gAUC of fewer than two users with both classes
        return row | {"delta": math.nan, "p_total": math.nan}
    test = two_way(pair.d, ask.alpha)
    row |= {"delta": test.mean, "se_seed": test.se_seed, "se_user": test.se_user}
    row |= {"se_total": test.se_total, "df": test.df, "ci_lo": test.ci_lo, "ci_hi": test.ci_hi}
    row |= {"p_total": test.p, "p_seed": t_test(test.mean, test.se_seed, seeds - 1)}
    if pair.metric == "auc":
        row["p_tost"] = tost(test.mean, test.se_total, test.df, ask.margin)
    sign = 1 if pair.metric in RISING else -1
    row["prob_improve"] = probability_of_improvement(sign * pair.a, sign * pair.b)
    boot = two_way_bootstrap(pair.d, ask.draws, seed=0, alpha=ask.alpha)
    row |= {"boot_lo": boot[0], "boot_hi": boot[1], "n_boot": ask.draws}
    row["p_wilcoxon"], row["wilcoxon_note"] = wilcoxon(pair.a - pair.b, ask.alpha)
    return row


def _missing(group: Group, ask: Question, key: tuple[str, str, str]) -> dict[str, Any]:
    task, metric, model = key
    ours, theirs = ({c.seed for c in group.sound(m)} for m in (ask.reference, model))
    row: dict[str, Any] = {"dataset": group.dataset, "task": task, "metric": metric}
    row |= {"model_a": ask.reference, "model_b": model, "n_seeds": len(ours & theirs)}
    return row | {"delta": math.nan, "p_total": math.nan}


def _family(rows: Rows, ask: Question, part: str) -> Rows:
    """The rows of one metric with their adjusted p and verdict; less is better of a loss."""
    if not rows:
        return rows
    metric = rows[0]["metric"]
    family = ask.families[part, metric]
    name = f"{family.name}:{rows[0]['dataset']}" + ("" if metric == "auc" else f":{metric}")
    adjusted = ADJUSTMENTS[family.adjust]([row["p_total"] for row in rows])
    for row, p_adj in zip(rows, adjusted, strict=True):
        row |= {"bucket": BUCKETS[part], "family": name, "p_adj": p_adj}
        better = row["delta"] if metric in RISING else -row["delta"]
        row["verdict"] = verdict(better, p_adj, row.get("p_tost", math.nan), ask.alpha)
    return rows


#: What the families compare, and how they are adjusted, for people.
_OF = {
    "test": "the reference with each model, over models × tasks of the test part",
    "unbiased": "the same on randomly exposed items",
    "buckets": "transfer gaps on comparable samples, over buckets × tasks of a model",
    "interaction": "their interaction contrasts",
    "factors": "effects of the crossed designs (ablations)",
}
_NONE = "empty where no number of them does"
_OVER = (
    "rank, p_first: intervals and shares over resampled data sets and seeds. prob_improve: against "
    "the reference. iqm_delta: against the baseline."
)
_ADJUST = {"holm": "Holm", "bh": "Benjamini-Hochberg"}


def families_in_words(families: Families) -> list[str]:
    """One line a family: `F1: auc, the reference with each model, ...: Holm`."""
    lines: dict[str, list[str]] = {}
    for (of, metric), family in families.items():
        end = f"{_OF[of]}: {_ADJUST[family.adjust]}"
        lines.setdefault(f"{family.name}|{end}", []).append(metric)
    return [
        "{}: {}, {}".format(key.split("|")[0], ", ".join(metrics), key.split("|")[1])
        for key, metrics in lines.items()
    ]


def write(folder: Path, rows: Rows, plans: Rows, over: Rows, families: Families) -> list[Path]:
    """Write evidence.csv, power.csv, across.csv and evidence.md into a folder of tables."""
    return [
        write_csv(folder / "evidence.csv", rows, EVIDENCE),
        write_csv(folder / "power.csv", plans, POWER),
        write_csv(folder / "across.csv", over, ACROSS),
        write_text(folder / "evidence.md", to_markdown(rows, plans, over, families)),
    ]


def to_markdown(rows: Rows, plans: Rows, over: Rows, families: Families) -> str:
    """The three tables with what they say."""
    lines = ["# Evidence", ""]
    if rows:
        lines += [
            f"{rows[0]['model_a']} minus model_b. delta, its interval and p_total count seeds and "
            "users; p_seed is conditional on this test set; the bootstrap is a robustness column. "
            "calibration is the error |ratio - 1|. mde is the smallest difference that these runs "
            "see with the power of params.yaml. underpowered: the interval is wider than twice the "
            "margin, or the mde is above it.",
            "",
        ]
    lines.append("Families of tests, fixed in params.yaml, within a data set, a metric at a time:")
    lines += ["", *(f"- {line}" for line in families_in_words(families)), ""]
    shown = (
        *("dataset", "task", "metric", "bucket", "model_b", "n_seeds", "n_users", "delta"),
        *("ci_lo", "ci_hi", "p_total", "family", "p_adj", "verdict", "p_seed", "p_tost", "boot_lo"),
        *("boot_hi", "p_wilcoxon", "prob_improve", "mde", "underpowered"),
    )
    lines += [_table(shown, rows)]
    notes = sorted({row["wilcoxon_note"] for row in rows if row.get("wilcoxon_note")})
    lines += [f"Exact signed-rank test: {note}.\n" for note in notes]
    lines += ["## Power", "", f"Seeds and test users that see a difference of the margin; {_NONE}."]
    lines += [
        "",
        _table(POWER, plans),
        "## Over the data sets",
        "",
        _OVER,
        "",
        _table(ACROSS, over),
    ]
    return "\n".join(lines)


def _table(columns: Iterable[str], rows: Rows) -> str:
    names = tuple(columns)
    return markdown(names, [[row.get(name) for name in names] for row in rows])
