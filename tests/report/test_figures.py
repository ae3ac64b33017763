"""Forest plot and learning curves: what they show, and the same bytes every time."""

import shutil
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from stembench.report import gallery
from stembench.report.figures import style
from stembench.report.results import read_results
from stembench.report.sections import curves
from stembench.report.sections import forest as figures

Make = Callable[..., Path]
SMALL = {
    "datasets": {"movielens": ("like", "love"), "synthetic_null": ("click",)},
    "seeds": (1, 2),
    "histories": True,
}


def texts(figure: plt.Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_same_bytes_from_the_same_tables(make_results: Make) -> None:
    results = make_results(**SMALL)
    first = {path: path.read_bytes() for path in gallery.write_figures(results)}
    assert [path.name for path in first] == [
        "forest.svg",
        "forest.png",
        "learning_curves.svg",
        "learning_curves.png",
    ]
    # A user's own settings change nothing, and no date is written.
    with plt.rc_context({"font.size": 20, "svg.hashsalt": None}):
        for path in gallery.write_figures(results):
            assert path.read_bytes() == first[path], path.name
    assert not plt.get_fignums()


def test_forest_shows_each_comparison(make_results: Make) -> None:
    results = read_results(make_results())
    figure = figures.forest(results)
    shown = [axes for axes in figure.axes if axes.axison]
    assert len(shown) == 7
    rows = results.main_comparison
    mine = rows[(rows["dataset"] == "movielens") & (rows["task"] == "love")]
    axes = next(axes for axes in shown if axes.get_title("left") == "MovieLens-100K · love")
    points = [line for line in axes.lines if line.get_marker() in ("<", ">", "s", "o")]
    assert [point.get_xdata()[0] for point in points] == mine["delta"].tolist()
    colours = {verdict: colour for verdict, (colour, _) in style.VERDICTS.items()}
    assert [point.get_color() for point in points] == [colours[v] for v in mine["verdict"]]
    left, right = axes.get_xlim()
    assert left < mine["ci_lo"].min()
    assert right > mine["ci_hi"].max()
    assert left < -results.margin < results.margin < right
    plt.close(figure)


def test_missing_is_shown_as_missing(make_results: Make) -> None:
    gaps = {("movielens", "ple", seed): "missing" for seed in (1, 2)}
    gaps |= {("synthetic_null", m, s): "damaged" for m in ("ple", "stem") for s in (1, 2)}
    root = make_results(**SMALL, models=("ple", "stem"), not_ok=gaps)
    shutil.rmtree(root / "runs" / "movielens" / "stem" / "1")
    path = root / "runs" / "movielens" / "stem" / "2" / "history.csv"
    path.write_text("epoch,valid_auc,valid_auc_like\n1,0.6,0.6\n2,,\n")
    results = read_results(root)
    forest, learning = figures.forest(results), curves.learning_curves(results)
    assert [text.strip() for text in texts(forest)] == ["missing"] * 2 + ["missing: no run counts"]
    assert texts(learning) == ["missing: PLE", "missing: no history.csv", "missing: no run counts"]
    plt.close("all")
    assert len(gallery.write_figures(root)) == 4


def test_only_cells_that_count_are_drawn(make_results: Make) -> None:
    root = make_results(**SMALL)
    cells = pd.read_csv(root / "tables" / "cells.csv")
    cells.loc[cells["seed"] == 2, "status"] = "stale"
    cells.to_csv(root / "tables" / "cells.csv", index=False)
    figure = curves.learning_curves(read_results(root))
    # Five models: the curve of one seed, its dot and the mean.
    assert len(figure.axes[0].lines) == 5 * 3
    plt.close(figure)


def test_mean_ends_with_the_first_seed(make_results: Make) -> None:
    root = make_results(**SMALL, models=("stem",))
    for seed, epochs in ((1, 2), (2, 4)):
        history = pd.DataFrame({"epoch": range(1, epochs + 1)})
        history["valid_auc"] = history["valid_auc_like"] = 0.6 + history["epoch"] * seed / 100
        path = root / "runs" / "movielens" / "stem" / str(seed) / "history.csv"
        history.to_csv(path, index=False)
    figure = curves.learning_curves(read_results(root))
    wide = [line for line in figure.axes[0].lines if line.get_linewidth() > 2]
    assert wide[0].get_xdata().tolist() == [1, 2]
    assert wide[0].get_ydata().tolist() == pytest.approx([0.615, 0.63])
    plt.close(figure)
