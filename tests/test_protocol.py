"""Requests, answers and the configuration: counting, and what is refused."""

from fractions import Fraction

import numpy as np
import pytest
from conftest import configs, fitted, simulate
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mcal_jax.algorithm.config import Config, PerHour, PerImageEpoch
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.outcome import Ledger
from mcal_jax.algorithm.protocol import remove, trials
from mcal_jax.errors import McalError


@given(st.integers(0, 400), st.integers(1, 400), st.integers(0, 10**6))
def test_trials_is_the_exact_floor_of_theta_n(k, parts, n):
    k = min(k, parts)
    assert trials(k / parts, n) == Fraction(k, parts) * n // 1


def test_trials_is_not_fooled_by_fractions_that_binary_lacks():
    assert 0.29 * 100 < 29
    for parts in (20, 100, 200):
        k = np.arange(1, parts + 1)
        for n in (parts, 7 * parts, 3500, 70000):
            assert (trials(k / parts, n) == k * n // parts).all()


def test_trials_takes_arrays_of_theta_and_of_n():
    assert trials(np.array([0.35, 0.5, 1.0]), 20).tolist() == [7, 10, 20]
    assert trials(0.1, np.array([0, 9, 10, 30])).tolist() == [0, 0, 1, 3]


def test_mistakes_among_the_top_theta_of_T_are_those_ranked_above_it():
    fit = fitted(10, [0, 5, 6, 19], n_test=20)
    # 0.3 * 20 = 6 images: positions 0 to 5.
    assert fit.errors(np.array([0.0, 0.05, 0.25, 0.3, 0.35, 0.95, 1.0])).tolist() == [0, 1, 1, 2, 3, 3, 4]
    assert fitted(10, [], n_test=20).errors(1.0) == 0


@given(st.sets(st.integers(0, 99)), st.data())
def test_remove_is_the_sorted_difference(pool, data):
    taken = data.draw(st.sets(st.sampled_from(sorted(pool)))) if pool else set()
    left = remove(np.array(sorted(pool), np.int64), np.array(sorted(taken), np.int64))
    assert left.tolist() == sorted(pool - taken)


def test_a_ledger_adds_up_and_compares_with_humans_only():
    ledger = Ledger(test=2.0, train=3.0, residual=5.0, training=1.5, race=0.5, humans_only=40.0)
    assert ledger.total == 12.0
    assert ledger.savings == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epsilon", 0),
        ("epsilon", 1),
        ("epsilon", -0.1),
        ("epsilon", float("nan")),
        ("label_price", 0),
        ("label_price", -0.04),
        ("label_price", float("inf")),
        ("label_price", 2e6),
        ("label_price", 1e-300),
        ("training_price", {"kind": "per_hour", "dollars": 1e300}),
        ("budget", 0),
        ("budget", -3),
        ("budget", 1e308),
        ("test_fraction", 0),
        ("seed_fraction", 1),
        ("growth", 1),
        ("growth", float("inf")),
        ("max_growth", 1),
        ("max_growth", float("inf")),
        ("theta_step", 0),
        ("theta_step", 1e-300),
        ("theta_step", 0.6),
        ("theta_of", "most"),
        ("constraint", "on_B"),
        ("law", "cubic"),
        ("safety_z", -1),
        ("beta", -0.1),
        ("max_steps", 0),
        ("max_steps", 10**30),
        ("exploration_tax", 1.1),
        ("training_price", {"kind": "per_moon"}),
        ("training_price", {"kind": "per_hour", "dollars": -1}),
        ("training_price", {"kind": "per_image_epoch", "epochs": 0}),
        ("training_price", {"kind": "per_image_epoch", "dollars": {"resnet18": -1}}),
        ("epsilom", 0.05),
    ],
)
def test_a_senseless_setting_is_refused_by_its_name(key, value):
    with pytest.raises(ValidationError) as caught:
        Config(**{key: value})
    assert key in str(caught.value)


