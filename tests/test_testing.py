"""The checks that users run on their own plug-ins: good ones pass, and each fault is found."""

import itertools

import numpy as np
import pytest

from mcal_jax import testing
from mcal_jax.algorithm.acquisition import ACQUISITIONS, Acquisition
from mcal_jax.algorithm.stopping import STOP_RULES
from mcal_jax.errors import McalError


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_every_acquisition_function_keeps_the_contract(name):
    testing.check_acquisition(name)


def test_a_score_function_is_checked_as_it_is_and_by_its_file(tmp_path):
    def far_from_certain(scores):
        return 1 - scores.confidence

    testing.check_acquisition(far_from_certain)
    (tmp_path / "mine.py").write_text("def mine(scores):\n    return [-margin for margin in scores.margin]\n")
    testing.check_acquisition(f"{tmp_path}/mine.py:mine")


def writes(scores):
    scores.margin[:] = 0
    return scores.margin


def too_short(scores):
    return scores.margin[:3]


@pytest.mark.parametrize(
    ("function", "complaint"), [(writes, "'writes' fails: ValueError"), (too_short, "'too_short' returned shape")]
)
def test_a_wrong_score_function_is_found(function, complaint):
    with pytest.raises(McalError, match=complaint):
        testing.check_acquisition(function)


def test_an_acquisition_function_that_selects_otherwise_each_time_is_found(monkeypatch):
    rng = np.random.default_rng()
    restless = Acquisition("restless", lambda pool, n: rng.permutation(pool.size)[:n])
    monkeypatch.setitem(ACQUISITIONS._entries, "restless", restless)
    with pytest.raises(AssertionError, match="'restless' selected"):
        testing.check_acquisition("restless")


@pytest.mark.parametrize(
    "score", [lambda s: -s.margin / s.margin.max(), lambda s: s.margin.argsort(), lambda s: np.arange(len(s.margin))]
)
def test_a_score_that_depends_on_the_rest_of_the_pool_is_found(score):
    score.__name__ = f"relative_{id(score)}"
    with pytest.raises(AssertionError, match="scores an image by what else is in the pool"):
        testing.check_acquisition(score)


@pytest.mark.parametrize("name", STOP_RULES)
def test_every_stop_rule_keeps_the_contract(name):
    testing.check_stop_rule(name)


def test_a_stop_rule_that_answers_otherwise_each_time_is_found():
    answers = itertools.cycle([True, False])

    def fickle(n, plans, config):
        return next(answers)

    with pytest.raises(AssertionError, match="'fickle' returned True, and then False"):
        testing.check_stop_rule(fickle)


def test_a_stop_rule_that_returns_a_number_is_found():
    def counts(n, plans, config):
        return len(plans)

    with pytest.raises(McalError, match="'counts' returned 1"):
        testing.check_stop_rule(counts)
