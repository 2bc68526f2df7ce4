"""Several services under one certificate: their mistakes, their bill, who is chosen, and who is asked."""

import numpy as np
import pytest
from conftest import EASY, MIDDLING, assert_partition
from pydantic import ValidationError

from mcal_jax.algorithm import costs, service_errors
from mcal_jax.algorithm.choose_services import choose_services, expected_cost
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import Label
from mcal_jax.algorithm.services import PURPOSES, Service, Services, most_mistakes
from mcal_jax.data import from_arrays
from mcal_jax.errors import McalError
from mcal_jax.runs.driver import drive
from mcal_jax.runs.report import summary
from mcal_jax.worlds.simulated import SimulatedWorld
from mcal_jax.worlds.trained import TrainedWorld

EXPERT = Service(name="expert", price=0.2)
CROWD = Service(name="crowd", price=0.02, error=0.02)
MIXED = Services(test=EXPERT, train=CROWD, residual=CROWD)


def finished(services, n=10_000, curve=MIDDLING, seed=0, **settings):
    config = Config.certified(label_price=0.2, services=services, **settings)
    noise = {purpose: services.of(purpose).error for purpose in PURPOSES} if services else 0.0
    return drive(Job(n=n, config=config), SimulatedWorld(n, curve, noise=noise, seed=seed))


@pytest.mark.parametrize("error", [0.005, 0.03, 0.2])
def test_mistakes_cross_their_bound_at_any_count_no_more_often_than_the_risk(error):
    rng, n, runs, risk = np.random.default_rng(1), 2000, 1500, 0.1
    mistakes = np.cumsum(rng.random((runs, n)) < error, axis=1)
    bound = np.array([most_mistakes(n, count, error, risk) for count in range(1, n + 1)])
    crossed = (mistakes >= bound).any(axis=1).mean()
    assert crossed <= risk
    assert bound[-1] < n * error + 6 * np.sqrt(n * error * (1 - error))  # and it says something


@pytest.mark.parametrize("error", [1e-300, 1e-12, 1e-6])
def test_where_hardly_a_mistake_is_expected_the_bound_is_next_to_none(error):
    assert 0 < most_mistakes(1000, 1000, error, 0.025) < 1


def test_the_majority_of_several_votes_errs_less_and_costs_more():
    three = Service(name="crowd", price=0.02, error=0.1).voting(3)
    assert three.error == pytest.approx(3 * 0.1**2 * 0.9 + 0.1**3)
    assert three.price == pytest.approx(0.06)


def test_labels_of_one_service_count_once():
    alone = Services(test=CROWD, train=CROWD, residual=CROWD)
    assert alone.mistakes(10_000, 3000, 0.02) == pytest.approx(most_mistakes(10_000, 10_000, 0.02, 0.02))
    assert Services(test=EXPERT, train=CROWD, residual=EXPERT).mistakes(10_000, 0, 0.02) < 250
    assert not Services(test=EXPERT, train=EXPERT, residual=EXPERT).may_err


def test_what_is_left_of_epsilon_shrinks_with_the_labels_of_the_crowd():
    config = Config.certified(services=Services(test=EXPERT, train=CROWD, residual=EXPERT))
    left = [service_errors.epsilon_left(10_000, size, config) for size in (100, 1000, 5000)]
    assert config.epsilon > left[0] > left[1] > left[2] > config.epsilon - 0.02
    assert service_errors.for_machine(10_000, 5, Config.certified()) == Config.certified()


def test_services_of_one_price_that_never_err_decide_as_one():
    one = finished(None)
    same = finished(Services(test=EXPERT, train=EXPERT, residual=EXPERT))
    for name in "TBSRV":
        assert np.array_equal(getattr(one.outcome, name), getattr(same.outcome, name))
    assert same.outcome.ledger.total == pytest.approx(one.outcome.ledger.total)


def test_every_label_is_billed_at_the_price_of_who_gave_it():
    delivery = finished(MIXED)
    outcome = delivery.outcome
    assert_partition(outcome)
    bill = outcome.ledger
    assert (bill.test, bill.certificate) == pytest.approx((0.2 * len(outcome.T), 0.2 * len(outcome.V)))
    assert (bill.train, bill.residual) == pytest.approx((0.02 * len(outcome.B), 0.02 * len(outcome.R)))
    assert bill.humans_only == pytest.approx(2000)
    assert delivery.true_error < 0.05
    assert outcome.plans[-1].cost_now == pytest.approx(bill.total, rel=0.1)


