"""machine_epsilon: no S of which most is wrong, whatever Eqn 2 allows, and the error within S is told everywhere."""

import json

import numpy as np
import pytest
from conftest import HOPELESS, MIDDLING, simulate, tell
from hypothesis import given
from hypothesis import strategies as st

from mcal_jax import Config
from mcal_jax.algorithm.config import BROKEN_IN_SIMULATIONS
from mcal_jax.algorithm.machine_epsilon import error_in_S, is_kept, least_machine, without_junk
from mcal_jax.algorithm.mcal import mcal
from mcal_jax.algorithm.outcome import Certificate, Rejected
from mcal_jax.algorithm.protocol import Label, Verification
from mcal_jax.algorithm.sample_size import best_sample_size
from mcal_jax.runs import report
from mcal_jax.runs.runlog import _as_begun
from mcal_jax.runs.settings import Run

ALONE = {"machine_epsilon": None}
LABELLERS = {"recommended": Config, "certified": Config.certified}


def verification(labels=(), called=()):
    none = np.empty(0, np.int64)
    return Verification(none, none.astype(bool), np.array(labels, np.int32), none, np.array(called, np.int64))


def certificate(machine, bound, limits=None):
    return Certificate(0.95, "by hand", 100, 50, 2, machine, bound, limits=limits)


# ---------------------------------------------------------------------------------------------------------
# The bound itself


def test_the_error_within_S_is_that_of_X_by_the_size_of_S():
    thetas = np.array([0.2, 1.0])
    assert error_in_S(np.array([0.05, 0.1]), 1000, 500, thetas, Config()).tolist() == pytest.approx([0.5, 0.2])
    of_all = Config(theta_of="all")
    assert error_in_S(np.array([0.05, 0.1]), 1000, 500, thetas, of_all).tolist() == pytest.approx([0.25, 0.2])
    assert error_in_S(np.array([0.05, 0.1]), 1000, 500, thetas, Config(constraint="on_S")).tolist() == [0.05, 0.1]


def test_a_bound_is_strict_and_none_keeps_everything():
    error, theta = np.array([0.05]), np.array([0.2])
    kept = {m: bool(is_kept(error, 1000, 500, theta, Config(machine_epsilon=m))[0]) for m in (None, 0.49, 0.51)}
    assert kept == {None: True, 0.49: False, 0.51: True}


def test_the_presets_of_the_paper_have_no_bound_and_the_others_have():
    assert Config.paper().machine_epsilon is Config.authors_code().machine_epsilon is None
    assert Config().machine_epsilon == Config.certified().machine_epsilon == 0.5


# ---------------------------------------------------------------------------------------------------------
# Certificates


def test_a_certificate_of_junk_becomes_one_of_nothing():
    certified, rejected = without_junk(1000, certificate(60, 0.05), verification(), Config.certified())
    assert rejected == Rejected(60, pytest.approx(50 / 60))
    assert (certified.machine, certified.bound, certified.bound_in_S) == (0, 0.0, 0.0)


@pytest.mark.parametrize("changes", [{"machine_epsilon": 0.9}, {"machine_epsilon": None}, {"budget": 60.0}])
def test_a_certificate_that_may_stand_says_its_bound_on_S(changes):
    """In budget mode too: nothing is left to pay humans from."""
    certified, rejected = without_junk(1000, certificate(60, 0.05), verification(), Config.certified(**changes))
    assert rejected is None
    assert certified == certificate(60, 0.05)._replace(bound_in_S=pytest.approx(50 / 60))
    assert "and 83.3% of S" in repr(certified)


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=30), st.data())
def test_no_S_within_limits_is_smaller_than_it_is_taken_for(pool, data):
    """``pool`` is in the order of confidence: S are the first ``machine``, of each class no more than its limit."""
    called = np.array([label for label, _ in pool])
    machine = data.draw(st.integers(0, len(pool)))
    limits = tuple(data.draw(st.integers(0, len(pool))) for _ in range(3))
    place = [int((called[:i] == label).sum()) for i, label in enumerate(called)]
    size = sum(place[i] < limits[called[i]] for i in range(machine))
    one = certificate(machine, 0.05, limits)
    assert least_machine(one, verification(called=np.bincount(called, minlength=3))) <= size


def test_V_is_not_bought_for_an_S_that_would_be_junk():
    thetas = np.arange(1, 201) / 200
    all_wrong, few = thetas * 0.9, 0.02 * thetas**3
    assert best_sample_size(10_000, 9000, thetas, all_wrong, 0.05, 0.05, machine_epsilon=0.5) == (0, 0.0)
    assert best_sample_size(10_000, 9000, thetas, all_wrong, 0.05, 0.05).sample > 0
    bounded = best_sample_size(10_000, 9000, thetas, few, 0.05, 0.05, machine_epsilon=0.5)
    assert bounded == best_sample_size(10_000, 9000, thetas, few, 0.05, 0.05)


