"""One conformance suite for all worlds, and what the simulated one promises of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from conftest import EASY, MIDDLING, curves, same, simulate
from hypothesis import given
from hypothesis import strategies as st

from mcal_jax.algorithm import costs, planner
from mcal_jax.algorithm.config import Config, PerImageEpoch
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import (
    Label,
    MachineLabel,
    Measure,
    Relabel,
    Train,
    TrainResult,
    Verify,
    World,
)
from mcal_jax.annotators.ground_truth import GroundTruth
from mcal_jax.annotators.noisy import Noisy, uniform
from mcal_jax.data import from_arrays
from mcal_jax.errors import McalError
from mcal_jax.runs import driver
from mcal_jax.runs.driver import drive
from mcal_jax.runs.runlog import RunLog
from mcal_jax.testing import WORLD_CHECKS, WorldRun, check_world
from mcal_jax.testing.worlds import check_choices, check_repeatable, check_resumable
from mcal_jax.worlds.simulated import THETA_GRID, Analytic, Recorded, SimulatedWorld, chance, clairvoyant
from mcal_jax.worlds.trained import TrainedWorld

QUICK = Config(theta_step=0.25)
JOB = Job(n=600, config=QUICK)


class Setting(NamedTuple):
    """A job, a fresh world to do it in, and the log that the world lives on, if any."""

    job: Job
    world: World
    log: RunLog | None = None


def simulated(persistence: float) -> Callable[[Path], Setting]:
    return lambda folder: Setting(JOB, SimulatedWorld(600, MIDDLING, seed=3, persistence=persistence))


def recorded(folder: Path) -> Setting:
    curve = Recorded(simulate(QUICK, MIDDLING, 3000).outcome.history)
    return Setting(JOB, SimulatedWorld(600, curve, seed=3))


def certified(folder: Path) -> Setting:
    job = Job(n=600, config=QUICK.model_copy(update={"certify": 0.9}))
    return Setting(job, SimulatedWorld(600, MIDDLING, seed=3))


def by_class(folder: Path) -> Setting:
    job, world, _ = certified(folder)
    config = job.config.model_copy(update={"class_epsilon": 0.3, "machine_epsilon": None})
    return Setting(job.model_copy(update={"config": config}), world)


def trained_by_class(folder: Path) -> Setting:
    job, world, _ = trained_certified(folder)
    config = job.config.model_copy(update={"class_epsilon": 0.4, "epsilon": 0.2})
    return Setting(job.model_copy(update={"config": config}), world)


def erring(folder: Path) -> Setting:
    job = Job(n=600, config=QUICK.model_copy(update={"certify": 0.9, "repeat": 0.5}))
    return Setting(job, SimulatedWorld(600, MIDDLING, seed=3, noise=0.02))


def trained_erring(folder: Path) -> Setting:
    job, world, _ = trained_certified(folder)
    humans = Noisy(world.truth, 2, uniform(0.1, 2), votes=3, seed=3)
    config = job.config.model_copy(update={"repeat": 0.5})
    return Setting(job.model_copy(update={"config": config}), TrainedWorld(world.dataset, humans, width=2, seed=3))


def trained_certified(folder: Path) -> Setting:
    job, world, _ = trained(folder)
    return Setting(job.model_copy(update={"config": job.config.model_copy(update={"certify": 0.9})}), world)


def race(folder: Path) -> Setting:
    job = Job(n=600, architectures=("cnn18", "resnet18"), config=QUICK)
    return Setting(job, SimulatedWorld(600, {"cnn18": MIDDLING, "resnet18": EASY}, seed=3))


def trajectory(folder: Path) -> Setting:
    job = Job(
        algorithm="trajectory", n=600, config=QUICK, delta=0.1, max_train_fraction=0.3, compare=("random", "entropy")
    )
    return Setting(job, SimulatedWorld(600, MIDDLING, seed=3))


def trained_trajectory(folder: Path) -> Setting:
    job, world, _ = trained(folder)
    every = ("margin", "entropy", "least_confidence", "kcenter", "random")
    changes = {"algorithm": "trajectory", "delta": 0.1, "max_train_fraction": 0.2, "compare": every}
    tight = {"config": job.config.model_copy(update={"epsilon": 1e-6})}
    return Setting(job.model_copy(update=changes | tight), world)


def replay(folder: Path) -> Setting:
    path = folder / "replayed.jsonl"
    if not path.exists():
        log = RunLog.create(path, JOB, {})
        drive(JOB, SimulatedWorld(600, MIDDLING, seed=3), log)
        log.close()
    log = RunLog.read(path)
    return Setting(JOB, driver.RecordedWorld(), log)


def trained(folder: Path) -> Setting:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    images = rng.integers(0, 150, (300, 8, 8)) + 60 * labels[:, None, None]
    images = from_arrays(images.astype(np.uint8), labels)
    config = QUICK.model_copy(update={"test_fraction": 0.1, "seed_fraction": 0.05})
    return Setting(Job(n=300, config=config), TrainedWorld(images, GroundTruth(images), width=2, seed=3))


# A new world joins the suite by a line here: a function from an empty folder to a Setting, its world fresh at
# every call and its job small. Those in LIVE answer by themselves, and so can be interrupted.
LIVE = {
    "simulated, fresh noise": simulated(0.0),
    "simulated, lasting noise": simulated(1.0),
    "simulated from a recorded curve": recorded,
    "simulated, certified": certified,
    "simulated, certified by class": by_class,
    "simulated race": race,
    "simulated trajectory": trajectory,
    "trained": trained,
    "trained, certified": trained_certified,
    "trained, certified by class": trained_by_class,
    "simulated, humans err": erring,
    "trained, humans err": trained_erring,
    "trained trajectory": trained_trajectory,
}
WORLDS = {**LIVE, "replay": replay}


@pytest.fixture(scope="module", params=WORLDS)
def done(request, tmp_path_factory):
    """A whole run in each world."""
    folder = tmp_path_factory.mktemp("world")

    def open_setting():
        return WORLDS[request.param](folder)

    job, world, log = open_setting()
    steps = []
    finished = drive(job, world, log, lambda _, *step: steps.append(step))
    return WorldRun(job, lambda: open_setting().world, steps, finished)


LIVE_CHECKS = (check_repeatable, check_choices, check_resumable)


@pytest.mark.parametrize("check", [check for check in WORLD_CHECKS if check not in LIVE_CHECKS])
def test_a_world_answers_as_the_protocol_asks(done, check):
    check(done)


@pytest.mark.parametrize("done", LIVE, indirect=True)
@pytest.mark.parametrize("check", LIVE_CHECKS)
def test_a_live_world_is_repeatable_and_can_be_resumed(done, check):
    check(done)


def test_every_kind_of_request_is_checked(done):
    """A check is worth something only where its requests were made."""
    job, asked = done.job, {type(request) for request, _ in done.steps}
    wanted = {Label, Train, Measure if job.algorithm == "trajectory" else MachineLabel}
    wanted |= {Verify} if job.config.certify else set()
    wanted |= {Relabel} if job.config.repeat else set()
    assert asked == wanted
    assert sum(isinstance(request, Train) for request, _ in done.steps) > 1
    limited = [request.limits is not None for request, _ in done.steps if isinstance(request, MachineLabel)]
    assert any(limited) == all(limited or [False]) == bool(job.config.class_epsilon)


def test_a_measurement_knows_the_error_of_all(done):
    for request, answer in done.steps:
        if isinstance(request, Measure):
            assert answer.eps(1.0) == pytest.approx(answer.errors["margin"][-1] / answer.n)


def test_a_replay_gives_the_same_twice(tmp_path):
    first, second = (drive(*replay(tmp_path)) for _ in range(2))
    assert same(first.outcome, second.outcome)
    assert np.array_equal(first.labels, second.labels)


class Wrong(SimulatedWorld):
    """A simulated world with one fault."""

    def __init__(self, change):
        super().__init__(600, MIDDLING, seed=3)
        self.change, self.answered = change, 0

    def answer(self, request, number):
        self.answered += 1
        return self.change(self, request, super().answer(request, number))


def of_kind(kind, **changes):
    """Answers to ``kind`` with some fields computed anew."""

    def change(world, request, answer):
        if not isinstance(request, kind):
            return answer
        return answer._replace(**{key: new(world, answer) for key, new in changes.items()})

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (of_kind(Label, labels=lambda w, a: a.labels - 1), "a label is negative"),
        (of_kind(Label, labels=lambda w, a: a.labels.astype(float)), "not int64 and int32"),
        (of_kind(Label, indices=lambda w, a: a.indices[::-1]), "not sorted"),
        (of_kind(Train, wrong=lambda w, a: a.wrong[::-1]), "positions of mistakes on T are not sorted"),
        (of_kind(Train, size=lambda w, a: a.size + 1), r"\|B\| and \|T\| are"),
        (of_kind(Train, images=lambda w, a: 0), "processed 0 images"),
        (of_kind(Verify, wrong=lambda w, a: ~a.wrong), "wrong is not where label and human differ"),
        (of_kind(Verify, elsewhere=lambda w, a: a.elsewhere + 1), "elsewhere is"),
        (of_kind(MachineLabel, labels=lambda w, a: a.labels + np.int32(w.answered % 2)), "after a resume"),
    ],
)
def test_a_fault_of_a_world_is_found_and_described(change, complaint):
    job = Job(n=600, config=QUICK.model_copy(update={"certify": 0.9}))
    check_world(lambda: SimulatedWorld(600, MIDDLING, seed=3), job)
    with pytest.raises((AssertionError, McalError), match=complaint):
        check_world(lambda: Wrong(change), job)


class Elsewhere(SimulatedWorld):
    """A world whose ``choose`` asks humans about other images than ``answer`` has them label."""

    is_answering = False

    def answer(self, request, number):
        self.is_answering = True
        answer = super().answer(request, number)
        self.is_answering = False
        return answer

    def choose(self, request, number):
        return super().choose(request, number if self.is_answering else number + 1)


class RetiresAll(SimulatedWorld):
    def retire(self, request, chosen):
        return chosen if request.test is None else request.test


@pytest.mark.parametrize(("kind", "complaint"), [(Elsewhere, "choose gives other"), (RetiresAll, "retire gives other")])
def test_a_world_that_asks_humans_about_other_images_than_it_answers_is_found(kind, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_world(lambda: kind(600, MIDDLING, seed=3), Job(n=600, config=QUICK))


# ---------------------------------------------------------------------------------------------------------
# The analytic curve


@given(curves, st.integers(1, 10**6))
def test_the_wrong_share_rises_from_0_and_never_exceeds_theta(curve, size):
    share = curve.wrong_share(THETA_GRID, size)
    assert share[0] == 0
    assert (np.diff(share) >= -1e-12).all()
    assert (share <= THETA_GRID + 1e-12).all()
    # A margin: the farther along L(.), the likelier a mistake.
    assert (np.diff(share, 2) >= -1e-9).all()


@given(curves, st.integers(1, 10**6), st.integers(1, 1000))
def test_the_chance_of_a_mistake_adds_up_to_the_wrong_share(curve, size, upto):
    u = (np.arange(upto) + 0.5) / 1000
    p = chance(curve, u, size)
    assert ((p >= -1e-9) & (p <= 1 + 1e-9)).all()
    assert p.sum() / 1000 == pytest.approx(curve.wrong_share(np.array([upto / 1000]), size)[0], abs=1e-9)


def test_the_error_of_all_is_eqn_3_plus_the_floor():
    curve = Analytic(alpha=3.0, gamma=0.5, k=5000.0, floor=0.05, quality=1.5)
    expected = 3.0 * 900**-0.5 * np.exp(-900 / 5000) + 0.05
    assert curve.wrong_share(np.array([0.5, 1.0]), 900) == pytest.approx([expected * 0.5**2.5, expected])


def test_a_better_margin_keeps_mistakes_to_the_end():
    for quality in (0.1, 1.0, 3.0):
        half, whole = Analytic(quality=quality).wrong_share(np.array([0.5, 1.0]), 1000)
        assert half == pytest.approx(whole / 2 ** (quality + 1))


# ---------------------------------------------------------------------------------------------------------
# The noise of a simulated world


def errors_of(persistence, theta, seeds=400, n_test=400, size=500):
    train, test = np.arange(size), np.arange(size, size + n_test)
    fits = [
        SimulatedWorld(1000, MIDDLING, seed=s, persistence=persistence).answer(Train(train, test, "resnet18"), 4)
        for s in range(seeds)
    ]
    return np.array([fit.errors(theta) for fit in fits])


@pytest.mark.parametrize("persistence", [0.0, 0.5, 1.0])
def test_mistakes_on_T_are_binomial_about_the_curve(persistence):
    eps = MIDDLING.wrong_share(np.array([1.0]), 500)[0]
    errors = errors_of(persistence, 1.0)
    variance = 400 * eps * (1 - eps)
    assert errors.mean() == pytest.approx(400 * eps, abs=4 * np.sqrt(variance / 400))
    # The variance of a sample of 400 is right within 4 sqrt(2 / 399).
    assert errors.var(ddof=1) == pytest.approx(variance, rel=0.29)


def test_mistakes_among_the_confident_half_of_T_follow_the_curve():
    share = MIDDLING.wrong_share(np.array([0.5]), 500)[0]
    errors = errors_of(0.5, 0.5)
    assert errors.mean() == pytest.approx(400 * share, abs=4 * np.sqrt(400 * share / 400) + 0.3)


def test_with_lasting_noise_a_better_classifier_errs_on_fewer_of_the_same_images():
    def wrongs(persistence):
        world = SimulatedWorld(5000, MIDDLING, persistence=persistence)
        test = np.arange(4000, 5000)
        return [world.answer(Train(np.arange(s), test, "resnet18"), i).wrong for i, s in enumerate((100, 100, 2000))]

    first, again, later = wrongs(1.0)
    assert np.array_equal(first, again)
    assert 0 < len(later) < len(first)
    assert set(later) < set(first)
    first, again, _ = wrongs(0.0)
    assert not np.array_equal(first, again)
    assert len(np.setdiff1d(first, again)) > 0.2 * len(first)


def test_the_machine_errs_on_S_as_the_curve_says():
    world = SimulatedWorld(50000, MIDDLING, seed=1)
    train, pool = np.arange(500), np.arange(500, 40500)
    model = world.answer(Train(train, np.arange(40500, 41000), "resnet18"), 3).model
    for number, theta in enumerate((0.3, 0.7, 1.0), start=4):
        labels = world.answer(MachineLabel(pool, int(theta * 40000), model), number).labels
        expected = 40000 * MIDDLING.wrong_share(np.array([theta]), 500)[0]
        assert (labels != 0).sum() == pytest.approx(expected, abs=5 * np.sqrt(expected))


def test_seeds_and_request_numbers_make_different_worlds():
    request = Label(np.arange(1000), 100, "random", "test")
    one = SimulatedWorld(1000, MIDDLING, seed=1).answer(request, 0).indices
    assert not np.array_equal(one, SimulatedWorld(1000, MIDDLING, seed=2).answer(request, 0).indices)
    assert not np.array_equal(one, SimulatedWorld(1000, MIDDLING, seed=1).answer(request, 1).indices)


def test_a_training_reports_its_images_and_seconds():
    world = SimulatedWorld(1000, MIDDLING, epochs=30, seconds_per_image=0.01)
    fit = world.answer(Train(np.arange(50), np.arange(50, 90), "resnet18"), 0)
    assert (fit.images, fit.seconds) == (1500, pytest.approx(15.0))


# ---------------------------------------------------------------------------------------------------------
# A recorded curve


def test_a_recorded_curve_is_exact_where_it_was_recorded():
    history = simulate(Config(), MIDDLING, 5000).outcome.history
    curve = Recorded(history)
    assert len(history) > 3
    for fit in history:
        assert curve.wrong_share(THETA_GRID, fit.size) == pytest.approx(fit.errors(THETA_GRID) / fit.n_test, abs=1e-12)


def test_a_recorded_curve_is_linear_in_log_B_between_and_constant_outside():
    low, high = TrainResult(0, 100, 10, np.array([1, 4, 8]), 0, 0.0), TrainResult(1, 400, 10, np.array([8]), 0, 0.0)
    curve, at = Recorded((low, high)), np.array([0.5, 1.0])
    assert curve.wrong_share(at, 200) == pytest.approx([0.1, 0.2])
    assert curve.wrong_share(at, 5) == pytest.approx([0.2, 0.3])
    assert curve.wrong_share(at, 9000) == pytest.approx([0.0, 0.1])
    assert Recorded((low,)).wrong_share(at, 300) == pytest.approx([0.2, 0.3])


@given(curves, st.floats(0.01, 0.2), st.floats(0, 5e-5))
def test_the_clairvoyant_keeps_the_bound_and_never_pays_more_than_humans_cost(curve, epsilon, price):
    config = Config(epsilon=epsilon, training_price=PerImageEpoch(dollars=price))
    best = clairvoyant(3000, curve, config)
    assert best.cost <= 3000 * 0.04
    assert best.size > 0  # a hundredth of X may be all wrong, and pays for the smallest training
    rest = 3000 - planner.n_test(3000, config) - best.size
    machine = int(best.theta * rest + 1e-6)
    share = curve.wrong_share(np.array([best.theta]), best.size)[0]
    assert machine / 3000 * share / best.theta < epsilon
    bill = costs.ledger(3000, 150, best.size, rest - machine, 200 * price * best.size, config)
    assert best.cost == pytest.approx(bill.total)


@pytest.mark.parametrize("epsilon", [0.02, 0.05, 0.1])
def test_who_must_find_out_pays_more_than_the_clairvoyant_unless_the_bound_is_broken(epsilon):
    config, kept = Config(epsilon=epsilon), 0
    for seed in range(4):
        outcome = simulate(config, MIDDLING, 4000, seed).outcome
        rest = len(outcome.S) + len(outcome.R)
        share = MIDDLING.wrong_share(np.array([len(outcome.S) / rest]), len(outcome.B))[0] * rest / 4000
        if share < epsilon:
            kept += 1
            # The clairvoyant searches a grid.
            assert outcome.ledger.total > 0.998 * clairvoyant(4000, MIDDLING, config).cost
    assert kept >= 2
