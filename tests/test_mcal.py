"""Algorithm 1 as a generator: what it asks for, how it divides X, what that costs, and why it ends."""

import inspect
import itertools
import re

import numpy as np
import pytest
from conftest import EASY, HOPELESS, MIDDLING, assert_partition, configs, curves, simulate, tell
from hypothesis import given, settings
from hypothesis import strategies as st

from mcal_jax.algorithm import costs, planner, stopping
from mcal_jax.algorithm.config import Config, PerImageEpoch
from mcal_jax.algorithm.mcal import mcal
from mcal_jax.algorithm.protocol import Label, MachineLabel, Train
from mcal_jax.errors import McalError

STOPS = set(stopping.DEFAULT_RULES)


def assert_bill(outcome, config):
    """Eqn 1: every part of the ledger is a count times a price."""
    price, bill = config.label_price, outcome.ledger
    trained = sum(costs.training_cost(f, outcome.architecture, config) for f in outcome.history)
    assert bill.test == pytest.approx(price * len(outcome.T) * config.bill_test_set)
    assert bill.train == pytest.approx(price * len(outcome.B))
    assert bill.residual == pytest.approx(price * len(outcome.R))
    assert bill.training == pytest.approx(trained)
    assert bill.humans_only == pytest.approx(price * outcome.n)
    assert bill.total == pytest.approx(bill.test + bill.train + bill.residual + bill.training + bill.race)


@given(st.integers(20, 3000), configs(), curves, st.integers(0, 99))
@settings(max_examples=30)
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


# A budget can be promised where the price of a training is known beforehand.
known_prices = st.builds(PerImageEpoch, dollars=st.floats(0, 1e-4), epochs=st.integers(1, 300))


@given(st.integers(50, 3000), configs(), known_prices, curves, st.integers(0, 99), st.floats(0, 1))
@settings(max_examples=20)
def test_any_budget_is_kept(n, config, price, curve, seed, share):
    """The least that it takes to begin, what pays for everything, and one between."""
    config = config.model_copy(update={"training_price": price})
    least = costs.labelling_cost(planner.n_test(n, config), planner.n_seed(n, config), config)
    least += costs.expected_training_cost(planner.n_seed(n, config), "resnet18", config)
    plenty = least + n * config.label_price
    trainings = []
    for budget in (least, least + share * (plenty - least), plenty):
        _, outcome = tell(mcal(n, config.model_copy(update={"budget": budget})), curve, n, seed)
        assert outcome.ledger.total <= budget * (1 + 1e-9)
        assert_partition(outcome)
        trainings.append(len(outcome.history))
    assert trainings[0] == 1
    assert len(outcome.S) == 0


def test_an_easy_world_is_labelled_by_the_machine():
    for config in (Config(), Config.paper(), Config.authors_code()):
        finished = simulate(config, EASY, 5000)
        assert len(finished.outcome.S) >= 0.75 * 5000
        assert finished.true_error < 0.07  # two of the three take the estimate from T at its word
    careful = simulate(Config(), EASY, 5000)
    assert len(careful.outcome.S) > 0.8 * 5000
    assert careful.true_error < 0.05


@pytest.mark.parametrize(
    ("reading", "price", "label"),
    [
        *itertools.product([Config, Config.paper, Config.authors_code], [5.2e-6, 1e-4], [0.04]),
        *itertools.product([Config, Config.paper, Config.authors_code], [5.2e-6], [0.003]),
        *itertools.product([Config, Config.paper, Config.authors_code], [1e-4], [0.003]),
    ],
)
def test_a_hopeless_world_is_labelled_by_humans_at_little_more_than_their_price(reading, price, label):
    config = reading(training_price=PerImageEpoch(dollars=price), label_price=label)
    finished = simulate(config, HOPELESS, 2000)
    outcome, bill = finished.outcome, finished.outcome.ledger
    # Under Eqn 2 the machine may label 5 % of X however badly.
    assert len(outcome.S) <= 0.07 * 2000
    assert finished.true_error < 0.07
    # The first training is paid before anything is known, and the last one may follow a plan that seemed to pay.
    first, last = (costs.training_cost(outcome.history[i], "resnet18", config) for i in (0, -1))
    assert bill.training - last <= max(config.exploration_tax * bill.humans_only - first, 0) + 1e-9
    assert bill.total <= bill.humans_only + bill.training + 1e-9


@pytest.mark.parametrize("reading", [Config, Config.paper])
def test_a_hopeless_world_under_the_bound_on_S_ends_with_humans_labelling_all(reading):
    price = PerImageEpoch(dollars=2e-5)
    finished = simulate(reading(constraint="on_S", training_price=price), HOPELESS, 2000)
    assert len(finished.outcome.S) == 0
    assert finished.true_error == 0
    assert finished.outcome.stop in {"exploration_tax", "cost_rose"}
    assert finished.outcome.ledger.savings >= -0.1


