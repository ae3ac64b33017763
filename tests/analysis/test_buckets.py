import math

import numpy as np
import pytest

from stembench.analysis.buckets import NONE, Rows, assign, bucket_names, log_ratios
from stembench.errors import StembenchError


def log(users, a, b):
    """Training rows: user g has a[g] positives of A, b[g] of B and one row without either."""
    codes, labels = [], []
    for g in range(users):
        for row, times in (((1, 0), a[g]), ((0, 1), b[g]), ((0, 0), 1)):
            codes += [g] * times
            labels += [row] * times
    return np.array(codes, np.int32), np.array(labels, np.uint8)


def test_log_ratio_is_the_equation():
    a, b, k = [4, 0, 1, 0, 6], [1, 3, 1, 0, 0], 0.7
    codes, labels = log(5, a, b)
    q = sum(a) / (sum(a) + sum(b))
    expected = [
        math.log((x + k * q) / (y + k * (1 - q))) - math.log(q / (1 - q))
        for x, y in zip(a, b, strict=True)
    ]
    expected[3] = math.nan  # no positive
    np.testing.assert_allclose(log_ratios(codes, labels, k), expected, rtol=1e-12)


def test_base_rates_cancel():
    """Twenty times as many positives of A for everybody: the same buckets, nearly the same r."""
    codes, labels = log(4, [20, 40, 60, 80], [1, 2, 3, 4])
    np.testing.assert_allclose(log_ratios(codes, labels, 1.0), 0, atol=1e-12)


def test_smoothing_draws_towards_the_overall_mix():
    codes, labels = log(3, [9, 1, 0], [0, 1, 9])
    ratios = [abs(log_ratios(codes, labels, k)[0]) for k in (0.1, 1.0, 10.0)]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[-1] > 0


def test_unknown_units_and_negative_codes_have_no_ratio():
    labels = np.array([[1, 0], [0, 1], [1, 1]], np.uint8)
    np.testing.assert_array_equal(
        np.isnan(log_ratios(np.array([0, -1, 2]), labels, 1.0)), [False, True, False]
    )


def test_buckets_run_from_a_heavy_to_b_heavy():
    users = 50
    a, b = np.arange(users) + 1, users - np.arange(users)
    codes, labels = log(users, a, b)
    # User 60 was never seen; user 55 is inside the table of codes but has no rows.
    test = np.array([users - 1, users // 2, 0, 60, 55])
    found = assign(Rows(codes, codes), labels, Rows(test, test), "user", 5, 1.0)
    assert found.of.tolist() == [0, 2, 4, NONE, NONE]
    assert (np.diff(found.bounds) < 0).all()
    assert len(found.bounds) == 6
    ratios = log_ratios(codes, labels, 1.0)
    everyone = np.arange(users)
    index = assign(Rows(codes, codes), labels, Rows(everyone, everyone), "user", 5, 1.0).of
    for i in range(5):
        inside = (ratios <= found.bounds[i]) & (ratios > found.bounds[i + 1])
        np.testing.assert_array_equal(index == i, inside)
    shares = np.bincount(index[codes], minlength=5) / len(codes)
    assert abs(shares - 0.2).max() < 0.03  # quantiles of training rows


def test_user_item_adds_both_ratios():
    random = np.random.default_rng(0)
    users, items = random.integers(0, 30, 900), random.integers(0, 20, 900)
    labels = (random.random((900, 2)) < 0.3).astype(np.uint8)
    rows = Rows(users, items)
    both = assign(rows, labels, rows, "user_item", 3, 1.0)
    total = log_ratios(users, labels, 1.0)[users] + log_ratios(items, labels, 1.0)[items]
    assert total[both.of == 0].min() > total[both.of == 1].max()
    assert total[both.of == 1].min() > total[both.of == 2].max()
    by_item = assign(rows, labels, rows, "item", 3, 1.0)
    assert len(set(zip(items.tolist(), by_item.of.tolist(), strict=True))) == 20


def test_names():
    assert bucket_names(5) == ["a2", "a1", "comparable", "b1", "b2"]
    assert bucket_names(3) == ["a1", "comparable", "b1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 4}, "must be odd"),
        ({"definition": "session"}, "one of user, item, user_item"),
        ({"smoothing": 0.0}, "smoothing must be positive"),
        ({"labels": np.zeros((6, 2), np.uint8)}, "training positives of both tasks"),
        ({"labels": np.zeros((6, 3), np.uint8)}, "two tasks"),
    ],
)
def test_refusals(change, message):
    codes = np.arange(6)
    rows = Rows(codes, codes)
    given = {"labels": np.eye(6, 2, dtype=np.uint8), "definition": "user", "count": 3}
    given |= {"smoothing": 1.0} | change
    with pytest.raises(StembenchError, match=message):
        assign(rows, given["labels"], rows, given["definition"], given["count"], given["smoothing"])
