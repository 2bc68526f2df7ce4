"""Eqn 3 fitted to error counts: what it recovers, and how sure it says it is."""

from itertools import pairwise

import numpy as np
import pytest
from conftest import EASY, MIDDLING, fitted, history_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from mcal_jax.algorithm import powerlaw
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.plan import Law

SIZES = np.array([100, 200, 400, 800, 1600, 3200])


def true_law(size, alpha=2.0, gamma=0.5, k=np.inf):
    return alpha * size**-gamma * np.exp(-size / k)


def law(a=-2.0, gamma=0.5, kappa=0.0, B0=1000.0, sd=0.0):
    return Law(a, gamma, kappa, B0, np.eye(5) * sd**2, "truncated")


# ---------------------------------------------------------------------------------------------------------
# The fit


@pytest.mark.parametrize(("gamma", "k"), [(0.5, np.inf), (0.9, np.inf), (0.3, 4000.0), (0.6, 1500.0), (0.2, 9000.0)])
def test_the_parameters_are_recovered_from_many_trials(gamma, k):
    n = 10**8
    errors = np.round(n * true_law(SIZES, 2.0, gamma, k))
    found = powerlaw.fit(SIZES, errors, np.full(len(SIZES), n))
    assert found.form == "truncated"
    assert found.gamma == pytest.approx(gamma, abs=0.01)
    assert found.kappa / found.B0 == pytest.approx(1 / k, abs=0.02 / SIZES[-1])
    assert np.exp(found.a) * found.B0**found.gamma == pytest.approx(2.0, rel=0.05)
    beyond = np.array([6400.0])
    assert powerlaw.predict([found], beyond)[0, 0] == pytest.approx(true_law(6400.0, 2.0, gamma, k), rel=0.03)


def test_the_power_form_has_no_truncation_and_recovers_its_two_parameters():
    n = 10**8
    found = powerlaw.fit(SIZES, np.round(n * true_law(SIZES)), np.full(6, n), law="power")
    assert (found.form, found.kappa) == ("power", 0.0)
    assert found.gamma == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(("form", "shift"), [("pow3", 0.0), ("pow4", 2.0)])
def test_the_rivals_find_the_floor_that_the_laws_of_the_paper_miss(form, shift):
    n, sizes = 10**7, np.geomspace(100, 20_000, 9).round()
    truth = 0.03 + 0.1 * (sizes / 1414 + shift) ** -0.7
    counts = np.round(n * truth)
    found = powerlaw.fit(sizes, counts, np.full(9, n), law=form)
    assert (found.form, found.kappa) == (form, 0.0)
    assert found.floor == pytest.approx(0.03, abs=0.002)
    assert found.shift == pytest.approx(shift, abs=0.2)
    far = np.array([200_000.0])
    expected = 0.03 + 0.1 * (far / 1414 + shift) ** -0.7
    assert powerlaw.predict([found], far)[0] == pytest.approx(expected, rel=0.03)
    low, high = powerlaw.band(found, far)
    assert low < powerlaw.predict([found], far)[0] < high
    paper = powerlaw.fit(sizes, counts, np.full(9, n))
    assert powerlaw.predict([paper], far)[0] < 0.8 * expected


@pytest.mark.parametrize(("points", "form"), [(1, "power"), (2, "power"), (4, "power"), (5, "truncated")])
def test_truncation_is_fitted_from_five_points_on_and_the_law_says_so(points, form):
    n = np.full(points, 10**6)
    found = powerlaw.fit(SIZES[:points], np.round(n * true_law(SIZES[:points], k=1000.0)), n)
    assert found.form == form
    assert (found.kappa > 0.05) == (form == "truncated")


def test_errors_are_weighed_by_how_many_trials_they_come_from():
    errors, sizes = np.array([300, 10]), np.array([1000, 1000])
    found = powerlaw.fit(sizes, errors, np.array([1000, 100]), law="power")
    assert np.exp(found.a) == pytest.approx(310 / 1100, abs=0.01)


@pytest.mark.parametrize("counts", [[3, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0], [0, 0], [5, 0, 0, 0, 0]])
def test_zero_errors_are_data_and_never_a_law_of_exactly_zero(counts):
    sizes = SIZES[: len(counts)]
    found = powerlaw.fit(sizes, np.array(counts), np.full(len(counts), 150))
    assert np.isfinite([found.a, found.gamma, found.kappa]).all()
    eps = powerlaw.predict([found], np.array([sizes[-1], 3 * sizes[-1]]))[:, 0]
    low, high = powerlaw.band(found, sizes[-1:])
    assert (eps > 1e-7).all()
    assert eps[0] < 0.02
    # No mistake in 150 trials still allows about 2 %; six times none, about 0.3 %.
    assert high[0] > 1 / 150 / len(counts)
    assert low[0] < eps[0] < high[0]


