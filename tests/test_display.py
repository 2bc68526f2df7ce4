"""What is shown of an object fits into a line, and in a notebook into a small table."""

import re

import pytest
from conftest import HOPELESS, MIDDLING

from mcal_jax import Config, PerHour
from mcal_jax.algorithm.config import BROKEN_IN_SIMULATIONS
from mcal_jax.algorithm.job import Job
from mcal_jax.runs.driver import drive
from mcal_jax.runs.report import machine_lines, summary
from mcal_jax.worlds.simulated import SimulatedWorld


@pytest.fixture(scope="module")
def delivery():
    return drive(Job(n=2000, config=Config.certified(epsilon=0.2)), SimulatedWorld(2000, MIDDLING))


def test_every_object_of_a_run_is_a_line_and_a_table(delivery):
    outcome = delivery.outcome
    for one in (outcome.plans[-1], outcome.certificate, outcome.ledger, Config(epsilon=0.1)):
        assert len(repr(one)) < 300
        assert "\n" not in repr(one)
        assert one._repr_html_().startswith("<table>")
    assert len(repr(outcome)) < 300
    assert len(repr(outcome.plans[-1].surface)) < 100


def test_a_config_shows_what_differs_from_the_defaults():
    assert repr(Config()) == "Config()"
    assert repr(Config(epsilon=0.1, label_price=0.003)) == "Config(epsilon=0.1, label_price=0.003)"
    assert "PerHour" in repr(Config(training_price=PerHour(dollars=1.0)))
    assert "acquisition" not in Config(epsilon=0.1)._repr_html_()


def test_the_summary_tells_how_wrong_the_machine_is_within_S(delivery):
    """Eqn 2 lets the machine label a few images however badly: the error of X alone would not show it."""
    job = Job(n=4000, config=Config(machine_epsilon=None))
    junk = drive(job, SimulatedWorld(4000, HOPELESS, seed=1))
    (line,) = machine_lines(junk.outcome, job.config)
    estimate, limit = (float(share) / 100 for share in re.findall(r"([\d.]+)%", line)[:2])
    true_share = (junk.labels[junk.outcome.S] != 0).mean()
    assert true_share > 0.5
    assert junk.true_error < 0.06
    assert abs(estimate - true_share) < 0.25
    assert estimate < limit <= 1
    assert line in summary(junk, job.config)
    (certified,) = machine_lines(delivery.outcome, Config.certified())
    assert re.match(r"within S: at most [\d.]+% of the machine's labels are wrong \(95%\)", certified)
    wrong = (delivery.labels[delivery.outcome.S] != 0).mean()
    assert wrong <= float(re.search(r"([\d.]+)%", certified)[1]) / 100


def test_the_summary_of_an_uncertified_run_tells_how_often_such_runs_broke_epsilon(delivery):
    plain = drive(Job(n=2000, config=Config(epsilon=0.2)), SimulatedWorld(2000, MIDDLING))
    line = f"not certified: in simulations {BROKEN_IN_SIMULATIONS:.0%} of such runs exceeded epsilon"
    assert line in summary(plain, Config(epsilon=0.2, label_price=0.01))
    for other in (Config(safety_z=0.5), Config(budget=100.0), Config.certified()):
        assert "exceeded epsilon" not in summary(plain, other)
    assert "exceeded epsilon" not in summary(delivery, Config.certified(epsilon=0.2))
