"""Checks that plug-ins keep their contracts, for your own tests.

    from mcal_jax import testing

    def test_my_scores():
        testing.check_acquisition(my_scores)

A check that fails raises AssertionError or McalError, which says what is wrong. ``check_world`` runs a whole job and
is made of ``WORLD_CHECKS``, each of which can be run alone on a ``WorldRun``.
"""

from typing import Any

import numpy as np

from mcal_jax.algorithm import acquisition, stopping
from mcal_jax.algorithm.acquisition import ACQUISITIONS, Acquisition, PoolView, ScoreFunction, Scores
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.stopping import STOP_RULES, StopPredicate
from mcal_jax.runs.driver import drive
from mcal_jax.testing.worlds import WORLD_CHECKS, WorldRun, check_world, require, run_world
from mcal_jax.worlds.simulated import Analytic, SimulatedWorld

__all__ = [
    "WORLD_CHECKS",
    "WorldRun",
    "check_acquisition",
    "check_architecture",
    "check_stop_rule",
    "check_world",
    "run_world",
]


def check_architecture(architecture: Any, **settings: Any) -> None:
    """Whether an architecture is what ``mcal_jax.training.architectures`` asks for; see
    ``mcal_jax.training.conformance.check_architecture``, which has the ``settings``. Loads JAX."""
    from mcal_jax.training import conformance

    conformance.check_architecture(architecture, **settings)


# ---------------------------------------------------------------------------------------------------------
# Acquisition functions


def check_acquisition(function: str | ScoreFunction | Acquisition) -> None:
    """Whether M(.) selects as many different images as asked for, the same ones twice, and changes none of its inputs;
    and whether its score, if it has one, is the same for an image whatever else is in the pool.

    ``function`` is a score function, an Acquisition, or the name of one. Raises McalError or AssertionError.
    """
    name = ACQUISITIONS.name_of(function)
    for size in (1, 2, 7, 50):
        for n in sorted({0, 1, size // 2, size}):
            first, second = (acquisition.select(name, n, _pool(size)) for _ in range(2))
            require(
                np.array_equal(first, second),
                f"acquisition function {name!r} selected {first} and then {second} from the same pool of {size}",
            )
    if score := acquisition.find(name).score:
        _check_score(name, score, _pool(50).scores)


def _check_score(name: str, score: ScoreFunction, scores: Scores) -> None:
    """Whether each of a few images has the same score where it stands alone."""
    together = np.asarray(score(scores), float)
    for at in range(0, len(together), 7):
        alone = np.asarray(score(Scores(*(column[at : at + 1] for column in scores))), float)
        require(
            np.allclose(alone, together[at], equal_nan=True),
            f"acquisition function {name!r} scores an image by what else is in the pool, so images of T can't be "
            "compared with those of a batch: score each image by itself, or write an Acquisition",
        )


def _pool(size: int) -> PoolView:
    """A pool of ``size`` images of four classes, some of them alike; its arrays can't be written to."""
    rng = np.random.default_rng(size)
    probabilities = rng.dirichlet(np.ones(4), size)
    probabilities[1::5] = probabilities[::5][: len(probabilities[1::5])]
    ranked = np.sort(probabilities, axis=1)
    columns = (ranked[:, -1] - ranked[:, -2], -(ranked * np.log(ranked)).sum(axis=1), ranked[:, -1])
    scores = Scores(probabilities.argmax(axis=1).astype(np.int32), *(column.astype(np.float32) for column in columns))
    features, labelled = (rng.normal(size=(count, 3)).astype(np.float32) for count in (size, 4))
    for array in (*scores, features, labelled):
        array.flags.writeable = False
    return PoolView(
        size,
        scores=scores,
        features=features,
        labelled_features=labelled,
        rng=np.random.default_rng(0),
        k_center=_k_center,
    )


def _k_center(*inputs: Any) -> np.ndarray:
    from mcal_jax.training.kcenter import k_center  # loads JAX, so only where it is needed

    return k_center(*inputs)


# ---------------------------------------------------------------------------------------------------------
# Stop rules


def check_stop_rule(rule: str | StopPredicate) -> None:
    """Whether a stop rule answers true or false, the same twice, for plans of every kind; and whether runs end by it.

    ``rule`` is a function of (|X|, plans, configuration), or the name of one. Raises McalError or AssertionError.
    """
    name, n = STOP_RULES.name_of(rule), 1000
    predicate = STOP_RULES[name]
    for config in (Config(), Config.paper(), Config.certified(), Config(budget=25.0), Config(label_price=0.003)):
        plans = drive(Job(n=n, config=config), SimulatedWorld(n, Analytic())).outcome.plans
        for count in range(1, len(plans) + 1):
            first, second = (stopping.fires(name, predicate, n, plans[:count], config) for _ in range(2))
            require(first == second, f"stop rule {name!r} returned {first}, and then {second} for the same plans")
        outcome = drive(Job(n=n, config=config, stop_rules=(name,)), SimulatedWorld(n, Analytic())).outcome
        require(len(outcome.plans) <= len(plans), f"stop rule {name!r} lets a run go on that the default rules stop")
