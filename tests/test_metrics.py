import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from stembench.errors import StembenchError
from stembench.metrics import (
    METRICS,
    auc,
    calibration,
    delong_components,
    evaluate_task,
    factorise,
    gauc,
    logloss,
)
from tests.conftest import EXAMPLES


def sample(seed, rows=2000, users=60, levels=40, dtype=np.float32):
    """Labels, scores with many ties of both signs, and users of very different sizes."""
    rng = np.random.default_rng(seed)
    scores = (rng.integers(-levels, levels, rows) / 7).astype(dtype)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-scores / 3))).astype(np.uint8)
    codes = (users * rng.random(rows) ** 3).astype(np.int32)
    return labels, scores, codes


def slow_gauc(labels, scores, users):
    total = weight = kept = 0.0
    for user in set(users.tolist()):
        rows = users == user
        if 0 < labels[rows].sum() < rows.sum():
            total += rows.sum() * roc_auc_score(labels[rows], scores[rows])
            weight += rows.sum()
            kept += 1
    return total / weight, kept / len(set(users.tolist())), kept, weight


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("seed", range(3))
def test_auc_is_that_of_sklearn_with_ties(seed, dtype):
    labels, scores, _ = sample(seed, dtype=dtype)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@settings(max_examples=60 * EXAMPLES, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(width=32, allow_nan=False, allow_infinity=False)),
        min_size=2,
        max_size=12,
    ).filter(lambda rows: len({label for label, _ in rows}) == 2)
)
def test_auc_counts_pairs(rows):
    labels = np.array([label for label, _ in rows])
    scores = np.array([score for _, score in rows], np.float32)
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[labels] for n in scores[~labels]]
    assert auc(labels, scores) == pytest.approx(np.mean(pairs), abs=1e-15)
    assert delong_components(labels, scores)[0] == pytest.approx(np.mean(pairs), abs=1e-15)


def test_auc_keeps_what_float32_would_tie():
    scores = np.array([1.0, 1.0 + 1e-12])
    assert auc([0, 1], scores) == 1.0
    assert auc([0, 1], scores.astype(np.float32)) == 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_negative_zero_ties_with_zero(dtype):
    scores = np.array([-0.0, 0.0], dtype)
    assert auc([0, 1], scores) == 0.5
    assert gauc([0, 1], scores, [3, 3]).value == 0.5
    assert delong_components([0, 1], scores)[0] == 0.5


def test_extreme_and_subnormal_scores_are_ordered():
    big = np.finfo(np.float32).max
    tiny = np.float32(1e-45)
    scores = np.array([-big, -1, -tiny, 0, tiny, 1, big], np.float32)
    for positive in range(1, 7):
        labels = (np.arange(7) >= positive).astype(np.uint8)
        assert auc(labels, scores) == 1.0
        assert auc(labels, -scores) == 0.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(3))
def test_gauc_is_that_of_a_loop_over_users(seed, dtype):
    labels, scores, users = sample(seed, rows=700, users=90, dtype=dtype)
    labels[users == users[0]] = 1
    assert gauc(labels, scores, users) == pytest.approx(slow_gauc(labels, scores, users), abs=1e-12)


@pytest.mark.parametrize(
    "recode",
    [
        lambda u: u.astype(np.int64) - 30,
        lambda u: u.astype(np.int64) * 10**15,
        lambda u: u.astype(np.uint64) + 2**63,
        lambda u: u + np.int32(2**31 - 1 - u.max()),
    ],
)
def test_gauc_takes_any_user_codes(recode):
    labels, scores, users = sample(5)
    assert gauc(labels, scores, recode(users)) == gauc(labels, scores, users)
    codes, distinct = factorise(recode(users))
    assert (distinct[codes] == recode(users)).all()
    assert (np.diff(codes[np.argsort(users, kind="stable")]) >= 0).all()
    assert codes.max() + 1 == len(distinct) == len(np.unique(users))


def test_gauc_drops_users_of_one_class_and_weights_by_rows():
    labels = [1, 0, 1, 0, 0, 1, 1, 0]
    scores = [2, 1, 0, 1, 1, 9, 9, 9]
    users = [0, 0, 1, 1, 1, 2, 2, 3]
    assert gauc(labels, scores, users) == (pytest.approx(2 / 5), 0.5, 2, 5)


