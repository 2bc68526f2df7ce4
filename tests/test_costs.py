"""Eqn 1 and Eqn 4 by hand, and what training costs and will cost."""

import re

import numpy as np
import pytest
from conftest import fitted
from hypothesis import given
from hypothesis import strategies as st

from mcal_jax.algorithm import costs
from mcal_jax.algorithm.config import Config, PerHour, PerImageEpoch
from mcal_jax.errors import McalError

RECIPE = Config(training_price=PerImageEpoch(dollars=1e-5, epochs="recipe"))
FIXED = Config(training_price=PerImageEpoch(dollars=1e-5, epochs=200))
HOURLY = Config(training_price=PerHour(dollars=3.6))


# ---------------------------------------------------------------------------------------------------------
# Labels


def test_the_services_of_the_paper_and_any_price():
    assert costs.label_price("amazon") == 0.04
    assert costs.label_price("satyam") == 0.003
    assert costs.label_price(0.1) == 0.1


@pytest.mark.parametrize(
    ("service", "hint"),
    [("amazn", "did you mean 'amazon'"), ("Satyam", "did you mean 'satyam'"), ("zzz", "known: amazon, satyam")],
)
def test_an_unknown_service_is_named_with_a_hint(service, hint):
    with pytest.raises(McalError, match=hint) as caught:
        costs.label_price(service)
    assert repr(service) in str(caught.value)


@pytest.mark.parametrize("price", [0, -0.04, 1e-300, float("nan"), float("inf"), 2e6])
def test_a_senseless_price_is_refused(price):
    with pytest.raises(McalError, match=rf"must be 1e-09 to 1,000,000 dollars, got {price}"):
        costs.label_price(price)


def test_eqn_1_by_hand():
    # 1,000 images at $0.04: T 50, B 100, R 250, machine 600.
    bill = costs.ledger(1000, 50, 100, 250, 3.5, Config(label_price=0.04))
    assert bill == pytest.approx((2.0, 4.0, 10.0, 3.5, 0.0, 40.0, 0.0, 0.0))
    bill = costs.ledger(1000, 50, 100, 250, 3.5, Config(label_price=0.04), n_certificate=30, n_repeat=25)
    assert bill[6:] == pytest.approx((1.2, 1.0))
    assert bill.total == pytest.approx(21.7)
    bill = costs.ledger(1000, 50, 100, 250, 3.5, Config(label_price=0.04))
    assert bill.total == pytest.approx(19.5)
    assert bill.savings == pytest.approx(0.5125)


def test_eqn_1_with_the_test_set_for_nothing():
    config = Config(label_price=0.04, bill_test_set=False)
    bill = costs.ledger(1000, 50, 100, 250, 3.5, config)
    assert (bill.test, bill.train, bill.total) == pytest.approx((0.0, 4.0, 17.5))
    assert costs.labelling_cost(50, 100, config) == pytest.approx(4.0)
    assert costs.labelling_cost(50, np.array([100, 200]), Config()) == pytest.approx([6.0, 10.0])


# ---------------------------------------------------------------------------------------------------------
# One training


def test_a_price_per_image_and_epoch_bills_its_epochs_whatever_was_run():
    assert costs.training_cost(fitted(500, [], images=77), "resnet18", FIXED) == pytest.approx(500 * 200 * 1e-5)


def test_a_price_per_image_and_epoch_of_the_recipe_bills_the_images_it_saw():
    assert costs.training_cost(fitted(500, [], images=7700), "resnet18", RECIPE) == pytest.approx(0.077)


def test_a_price_per_hour_bills_the_seconds():
    assert costs.training_cost(fitted(500, [], seconds=1800.0), "resnet18", HOURLY) == pytest.approx(1.8)


