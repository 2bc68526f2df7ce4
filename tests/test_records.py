"""Trajectories and MCAL runs read from their logs, and priced: against the algorithm itself, and by hand."""

import numpy as np
import pytest
from conftest import EASY, HOPELESS, MIDDLING, simulate, trajectory
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mcal_jax import records, runs, sweeps
from mcal_jax.runlog import RunLog, drive
from mcal_jax.settings import Run, describe
from mcal_jax.sweeps import Planned
from mcal_jax.types import MEASURES, Config, Job, McalError
from mcal_jax.worlds.simulated import SimulatedWorld


@pytest.mark.parametrize("price", [0.04, 0.003])
@pytest.mark.parametrize("epsilon", [0.05, 0.15, 0.3])
def test_a_trajectory_priced_is_naive_active_learning_to_the_cent(price, epsilon):
    """One trajectory, made without a price, gives the bill of a live run at every price and bound."""
    one = trajectory(EASY, delta=0.1, far=0.9, config=Config(epsilon=1e-6, fine_theta=True))
    bill = records.priced(one, label_price=price, epsilon=epsilon)
    live = simulate(Config(label_price=price, epsilon=epsilon), EASY, algorithm="naive_al", delta=0.1).outcome
    assert bill.dollars == pytest.approx(live.ledger.total)
    assert bill.training == pytest.approx(live.ledger.training)
    assert (len(live.B), len(live.S)) == (bill.B, bill.S)
    assert bill.savings == pytest.approx(live.ledger.savings)


def test_the_true_error_of_a_bill_is_what_the_world_knows():
    one = trajectory(EASY, far=0.9, config=Config(epsilon=1e-6))
    bill = records.priced(one, epsilon=0.1)
    assert bill.met
    assert bill.true_error == pytest.approx(float(EASY.wrong_share(np.array(1.0), bill.B)) * bill.S / one.n, rel=0.02)


@given(label_price=st.floats(1e-4, 1), epsilon=st.floats(0.01, 0.5), seed=st.integers(0, 20))
@hypothesis_settings(max_examples=40)
def test_hindsight_never_costs_more_than_people_and_never_more_than_the_rule(label_price, epsilon, seed):
    one = trajectory(MIDDLING, seed=seed, far=0.6, config=Config(epsilon=1e-6))
    changes = {"label_price": label_price, "epsilon": epsilon}
    rule, best = records.priced(one, **changes), records.priced(one, best_stop=True, **changes)
    assert best.dollars <= rule.dollars + 1e-9
    assert one.n - best.B - one.fits[0].n_test >= best.S


def test_a_trajectory_that_never_may_label_all_the_rest_labels_what_it_may_at_its_end():
    one = trajectory(MIDDLING, far=0.3)
    bill = records.priced(one)
    assert not bill.met
    assert one.sizes[-1] == bill.B
    hopeless = records.priced(trajectory(HOPELESS, far=0.3), epsilon=1e-4)
    assert 0.02 * one.n > hopeless.S
    assert hopeless.savings < 0  # people label nearly all, and the training is paid too


@pytest.fixture
def logged(tmp_path, monkeypatch):
    """A trajectory and an MCAL run as logs of a project, and what plans them."""
    for module in (runs,):
        monkeypatch.setattr(module, "results", lambda: tmp_path)
    made = []
    for name, run, config in (
        ("trajectories", describe("cifar10", algorithm="trajectory", delta=0.1, far=0.3), Config()),
        ("mcal", describe("cifar10", epsilon=0.1), Config(epsilon=0.1)),
    ):
        job = Job(algorithm=run.algorithm, n=3000, config=config, delta=run.delta, far=run.far)
        log = RunLog.create(runs.log_path(run, "smoke"), job, run.model_dump(mode="json"))
        made.append((name, run, drive(job, SimulatedWorld(3000, MIDDLING), log)))
        log.close()
    plans = {name: [Planned("cifar10", run)] for name, run, _ in made}
    monkeypatch.setattr(records, "planned", lambda sweep, profile, **wanted: plans[sweep])
    return {name: (run, finished) for name, run, finished in made}


def test_logs_come_back_as_records(logged):
    (one,) = records.trajectories("smoke")
    assert list(one.sizes) == [300, 600, 900]
    assert [m.n for m in one.measured] == [3000 - 150 - size for size in (300, 600, 900)]
    assert all(len(m.errors["margin"]) == MEASURES + 1 for m in one.measured)
    (mcal,) = records.labellings("smoke")
    outcome = logged["mcal"][1].outcome
    assert (mcal.B, mcal.S, mcal.stop) == (len(outcome.B), len(outcome.S), outcome.stop)
    assert mcal.ledger == outcome.ledger
    assert mcal.true_error == logged["mcal"][1].true_error
    assert [fit.size for fit in mcal.fits] == [fit.size for fit in outcome.history]


def test_a_missing_or_unfinished_run_is_named_with_the_command_that_makes_it(logged):
    path = runs.log_path(logged["mcal"][0], "smoke")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(McalError, match=f"run {path.name} is not finished; make it with: mcal sweep mcal --profile"):
        records.labellings("smoke")
    path.unlink()
    with pytest.raises(McalError, match=f"run {path.name} is missing"):
        records.labellings("smoke")


def test_scale_says_profile_seeds_images_width_and_recipe():
    several = [trajectory(seed=seed) for seed in (0, 1, 2)]
    text = records.scale(several, "laptop")
    for word in ("profile laptop", "seeds 0 to 2", "CIFAR-10", "28x28", "width 64", "recipe fast"):
        assert word in text


def test_scale_tells_how_many_seeds_where_they_differ():
    curves = [trajectory(seed=seed) for seed in (0, 1, 2)] + [trajectory(seed=0, net="cnn18")]
    assert "1 to 3 seeds" in records.scale(curves, "laptop")
    assert "1 to 3 seeds" in records.short_scale(curves, "laptop")
    other = [trajectory(seed=0), trajectory(seed=1, data_set="cifar100")]
    assert "1 seeds each" not in records.scale(other[:1], "laptop")
    assert "1 seed each" in records.scale(other, "laptop")


def test_grouping_reaches_into_the_run():
    several = [trajectory(seed=seed, delta=delta) for seed in (0, 1) for delta in (0.1, 0.2)]
    groups = records.grouped(several, "delta", "seed")
    assert set(groups) == {(0.1, 0), (0.2, 0), (0.1, 1), (0.2, 1)}
    assert all(
        isinstance(one.run, Run) and sweeps.Planned("cifar10", one.run).matches(delta=one.delta) for one in several
    )


def test_the_mean_of_equal_values_is_that_value():
    assert sum([0.1] * 3) / 3 > 0.1
    assert records.spread([0.1] * 3)[:3] == (0.1, 0.1, 0.1)
