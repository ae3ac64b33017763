"""Published numbers and claims against this suite, from verdicts.csv and assumptions.csv."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from stembench.errors import StembenchError
from stembench.report import names
from stembench.report.numbers import interval, joined, number, p_value, plural
from stembench.report.results import Results, records, unique

NO_MATCH = "nothing here to compare"
CLAIMS = ["Data set", "Task", "Model", "against", "Where", "seeds", "Δ", "CI", "p (adj.)",
          "Verdict"]  # fmt: skip
NUMBERS = ["Data set", "Task", "Model", "published", "ours", "S", "SD over seeds", "Δ",
           "prediction interval of Δ", "Verdict", "at half the margin", "at double"]  # fmt: skip
ASSUMED = ["Aspect", "The source", "Here", ""]
_TEXT = (
    "entry kind paper tag source table row statement dataset task metric where model relation other"
    " verdict verdict_half verdict_double scope deviations note"
)
_NUMBERS = "n_seeds ours published runs_published sd_seed delta ci_lo ci_hi p_adj"


def section(results: Results) -> dict[str, Any] | None:
    """What the template shows; None for a suite without `stembench verdicts`."""
    path = results.root / "tables" / "verdicts.csv"
    if not path.exists():
        return None
    table = _read(results, "verdicts", _TEXT.split(), _NUMBERS.split())
    assumed = _read(results, "assumptions", ["entry", "dataset", "aspect", "source_says", "ours",
                                             "match"], [])  # fmt: skip
    compared = table[table["verdict"] != NO_MATCH]
    absent = table.loc[table["verdict"] == NO_MATCH, "entry"]
    note = f"{plural(table['entry'].nunique(), 'entry').replace('entrys', 'entries')} of "
    note += "workflow/published.yaml; "
    if len(compared):
        note += f"{compared['entry'].nunique()} can be held against this suite, "
        note += f"{len(absent)} are of other data sets, tasks or models."
    else:
        note += "none is of a data set, task and model of this suite: nothing is compared."
    return {
        "note": note,
        "level": f"{100 * (1 - results.alpha):g}%",
        "margin": f"{results.margin:g}",
        "claims_header": CLAIMS,
        "claims": [_entry(part, assumed) for part in _by_entry(compared, "claim")],
        "numbers_header": NUMBERS,
        "numbers": [_entry(part, assumed) for part in _by_entry(compared, "number")],
        "assumed_header": ASSUMED,
        "absent": unique(absent),
    }


def _by_entry(table: pd.DataFrame, kind: str) -> list[pd.DataFrame]:
    mine = table[table["kind"] == kind]
    return [mine[mine["entry"] == entry] for entry in unique(mine["entry"])]


def _entry(part: pd.DataFrame, assumed: pd.DataFrame) -> dict[str, Any]:
    """One entry: where it stands, how it is known, its rows, and the assumptions by data set."""
    first = records(part)[0]
    mine = assumed[assumed["entry"] == first.entry]
    # Data sets on which the same is assumed share a table.
    groups: dict[tuple[Any, ...], list[str]] = {}
    for dataset in unique(mine["dataset"]):
        lines = records(mine.loc[mine["dataset"] == dataset, ["aspect", "source_says", "ours",
                                                              "match"]])  # fmt: skip
        groups.setdefault(tuple(tuple(line) for line in lines), []).append(names.dataset(dataset))
    place = "; ".join([first.paper, first.source, f"table: {first.table}", f"row: {first.row}"])
    return {
        "key": first.entry,
        "statement": first.statement,
        "place": place,
        "tag": first.tag,
        "note": first.note if first.kind == "number" else "",
        "counts": [_counts(part, dataset) for dataset in unique(part["dataset"])],
        "rows": [_claim(row) if first.kind == "claim" else _number(row) for row in records(part)],
        "assumed": [(joined(datasets), lines) for lines, datasets in groups.items()],
    }


def _counts(part: pd.DataFrame, dataset: str) -> str:
    mine = part[part["dataset"] == dataset]
    counts = Counter(mine["verdict"])
    told = joined([f"{verdict} in {n} of {len(mine)}" for verdict, n in sorted(counts.items())])
    scope = "" if (mine["scope"] == "value").all() else " (sign and order only)"
    return f"{names.dataset(dataset)}{scope}: {told}"


def _claim(row: Any) -> list[str]:
    others = joined([names.model(other) for other in row.other.split(";")])
    if row.verdict == "not computed":
        return [names.dataset(row.dataset), "", names.model(row.model), others, row.where, "", "",
                "", "", f"{row.verdict}: {row.note}"]  # fmt: skip
    where = row.note if row.where == "comparable" and row.note else row.where
    shown = [names.dataset(row.dataset), names.task(row.task), names.model(row.model)]
    shown += [f"{row.relation} than {others}", where, number(row.n_seeds, 0)]
    shown += [number(row.delta, sign=True), interval(row.ci_lo, row.ci_hi), p_value(row.p_adj)]
    return [*shown, row.verdict]


def _number(row: Any) -> list[str]:
    shown = [names.dataset(row.dataset), names.task(row.task), names.model(row.model)]
    shown += [number(row.published), number(row.ours), number(row.n_seeds, 0)]
    shown += [number(row.sd_seed), number(row.delta, sign=True), interval(row.ci_lo, row.ci_hi)]
    return [*shown, row.verdict, row.verdict_half, row.verdict_double]


def _read(results: Results, name: str, text: list[str], numbers: list[str]) -> pd.DataFrame:
    path, remedy = results.root / "tables" / f"{name}.csv", "run `stembench verdicts` again"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column in numbers:
            table[column] = pd.to_numeric(table[column].where(table[column] != "")).astype(float)
        return table[[*text, *numbers]]
    except (OSError, ValueError, KeyError) as error:
        raise StembenchError(f"{path} cannot be read ({error}): {remedy}") from None
