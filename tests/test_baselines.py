"""What MCAL is measured against."""

import numpy as np
import pytest
from conftest import EASY, HOPELESS, MIDDLING, assert_partition, configs, curves, fitted, simulate, tell
from hypothesis import given, settings
from hypothesis import strategies as st

from mcal_jax.algorithm.baselines import (
    humans_only,
    may_label_all,
    naive_al,
    trajectory,
    without_active_learning,
)
from mcal_jax.algorithm.config import Config, PerImageEpoch
from mcal_jax.algorithm.protocol import Label, Labels, MachineLabel, Measure, Train
from mcal_jax.errors import McalError


def test_humans_only_labels_and_bills_everything():
    requests, outcome = tell(humans_only(500, Config(bill_test_set=False)), n=500)
    assert [(type(r), r.n) for r in requests] == [(Label, 500)]
    assert np.array_equal(outcome.R, np.arange(500))
    assert_partition(outcome)
    assert outcome.ledger.total == outcome.ledger.humans_only == pytest.approx(20.0)
    assert outcome.ledger.savings == 0
    assert outcome.stop == "humans_only"


def test_naive_active_learning_by_hand():
    # 100 images, T 5, 10 a step. 2 of 5 wrong is too many for 85, 1 of 5 for 75, none is not.
    config = Config(safety_z=0.0, training_price=PerImageEpoch(dollars=1e-3, epochs=10))
    wrong = {10: [0, 1], 20: [4], 30: []}

    def answer(number, request, _):
        if isinstance(request, Train):
            return fitted(len(request.train), wrong[len(request.train)], 5, model=number)
        return Labels(request.pool[: request.n], np.zeros(request.n, np.int32))

    asked, outcome = tell(naive_al(100, config, "resnet18", 0.1), n=100, change=answer)
    assert [type(r).__name__ for r in asked] == ["Label", *["Label", "Train"] * 3, "MachineLabel"]
    assert [r.by for r in asked if isinstance(r, Label)] == ["random", "random", "margin", "margin"]
    assert [r.n for r in asked if isinstance(r, Label)] == [5, 10, 10, 10]
    # M(.) is that of the classifier trained just before.
    assert [r.model for r in asked if isinstance(r, Label)] == [None, None, 2, 4]
    assert (asked[-1].n, asked[-1].model) == (65, 6)
    assert [len(s) for s in (outcome.T, outcome.B, outcome.S, outcome.R)] == [5, 30, 65, 0]
    # Labels 35 at $0.04; 60 images for 10 epochs at $0.001.
    assert outcome.ledger.total == pytest.approx(1.4 + 0.6)
    assert outcome.stop == "constraint_met"
    assert_partition(outcome)


def test_naive_active_learning_ends_with_an_empty_pool_if_the_classifier_never_will_do():
    for constraint in ("on_X", "on_S"):
        _, outcome = tell(naive_al(300, Config(constraint=constraint), "resnet18", 0.13), HOPELESS, 300)
        assert outcome.stop == "pool_exhausted" or len(outcome.S) < 0.1 * 300
        assert_partition(outcome)
    assert outcome.stop == "pool_exhausted"
    assert len(outcome.S) == 0


@given(configs(), curves, st.floats(0.02, 0.9), st.integers(0, 99))
@settings(max_examples=25)
def test_any_naive_run_partitions_X_and_stops_at_the_first_classifier_that_will_do(config, curve, delta, seed):
    _, outcome = tell(naive_al(400, config, "resnet18", delta), curve, 400, seed)
    assert_partition(outcome)
    assert len(outcome.R) == 0
    step = max(round(delta * 400), 1)
    sizes = [f.size for f in outcome.history]
    assert sizes[:-1] == [step * (i + 1) for i in range(len(sizes) - 1)]
    rests = [400 - len(outcome.T) - s for s in sizes]
    fine = [bool(r) and may_label_all(400, r, f, config) for r, f in zip(rests, outcome.history, strict=True)]
    assert not any(fine[:-1])
    assert fine[-1] == (outcome.stop == "constraint_met") == (len(outcome.S) > 0)
    assert outcome.ledger.residual == 0


def test_naive_active_learning_has_no_budget_mode_and_needs_a_delta():
    with pytest.raises(McalError, match="budget"):
        next(naive_al(400, Config(budget=50.0), "resnet18", 0.1))


def test_without_active_learning_humans_get_random_images_only():
    requests, outcome = tell(without_active_learning(2000, Config(), "resnet18"))
    labels = [r for r in requests if isinstance(r, Label) and r.purpose != "residual"]
    assert len(labels) > 3
    assert {r.by for r in labels} == {"random"}
    assert_partition(outcome)
    plain, _ = tell(without_active_learning(2000, Config(acquisition="entropy"), "resnet18"))
    assert [r.n for r in plain if not isinstance(r, Train)] == [r.n for r in requests if not isinstance(r, Train)]


def test_on_easy_images_planning_and_naive_learning_both_beat_humans():
    naive = simulate(Config(), EASY, algorithm="naive_al", delta=0.05).outcome
    planned = simulate(Config(), EASY).outcome
    assert naive.ledger.savings > 0.7
    assert planned.ledger.savings > 0.7


def test_where_training_is_expensive_planning_costs_less_than_small_steps():
    config = Config(training_price=PerImageEpoch(dollars=3e-5))
    naive = simulate(config, MIDDLING, algorithm="naive_al", delta=0.02).outcome
    assert simulate(config, MIDDLING).outcome.ledger.total < naive.ledger.total


def test_the_last_classifier_labels_what_is_left():
    requests, outcome = tell(naive_al(2000, Config(), "resnet18", 0.1), EASY)
    assert isinstance(requests[-1], MachineLabel)
    assert requests[-1].n == len(requests[-1].pool) == len(outcome.S)


def test_a_trajectory_asks_what_naive_active_learning_asks_and_measures_between():
    config = Config(epsilon=0.12)
    naive, bought = tell(naive_al(2000, config, "resnet18", 0.1))
    measured, outcome = tell(trajectory(2000, config, "resnet18", 0.1, 0.9))
    same_part = [r for r in measured if not isinstance(r, Measure)][:-1]
    assert len(same_part) == len(naive) - 1
    for mine, theirs in zip(same_part, naive, strict=False):
        assert type(mine) is type(theirs)
    assert outcome.stop == bought.stop == "constraint_met"
    assert len(outcome.B) == len(bought.B)
    assert [type(r) for r in measured].count(Measure) == len(outcome.history)
    assert_partition(outcome)


def test_a_trajectory_ends_where_it_was_told_or_with_the_pool():
    config = Config(epsilon=1e-6)
    _, outcome = tell(trajectory(2000, config, "resnet18", 0.1, 0.3), MIDDLING)
    assert (outcome.stop, len(outcome.B), len(outcome.S)) == ("far_enough", 600, 0)
    asked, outcome = tell(trajectory(2000, config, "resnet18", 0.19, 0.99), MIDDLING)
    assert (outcome.stop, len(outcome.R)) == ("pool_exhausted", 0)
    assert [type(r) for r in asked].count(Measure) == len(outcome.history) - 1
    assert_partition(outcome)


def test_only_the_last_classifier_of_a_trajectory_ranks_by_every_acquisition():
    run = trajectory(2000, Config(epsilon=1e-6), "resnet18", 0.1, 0.3, ("margin", "random", "entropy"))
    asked, _ = tell(run, MIDDLING)
    assert [r.by for r in asked if isinstance(r, Measure)] == [
        ("margin",),
        ("margin",),
        ("margin", "random", "entropy"),
    ]
