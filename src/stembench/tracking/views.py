"""Saved views of the MLflow UI, whose run table opens without the metric columns.

A view is an experiment tag that holds JSON, in the form that the UI's own "Save view" writes. It is
opened by its key in the address, or from the list of views in the page's upper right corner.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

#: Key of the view with one row per run, as it stands in the address (viewStateShareKey=table).
TABLE = "table"
_TAG = "mlflow.sharedViewState."
_AUC = "test_auc_"
_BEST = "best_valid_auc_"


def experiment_tags(
    suite: str, cells: Iterable[tuple[str, str, Mapping[str, float]]], created_ms: int
) -> dict[str, str]:
    """Tags of a suite's experiment: description, kind, and the saved views.

    `cells` are the data set, model and final metrics of each finished run; `created_ms` dates the
    views.
    """
    values: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    groups: set[str] = set()
    for dataset, model, metrics in cells:
        groups.add(f"tag.dataset.{dataset},tag.model.{model}")
        for name, value in metrics.items():
            if name.startswith(_BEST):
                values[dataset][name.removeprefix(_BEST)].append(value)
    every = sorted({task for tasks in values.values() for task in tasks})
    views = {
        TABLE: ("Results", _table(every)),
        "means": ("Means over seeds", _means(every, groups)),
    } | {
        f"curves-{dataset}": (f"Learning curves: {dataset}", _curves(dataset, values[dataset]))
        for dataset in sorted(values)
    }
    return {
        "stembench.suite": suite,
        "mlflow.note.content": (
            f"Suite `{suite}` of stembench: one run per cell (model, data set, seed), and the run "
            "`comparison` with the tables, figures and report. Rebuilt from "
            f"`results/{suite}` by `stembench track`; what is changed here is not kept."
        ),
        # Without a kind the page asks for one.
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.experiment.primaryMetric.name": "test_auc",
    } | {
        _TAG + key: json.dumps(
            {
                "name": name,
                "createdAt": created_ms,
                "updatedAt": created_ms,
                "state": json.dumps(state),
            }
        )
        for key, (name, state) in views.items()
    }


def address(experiment_id: str, view: str = TABLE, base: str = "") -> str:
    """Where the UI at `base` (http://127.0.0.1:5000) shows a view of an experiment."""
    mode = "&compareRunsMode=CHART" if view.startswith("curves") else ""
    return (
        f"{base}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
        f"&viewStateShareKey={view}{mode}"
    )


def _table(tasks: list[str]) -> dict[str, Any]:
    metrics = ["test_auc", *(f"{_AUC}{task}" for task in tasks), "best_epoch", "fit_s"]
    columns = [f"metrics.`{name}`" for name in metrics]
    run_name, dataset = "attributes.`Run Name`", "attributes.`Dataset`"
    return {
        # The newest first: the running ones and the comparison.
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": [*columns, dataset],
        # "0" is the column of check boxes.
        "columnOrder": ["0", run_name, *columns, "duration", "runDateAndNestInfo", dataset],
        "columnWidths": {run_name: 330, dataset: 330} | dict.fromkeys(columns, 120),
        "runsHiddenMode": "FIRST_20_RUNS",
    }


def _means(tasks: list[str], groups: set[str]) -> dict[str, Any]:
    state = _table(tasks)
    return state | {
        "searchFilter": "tags.kind = 'cell'",
        "selectedColumns": state["selectedColumns"][:-1],
        "groupBy": _groups("dataset", "model"),
        "groupsExpanded": dict.fromkeys(sorted(groups), False),
    }


def _curves(dataset: str, tasks: Mapping[str, list[float]]) -> dict[str, Any]:
    """A chart per learning curve and per final AUC, each model averaged over its seeds.

    `tasks` holds the best validation AUCs by task: without a range the charts start at 0.
    """
    names = sorted(tasks)
    every = [value for values in tasks.values() for value in values]
    charts = [_line("train_loss", []), _line("valid_auc", every)]
    charts += [_line(f"valid_auc_{task}", tasks[task]) for task in names]
    charts += [_chart("BAR", name, "finals") for name in ("test_auc", *(_AUC + t for t in names))]
    sections = {"curves": "Learning curves", "finals": "Test AUC"}
    fixed = {"display": True, "isReordered": False, "deleted": False, "isGenerated": False}
    return {
        "searchFilter": f"tags.kind = 'cell' and tags.dataset = '{dataset}'",
        "selectedColumns": ["tags.`model`"],
        "runsHiddenMode": "SHOW_ALL",
        "groupBy": _groups("model"),
        "compareRunCharts": charts,
        "compareRunSections": [
            {"uuid": key, "name": name} | fixed for key, name in sections.items()
        ],
    }


def _groups(*tags: str) -> dict[str, Any]:
    keys = [{"mode": "tag", "groupByData": tag} for tag in tags]
    return {"aggregateFunction": "average", "groupByKeys": keys}


def _chart(kind: str, metric: str, section: str) -> dict[str, Any]:
    return {
        "uuid": f"{section}-{metric}",
        "type": kind,
        "runsCountToCompare": 100,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "metricKey": metric,
        "displayName": metric,
    }


def _line(metric: str, best: list[float]) -> dict[str, Any]:
    return _chart("LINE", metric, "curves") | {
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": _range(best),
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def _range(best: list[float]) -> dict[str, float]:
    """From the twentieth below the best, less one for the first epochs, to the one above."""
    if not best:
        return {}
    low, high = math.floor(min(best) * 20) - 1, math.ceil(max(best) * 20)
    return {"yMin": low / 20, "yMax": high / 20}
