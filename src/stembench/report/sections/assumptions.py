"""What the numbers take for granted, and so what they cannot tell: from the suite's own facts."""

from __future__ import annotations

from stembench.report import names
from stembench.report import sentences as content
from stembench.report.numbers import joined, plural
from stembench.report.results import Results
from stembench.report.sections import protocol


def lines(results: Results) -> list[str]:
    """One assumption a string, those of the statistics first."""
    n = len(results.inputs["seeds"])
    found = [
        f"Seeds and test users are random draws, and independent of each other: intervals and "
        f"p-values hold for new seeds and new users like these. {plural(n, 'seed')} and the users "
        "of one test part stand for them; rows of one user may depend on each other.",
        "Items, the test's period and the split are fixed: what other days or items would give is "
        "not in the intervals.",
        f"A difference below ±{results.margin:g} AUC does not matter. That margin is a choice, "
        "made in params.yaml; another one gives other verdicts of equivalence.",
        f"Adjusted p-values keep the chance of any false “significant” in a data set at "
        f"{results.alpha:g}, not that over all data sets together.",
        protocol.line(results) + _fairness(results),
        "Models are chosen by validation AUC; the test part was read once a run, after that.",
    ]
    kinds = {dataset: names.describe(dataset).kind for dataset in results.datasets}
    made = [names.dataset(dataset) for dataset, kind in kinds.items() if kind == "synthetic"]
    if made:
        found.append(
            f"{joined(made)}: users follow the model that generated them; no claim about people."
        )
    if unknown := [names.dataset(d) for d, kind in kinds.items() if kind == "unknown"]:
        found.append(f"{joined(unknown)}: this report knows nothing of where these data come from.")
    if not results.inputs["complete"]:
        found.append(
            f"{content.cells_line(results)} That a cell is missing is taken to have nothing to do "
            "with its result."
        )
    return found


def _fairness(results: Results) -> str:
    """What the protocol says about models at their best."""
    told = (results.inputs.get("protocol") or {}).get("name", "unknown")
    if told == "equal":
        return " A model that needs other settings than these is not seen at its best."
    return ""