def test_a_classifier_that_is_always_wrong_has_a_law_of_one():
    found = powerlaw.fit(SIZES, np.full(6, 200), np.full(6, 200))
    assert powerlaw.predict([found], SIZES)[:, 0] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("errors", "n"),
    [
        ([180, 184, 170], 200),
        ([0.97, 0.96, 0.95, 0.94, 0.92, 0.9], 3000),
        ([0.84, 0.82, 0.78, 0.74, 0.7, 0.66], 3000),
        ([199, 200, 200, 200, 199], 200),
        ([199, 198, 190], 200),
    ],
)
@pytest.mark.parametrize("form", list(powerlaw.FREE))
def test_where_nearly_all_is_wrong_the_law_follows_the_errors_and_is_not_stuck_at_100_percent(errors, n, form):
    share = np.array(errors) / (n if max(errors) > 1 else 1)
    sizes = np.array([120, 240, 480, 960, 1920, 3840])[: len(errors)]
    found = powerlaw.fit(sizes, np.round(share * n), np.full(len(sizes), n), law=form)
    assert powerlaw.predict([found], sizes)[:, 0] == pytest.approx(share, abs=0.035)


@pytest.mark.parametrize(("gamma", "slope"), [(0.1, (0.5, 0.5)), (0.05, (2.0, 0.2)), (0.3, (3.0, 5.0))])
def test_from_a_start_far_above_100_percent_the_parameters_are_recovered(gamma, slope):
    sizes, n = np.geomspace(50, 50_000, 6).round(), 10**8
    truth = 0.99 * (sizes / 50) ** -gamma
    assert 0.9 * (sizes[0] / np.exp(np.log(sizes).mean())) ** -slope[0] > 1  # where the search begins
    found = powerlaw.fit(sizes, np.round(n * truth), np.full(6, n), "power", slope)
    assert found.gamma == pytest.approx(gamma, abs=1e-3)
    assert powerlaw.predict([found], sizes)[:, 0] == pytest.approx(truth, rel=1e-3)


