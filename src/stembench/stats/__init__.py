"""Statistics of the comparison: seeds and users both counted, each method with its source."""

from stembench.stats.bootstrap import seed_bootstrap, two_way_bootstrap
from stembench.stats.crossed import TwoWay, t_test, tost, two_way
from stembench.stats.influence import INFLUENCES, Influence, contrast, user_influence
from stembench.stats.multiplicity import (
    ADJUSTMENTS,
    FAMILIES,
    Families,
    Family,
    benjamini_hochberg,
    holm,
)
from stembench.stats.ranks import critical_difference, rank_draws, ranks
from stembench.stats.seeds import Wilcoxon, iqm, probability_of_improvement, wilcoxon

__all__ = [
    "ADJUSTMENTS",
    "FAMILIES",
    "INFLUENCES",
    "Families",
    "Family",
    "Influence",
    "TwoWay",
    "Wilcoxon",
    "benjamini_hochberg",
    "contrast",
    "critical_difference",
    "holm",
    "iqm",
    "probability_of_improvement",
    "rank_draws",
    "ranks",
    "seed_bootstrap",
    "t_test",
    "tost",
    "two_way",
    "two_way_bootstrap",
    "user_influence",
    "wilcoxon",
]
