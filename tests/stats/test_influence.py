import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from stembench.errors import StembenchError
from stembench.metrics import auc, calibration, gauc, logloss
from stembench.stats import INFLUENCES, Influence, contrast, two_way, user_influence


def clustered(seed, rows=240, users=17):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, users, rows) * 3 + 5
    taste = rng.normal(size=codes.max() + 1)[codes]
    labels = (taste + rng.normal(size=rows) > 0.3).astype(np.uint8)
    scores = np.round(taste + rng.normal(size=rows), 1).astype(np.float32)
    return labels, scores, codes


def obuchowski(labels, scores, users):
    """AUC and its clustered variance, as Obuchowski (1997) writes them, by loops over pairs."""
    positives, negatives = np.flatnonzero(labels), np.flatnonzero(labels == 0)
    m, n = len(positives), len(negatives)
    wins = {
        (i, j): float(scores[i] > scores[j]) + 0.5 * float(scores[i] == scores[j])
        for i in positives
        for j in negatives
    }
    area = sum(wins.values()) / (m * n)
    v10 = {i: sum(wins[i, j] for j in negatives) / n for i in positives}
    v01 = {j: sum(wins[i, j] for i in positives) / m for j in negatives}
    clusters = sorted(set(users.tolist()))
    a = [sum(v10[i] - area for i in positives if users[i] == g) for g in clusters]
    b = [sum(v01[j] - area for j in negatives if users[j] == g) for g in clusters]
    k = len(clusters) / (len(clusters) - 1)
    s10 = k * sum(x * x for x in a) / m
    s01 = k * sum(x * x for x in b) / n
    s11 = k * sum(x * y for x, y in zip(a, b, strict=True))
    psi = [x / m + y / n for x, y in zip(a, b, strict=True)]
    return area, s10 / m + s01 / n + 2 * s11 / (m * n), psi


@pytest.mark.parametrize("seed", range(3))
def test_user_influence_gives_the_clustered_variance(seed):
    labels, scores, users = clustered(seed)
    area, d = user_influence(labels, scores, users)
    expected, variance, psi = obuchowski(labels, scores, users)
    assert area == pytest.approx(expected, abs=1e-13)
    assert d.mean() == pytest.approx(area, abs=1e-13)
    np.testing.assert_allclose(d, area + len(psi) * np.array(psi), atol=1e-12)
    assert d.var(ddof=1) / len(d) == pytest.approx(variance, rel=1e-10)


def test_user_influence_of_one_user_a_row_is_delong():
    labels, scores, _ = clustered(4)
    _, d = user_influence(labels, scores, np.arange(len(labels)))
    _, variance, _ = obuchowski(labels, scores, np.arange(len(labels)))
    assert d.var(ddof=1) / len(d) == pytest.approx(variance, rel=1e-10)


def test_user_influence_is_the_slope_in_the_weight_of_a_user():
    """psi_g is the derivative of the AUC when user g counts more; here g counts twice."""
    labels, scores, users = clustered(5, rows=4000, users=400)
    area, d = user_influence(labels, scores, users)
    g = int(np.argmax(abs(d - area)))
    twice = np.concatenate([np.arange(len(labels)), np.flatnonzero(users == np.unique(users)[g])])
    change = auc(labels[twice], scores[twice]) - area
    assert change == pytest.approx((d[g] - area) / len(d), rel=0.05)


def test_user_influence_needs_the_users_of_the_rows():
    with pytest.raises(StembenchError, match="1 users for 2 rows"):
        user_influence([0, 1], [0.0, 1.0], [1])


METRIC = {
    "auc": auc,
    "gauc": lambda y, z, u: gauc(y, z, u).value,
    "logloss": logloss,
    "calibration": lambda y, z: abs(calibration(y, z) - 1),
}


def value(metric, labels, scores, users):
    rows = (labels, scores, users) if metric == "gauc" else (labels, scores)
    return METRIC[metric](*rows)


@pytest.mark.parametrize("metric", list(INFLUENCES))
def test_mean_of_the_influences_is_the_metric(metric):
    labels, scores, users = clustered(1)
    found = INFLUENCES[metric](labels, scores, users)
    assert found.value == pytest.approx(value(metric, labels, scores, users), abs=1e-13)
    assert found.d.mean() == pytest.approx(found.value, abs=1e-12)
    assert list(found.users) == sorted(set(found.users))
    assert set(found.users) <= set(users)


@pytest.mark.parametrize("metric", list(INFLUENCES))
def test_variance_of_the_influences_is_that_of_resampled_users(metric):
    """The user bootstrap, by brute force: draw users, with all their rows."""
    labels, scores, users = clustered(2, rows=3000, users=300)
    rows_of = [np.flatnonzero(users == g) for g in np.unique(users)]
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        chosen = [rows_of[g] for g in random.integers(0, len(rows_of), len(rows_of))]
        copies = np.repeat(np.arange(len(chosen)), [len(rows) for rows in chosen])
        rows = np.concatenate(chosen)
        drawn.append(value(metric, labels[rows], scores[rows], copies))
    d = INFLUENCES[metric](labels, scores, users).d
    assert np.sqrt(d.var(ddof=1) / len(d)) == pytest.approx(np.std(drawn), rel=0.15)


def test_gauc_influence_is_the_ratio_by_brute_force():
    labels, scores, users = clustered(3)
    users[-1], labels[users == users[0]] = 999, 1  # users with one class
    both = [g for g in np.unique(users) if 0 < labels[users == g].sum() < (users == g).sum()]
    rows = np.array([(users == g).sum() for g in both])
    areas = np.array([roc_auc_score(labels[users == g], scores[users == g]) for g in both])
    mean = (rows * areas).sum() / rows.sum()
    found = INFLUENCES["gauc"](labels, scores, users)
    assert list(found.users) == both
    expected = mean + len(both) * rows * (areas - mean) / rows.sum()
    np.testing.assert_allclose(found.d, expected, atol=1e-12)
    nobody = INFLUENCES["gauc"]([1, 0], [0.0, 1.0], [1, 2])
    assert np.isnan(nobody.value)
    assert len(nobody.d) == 0


def test_logloss_influence_is_that_of_scikit_learn():
    labels, scores, users = clustered(4)
    found = INFLUENCES["logloss"](labels, scores, users)
    assert found.value == pytest.approx(log_loss(labels, 1 / (1 + np.exp(-scores.astype(float)))))


def test_calibration_needs_a_positive():
    with pytest.raises(StembenchError, match="needs a positive"):
        INFLUENCES["calibration"]([0, 0], [0.0, 1.0], [1, 2])


def test_contrast_of_disjoint_users_adds_their_variances():
    first, second = (
        Influence(0.7, 0.7 + 0.1 * x, users)
        for x, users in (
            (np.array([1.0, -1.0, 2.0, -2.0]), np.array([1, 4, 5, 9])),
            (np.array([3.0, -3.0]), np.array([2, 3])),
        )
    )
    found = contrast(first, second)
    assert list(found.users) == [1, 2, 3, 4, 5, 9]
    assert (found.value, found.d.mean()) == pytest.approx((0, 0))
    psi = np.concatenate([(side.d - side.value) / len(side.d) for side in (first, second)])
    assert (found.d.var(ddof=0) / 6) == pytest.approx((psi**2).sum())


def test_contrast_with_itself_is_nothing():
    labels, scores, users = clustered(5)
    one = INFLUENCES["auc"](labels, scores, users)
    np.testing.assert_allclose(contrast(one, one).d, 0, atol=1e-12)
    assert two_way(np.zeros((3, len(one.d)))).p == 1