def test_a_budget_that_is_not_a_number_of_dollars_is_refused():
    for budget in (float("inf"), float("nan")):
        with pytest.raises(ValidationError, match="budget"):
            Config(budget=budget)


def test_an_unknown_acquisition_function_is_refused_with_the_nearest_name():
    with pytest.raises(McalError, match="did you mean 'margin'"):
        Config(acquisition="margins")


def test_a_configuration_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        Config().epsilon = 0.1


def test_what_is_read_from_yaml_picks_the_training_price_by_its_kind():
    per_hour = Config.model_validate({"training_price": {"kind": "per_hour", "dollars": 2}})
    assert per_hour.training_price == PerHour(dollars=2.0)
    by_net = Config.model_validate({"training_price": {"kind": "per_image_epoch", "dollars": {"cnn18": 1e-6}}})
    assert by_net.training_price == PerImageEpoch(dollars={"cnn18": 1e-6})


def test_the_papers_reading_and_the_released_codes_differ_where_the_paper_and_the_code_do():
    paper, code = Config.paper(), Config.authors_code()
    assert (paper.constraint, code.constraint) == ("on_X", "on_S")
    assert (paper.law, code.law) == ("truncated", "power")
    assert (paper.stability, code.stability) == (0.05, 0.1)
    assert (paper.seed_fraction, code.seed_fraction) == (0.01, 0.1)
    assert (paper.bill_test_set, code.bill_test_set) == (True, False)
    assert (paper.growth, code.growth) == (None, 2.0)
    assert paper.safety_z == code.safety_z == 0
    assert Config.paper(epsilon=0.1, safety_z=2.0).safety_z == 2.0


@given(configs())
def test_a_job_comes_back_from_json_as_it_was(config):
    job = Job(n=100, architectures=("cnn18", "resnet18"), config=config)
    assert Job.model_validate_json(job.model_dump_json()) == job


@given(st.integers(2, 1000))
def test_the_grid_of_theta_rises_to_one(parts):
    thetas = Config(theta_step=1 / parts).thetas
    assert len(thetas) == parts
    assert (np.diff(thetas) > 0).all()
    assert thetas[0] > 0
    assert thetas[-1] == pytest.approx(1)
    assert thetas[-1] <= 1 + 1e-12


@pytest.mark.parametrize("step", [0.3, 0.15, 0.07, 0.49])
def test_a_step_of_theta_that_does_not_divide_one_is_refused(step):
    with pytest.raises(ValidationError, match="must be a whole number"):
        Config(theta_step=step)


def test_the_default_grid_of_theta_is_the_papers():
    assert Config().thetas == pytest.approx(np.linspace(0.05, 1, 20))


def last_of_two(n, plans, config):
    return len(plans) == 2


def test_a_job_names_its_stop_rules_and_objective_only_where_it_has_some():
    plain = Job(n=10).model_dump(mode="json")
    assert "stop_rules" not in plain
    assert "objective" not in plain
    assert Job.model_validate(plain) == Job(n=10)
    own = Job(n=10, stop_rules=(last_of_two, "mine.py:rule"), objective="least_error")
    assert own.stop_rules == ("last_of_two", "mine.py:rule")
    assert Job.model_validate(own.model_dump(mode="json")) == own != Job(n=10)
    with pytest.raises(McalError, match="unknown stop rule 'last_of_too': did you mean 'last_of_two'"):
        Job(n=10, stop_rules=["last_of_too"])
    with pytest.raises(McalError, match="unknown objective 'most_cost'"):
        Job(n=10, objective="most_cost")


def test_a_job_ends_by_its_own_rule_and_follows_its_own_objective():
    outcome = simulate(Config(), stop_rules=[last_of_two]).outcome
    assert (outcome.stop, len(outcome.plans)) == ("last_of_two", 2)
    config = Config(budget=60.0)
    assert simulate(config, objective="least_cost").outcome.plans[0].value > 1  # US dollars, not an error
    with pytest.raises(McalError, match="naive_al makes no plans"):
        simulate(Config(), algorithm="naive_al", delta=0.1, stop_rules=[last_of_two])
