"""Which epoch is kept: by the mean over tasks, by task, and by both from one training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stembench.training.checkpoints import Checkpoint
from stembench.training.selection import Choice, Selection

CURVES = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12
)


def of(epoch: int) -> Checkpoint:
    return Checkpoint(Path(str(epoch)))


def play(
    aucs: Sequence[Sequence[float]], over: str, both: bool, patience: int = 2
) -> tuple[dict[str, Choice], int, int]:
    """Choices, epochs trained, snapshots taken."""
    selection = Selection({"over": over, "both": both}, patience, len(aucs[0]))
    taken = 0

    def snapshot() -> Checkpoint:
        nonlocal taken
        taken += 1
        return of(epoch)

    for epoch, values in enumerate(aucs, 1):
        done = selection.update(epoch, values, snapshot)
        assert selection.kept() == {
            each for choice in selection.choices().values() for each in choice.weights
        }
        if done:
            break
    return selection.choices(), epoch, taken


def test_mean_keeps_one_epoch_for_all_tasks() -> None:
    aucs = [(0.5, 0.9), (0.7, 0.8), (0.6, 0.8), (0.6, 0.85), (0.9, 0.9)]
    choices, epochs, taken = play(aucs, "mean", both=False)
    assert list(choices) == ["mean"]
    assert choices["mean"].epochs == (2, 2)
    assert choices["mean"].epochs_run == epochs == 4  # two epochs without a better mean
    assert choices["mean"].stopped == "early"
    assert taken == 2


def test_task_keeps_each_tasks_own_epoch_and_waits_for_all() -> None:
    aucs = [(0.5, 0.9), (0.7, 0.8), (0.6, 0.8), (0.8, 0.85), (0.7, 0.7), (0.7, 0.7), (1.0, 1.0)]
    choices, epochs, _ = play(aucs, "task", both=False)
    assert choices["task"].epochs == (4, 1)
    assert choices["task"].weights == (of(4), of(1))
    assert choices["task"].best_epoch == 4
    assert epochs == 6


def test_both_share_one_snapshot_an_epoch() -> None:
    aucs = [(0.5, 0.5), (0.6, 0.6), (0.7, 0.6)]
    choices, epochs, taken = play(aucs, "mean", both=True)
    assert taken == 3
    assert choices["mean"].weights[0] == choices["task"].weights[0] == of(3)
    assert choices["mean"].stopped == choices["task"].stopped == "max_epochs"
    assert epochs == 3


@given(CURVES, st.integers(1, 4), st.sampled_from(["mean", "task"]))
def test_a_rule_keeps_the_same_alone_and_beside_the_other(
    aucs: list[tuple[int, ...]], patience: int, over: str
) -> None:
    other = "task" if over == "mean" else "mean"
    together, epochs, _ = play(aucs, over, True, patience)
    assert list(together) == [over, other]
    runs = []
    for rule in (over, other):
        alone, run, _ = play(aucs, rule, False, patience)
        runs.append(run)
        for name in ("epochs", "epochs_run", "stopped"):
            assert getattr(alone[rule], name) == getattr(together[rule], name)
    assert epochs == max(runs)


@given(CURVES)
def test_choices_are_the_best_of_what_the_rule_saw(aucs: list[tuple[int, ...]]) -> None:
    choices, _, _ = play(aucs, "mean", True)
    seen = np.array(aucs[: choices["task"].epochs_run])
    assert choices["task"].epochs == tuple(int(i) + 1 for i in seen.argmax(0))
    seen = np.array(aucs[: choices["mean"].epochs_run])
    best = [float(np.mean(row)) for row in seen]
    assert set(choices["mean"].epochs) == {int(np.argmax(best)) + 1}


def test_weights_are_those_of_the_epochs() -> None:
    choices, _, _ = play([(1, 5), (2, 4), (3, 3)], "task", both=True)
    for choice in choices.values():
        assert choice.weights == tuple(map(of, choice.epochs))
    assert choices["mean"].epochs == (1, 1)
    with pytest.raises(AttributeError):
        choices["mean"].rule = "task"  # type: ignore[misc]