def test_gauc_without_a_user_of_both_classes_is_undefined():
    value, *rest = gauc([1, 0], [1.0, 0.0], [1, 2])
    assert math.isnan(value)
    assert rest == [0.0, 0, 0]
    assert gauc([], [], [])[1:] == (0.0, 0, 0)
    assert evaluate_task([1, 0], [1.0, 0.0], [1, 2])["gauc"] is None


def test_row_order_does_not_change_a_bit():
    labels, scores, users = sample(6)
    order = np.random.default_rng(0).permutation(len(labels))
    assert auc(labels, scores) == auc(labels[order], scores[order])
    assert gauc(labels, scores, users) == gauc(labels[order], scores[order], users[order])


def test_logloss_is_that_of_sklearn():
    labels, scores, _ = sample(7)
    p = 1 / (1 + np.exp(-scores.astype(np.float64)))
    assert logloss(labels, scores) == pytest.approx(log_loss(labels, p), rel=1e-12)


def test_logloss_and_calibration_of_extreme_logits():
    big = np.float32(3e38)
    assert logloss([1, 0], np.array([big, -big])) == 0.0
    assert logloss([0, 1], np.array([big, -big])) == pytest.approx(float(big))
    assert logloss([1], [50.0]) == pytest.approx(math.exp(-50), rel=1e-12)
    assert calibration([1, 0], np.array([big, -big])) == 1.0
    with np.errstate(all="raise", under="ignore"):
        assert calibration([1, 1], [0.0, 0.0]) == 0.5


def test_calibration_is_predicted_over_observed():
    labels, scores, _ = sample(8)
    p = 1 / (1 + np.exp(-scores.astype(np.float64)))
    assert calibration(labels, scores) == pytest.approx(p.sum() / labels.sum(), rel=1e-12)


def test_evaluate_task_has_the_keys_of_run_json():
    labels, scores, users = sample(9)
    row = evaluate_task(labels, scores, users)
    assert tuple(row) == METRICS
    assert row["auc"] == auc(labels, scores)
    assert (row["gauc"], row["gauc_users_kept"]) == gauc(labels, scores, users)[:2]
    assert row["n_rows"] == 2000
    assert row["n_pos"] == labels.sum()
    assert row["n_users"] == len(set(users.tolist()))
    assert {type(value) for value in row.values()} == {float, int}


def test_delong_components_are_those_of_all_pairs():
    labels, scores, _ = sample(10, rows=300, levels=10)
    positives, negatives = scores[labels == 1], scores[labels == 0]
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    area, v = delong_components(labels, scores)
    assert area == pytest.approx(wins.mean(), abs=1e-14)
    np.testing.assert_allclose(v[labels == 1], wins.mean(axis=1), atol=1e-14)
    np.testing.assert_allclose(v[labels == 0], wins.mean(axis=0), atol=1e-14)


@pytest.mark.parametrize("metric", [auc, logloss, calibration, delong_components])
@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [math.nan, 0.0], "1 of 2 scores are NaN or infinite"),
        ([0, 1], [math.inf, -math.inf], "2 of 2 scores are NaN or infinite"),
        ([0, 2], [0.0, 1.0], "labels must be 0 or 1"),
        ([0, math.nan], [0.0, 1.0], "labels must be 0 or 1"),
        ([0, 1], [0.0, 1.0, 2.0], "of one length"),
        ([[0, 1]], [[0.0, 1.0]], "one-dimensional"),
    ],
)
def test_bad_input_is_refused(metric, labels, scores, message):
    with pytest.raises(StembenchError, match=message):
        metric(labels, scores)


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_auc_of_one_class_is_refused(labels):
    with pytest.raises(StembenchError, match="needs both classes"):
        auc(labels, [0.0, 1.0])
    with pytest.raises(StembenchError, match="drop the task"):
        evaluate_task(labels, [0.0, 1.0], [0, 0])


def test_calibration_without_a_positive_is_refused():
    with pytest.raises(StembenchError, match="needs a positive"):
        calibration([0, 0], [0.0, 1.0])


@pytest.mark.parametrize(
    ("users", "message"), [([0], "1 users for 2 rows"), ([0.5, 1.5], "integer codes")]
)
def test_bad_users_are_refused(users, message):
    with pytest.raises(StembenchError, match=message):
        gauc([0, 1], [0.0, 1.0], users)
