"""People who err: simulated annotators, the bound on their mistakes, and what it leaves of epsilon."""

import numpy as np
import pytest
from conftest import EASY, MIDDLING, assert_partition, simulate
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from mcal_jax.algorithm import certificate, planner
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import SecondLabels
from mcal_jax.annotators.noisy import Noisy, uniform
from mcal_jax.errors import McalError
from mcal_jax.runs import settings
from mcal_jax.runs.driver import drive
from mcal_jax.worlds.simulated import SimulatedWorld

ALL = np.arange(20_000)
TRUTH = np.random.default_rng(0).integers(0, 5, 20_000).astype(np.int32)


def again(sample, differ):
    return SecondLabels(np.arange(sample), np.arange(sample) < differ)


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.3])
def test_a_person_errs_at_the_rate_given_in_favour_of_all_others_alike(rate):
    said = Noisy(TRUTH, 5, uniform(rate, 5), seed=1).label(ALL)
    wrong = said != TRUTH
    assert abs(wrong.sum() - 20_000 * rate) <= 4 * np.sqrt(20_000 * rate * (1 - rate))
    shift = np.bincount((said - TRUTH)[wrong] % 5, minlength=5)[1:]
    assert np.ptp(shift) <= 8 * np.sqrt(max(shift.max(), 1))


def test_a_confusion_matrix_is_followed_row_by_row():
    matrix = np.eye(5)
    matrix[2] = [0.1, 0, 0.6, 0, 0.3]
    said = Noisy(TRUTH, 5, matrix).label(ALL)
    assert (said == TRUTH)[TRUTH != 2].all()
    shares = np.bincount(said[TRUTH == 2], minlength=5) / (TRUTH == 2).sum()
    assert shares == pytest.approx(matrix[2], abs=0.03)


def test_three_humans_outvote_one_who_errs():
    """Two or three of three wrong, never alike with many classes: 3 r^2 (1 - r) + r^3 at the very most."""
    rate = 0.1
    three = Noisy(TRUTH, 5, uniform(rate, 5), votes=3).label(ALL)
    share = (three != TRUTH).mean()
    alike = 3 * rate**2 * (1 - rate) / 4 + rate**3  # two wrong votes alike beat the right one
    tie = 3 * rate**2 * (1 - rate) * 3 / 4 * 2 / 3  # three different votes: the first counts, wrong in two of three
    assert share == pytest.approx(alike + tie, abs=0.005)


def test_what_is_said_of_an_image_depends_on_nothing_else():
    person = Noisy(TRUTH, 5, uniform(0.3, 5), seed=4)
    whole = person.label(ALL)
    some = np.array([3, 17, 9000])
    assert (person.label(some) == whole[some]).all()
    assert (Noisy(TRUTH, 5, uniform(0.3, 5), seed=4).label(some) == whole[some]).all()
    second = person.label(ALL, again=True)
    assert (second != whole).mean() == pytest.approx(2 * 0.3 * 0.7 + 0.3**2 * 3 / 4, abs=0.02)


@pytest.mark.parametrize(
    ("matrix", "said"),
    [(np.eye(4), "5 classes need"), (np.eye(5) * 0.9, "add up to 1"), (uniform(0.2, 5) - 0.1, "probabilities")],
)
def test_a_matrix_that_makes_no_sense_is_refused(matrix, said):
    with pytest.raises(McalError, match=f"noise: .*{said}"):
        Noisy(TRUTH, 5, matrix)


def test_the_bound_covers_what_humans_get_wrong():
    """The worst case that is allowed for: two who err always say the same."""
    rng, n, sample, rate = np.random.default_rng(0), 5000, 400, 0.02
    failures = 0
    for _ in range(400):
        first, second = rng.random((2, n)) < rate
        asked = rng.choice(n, sample, replace=False)
        second_labels = SecondLabels(asked, first[asked] != second[asked])
        failures += first.mean() > certificate.bound_annotator_error(n, second_labels, Config(certify=0.9)).bound
    assert failures <= binom.isf(0.001, 400, 0.05)


def test_what_humans_take_is_missing_for_the_machine():
    config = Config(certify=0.95, epsilon=0.05)
    humans = certificate.bound_annotator_error(10_000, again(500, 3), config)
    left = certificate.with_annotator_error(config, humans)
    assert humans.counted
    assert 3 / 500 < humans.bound < 0.03
    assert left.epsilon == pytest.approx(0.05 - humans.bound)
    assert left.certify == pytest.approx(0.975)


def test_where_humans_err_too_often_the_promise_is_relative_to_them():
    config = Config(certify=0.95, epsilon=0.05)
    humans = certificate.bound_annotator_error(10_000, again(500, 40), config)
    assert not humans.counted
    assert certificate.with_annotator_error(config, humans) == config


@given(st.integers(1, 400), st.floats(0, 1), st.floats(0.5, 0.99))
def test_more_disagreement_never_means_a_smaller_bound(sample, share, confidence):
    config = Config(certify=confidence)
    differ = int(share * sample)
    bounds = [
        certificate.bound_annotator_error(2000, again(sample, d), config).bound
        for d in (differ, min(differ + 1, sample))
    ]
    assert bounds[0] <= bounds[1] <= 1


def test_a_run_with_humans_who_err_keeps_epsilon_against_the_truth():
    broke = 0
    for seed in range(20):
        world = SimulatedWorld(5000, EASY, seed=seed, noise=0.01)
        config = Config(certify=0.9, epsilon=0.08, repeat=0.999, test_fraction=0.1)
        done = drive(Job(n=5000, config=config), world)
        assert_partition(done.outcome)
        humans, bill = done.outcome.annotator_error, done.outcome.ledger
        assert humans.counted
        assert bill.repeat == pytest.approx(config.label_price * planner.n_repeat(planner.n_test(5000, config), config))
        assert done.outcome.certificate.bound + humans.bound <= 0.08 + 1e-9
        broke += done.true_error > 0.08
    assert broke <= binom.isf(0.001, 20, 0.1)


def test_a_budget_pays_for_second_labels_too():
    done = simulate(Config(budget=100, certify=0.9, repeat=0.5), MIDDLING, 5000)
    assert done.outcome.ledger.repeat > 0
    assert done.outcome.ledger.total <= 100
    with pytest.raises(McalError, match="budget"):
        simulate(Config(budget=14, certify=0.9, repeat=0.9), MIDDLING, 5000)


def test_a_race_labels_twice_once():
    config = Config(certify=0.9, repeat=0.5)
    job = Job(n=3000, architectures=("cnn18", "resnet18"), config=config)
    done = drive(job, SimulatedWorld(3000, {"cnn18": MIDDLING, "resnet18": EASY}, seed=1))
    assert done.outcome.annotator_error.sample == planner.n_repeat(planner.n_test(3000, config), config)
    assert done.outcome.ledger.repeat == pytest.approx(0.04 * done.outcome.annotator_error.sample)


def test_votes_are_paid_and_runs_without_noise_keep_their_id():
    plain = settings.describe("cifar10")
    voted = settings.describe("cifar10", noise=0.05, votes=3)
    assert voted.resolve(3).label_price == pytest.approx(3 * plain.resolve(3).label_price)
    assert voted.id != plain.id
    assert "noise" not in plain.canonical()
    for wrong in ({"noise": 1.0}, {"noise": -0.1}, {"votes": 0}, {"repeat": 0.5}):
        with pytest.raises(McalError, match=next(iter(wrong))):
            settings.describe("cifar10", **wrong)