@pytest.mark.parametrize("epochs", [200, "recipe"])
def test_prices_by_architecture_and_the_one_that_is_missing(epochs):
    price = PerImageEpoch(dollars={"cnn18": 1e-6, "resnet18": 3e-6}, epochs=epochs)
    config, fit = Config(training_price=price), fitted(100, [], images=20000)
    assert costs.training_cost(fit, "cnn18", config) == pytest.approx(0.02)
    assert costs.training_cost(fit, "resnet18", config) == pytest.approx(0.06)
    why = "no training price for 'resnet50'; training_price.dollars has cnn18, resnet18"
    with pytest.raises(McalError, match=re.escape(why)):
        costs.training_cost(fit, "resnet50", config)
    with pytest.raises(McalError, match=re.escape(why)):  # before the first label is paid for
        costs.expected_training_cost(100, "resnet50", config)


def test_what_a_training_will_cost_is_known_beforehand_for_a_fixed_number_of_epochs_only():
    assert costs.expected_training_cost(300, "resnet18", FIXED) == pytest.approx(0.6)
    assert costs.expected_training_cost(300, "resnet18", RECIPE) == 0
    assert costs.expected_training_cost(300, "resnet18", HOURLY) == 0


# ---------------------------------------------------------------------------------------------------------
# The rate of line 13


@given(
    st.lists(st.integers(1, 10**5), min_size=1, max_size=8, unique=True),
    st.floats(1e-9, 1e-3),
    st.sampled_from([FIXED, RECIPE, HOURLY]),
)
def test_the_rate_of_proportional_costs_is_exact(sizes, price, config):
    history = [fitted(s, [], images=20 * s, seconds=price * s) for s in sizes]
    c0, c1 = costs.learned_rate(history, "resnet18", config)
    dollars = [costs.training_cost(f, "resnet18", config) for f in history]
    assert c0 == pytest.approx(0, abs=1e-9 * max(dollars))
    assert [c0 + c1 * s for s in sizes] == pytest.approx(dollars)


@pytest.mark.parametrize("config", [RECIPE, HOURLY])
def test_measured_costs_may_have_a_fixed_part(config):
    history = [fitted(s, [], images=100000 + 30 * s, seconds=1000 + 0.3 * s) for s in (100, 200, 400, 3000)]
    rate = costs.learned_rate(history, "resnet18", config)
    assert rate == pytest.approx((1.0, 3e-4))


def test_one_measured_training_is_taken_as_proportional():
    assert costs.learned_rate([fitted(200, [], seconds=1000.0)], "resnet18", HOURLY) == pytest.approx((0, 1 / 200))


@given(st.lists(st.tuples(st.integers(1, 10**5), st.floats(0, 1e5)), min_size=1, max_size=6))
def test_no_measurement_makes_a_rate_negative(measured):
    history = [fitted(size, [], seconds=seconds) for size, seconds in measured]
    c0, c1 = costs.learned_rate(history, "resnet18", HOURLY)
    assert c0 >= 0
    assert c1 >= 0
    assert np.isfinite(c0 + c1)


# ---------------------------------------------------------------------------------------------------------
# Eqn 4


@given(st.integers(1, 200), st.integers(1, 500), st.floats(0, 0.01))
def test_eqn_4_is_the_case_that_starts_at_nothing(steps, delta, c1):
    B = steps * delta
    found = costs.retraining_cost((0.0, c1), 0, np.array(B), np.array(steps))
    assert found == pytest.approx(c1 * B * (B / delta + 1) / 2)


@given(st.integers(0, 5000), st.integers(1, 5000), st.integers(1, 30), st.floats(0, 5), st.floats(0, 0.01))
def test_retraining_is_paid_at_every_step_on_the_way(size, more, steps, c0, c1):
    target = size + more
    on_the_way = [size + more * (j + 1) / steps for j in range(steps)]
    found = costs.retraining_cost((c0, c1), size, np.array(target), np.array(steps))
    assert found == pytest.approx(sum(c0 + c1 * b for b in on_the_way))


def test_staying_where_one_is_costs_nothing():
    found = costs.retraining_cost((1.0, 0.1), 100, np.array([100, 101, 200]), np.ones(3))
    assert found == pytest.approx([0.0, 11.1, 21.0])
