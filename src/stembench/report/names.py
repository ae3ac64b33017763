"""The only map from ids to display names. Unknown ids are shown as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DatasetName:
    """How a data set is called, what it is, and one line on what its numbers can say."""

    name: str
    kind: Literal["synthetic", "sample", "real", "unknown"] = "unknown"
    note: str = ""


_MODELS = {
    "single_task": "Single-Task",
    "shared_bottom": "Shared-Bottom",
    "omoe": "OMoE",
    "mmoe": "MMoE",
    "cgc": "CGC",
    "ple": "PLE",
    "ple_two_layers": "PLE (2 layers)",
    "ple_two_layers_released": "PLE (2 layers, shared gate as released)",
    "aitm": "AITM",
    "aitm_calibrated": "AITM (calibrator)",
    "cross_stitch": "Cross-Stitch",
    "adatt": "AdaTT",
    "adatt_two_layers": "AdaTT (2 layers)",
    "home": "HoME",
    "pepnet": "PEPNet",
    "esmm": "ESMM",
    "resflow": "ResFlow",
    "me_shared_bottom": "ME-Shared-Bottom",
    "me_mmoe": "ME-MMoE",
    "me_ple": "ME-PLE",
    "stem": "STEM",
    "single_task_matched": "Single-Task (STEM's experts)",
    "single_task_wide": "Single-Task (STEM's table size)",
    "single_task_matched_wide": "Single-Task (STEM's experts and table size)",
    "shared_bottom_wide": "Shared-Bottom (STEM's table size)",
    "mmoe_wide": "MMoE (STEM's table size)",
    "ple_wide": "PLE (STEM's table size)",
    "stem_narrow": "STEM (tables together of one table's size)",
    "stem_shared_only": "STEM, shared table only",
    "stem_shared_only_wide": "STEM, shared table only (STEM's table size)",
    "stem_task_only": "STEM, task tables only",
    "stem_task_only_wide": "STEM, task tables only (STEM's table size)",
    "stem_no_stop_gradient": "STEM, no stop-gradient",
    "stem_shared_only_no_stop_gradient": "STEM, shared table only, no stop-gradient",
    "stem_shared_only_wide_no_stop_gradient": (
        "STEM, shared table only (STEM's table size), no stop-gradient"
    ),
    "stem_task_only_no_stop_gradient": "STEM, task tables only, no stop-gradient",
    "stem_task_only_wide_no_stop_gradient": (
        "STEM, task tables only (STEM's table size), no stop-gradient"
    ),
    "stem_shared_detached": "STEM, shared experts detached",
    "stem_auto": "STEM, bfloat16 products",
    "stem_rows": "STEM, Adam by rows",
    "stem_gate_figure": "STEM, gate as in the figure",
    "stem_gate_figure_no_stop_gradient": "STEM, gate as in the figure, no stop-gradient",
    "stem_two_layers_released": "STEM (2 layers, as released)",
    "stem_two_layers_strict": "STEM (2 layers, strict isolation)",
}
_DATASETS = {
    "synthetic_conflict": DatasetName(
        "Synthetic (conflict)", "synthetic", "generated: two tasks with opposed tastes"
    ),
    "synthetic_null": DatasetName(
        "Synthetic (no conflict)",
        "synthetic",
        "generated: two tasks with the same tastes, a negative control",
    ),
    "synthetic_tilted": DatasetName(
        "Synthetic (conflict on comparable samples)",
        "synthetic",
        "generated: opposed tastes where a user's positives are alike in number, else the same",
    ),
    "movielens": DatasetName("MovieLens-100K", "real", "real ratings, temporal split"),
    "movielens_nested": DatasetName(
        "MovieLens-100K (nested)", "real", "real ratings, temporal split, two nested tasks"
    ),
    "kuairand_pure_sample": DatasetName(
        "KuaiRand-Pure (sample)",
        "sample",
        "14 days of the real log, not the official archive",
    ),
    "kuairand_pure": DatasetName("KuaiRand-Pure", "real", "the official archive, split by day"),
    "kuairand_pure_sample_random": DatasetName(
        "KuaiRand-Pure (sample, random split)",
        "sample",
        "14 days of the real log, not the official archive; later days lie in all parts",
    ),
    "kuairand_pure_random": DatasetName(
        "KuaiRand-Pure (random split)", "real", "the official archive; later days lie in all parts"
    ),
    "kuairand_pure_unbiased": DatasetName(
        "KuaiRand-Pure (unbiased)",
        "real",
        "the official archive, split by day, with impressions of random videos",
    ),
    "kuairand_1k": DatasetName(
        "KuaiRand-1K", "real", "the official archive, the last day but one and the last held out"
    ),
    "kuairand_1k_random": DatasetName(
        "KuaiRand-1K (random split)", "real", "the official archive; later days lie in all parts"
    ),
    "kuairand_27k": DatasetName(
        "KuaiRand-27K", "real", "the official archive, the last day but one and the last held out"
    ),
    "tiktok": DatasetName("TikTok", "real", "ICME 2019 challenge, track 1; split as published"),
    "qk_video": DatasetName("QK-Video", "real", "Tenrec's file for one million users, at random"),
    "qk_video_user": DatasetName(
        "QK-Video (by user)", "real", "Tenrec's file for one million users; each user's last rows"
    ),
    "qk_video_full": DatasetName("QK-Video (whole)", "real", "the whole log, split at random"),
}
#: Objectives, as the end of a model's id: `mmoe_pcgrad` is MMoE with PCGrad.
_OBJECTIVES = {
    "uw": "UW",
    "dwa": "DWA",
    "rlw": "RLW",
    "gls": "GLS",
    "famo": "FAMO",
    "gradnorm": "GradNorm",
    "pcgrad": "PCGrad",
    "cagrad": "CAGrad",
    "mgda": "MGDA",
    "nash": "Nash-MTL",
    "fairgrad": "FairGrad",
    "aligned": "Aligned-MTL",
}
_TASKS = {"is_click": "click", "long_view": "long view", "is_like": "like"}
_METRICS = {"auc": "AUC", "gauc": "gAUC", "logloss": "log loss", "calibration": "calibration"}
_METRICS |= {"unbiased_auc": "AUC", "unbiased_gauc": "gAUC"}  # in a block that says so
_VERDICTS = {
    "better": "significantly better",
    "worse": "significantly worse",
    "equivalent": "equivalent",
    "inconclusive": "nothing can be said",
    "missing": "missing",
}
_STATUSES = {
    "ok": "done",
    "missing": "no finished run",
    "stale": "run made with other settings than those in params.yaml now",
    "wrong_split": "run made on another split than the one on disk",
    "damaged": "files of the run cannot be read or were changed",
}
#: Row of the true probabilities, where a data set has them.
ORACLE = "Oracle (true probabilities)"


def model(key: str) -> str:
    """Display name of a model; of `<model>_<objective>`, both."""
    base, _, objective = key.rpartition("_")
    if key not in _MODELS and base in _MODELS and objective in _OBJECTIVES:
        return f"{_MODELS[base]} + {_OBJECTIVES[objective]}"
    return _MODELS.get(key, key)


def dataset(key: str) -> str:
    """Display name of a data set."""
    return _DATASETS[key].name if key in _DATASETS else key


def describe(key: str) -> DatasetName:
    """Name, kind and note of a data set; kind "unknown" and no note where there is no entry."""
    return _DATASETS.get(key, DatasetName(key))


def task(key: str) -> str:
    """Display name of a task."""
    return _TASKS.get(key, key)


def metric(key: str) -> str:
    """Display name of a metric."""
    return _METRICS.get(key, key)


def verdict(key: str) -> str:
    """A verdict on (reference - other) in words."""
    return _VERDICTS.get(key, key)


def status(key: str) -> str:
    """Why a cell counts or does not."""
    return _STATUSES.get(key, key)