@st.composite
def any_history(draw):
    """Sizes, errors and trials, some of them near 100 % or near none, and a prior on the slope."""
    points = draw(st.integers(1, 8))
    sizes = sorted(draw(st.lists(st.integers(1, 60000), min_size=points, max_size=points, unique=True)))
    n = draw(st.sampled_from([1, 20, 200, 3000, 60000]))
    few = st.integers(0, max(n // 20, 1))
    counts = st.one_of(st.integers(0, n), few, few.map(lambda right: n - right))
    slope = draw(st.one_of(st.just(powerlaw.SLOPE), st.tuples(st.floats(0, 3), st.just(powerlaw.NEIGHBOUR_SLOPE_SD))))
    return np.array(sizes, float), np.array([draw(counts) for _ in sizes], float), np.full(points, float(n)), slope


@given(any_history(), st.sampled_from(list(powerlaw.FREE)))
@settings(max_examples=100)
def test_no_fit_is_worse_than_the_best_constant_law(history, form):
    """By what it minimises, the deviance and the priors; by the deviance alone no worse than the priors are worth."""
    sizes, errors, n, slope = history
    found = powerlaw.fit(sizes, errors, n, form, slope)
    eps = found.floor + np.exp(powerlaw.log_error(found.a, found.gamma, found.kappa, found.B0, sizes, found.shift))

    def deviance(eps):
        return (powerlaw.deviance_residuals(errors, n, np.minimum(eps, 1.0)) ** 2).sum()

    def level(a):
        return ((a - powerlaw.LEVEL[0]) / powerlaw.LEVEL[1]) ** 2

    bends = sum((getattr(found, name) / powerlaw.SPREAD[name]) ** 2 for name in powerlaw.FREE[found.form])
    objective = deviance(eps) + level(found.a) + ((found.gamma - slope[0]) / slope[1]) ** 2 + bends
    flat = (slope[0] / slope[1]) ** 2
    constant = minimize_scalar(
        lambda a: deviance(np.full(len(sizes), np.exp(a))) + level(a) + flat, bounds=powerlaw.BOUNDS["a"]
    ).fun
    assert objective <= constant + 1e-5 * (1 + constant)
    mean = np.clip(errors.sum() / n.sum(), np.exp(powerlaw.BOUNDS["a"][0]), 1)
    assert deviance(eps) <= (deviance(np.full(len(sizes), mean)) + level(np.log(mean)) + flat) * (1 + 1e-5) + 1e-5


counts = st.integers(1, 8).flatmap(
    lambda points: st.tuples(
        st.lists(st.integers(1, 60000), min_size=points, max_size=points, unique=True).map(sorted),
        st.lists(st.integers(0, 200), min_size=points, max_size=points),
    )
)


@given(counts, st.sampled_from(list(powerlaw.FREE)))
@settings(max_examples=100)
def test_any_counts_give_a_falling_law_with_a_proper_covariance(data, form):
    sizes, errors = data
    found = powerlaw.fit(np.array(sizes), np.array(errors), np.full(len(sizes), 200), law=form)
    assert found.gamma >= 0
    assert found.kappa >= 0
    assert np.isfinite(found.covariance).all()
    assert np.allclose(found.covariance, found.covariance.T, rtol=1e-6, atol=1e-12)
    assert np.linalg.eigvalsh(found.covariance).min() > -1e-9
    eps = powerlaw.predict([found], np.geomspace(1, 10**6, 30))[:, 0]
    assert (np.diff(eps) <= 0).all()
    assert ((eps >= 0) & (eps <= 1)).all()


def test_where_truncation_is_not_fitted_it_has_no_variance():
    found = powerlaw.fit(SIZES[:3], np.array([30, 20, 10]), np.full(3, 150))
    assert (found.covariance[2] == 0).all()
    assert (np.diag(found.covariance)[:2] > 0).all()


# ---------------------------------------------------------------------------------------------------------
# One law per theta


@given(st.lists(st.tuples(st.floats(-8, 0), st.floats(0, 3), st.floats(0, 5)), min_size=1, max_size=6))
def test_predictions_rise_with_theta_and_stay_between_0_and_1(parameters):
    laws = [law(a, gamma, kappa, 300.0) for a, gamma, kappa in parameters]
    sizes = np.array([1, 50, 300, 2000, 10**5])
    eps = powerlaw.predict(laws, sizes)
    assert eps.shape == (5, len(laws))
    assert (np.diff(eps, axis=1) >= 0).all()
    assert ((eps >= 0) & (eps <= 1)).all()


def test_the_prediction_is_eqn_3():
    alpha, gamma, k, B0 = 1.7, 0.4, 5000.0, 700.0
    one = law(np.log(alpha * B0**-gamma), gamma, B0 / k, B0)
    sizes = np.array([100.0, 1000.0, 9000.0])
    assert powerlaw.predict([one], sizes)[:, 0] == pytest.approx(alpha * sizes**-gamma * np.exp(-sizes / k))


def test_fit_all_gives_a_law_for_every_theta_of_the_grid_from_the_counts_on_T():
    config = Config(share_slopes=False, theta_step=0.25, law="power")
    history = history_of(MIDDLING, SIZES, 20000)
    laws = powerlaw.fit_all(history, config)
    assert len(laws) == 4
    for one, theta in zip(laws, (0.25, 0.5, 0.75, 1.0), strict=True):
        trials = np.full(6, round(theta * 20000))
        alone = powerlaw.fit(SIZES, np.array([np.sum(f.wrong < theta * 20000) for f in history]), trials, "power")
        assert (one.a, one.gamma) == pytest.approx((alone.a, alone.gamma))
    expected = MIDDLING.wrong_share(config.thetas, 1000.0) / config.thetas
    assert powerlaw.predict(laws, np.array([1000.0]))[0] == pytest.approx(expected, rel=0.05)


def test_pooled_a_theta_without_mistakes_takes_the_slope_of_its_neighbour():
    # All mistakes lie in the last quarter of T and fall steeply; the first quarter never has one.
    history = [fitted(s, np.arange(1000 - e, 1000), 1000) for s, e in [(100, 240), (200, 110), (400, 50), (800, 22)]]
    pooled = powerlaw.fit_all(history, Config(theta_step=0.25))
    alone = powerlaw.fit_all(history, Config(theta_step=0.25, share_slopes=False))
    assert pooled[-1].gamma == alone[-1].gamma
    assert pooled[-1].gamma > 1
    assert abs(pooled[0].gamma - pooled[-1].gamma) < abs(alone[0].gamma - alone[-1].gamma) / 2


def test_pooling_finds_the_slope_of_small_theta_that_few_mistakes_cannot_show():
    rng = np.random.default_rng(0)
    thetas = Config().thetas
    few = (thetas > 0.2) & (thetas < 0.6)
    truth = np.log(EASY.wrong_share(thetas, 3200.0) / thetas)[few]
    better, misses = 0, []
    for _ in range(12):
        history = []
        for size in SIZES[:4]:
            p = np.diff(EASY.wrong_share(np.linspace(0, 1, 201), float(size))) * 200
            history.append(fitted(int(size), np.flatnonzero(rng.random(200) < p), 200))
        pooled, alone = (
            np.log(powerlaw.predict(powerlaw.fit_all(history, Config(pooled=p)), np.array([3200]))[0, few]) - truth
            for p in (True, False)
        )
        better += np.abs(pooled).mean() < np.abs(alone).mean()
        misses.append((pooled.mean(), alone.mean()))
    assert better >= 8
    # Alone, their slope is the prior's 0.5 and not the true 0.8.
    assert abs(np.mean(misses, axis=0)[0]) < 0.5 * np.mean(misses, axis=0)[1]


# ---------------------------------------------------------------------------------------------------------
# Uncertainty


def test_deviance_residuals_are_the_signed_roots_of_the_binomial_deviance():
    # No mistake in n trials: deviance 2 n log 1/(1 - eps); all wrong: 2 n log 1/eps; as expected: none.
    n = np.array([100.0, 100.0, 100.0])
    found = powerlaw.deviance_residuals(np.array([0.0, 100.0, 10.0]), n, np.array([0.1, 0.1, 0.1]))
    assert found == pytest.approx([-np.sqrt(200 * np.log(1 / 0.9)), np.sqrt(200 * np.log(10)), 0.0], abs=1e-7)
    one = powerlaw.deviance_residuals(np.array([15.0]), np.array([100.0]), np.array([0.1]))
    assert one == pytest.approx([np.sqrt(2 * (15 * np.log(1.5) + 85 * np.log(85 / 90)))])
    assert np.isfinite(
        powerlaw.deviance_residuals(np.array([3.0, 3.0]), np.array([9.0, 9.0]), np.array([0.0, 1.0]))
    ).all()


def test_the_band_is_that_of_the_log_form():
    covariance = np.diag([0.04, 0.01, 0.0, 0.0, 0.0])
    covariance[0, 1] = covariance[1, 0] = 0.005
    one = Law(-3.0, 0.5, 0.0, 1000.0, covariance, "power")
    x = np.log(4.0)
    sd = np.sqrt(0.04 + 0.01 * x**2 - 2 * 0.005 * x)
    middle = -3 - 0.5 * x
    low, high = powerlaw.band(one, np.array([4000.0]), z=1.5)
    assert (low[0], high[0]) == pytest.approx((np.exp(middle - 1.5 * sd), np.exp(middle + 1.5 * sd)))


@given(counts)
@settings(max_examples=50)
def test_a_band_holds_its_law_and_widens_with_z(data):
    sizes, errors = data
    found = powerlaw.fit(np.array(sizes), np.array(errors), np.full(len(sizes), 200))
    at = np.geomspace(1, 10**5, 20)
    eps = powerlaw.predict([found], at)[:, 0]
    limits = [powerlaw.band(found, at, z) for z in (0.5, 1.0, 2.0)]
    for low, high in limits:
        assert (low <= eps * (1 + 1e-9)).all()
        assert (eps <= high * (1 + 1e-9)).all()
        assert (high <= 1).all()
    for (low, high), (lower, higher) in pairwise(limits):
        assert (lower <= low).all()
        assert (high <= higher).all()


@pytest.mark.parametrize(("z", "nominal"), [(1.0, 0.683), (2.0, 0.954)])
@pytest.mark.parametrize("k", [np.inf, 6000.0])
def test_bands_cover_the_truth_about_as_often_as_they_say(z, nominal, k):
    rng = np.random.default_rng(1)
    runs, n = 150, np.full(6, 1000)
    truth = true_law(SIZES, 2.0, 0.5, k)
    hits = 0
    for _ in range(runs):
        low, high = powerlaw.band(powerlaw.fit(SIZES, rng.binomial(n, truth), n), np.array([3200.0]), z)
        hits += low[0] <= truth[-1] <= high[0]
    # Four standard errors of a share of 150 runs, and 3 % for what the prior does.
    assert hits / runs == pytest.approx(nominal, abs=4 * np.sqrt(nominal * (1 - nominal) / runs) + 0.03)