def test_humans_label_all_the_rest_when_V_shows_that_S_is_junk():
    def all_wrong(number, request, answer):
        if isinstance(answer, Verification):
            return answer._replace(wrong=np.ones(len(answer.wrong), bool))
        return answer

    config = Config.certified(epsilon=0.2)
    requests, outcome = tell(mcal(2000, config), MIDDLING, change=all_wrong)
    assert len(outcome.V) > 0
    assert len(outcome.S) == 0
    assert outcome.rejected.error > 0.5
    assert len(outcome.T) + len(outcome.B) + len(outcome.V) + len(outcome.R) == 2000
    assert isinstance(requests[-1], Label)
    assert "S is left to humans" in "".join(report.machine_lines(outcome, config))


# ---------------------------------------------------------------------------------------------------------
# Whole runs


@pytest.mark.parametrize("preset", LABELLERS)
def test_an_unlearnable_set_ends_with_humans_and_says_why(preset):
    config = LABELLERS[preset](theta_step=0.25)
    junk = simulate(config.model_copy(update=ALONE), HOPELESS, n=4000)
    done = simulate(config, HOPELESS, n=4000)
    assert (junk.labels[junk.outcome.S] != 0).mean() > 0.5
    assert len(done.outcome.S) == 0
    assert done.true_error == 0
    assert done.outcome.stop == "exploration_tax"
    assert done.outcome.rejected.error > 0.5
    assert done.outcome.rejected.machine == pytest.approx(0.05 * 4000, rel=0.1)
    assert done.outcome.machine_error is None
    assert "S is left to humans" in report.summary(done, config)
    assert "S left to humans" in repr(done.outcome)
    assert "S left to humans" in done.outcome._repr_html_()


@pytest.mark.parametrize("preset", LABELLERS)
def test_a_run_of_a_good_classifier_is_the_same_with_and_without_the_bound(preset):
    config = LABELLERS[preset](epsilon=0.1)
    bounded, free = (simulate(one, MIDDLING, n=4000) for one in (config, config.model_copy(update=ALONE)))
    assert len(bounded.outcome.S) > 1000
    assert np.array_equal(bounded.labels, free.labels)
    assert bounded.outcome.rejected is None
    assert f"within S at most {bounded.outcome.machine_error.limit:.1%}" in repr(bounded.outcome)


def test_a_budget_keeps_its_S_and_the_summary_says_what_it_is():
    config = Config(budget=60.0)
    done = simulate(config, HOPELESS, n=4000)
    assert len(done.outcome.S) > 0
    assert done.outcome.rejected is None
    assert "above machine_epsilon, 50.0%, which a budget does not keep" in report.summary(done, config)


def test_naive_active_learning_labels_no_junk_either():
    ended = {m: simulate(Config(machine_epsilon=m), HOPELESS, algorithm="naive_al", delta=0.1) for m in (None, 0.5)}
    assert ended[None].outcome.stop == "constraint_met"
    assert (ended[None].labels[ended[None].outcome.S] != 0).mean() > 0.5
    assert (ended[0.5].outcome.stop, len(ended[0.5].outcome.S)) == ("pool_exhausted", 0)


def test_an_uncertified_summary_says_how_often_epsilon_was_broken():
    config = Config(epsilon=0.1)
    assert f"in simulations {BROKEN_IN_SIMULATIONS:.0%} of such runs" in report.summary(simulate(config), config)
    assert "not certified" not in report.summary(simulate(Config.certified(epsilon=0.1)), Config.certified())


# ---------------------------------------------------------------------------------------------------------
# Logs of before


def test_a_log_of_before_has_no_bound_and_a_later_one_has_its_own():
    old = json.loads(Run().model_dump_json())
    config = {key: value for key, value in Config().model_dump(mode="json").items() if key not in ("machine_epsilon",)}
    head = _as_begun({"job": {"n": 100, "config": config}, "run": old})
    assert head["job"]["config"]["machine_epsilon"] is None
    assert head["run"]["config"]["machine_epsilon"] is None
    assert head["job"]["config"]["epsilon"] == 0.05
    new = {"job": {"n": 100, "config": Config().model_dump(mode="json")}, "run": old}
    assert _as_begun(new)["run"]["config"]["machine_epsilon"] == 0.5


def test_a_run_without_the_bound_has_the_id_that_it_always_had():
    assert "machine_epsilon" not in Run(config={"machine_epsilon": None}).canonical()["config"]
    assert Run(config={"machine_epsilon": None}).id != Run().id
    assert Run(preset="paper").canonical()["config"].get("machine_epsilon") is None
