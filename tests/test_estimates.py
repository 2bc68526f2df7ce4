"""What a job would cost: simulated runs with an assumed law, or with that of a recorded run."""

import numpy as np
import pytest
from conftest import EASY, HOPELESS, MIDDLING

from mcal_jax import Config, McalError, plan
from mcal_jax.algorithm.job import Job
from mcal_jax.runs.driver import drive
from mcal_jax.runs.runlog import RunLog
from mcal_jax.worlds.simulated import SimulatedWorld


def test_an_easier_law_costs_less_and_a_hopeless_one_as_much_as_humans():
    config = Config.certified(theta_step=0.25)
    easy = plan(20_000, config, law=(3.0, 0.5), runs=3)
    hard = plan(20_000, config, law=(3.0, 0.3), runs=3)
    hopeless = plan(2000, config, law=HOPELESS, runs=3)
    assert easy.cost.max() < hard.cost.min()
    assert (hopeless.savings <= 0.05).all()  # Eqn 2 lets epsilon of all labels be wrong
    assert (easy.error <= 0.07).all()


def test_each_run_is_one_of_the_algorithm():
    config = Config(epsilon=0.1)
    estimate = plan(3000, config, law=EASY, runs=2, seed=5)
    straight = [drive(Job(n=3000, config=config), SimulatedWorld(3000, EASY, seed=5 + k)) for k in range(2)]
    assert estimate.cost.tolist() == [one.outcome.ledger.total for one in straight]
    assert estimate.to_frame()["human"].tolist() == [3000 - len(one.outcome.S) for one in straight]


def test_the_law_of_a_recorded_run(tmp_path):
    job = Job(n=30_000)
    log = RunLog.create(tmp_path / "run.jsonl", job, {})
    live = drive(job, SimulatedWorld(30_000, MIDDLING, seed=1), log)
    log.close()
    estimate = plan(30_000, Config(), law=tmp_path / "run.jsonl", runs=5)
    assert np.median(estimate.cost) == pytest.approx(live.outcome.ledger.total, rel=0.1)
    assert len(repr(estimate)) < 150


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"law": (3.0, -1)}, "law: two numbers"),
        ({"law": (3.0,)}, "law: two numbers"),
        ({"law": "nowhere.jsonl"}, "can't read nowhere.jsonl"),
        ({"runs": 0}, "runs: at least 1"),
        ({"n": 1}, "the pool holds 1"),
    ],
)
def test_what_cannot_work_is_refused(changes, says):
    with pytest.raises(McalError, match=says):
        plan(**{"n": 1000, "law": (3.0, 0.4), "runs": 1, **changes})
