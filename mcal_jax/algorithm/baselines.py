"""What MCAL is compared with, as algorithms over the same requests (section 5)."""

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from mcal_jax.algorithm import costs, machine_epsilon, planner
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.mcal import mcal
from mcal_jax.algorithm.objectives import Objective
from mcal_jax.algorithm.outcome import Algorithm, Outcome
from mcal_jax.algorithm.protocol import Indices, Label, MachineLabel, Measure, Request, Train, TrainResult, remove
from mcal_jax.algorithm.stopping import StopRule, stop
from mcal_jax.errors import McalError


def humans_only(n: int, config: Config) -> Algorithm:
    """Humans label everything. Yields one request, returns the Outcome."""
    X, none = np.arange(n), np.arange(0)
    R = (yield Label(X, n, "all", "residual")).indices
    return Outcome(n, none, none, none, R, 0.0, "none", "humans_only", costs.ledger(n, 0, 0, n, 0.0, config), (), ())


def naive_al(n: int, config: Config, architecture: str, delta: float) -> Algorithm:
    """Active learning as usual (section 5.1): ``delta`` |X| labels a step, by M(.), until the classifier may
    label all the rest within epsilon. It plans nothing and weighs no training cost.

    Raises McalError in budget mode, and for a pool too small for T and the seed.
    """
    if config.budget is not None:
        raise McalError("budget: naive active learning has no budget mode; leave it out")
    T, U = yield from _test_set(n, config, architecture)
    B = np.arange(0)
    history: list[TrainResult] = []
    stop = "pool_exhausted"
    while len(U):
        B, U = yield from _batch(n, config, architecture, delta, T, B, U, history)
        if len(U) and may_label_all(n, len(U), history[-1], config):
            stop = "constraint_met"
            break
    S = (yield MachineLabel(U, len(U), history[-1].model)).indices
    spent = costs.total_training_cost(history, architecture, config)
    bill = costs.ledger(n, len(T), len(B), 0, spent, config)
    return Outcome(n, T, B, S, remove(U, S), 1.0, architecture, stop, bill, (), tuple(history))


def trajectory(
    n: int, config: Config, architecture: str, delta: float, max_train_fraction: float, compare: tuple[str, ...] = ()
) -> Algorithm:
    """Active learning in steps of ``delta`` |X|, measured at each, until the classifier may label all the rest
    within epsilon or |B| has reached ``max_train_fraction`` |X|. Its labels and trainings are those of ``naive_al``.

    No price enters it, so it can be priced for any (``records.priced``): S is empty here, R all that is left.
    The last classifier also ranks U by every M(.) of ``compare``. Raises McalError as ``naive_al`` does for the pool.
    """
    T, U = yield from _test_set(n, config, architecture)
    B = np.arange(0)
    history: list[TrainResult] = []
    stop = ""
    while not stop:
        B, U = yield from _batch(n, config, architecture, delta, T, B, U, history)
        if not len(U):
            stop = "pool_exhausted"
            break
        if may_label_all(n, len(U), history[-1], config):
            stop = "constraint_met"
        elif len(B) + _step(n, delta) / 2 > max_train_fraction * n:
            stop = "far_enough"
        yield Measure(U, history[-1].model, ("margin", *(by for by in compare if stop and by != "margin")))
    R = (yield Label(U, len(U), "all", "residual")).indices
    spent = costs.total_training_cost(history, architecture, config)
    bill = costs.ledger(n, len(T), len(B), len(R), spent, config)
    return Outcome(n, T, B, np.arange(0), R, 0.0, architecture, stop, bill, (), tuple(history))


BatchRequest = Generator[Request, Any, tuple[Indices, Indices]]
"""A step that yields requests and returns two sets of images."""


def _test_set(n: int, config: Config, architecture: str) -> BatchRequest:
    """Humans label T; returns T and the images left."""
    planner.check(n, architecture, config)
    T = (yield Label(np.arange(n), planner.n_test(n, config), "random", "test")).indices
    return T, remove(np.arange(n), T)


def _batch(
    n: int,
    config: Config,
    architecture: str,
    delta: float,
    T: Indices,
    B: Indices,
    U: Indices,
    history: list[TrainResult],
) -> BatchRequest:
    """Humans label the next batch, the first at random; trains on all of B, adds to ``history``, returns B and U."""
    model = history[-1].model if history else None
    by = config.acquisition if history else "random"
    b = (yield Label(U, min(_step(n, delta), len(U)), by, "train", model)).indices
    B = np.union1d(B, b)
    history.append((yield Train(B, T, architecture)))
    return B, remove(U, b)


def _step(n: int, delta: float) -> int:
    return max(round(delta * n), 1)


def may_label_all(n: int, rest: int, fit: TrainResult, config: Config) -> bool:
    """Whether the classifier, by its mistakes on T, may label all ``rest`` images of U: Eqn 2 and ``machine_epsilon``
    hold."""
    one = np.ones(1)
    error = planner.constrained_error(n, rest, one, planner.eps_on_test(fit, one), fit.n_test, config)
    return bool(error[0] < config.epsilon and machine_epsilon.is_kept(error, n, rest, one, config)[0])


def without_active_learning(
    n: int,
    config: Config,
    architecture: str,
    stop_rule: StopRule = stop,
    objective: Objective | None = None,
    owned: Sequence[int] = (),
    owned_test: Sequence[int] = (),
) -> Algorithm:
    """MCAL with images for B drawn at random: what active learning itself is worth (section 5.2)."""
    config = config.model_copy(update={"acquisition": "random"})
    return mcal(n, config, architecture, stop_rule, objective, owned, owned_test)
