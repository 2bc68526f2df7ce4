"""Training a net from scratch on the labelled set B, and scoring the pool with it (sections 4 and 5)."""

import contextlib
import copy
import itertools
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mcal_jax.algorithm.acquisition import Scores
from mcal_jax.errors import McalError
from mcal_jax.training import devices, sharding
from mcal_jax.training.architectures import reads_features
from mcal_jax.training.batches import chunks, minibatches
from mcal_jax.training.devices import Backend
from mcal_jax.training.nets import build, name_of
from mcal_jax.training.outline import check_memory, largest_activation, outline
from mcal_jax.training.pool import Pool
from mcal_jax.training.programs import (
    Ensemble,
    Model,
    State,
    key_of,
    program_of,
    run_steps,
    run_steps_of_many,
    split,
)
from mcal_jax.training.recipe import Recipe
from mcal_jax.training.recipes import RECIPES
from mcal_jax.training.scoring import Member, members_of, score_batch, stream
from mcal_jax.training.streaming import AnyPool, Streamed, any_pool, bytes_on_device, minibatches_at_once, serve

ProgressCallback = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""
REDUCTIONS = (1.0, 1 / 4, 1 / 16, 1 / 64)
"""Factors on the learning rate that are tried in turn where the loss does not stay finite."""
LESS_MEMORY = "a smaller width, or smaller images (downsample)"


class Attempt(NamedTuple):
    """A training: to the end, or until no loss was finite any more."""

    state: State
    finite: np.ndarray
    """Whether the loss stayed finite: a truth value, or one for each net."""
    steps: int
    seconds: float


