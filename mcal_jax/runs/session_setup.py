"""How the classifiers of a session are trained: chosen once, kept in its log, the same when it goes on."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.planner import n_test
from mcal_jax.algorithm.protocol import UNKNOWN, remove
from mcal_jax.data import Dataset
from mcal_jax.errors import McalError, at_least
from mcal_jax.runs.images import default_architectures, suitable_width
from mcal_jax.runs.runlog import RunLog
from mcal_jax.training.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from mcal_jax.worlds.trained import TrainedWorld


ProgressCallback = Callable[[int, int], None]
"""Called with (steps done, steps in all) while a classifier trains."""


class Setup(NamedTuple):
    """Architectures by name, filters of the first stage, recipe of training, and the seed of all that is random."""

    architectures: tuple[str, ...]
    width: int
    recipe: str
    seed: int


def setup(
    dataset: Dataset, architecture: Any, width: int | None, recipe: str | None, seed: int | None, begun: RunLog | None
) -> Setup:
    """The set-up of a session: what is given, else that of the log that it goes on from, else what suits the images.

    Raises McalError for what can't be, and where the log says otherwise.
    """
    at_least(1, width=width)
    at_least(0, seed=seed)
    several = list(architecture) if isinstance(architecture, list | tuple) else [architecture]
    several = [] if architecture is None else several
    names = tuple(ARCHITECTURES.check(ARCHITECTURES.name_of(one)) for one in several)
    given = None if seed is None else int(seed)
    if begun is None:
        width = suitable_width(dataset) if width is None else width
        return Setup(names or default_architectures(dataset), width, recipe or "fast", given or 0)
    there = recorded(begun)
    seed = there.seed if given is None else given
    here = Setup(names or there.architectures, width or there.width, recipe or there.recipe, seed)
    for name, value in here._asdict().items():
        if value != getattr(there, name):
            raise McalError(
                f"{begun.path} is the log of another session: {name} is {getattr(there, name)!r} there, {value!r} here"
            )
    return there


def recorded(log: RunLog) -> Setup:
    """The set-up that a log states. Raises McalError if it is not the log of a session."""
    given = log.run.get("session")
    if not given:
        raise McalError(f"{log.path} is no log of a session; go on with: mcal resume {log.path}")
    return Setup(**{**given, "architectures": tuple(given["architectures"])})


def with_owned(job: Job, dataset: Dataset, at_random: bool, seed: int, begun: RunLog | None) -> Job:
    """``job`` with the labels that its images come with, at no cost, or with those that it had when it was ``begun``.

    ``at_random`` says that their images are a random sample of all: T is then made of them, drawn with ``seed``, and B
    of what T does not need. Raises McalError where nothing is known, or the log says otherwise.
    """
    if begun is not None:
        if at_random and not begun.job.owned_test:
            raise McalError(f"{begun.path}: this job took no known labels for T: known_at_random is for a new one")
        return job.model_copy(update={"owned": begun.job.owned, "owned_test": begun.job.owned_test})
    known = np.empty(0, np.int64) if dataset.given is None else np.flatnonzero(dataset.given != UNKNOWN)
    if not at_random:
        return job.model_copy(update={"owned": tuple(known.tolist())})
    if not len(known):
        raise McalError(f"known_at_random: no label of '{dataset.name}' is known")
    wanted = min(n_test(job.n - len(known), job.config), len(known))
    test = np.sort(np.random.default_rng(seed).choice(known, wanted, replace=False))
    return job.model_copy(update={"owned": tuple(remove(known, test).tolist()), "owned_test": tuple(test.tolist())})


def trained_world(
    dataset: Dataset,
    given: Setup,
    ranking: str,
    on_progress: ProgressCallback | None = None,
    *,
    prepare: bool = True,
) -> "TrainedWorld":
    """The world that trains on the images; to ``prepare`` is to try every net first. Raises McalError."""
    from mcal_jax.training.cache import enable_compilation_cache
    from mcal_jax.worlds.trained import TrainedWorld

    enable_compilation_cache()
    settings: dict[str, Any] = dict(width=given.width, recipe=given.recipe, ranking=ranking, seed=given.seed)
    world = TrainedWorld(dataset, on_progress=on_progress, **settings)
    if prepare:
        world.prepare(given.architectures)
    return world
