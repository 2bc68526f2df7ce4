"""What is shown of an object fits into a line, and in a notebook into a small table."""

import pytest
from conftest import MIDDLING

from mcal_jax import Config, PerHour
from mcal_jax.algorithm.job import Job
from mcal_jax.runs.driver import drive
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