class Trainer:
    """Trains nets of one architecture on parts of one pool of images or features.

    ``images`` uint8 [n, h, w, c], or features, float32 or float16 [n, d], for an architecture that reads those, or the
    ``pool`` of another trainer; ``architecture``: a name, or what builds a net
    (see ``mcal_jax.training.architectures``); ``width``: filters of the first stage; ``recipe``: a name or a Recipe;
    ``backend`` (default: by the device): precision, layout, and how much at once.
    Raises McalError for images of another type or shape, for an unknown architecture or recipe, for a net that this
    machine can't hold, and if JAX is set to use a device that is not there.
    """

    @devices.our_defaults()
    def __init__(
        self,
        images: np.ndarray | AnyPool,
        classes: int,
        *,
        architecture: str | Callable[..., Any] = "resnet18",
        width: int = 64,
        recipe: str | Recipe = "fast",
        backend: Backend | None = None,
    ):
        given = images if isinstance(images, Pool | Streamed) else None
        array: Any = given.images if given else images
        of_features = reads_features(architecture)
        wanted = "float32 or float16 [n, d]" if of_features else "uint8 [n, h, w, c]"
        dtypes, axes = (("float32", "float16"), 2) if of_features else (("uint8",), 4)
        if array.dtype.name not in dtypes or array.ndim != axes or not array.size:
            what = "features" if of_features else "images"
            raise McalError(f"{what} must be {wanted}, not {array.dtype} {list(array.shape)}")
        self.recipe: Recipe = RECIPES[recipe] if isinstance(recipe, str) else recipe
        self.architecture, self.width = architecture, width
        self.classes, self.backend = classes, backend or devices.default()
        shape = array.shape[1:]
        settings: dict[str, Any] = {"classes": classes, "channels": shape[-1], "width": width, "backend": self.backend}
        self.build: Callable[..., Any] = partial(build, architecture, **settings)
        on = f"on {shape[0]} features" if of_features else f"of width {width} on images of {'x'.join(map(str, shape))}"
        self.description = f"{name_of(architecture)} {on}"
        self._check_memory(shape, bytes_on_device(array))
        net = self.build(rng=np.random.default_rng(0))
        self.net = split(net)[0]
        self.score_batch = sharding.count() * self.backend.score_batch(largest_activation(net, shape))
        self.pool: AnyPool = given or any_pool(array)
        self.chunk = minibatches_at_once(self.pool, self.recipe.batch, self.backend.chunk)

    @property
    def mirrors(self) -> bool:
        """Whether nets learn mirror images too; features have none, whatever the recipe is."""
        return self.recipe.flip and not reads_features(self.architecture)

    def with_recipe(self, recipe: Recipe) -> "Trainer":
        """The same on the same pool by another recipe."""
        other = copy.copy(self)
        other.recipe, other.chunk = recipe, minibatches_at_once(self.pool, recipe.batch, self.backend.chunk)
        return other

    def _check_memory(self, shape: tuple[int, ...], pool_bytes: int) -> None:
        with contextlib.suppress(jax.errors.JAXTypeError):  # a net that can't be outlined is built all the same
            needs = outline(self.build, shape, self.recipe.optimizer)
            check_memory(self.description, needs, pool_bytes, self.recipe.batch, self.backend.dtype, LESS_MEMORY)

    @devices.our_defaults()
    def rehearse(self) -> None:
        """One mini-batch is trained and one batch scored, which compiles both programs, and that of a ``student``.

        What can fail on this machine fails here. Raises McalError.
        """
        if self.recipe.student:
            self.with_recipe(self.recipe.student.recipe).rehearse()
        key = key_of(0)
        nothing = (np.zeros(shape, np.int64) for shape in ((self.chunk, self.recipe.batch), self.score_batch))
        try:
            state, _ = self._begin(key, 1)
            settings: tuple = (np.int32(0), np.int32(1), np.int32(1), np.float32(1), key)
            (pool, picks), (some, index) = serve(self.pool, nothing)
            targets = np.zeros(picks.shape, np.int32)
            state, _ = run_steps(self.net, program_of(self.recipe), state, pool, picks, targets, *settings)
            scored = (Member(state.params, state.stats, np.float32(1)),)
            jax.block_until_ready(score_batch(self.net, scored, some, index))
        except (RuntimeError, MemoryError) as error:  # of JAX: RESOURCE_EXHAUSTED above all
            why = str(error).strip().partition("\n")[0][:200] or "no memory is left"
            raise McalError(f"{self.description} can't be trained here ({why}): choose {LESS_MEMORY}") from error

    @devices.our_defaults()
    def fit(
        self,
        indices: np.ndarray,
        labels: np.ndarray,
        key: jax.Array,
        on_progress: ProgressCallback | None = None,
    ) -> Model:
        """A net trained from scratch on the images at ``indices`` [m], labelled ``labels`` [m].

        The same indices (in any order), labels and ``key`` give the same weights. If the loss does not stay finite,
        the training starts again with a smaller learning rate, as REDUCTIONS say, and a warning names it.
        ``on_progress`` is called with (steps done, steps in all) after every chunk. Raises McalError for indices that
        are outside of the pool or repeated, for labels that do not fit them, and if the loss is finite at none of
        these rates.
        """
        indices, labels = self._checked(indices, labels)
        recipe, processed, seconds = self.recipe, 0, 0.0
        tried: list[str] = []
        for reduction in REDUCTIONS:
            state, order = self._begin(key, len(indices))
            attempt = self._advance(run_steps, state, order, reduction, key, indices, labels, on_progress)
            processed, seconds = processed + attempt.steps * recipe.batch, seconds + attempt.seconds
            rate = reduction * recipe.learning_rate
            if attempt.finite.all():
                if tried:
                    failure = (
                        f"the loss did not stay finite with recipe {recipe.name!r} at a learning rate of {tried[0]}"
                    )
                    warnings.warn(f"{failure}; the net was trained with {rate:g}", stacklevel=3)
                return Model(attempt.state.params, attempt.state.stats, processed, seconds, rate)
            tried.append(f"{rate:g}")
        where = f"after {attempt.steps} of {recipe.steps(len(indices))} steps of recipe {recipe.name!r}"
        rates = f"learning rates tried: {', '.join(tried)}"
        raise McalError(f"the loss is no longer finite {where} ({rates}): choose another recipe")

    @devices.our_defaults()
    def untrained(self, key: jax.Array) -> Model:
        """The net that a training by ``key`` begins with."""
        state, _ = self._begin(key, 1)
        return Model(state.params, state.stats, 0, 0.0, self.recipe.learning_rate)

    @devices.our_defaults()
    def fit_many(
        self,
        indices: np.ndarray,
        labels: np.ndarray,
        keys: Sequence[jax.Array],
        on_progress: ProgressCallback | None = None,
    ) -> list[Model]:
        """What ``fit`` gives for each of ``keys``, up to rounding, trained side by side as one program.

        For accelerators that one small net can't fill. All have one B: another |B| would be another number of
        steps. Each number of nets is a program of its own. Raises McalError as ``fit`` does.
        """
        if not len(keys):
            raise McalError("fit_many needs at least one key")
        indices, labels = self._checked(indices, labels)
        states, orders = zip(*(self._begin(key, len(indices)) for key in keys), strict=True)
        state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        order = map(np.stack, zip(*orders, strict=True))
        attempt = self._advance(run_steps_of_many, state, order, 1, jnp.stack(keys), indices, labels, on_progress)
        cost = attempt.steps * self.recipe.batch, attempt.seconds / len(keys), self.recipe.learning_rate
        models = []
        for i, key in enumerate(keys):
            if attempt.finite[i]:
                params, stats = (jax.tree.map(lambda leaf, i=i: leaf[i], part) for part in attempt.state[:2])
                models.append(Model(params, stats, *cost))
            else:
                models.append(self.fit(indices, labels, key, on_progress))
        return models

    def _begin(self, key: jax.Array, size: int) -> tuple[State, Iterator[np.ndarray]]:
        """A net before its training on ``size`` images, and the positions [batch] in B of each mini-batch."""
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        _, params, stats = split(self.build(rng=rng))
        state = State(params, stats, self.recipe.optimizer.init(params))
        return sharding.whole(state), minibatches(size, self.recipe.batch, rng)

    def _advance(
        self,
        program: Callable,
        state: State,
        order: Iterator[np.ndarray],
        reduction: float,
        key: jax.Array,
        indices: np.ndarray,
        labels: np.ndarray,
        on_progress: ProgressCallback | None,
    ) -> Attempt:
        """The training by ``program`` from ``state`` on, with ``reduction`` times the recipe's learning rate.

        ``order`` gives positions in B, [batch], or [nets, batch] where ``key`` is one for each net. The device
        never waits: a chunk's loss is looked at while the next one runs.
        """
        recipe, chunk, steps = self.recipe, self.chunk, self.recipe.steps(len(indices))
        nets = jax.random.key_data(key).shape[:-1]  # () for one net
        chosen, ahead = itertools.tee(chunks(order, (chunk, *nets, recipe.batch), steps))
        served = serve(self.pool, (indices[positions] for positions in ahead))
        work = zip(chosen, served, strict=True)

        def dispatch(state: State, start: int, stop: int) -> tuple[State, jax.Array]:
            positions, (pool, picks) = next(work)
            targets = labels[positions].astype(np.int32)
            settings: tuple = (*map(np.int32, (start, stop, steps)), np.float32(reduction), key)
            return sharding.settled(program(self.net, program_of(recipe), state, pool, picks, targets, *settings))

        state, _ = jax.block_until_ready(dispatch(state, 0, 0))  # compiles
        began, sent, reached, finite = time.perf_counter(), 0, 0, np.ones(nets, bool)
        running: deque[tuple[int, jax.Array]] = deque()
        while reached < steps and finite.any():
            if sent < steps:
                start, sent = sent, min(sent + chunk, steps)
                state, loss = dispatch(state, start, sent)
                running.append((sent, loss))
            if len(running) > 1 or sent == steps:
                reached, loss = running.popleft()
                finite = finite & np.isfinite(loss)
                if finite.any() and on_progress:
                    on_progress(reached, steps)
        jax.block_until_ready(state)
        seconds = time.perf_counter() - began
        served.close()  # what was read ahead of a training that is given up
        return Attempt(state, finite, reached, seconds)

    def _checked(self, indices: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices and labels in the order of the indices; McalError if they make no sense."""
        indices, labels = np.asarray(indices), np.asarray(labels)
        if indices.ndim != 1 or not len(indices) or indices.shape != labels.shape:
            shapes = f"{list(indices.shape)} and {list(labels.shape)}"
            raise McalError(f"training needs as many labels as indices, at least one: got {shapes}")
        order = np.argsort(indices, kind="stable")
        indices, labels = indices[order], labels[order]
        pool = self.pool.n
        if indices[0] < 0 or indices[-1] >= pool:
            raise McalError(f"training indices {indices[0]} to {indices[-1]} are not all within 0 to {pool - 1}")
        if not np.all(np.diff(indices)):
            raise McalError(f"training index {indices[:-1][np.diff(indices) == 0][0]} is given twice")
        if labels.min() < 0 or labels.max() >= self.classes:
            outside = f"{labels.min()} to {labels.max()}"
            raise McalError(f"training labels {outside} are not all within 0 to {self.classes - 1}")
        return indices, labels

    def score(self, model: Model | Ensemble, indices: np.ndarray) -> Scores:
        """Scores of the images at ``indices`` [m], in that order, by a model or by the mean of several."""
        return Scores(*self._stream(model, indices, lambda outputs: outputs[:-1]))

    def features(self, model: Model, indices: np.ndarray) -> np.ndarray:
        """Penultimate features, float32 [m, d], of the images at ``indices`` [m]."""
        return self._stream(model, indices, lambda outputs: outputs[-1:])[0]

    def score_with_features(self, model: Model, indices: np.ndarray) -> tuple[Scores, np.ndarray]:
        """What ``score`` and ``features`` return, in one pass over the images."""
        *columns, features = self._stream(model, indices, lambda outputs: outputs)
        return Scores(*columns), features

    @devices.our_defaults()
    def _stream(self, model: Model | Ensemble, indices: np.ndarray, select: Callable) -> list[np.ndarray]:
        ensemble = model if isinstance(model, Ensemble) else Ensemble((model,))
        members = members_of(ensemble)

        def score(part: Pool, index: np.ndarray) -> Any:
            return select(score_batch(self.net, members, part, index, ensemble.mirror))

        return stream(score, self.pool, indices, self.score_batch)
