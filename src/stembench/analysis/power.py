"""`stembench power`: what the finished runs of a suite can see, and what it would take."""

from __future__ import annotations

import math
from typing import Any

from stembench.analysis.pairs import Pair, pairs
from stembench.analysis.runs import Group
from stembench.stats.power import Components, components, detectable, seeds_needed, users_needed

#: Columns of the table; counts are None where no number is enough, see `plan`.
COLUMNS = (
    *("dataset", "task", "model_a", "model_b", "n_seeds", "n_users", "delta", "sd_seed", "sd_user"),
    *("sd_rest", "difference", "alpha", "power", "mde", "mde_floor", "seeds_needed"),
    *("users_needed", "seeds_at_least", "users_at_least", "seen"),
)

#: Columns that a table in the terminal says once, in its title.
SAID_ABOVE = ("model_a", "difference", "alpha", "power")


def plan(
    parts: Components, seeds: int, users: float, difference: float, alpha: float, level: float
) -> dict[str, Any]:
    """What S seeds and G users can see (mde), what no number of seeds can get below (mde_floor).

    seeds_needed: at G users; users_needed: at S seeds; None where no number of them is enough.
    seeds_at_least, users_at_least: with the other one unlimited; seen: whether `difference`, of
    AUC, is. Without any spread over users the question is one over seeds, and both users are None.
    """
    mde = detectable(parts, seeds, users, alpha, level)
    by_users = parts.user > 0 or parts.rest > 0
    return {
        "difference": difference,
        "alpha": alpha,
        "power": level,
        "mde": mde,
        "mde_floor": detectable(parts, math.inf, users, alpha, level),
        "seeds_needed": seeds_needed(parts, users, difference, alpha, level),
        "users_needed": (
            users_needed(parts, seeds, difference, alpha, level) if by_users else None
        ),
        "seeds_at_least": seeds_needed(parts, math.inf, difference, alpha, level),
        "users_at_least": (
            users_needed(parts, math.inf, difference, alpha, level) if by_users else None
        ),
        "seen": "yes" if mde <= difference else "no",
    }


def from_runs(
    group: Group, reference: str, difference: float, alpha: float, level: float
) -> list[dict[str, Any]]:
    """One row for each task and other model of a data set, from its finished runs; see COLUMNS."""
    return [planned(pair, difference, alpha, level) for pair in pairs(group, reference, ["auc"])]


def planned(pair: Pair, difference: float, alpha: float, level: float) -> dict[str, Any]:
    """The row of one pair of models, whose runs are the pilot."""
    parts = components(pair.d)
    seeds, users = pair.d.shape
    known = {key: getattr(pair, key) for key in ("dataset", "task", "model_a", "model_b")}
    known |= {"n_seeds": seeds, "n_users": users, "delta": float(pair.d.mean())}
    known |= {"sd_seed": parts.seed, "sd_user": parts.user, "sd_rest": parts.rest}
    return known | plan(parts, seeds, users, difference, alpha, level)


def from_pilot(
    sd_seed: float,
    sd_user: float,
    seeds: int,
    users: int,
    difference: float,
    alpha: float,
    level: float,
) -> dict[str, Any]:
    """The same from a pilot's SDs of the paired difference, over seeds and over users."""
    parts = Components(sd_seed, sd_user)
    known = {"n_seeds": seeds, "n_users": users, "sd_seed": sd_seed, "sd_user": sd_user}
    return known | plan(parts, seeds, users, difference, alpha, level)


def words(row: dict[str, Any], column: str) -> Any:
    """A cell for people: where no number of seeds or users is enough, it says so."""
    value = row.get(column)
    if value is None and column.startswith("seeds_"):
        return "none is enough"
    if value is None and column.startswith("users_"):
        spread = row["sd_user"] > 0 or row.get("sd_rest", 0) > 0
        return "none is enough" if spread else "not asked"
    return value