def test_the_bound_of_the_machine_and_that_of_the_services_stay_below_epsilon():
    outcome = finished(MIXED).outcome
    config = Config.certified(label_price=0.2, services=MIXED)
    left = service_errors.epsilon_left(outcome.n, len(outcome.B), config)
    assert 0 < outcome.certificate.bound <= left < 0.05
    assert outcome.certificate.confidence == pytest.approx(0.975)


def test_the_summary_says_who_labelled_what_and_what_all_labels_keep():
    text = summary(finished(MIXED), Config.certified(label_price=0.2, services=MIXED))
    (line,) = (line for line in text.splitlines() if "mislabel at most" in line)
    assert "T and V by expert ($0.2, error 0.00%), B by crowd ($0.02, error 2.00%), R by crowd" in line
    assert float(line.split("at most ")[-1].split("%")[0]) < 5


def test_services_whose_mistakes_leave_nothing_are_refused_before_anything_is_bought():
    bad = Service(name="bad", price=0.001, error=0.06)
    with pytest.raises(McalError, match=r"services: by their errors up to .* epsilon allows fewer than 500"):
        finished(Services(test=EXPERT, train=bad, residual=EXPERT))


@pytest.mark.parametrize("settings", [{"budget": 10.0}, {"class_epsilon": 0.2}, {"repeat": 0.5}, {"certify": None}])
def test_services_need_a_certificate_of_all_labels(settings):
    given = {"certify": 0.95, **settings}
    with pytest.raises(ValidationError, match="services: their errors count"):
        Config(services=MIXED, **given)


def test_the_choice_is_the_cheapest_of_all_that_keep_epsilon():
    config = Config.certified(label_price=0.2)
    choice = choose_services(10_000, [CROWD, EXPERT], config, MIDDLING.wrong_share)
    every = [
        expected_cost(10_000, config.model_copy(update={"services": Services(test=t, train=b, residual=r)}),
                      MIDDLING.wrong_share)
        for t in (CROWD, EXPERT) for b in (CROWD, EXPERT) for r in (CROWD, EXPERT)
    ]  # fmt: skip
    assert choice.cost == min(every)
    assert set(choice.alone) == {"crowd", "expert"}
    assert choice.cost <= min(choice.alone.values())
    assert "expected $" in str(choice)


def test_the_choice_follows_prices_and_errors():
    config = Config.certified(label_price=0.2)
    sloppy = Service(name="sloppy", price=0.02, error=0.2)
    only = choose_services(10_000, [sloppy, EXPERT], config, EASY.wrong_share).services
    assert (only.test, only.train, only.residual) == (EXPERT, EXPERT, EXPERT)
    costly = Service(name="costly", price=0.3)
    assert choose_services(10_000, [costly, EXPERT], config, EASY.wrong_share).services.residual == EXPERT
    with pytest.raises(McalError, match="no choice of sloppy keeps epsilon"):
        choose_services(10_000, [sloppy], config, EASY.wrong_share)
    with pytest.raises(McalError, match="different names"):
        choose_services(10_000, [EXPERT, EXPERT], config, EASY.wrong_share)


def test_a_trained_world_asks_the_service_of_each_purpose():
    class Says:
        def __init__(self, label):
            self.answer = label

        def label(self, indices, again=False):
            return np.full(len(indices), self.answer)

    images = np.zeros((20, 4, 4, 1), np.uint8)
    world = TrainedWorld(
        from_arrays(images, np.zeros(20, int), list("abcd")), {p: Says(i) for i, p in enumerate(PURPOSES)}
    )
    for i, purpose in enumerate(PURPOSES):
        answer = world.answer(Label(np.arange(5) + 5 * i, 5, "all", purpose), i)
        assert set(answer.labels.tolist()) == {i}


def test_the_cost_of_a_batch_is_that_of_its_service():
    job = Job(n=100, config=Config.certified(services=MIXED))
    assert job.cost_of(np.arange(10), "train") == pytest.approx(0.2)
    assert job.cost_of(np.arange(10), "certify") == pytest.approx(2)
    assert costs.price_of(Config(), "certify") == 0.04