def test_three_budgets_are_kept_and_buy_ever_fewer_mistakes():
    errors = []
    for budget in (60.0, 100.0, 140.0):
        runs = [simulate(Config(budget=budget), MIDDLING, 5000, seed) for seed in range(2)]
        for finished in runs:
            assert 0.9 * budget < finished.outcome.ledger.total <= budget
        errors.append(np.mean([finished.true_error for finished in runs]))
    assert errors[0] > 1.5 * errors[1] > 2.25 * errors[2] > 0


@pytest.mark.parametrize("theta_of", ["remaining", "all"])
def test_a_budget_that_does_not_pay_humans_for_all_is_used_up(theta_of):
    outcome = simulate(Config(budget=80.0, theta_of=theta_of), MIDDLING, 4000).outcome
    assert 80 - 0.05 < outcome.ledger.total <= 80


def test_a_budget_that_pays_humans_for_everything_is_not_gambled_with():
    n, config = 2000, Config(training_price=PerImageEpoch(dollars=5e-5))
    first = costs.expected_training_cost(planner.n_seed(n, config), "resnet18", config)
    finished = simulate(config.model_copy(update={"budget": 0.04 * n + first}), MIDDLING, n)
    assert finished.true_error == 0
    assert len(finished.outcome.history) == 1


def test_a_budget_too_small_to_begin_with_is_refused_before_anything_is_bought():
    with pytest.raises(McalError, match="budget"):
        next(mcal(1000, Config(budget=2.0)))


def test_a_pool_too_small_to_begin_with_is_refused_before_anything_is_bought():
    with pytest.raises(McalError, match="the pool holds 2"):
        next(mcal(2, Config()))


def test_the_algorithm_never_reads_a_label():
    class Poison:
        def __getattribute__(self, name):
            raise AssertionError(f"labels.{name} was read")

    def poisoned(number, request, answer):
        return answer if isinstance(request, Train) else answer._replace(labels=Poison())

    _, outcome = tell(mcal(2000, Config()), change=poisoned)
    assert_partition(outcome)


def test_requests_follow_the_lines_of_the_algorithm():
    requests, outcome = tell(mcal(2000, Config(acquisition="entropy"), "cnn18"))
    T, B, *middle, S, R = requests
    first, *rest = middle
    assert (T.purpose, T.by, T.n, len(T.pool)) == ("test", "random", 100, 2000)
    assert (B.purpose, B.by, B.n, len(B.pool)) == ("train", "random", 20, 1900)
    assert isinstance(first, Train)
    size = 20
    for label, train in zip(rest[::2], rest[1::2], strict=True):
        assert (label.purpose, label.by) == ("train", "entropy")
        assert len(label.pool) == 1900 - size
        assert label.n == label.plan.delta
        size += label.n
        assert (len(train.train), train.architecture) == (size, "cnn18")
        assert np.array_equal(train.test, outcome.T)
    assert isinstance(S, MachineLabel)
    assert len(S.pool) == 1900 - size
    assert S.model == outcome.history[-1].model
    assert (R.purpose, len(R.pool)) == ("residual", R.n)
    assert np.array_equal(R.pool, outcome.R)


def test_only_unlabelled_images_are_offered():
    requests, outcome = tell(mcal(2000, Config()))
    taken = np.arange(0)
    for request in requests:
        if isinstance(request, Label) and request.purpose == "train":
            assert len(np.intersect1d(request.pool, outcome.T)) == 0
        if isinstance(request, Train):
            assert len(np.intersect1d(request.train, taken)) == len(taken)
            assert len(np.intersect1d(request.train, request.test)) == 0
            taken = request.train
    assert np.array_equal(taken, outcome.B)
    assert len(outcome.history) > 2


def test_T_for_nothing_is_not_billed():
    billed, free = (simulate(Config(bill_test_set=b)).outcome for b in (True, False))
    assert billed.ledger.test == pytest.approx(0.04 * 100)
    assert free.ledger.test == 0
    assert len(free.T) == 100


def test_the_outcome_is_that_of_the_last_plan():
    outcome = simulate(Config()).outcome
    last = outcome.plans[-1]
    assert outcome.theta == last.theta_now
    assert outcome.ledger.total == pytest.approx(last.cost_now)
    assert outcome.ledger.training == last.spent
    assert [p.size for p in outcome.plans] == [f.size for f in outcome.history]


def test_every_line_of_algorithm_1_is_in_the_margin_and_the_loop_fits_on_a_page():
    source = inspect.getsource(mcal)
    assert len(source.splitlines()) <= 80
    margins = re.findall(r"#\s*([\d,\s-]+)$", source, flags=re.MULTILINE)
    lines = set()
    for margin in margins:
        for part in margin.replace(" ", "").split(","):
            low, _, high = part.partition("-")
            lines |= set(range(int(low), int(high or low) + 1))
    assert lines == set(range(1, 28))
