"""Algorithm 1 as a generator: what it asks for, how it divides X, what that costs, and why it ends."""

import inspect
import re

import numpy as np
import pytest
from conftest import EASY, HOPELESS, MIDDLING, assert_partition, configs, curves, simulate, tell
from hypothesis import given, settings
from hypothesis import strategies as st

from mcal_jax import costs, loop, planner
from mcal_jax.loop import mcal
from mcal_jax.types import Annotate, Config, Label, McalError, PerImageEpoch, Train

STOPS = {rule.__name__ for rule in planner.STOP_RULES}


def assert_bill(outcome, config):
    """Eqn 1: every part of the ledger is a count times a price."""
    price, bill = config.label_price, outcome.ledger
    trained = sum(costs.training_dollars(f, outcome.architecture, config) for f in outcome.history)
    assert bill.test == pytest.approx(price * len(outcome.T) * config.bill_test_set)
    assert bill.train == pytest.approx(price * len(outcome.B))
    assert bill.residual == pytest.approx(price * len(outcome.R))
    assert bill.training == pytest.approx(trained)
    assert bill.humans_only == pytest.approx(price * outcome.n)
    assert bill.total == pytest.approx(bill.test + bill.train + bill.residual + bill.training + bill.race)


@given(st.integers(20, 3000), configs(), curves, st.integers(0, 99))
@settings(max_examples=100)
def test_any_run_partitions_X_bills_by_count_and_names_its_stop_rule(n, config, curve, seed):
    requests, outcome = tell(mcal(n, config), curve, n, seed)
    assert_partition(outcome)
    assert_bill(outcome, config)
    assert outcome.stop in STOPS
    assert len(outcome.plans) == len(outcome.history) == sum(isinstance(r, Train) for r in requests)
    for request in requests:
        if not isinstance(request, Train):
            assert 0 <= request.n <= len(request.pool)
        if isinstance(request, Label) and request.purpose == "train":
            assert request.n >= 1
    assert [f.size for f in outcome.history] == sorted({f.size for f in outcome.history})
    assert len(outcome.S) == planner.n_machine(n, n - len(outcome.T) - len(outcome.B), outcome.plans[-1], config)


@given(st.integers(50, 3000), configs(), curves, st.integers(0, 99), st.floats(1, 1.5))
@settings(max_examples=60)
def test_any_budget_is_kept(n, config, curve, seed, plenty):
    price = config.training_price
    if isinstance(price, PerImageEpoch) and price.epochs != "recipe":
        least = costs.labels_dollars(planner.n_test(n, config), planner.n_seed(n, config), config)
        least += costs.expected_dollars(planner.n_seed(n, config), "resnet18", config)
        for budget in (least, (least + plenty * n * config.label_price) / 2, plenty * n * config.label_price):
            run = mcal(n, config.model_copy(update={"budget": max(budget, least)}))
            _, outcome = tell(run, curve, n, seed)
            assert outcome.ledger.total <= max(budget, least) * (1 + 1e-9)
            assert_partition(outcome)
