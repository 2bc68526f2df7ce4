"""Training a net from scratch on the labelled set B, and scoring the pool with it (sections 4 and 5).

One compiled program per architecture, recipe and image shape serves every |B|: it runs a chunk of mini-batches, and
which images they hold, how many there are and how far the training has come are run-time values.
"""

import math
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

from mcal_jax.algorithm.acquisition import Scores
from mcal_jax.errors import McalError
from mcal_jax.training import devices
from mcal_jax.training.devices import Backend
from mcal_jax.training.nets import Undrawn, build, lookup
from mcal_jax.training.pool import Pool, look_up, pool_of
from mcal_jax.training.recipes import RECIPES, Recipe

ProgressCallback = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""
REDUCTIONS = (1.0, 1 / 4, 1 / 16, 1 / 64)
"""Factors on the learning rate that are tried in turn where the loss does not stay finite."""
LESS_MEMORY = "a smaller width, or smaller images (downsample)"
AHEAD = 16
"""Batches that are scored before the results of the first are read, so that the device does not wait."""


class Graph:
    """The structure of a net as a static argument of compiled programs.

    It keeps its hash: to find that anew took half a millisecond a call, on a CPU a tenth of scoring small images.
    """

    def __init__(self, definition: nnx.GraphDef):
        self.definition, self._hash = definition, hash(definition)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.definition == other.definition


class State(NamedTuple):
    """What a training step changes."""

    params: Any
    stats: Any
    optimizer: Any


class Model(NamedTuple):
    """A trained net: its weights, its batch-norm statistics, and what it took to train it."""

    params: Any
    stats: Any
    images: int
    """Training images processed: steps times mini-batch, those of given-up attempts too."""
    seconds: float
    """Wall clock of the training steps, compilation left out; of nets trained as one program, an equal share."""
    learning_rate: float
    """That of the recipe, or a smaller one if the loss did not stay finite at that."""


class Attempt(NamedTuple):
    """A training by ``advance``: to the end, or until no loss was finite any more."""

    state: State
    finite: np.ndarray
    """Whether the loss stayed finite: a truth value, or one for each net."""
    steps: int
    seconds: float


def augment(images: jax.Array, recipe: Recipe, key: jax.Array) -> jax.Array:
    """Each of ``images`` [b, h, w, c] shifted and mirrored at random, as the recipe says."""
    batch, height, width, _ = images.shape
    keys = jax.random.split(key, 3)
    places = []
    for k, n in zip(keys, (height, width), strict=False):
        reach = math.floor(recipe.shift * n + 0.5)
        shift = jax.random.randint(k, (batch, 1), -reach, reach + 1, jnp.int32)
        places.append(jnp.clip(jnp.arange(n, dtype=jnp.int32) + shift, 0, n - 1))
    rows, columns = places
    if recipe.flip:
        mirrored = jax.random.bernoulli(keys[2], np.float32(0.5), (batch, 1))
        columns = jnp.where(mirrored, columns[:, ::-1], columns)
    return images[jnp.arange(batch, dtype=jnp.int32)[:, None, None], rows[:, :, None], columns[:, None, :]]


def key_of(seed: int) -> jax.Array:
    """The key of ``jax.random.key(seed)`` before any of JAX's global defaults, for seeds of up to 64 bits."""
    words = np.array([seed >> 32 & 0xFFFFFFFF, seed & 0xFFFFFFFF], np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(words, jnp.uint32), impl="threefry2x32")


def program_of(recipe: Recipe) -> Recipe:
    """What the compiled program depends on: not how long it runs."""
    return recipe._replace(name="", epochs=0, power=0)


# The state is updated in place, on a CPU too.
compiled = partial(jax.jit, static_argnames=("net", "recipe"), donate_argnames="state")


@compiled
def run_steps(
    net: Graph,
    recipe: Recipe,
    state: State,
    pool: Pool,
    picks: jax.Array,
    targets: jax.Array,
    start: np.int32,
    stop: np.int32,
    steps: np.int32,
    reduction: np.float32,
    key: jax.Array,
) -> tuple[State, jax.Array]:
    """Mini-batches ``start`` to ``stop`` of a training of ``steps``; rows 0, 1, ... of ``picks`` hold them.

    ``picks`` are positions in the pool, ``targets`` their labels, both [chunk, batch]; rows from
    ``stop - start`` on are never read. ``reduction`` is a factor on the learning rate. Returns the loss of the last
    mini-batch too, NaN if a weight is not finite.
    """

    def loss_of(params: Any, stats: Any, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, Any]:
        model = nnx.merge(net.definition, params, stats, copy=True)
        logits, _ = model(images, train=True)
        wanted = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[1], dtype=jnp.float32), recipe.label_smoothing)
        return optax.softmax_cross_entropy(logits, wanted).mean(), nnx.state(model, nnx.BatchStat)

    def step(i: jax.Array, so_far: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
        state, _ = so_far
        images = augment(look_up(pool, picks[i - start]), recipe, jax.random.fold_in(key, i))
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (loss, stats), grads = gradient(state.params, state.stats, images, targets[i - start])
        updates, optimizer = recipe.optimizer.update(grads, state.optimizer, state.params)
        rate = recipe.rate(i, steps) * reduction
        params = jax.tree.map(lambda p, u: p - rate * u, state.params, updates)
        return State(params, stats, optimizer), loss

    state, loss = lax.fori_loop(start, stop, step, (state, jnp.zeros((), jnp.float32)))
    # Weights that overflow can leave a dead net behind, whose loss is finite.
    finite = jax.tree.reduce(lambda so_far, p: so_far & jnp.isfinite(p).all(), state.params, jnp.array(True))
    return state, jnp.where(finite, loss, jnp.nan)


@compiled
def run_steps_of_many(net: Graph, recipe: Recipe, state: State, *rest: Any) -> tuple[State, jax.Array]:
    """``run_steps`` of several nets: a new first axis in ``state``, ``key`` and the loss, a second in ``picks``
    and ``targets``."""
    axes = (0, None, 1, 1, None, None, None, None, 0)
    return jax.vmap(partial(run_steps, net, recipe), axes)(state, *rest)


@partial(jax.jit, static_argnames="net")
def score_batch(
    net: Graph, params: Any, stats: Any, pool: Pool, index: jax.Array
) -> tuple[tuple[jax.Array, ...], jax.Array]:
    """Scores and penultimate features [b, d] of the images at ``index`` [b]."""
    logits, features = nnx.merge(net.definition, params, stats)(look_up(pool, index))
    return *scores_of(logits), features


def scores_of(logits: jax.Array) -> tuple[jax.Array, ...]:
    """The fields of Scores, each [b], from logits [b, classes]."""
    logs = jax.nn.log_softmax(logits)
    p = jnp.exp(logs)
    (first, second), label = jnp.unstack(lax.top_k(p, 2)[0], axis=1), lax.argmax(p, 1, jnp.int32)
    return label, first - second, -(p * logs).sum(1), first


def minibatches(size: int, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Positions [batch] into B for ever: one random order of B after another, cut into mini-batches."""
    ahead = np.empty(0, np.int64)
    while True:
        while len(ahead) < batch:
            ahead = np.concatenate([ahead, rng.permutation(size)])
        yield ahead[:batch]
        ahead = ahead[batch:]


class Trainer:
    """Trains nets of one architecture on parts of one pool of images.

    ``images`` uint8 [n, h, w, c], or the ``pool`` of another trainer; ``architecture``: a name, or what makes a net
    like those of nets.py; ``width``: filters of the first stage; ``backend`` (default: by the device): precision,
    layout, and how much at once.
    Raises McalError for images of another type or shape, for an unknown architecture or recipe, for a net that this
    machine can't hold, and if JAX was told to use a device that is not there.
    """

    @devices.our_defaults()
    def __init__(
        self,
        images: np.ndarray | Pool,
        classes: int,
        *,
        architecture: str | Callable[..., Any] = "resnet18",
        width: int = 64,
        recipe: str | Recipe = "fast",
        backend: Backend | None = None,
    ):
        array = images.images if isinstance(images, Pool) else images
        if array.dtype != np.uint8 or array.ndim != 4 or not array.size:
            raise McalError(f"images must be uint8 [n, h, w, c], not {array.dtype} {list(array.shape)}")
        self.recipe: Recipe = lookup(RECIPES, recipe, "recipe") if isinstance(recipe, str) else recipe
        self.classes, self.backend = classes, backend or devices.default()
        make = partial(build, architecture) if isinstance(architecture, str) else architecture
        _, height, columns, channels = array.shape
        self.build = partial(make, classes=classes, channels=channels, width=width, backend=self.backend)
        self.what = f"{architecture} of width {width} on images of {height}x{columns}x{channels}"
        if isinstance(architecture, str):
            self.check_memory(array)
        net = self.build(rng=np.random.default_rng(0))
        self.net = Graph(nnx.split(net, nnx.Param, nnx.BatchStat)[0])
        self.score_batch = self.backend.score_batch(net.largest_activation(height, columns))
        self.pool = images if isinstance(images, Pool) else pool_of(images)

    def check_memory(self, images: np.ndarray | jax.Array) -> None:
        """Raises McalError if the device can't hold the images, the weights and two activations of a mini-batch.

        Training takes more; how much more is XLA's affair, and ``rehearse`` finds out.
        """
        activation = 0

        def outline() -> tuple[Any, Any]:
            nonlocal activation
            net = self.build(rng=Undrawn())
            activation = net.largest_activation(*images.shape[1:3])
            params = nnx.state(net, nnx.Param)
            return params, self.recipe.optimizer.init(params)

        there = devices.memory()
        params, optimizer = (
            sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(part)) for part in jax.eval_shape(outline)
        )
        weights = 4 * (2 * params + optimizer)  # a gradient is as large as the weights
        needed = images.nbytes + weights + 2 * self.recipe.batch * activation * jnp.dtype(self.backend.dtype).itemsize
        if there is not None and needed > there:
            have = f"{needed / 1e9:,.1f} GB of memory at least, and {there / 1e9:,.1f} GB are there"
            raise McalError(f"{self.what} needs {have}: choose {LESS_MEMORY}")

    @devices.our_defaults()
    def rehearse(self) -> None:
        """One mini-batch is trained and one batch scored, which compiles both programs.

        What can fail on this machine fails here. Raises McalError.
        """
        key = key_of(0)
        picks = jnp.zeros((self.backend.chunk, self.recipe.batch), jnp.int32)
        try:
            state, _ = self.begin(key, 1)
            settings: tuple = (np.int32(0), np.int32(1), np.int32(1), np.float32(1), key)
            state, _ = run_steps(self.net, program_of(self.recipe), state, self.pool, picks, picks, *settings)
            index = np.zeros(self.score_batch, np.int32)
            jax.block_until_ready(score_batch(self.net, state.params, state.stats, self.pool, index))
        except (RuntimeError, MemoryError) as error:  # of JAX: RESOURCE_EXHAUSTED above all
            why = str(error).strip().partition("\n")[0][:200] or "no memory is left"
            raise McalError(f"{self.what} can't be trained here ({why}): choose {LESS_MEMORY}") from error

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
        the training begins anew with a smaller learning rate, as REDUCTIONS say. ``on_progress`` is told (steps done,
        steps in all) after every chunk. Raises McalError for indices that are outside of the pool or repeated, for
        labels that do not fit them, and if the loss is finite at none of these rates.
        """
        indices, labels = self.checked(indices, labels)
        recipe, processed, seconds = self.recipe, 0, 0.0
        tried: list[str] = []
        for reduction in REDUCTIONS:
            state, order = self.begin(key, len(indices))
            done = self.advance(run_steps, state, order, reduction, key, indices, labels, on_progress)
            processed, seconds = processed + done.steps * recipe.batch, seconds + done.seconds
            rate = reduction * recipe.learning_rate
            if done.finite.all():
                if tried:
                    was = f"the loss did not stay finite with recipe {recipe.name!r} at a learning rate of {tried[0]}"
                    warnings.warn(f"{was}; the net was trained with {rate:g}", stacklevel=3)
                return Model(done.state.params, done.state.stats, processed, seconds, rate)
            tried.append(f"{rate:g}")
        where = f"after {done.steps} of {recipe.steps(len(indices))} steps of recipe {recipe.name!r}"
        rates = f"learning rates tried: {', '.join(tried)}"
        raise McalError(f"the loss is no longer finite {where} ({rates}): choose another recipe")

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
        indices, labels = self.checked(indices, labels)
        states, orders = zip(*(self.begin(key, len(indices)) for key in keys), strict=True)
        state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        order = map(np.stack, zip(*orders, strict=True))
        done = self.advance(run_steps_of_many, state, order, 1, jnp.stack(keys), indices, labels, on_progress)
        took = done.steps * self.recipe.batch, done.seconds / len(keys), self.recipe.learning_rate
        models = []
        for i, key in enumerate(keys):
            if done.finite[i]:
                params, stats = (jax.tree.map(lambda leaf, i=i: leaf[i], part) for part in done.state[:2])
                models.append(Model(params, stats, *took))
            else:
                models.append(self.fit(indices, labels, key, on_progress))
        return models

    def begin(self, key: jax.Array, size: int) -> tuple[State, Iterator[np.ndarray]]:
        """A net before its training on ``size`` images, and the positions [batch] in B of each mini-batch."""
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        _, *weights = nnx.split(self.build(rng=rng), nnx.Param, nnx.BatchStat)
        params, stats = weights
        return State(params, stats, self.recipe.optimizer.init(params)), minibatches(size, self.recipe.batch, rng)

    def advance(
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
        recipe, chunk, steps = self.recipe, self.backend.chunk, self.recipe.steps(len(indices))
        many = jax.random.key_data(key).shape[:-1]  # () for one net
        chosen = np.zeros((chunk, *many, recipe.batch), np.int64)

        def dispatch(state: State, start: int, stop: int) -> tuple[State, jax.Array]:
            for row in range(stop - start):
                chosen[row] = next(order)
            picks, targets = (jnp.asarray(a[chosen], jnp.int32) for a in (indices, labels))
            settings: tuple = (*map(np.int32, (start, stop, steps)), np.float32(reduction), key)
            return program(self.net, program_of(recipe), state, self.pool, picks, targets, *settings)

        state, _ = jax.block_until_ready(dispatch(state, 0, 0))  # compiles
        began, ahead, reached, finite = time.perf_counter(), 0, 0, np.ones(many, bool)
        running: deque[tuple[int, jax.Array]] = deque()
        while reached < steps and finite.any():
            if ahead < steps:
                start, ahead = ahead, min(ahead + chunk, steps)
                state, loss = dispatch(state, start, ahead)
                running.append((ahead, loss))
            if len(running) > 1 or ahead == steps:
                reached, loss = running.popleft()
                finite = finite & np.isfinite(loss)
                if finite.any() and on_progress:
                    on_progress(reached, steps)
        jax.block_until_ready(state)
        return Attempt(state, finite, reached, time.perf_counter() - began)

    def checked(self, indices: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices and labels in the order of the indices; McalError if they make no sense."""
        indices, labels = np.asarray(indices), np.asarray(labels)
        if indices.ndim != 1 or not len(indices) or indices.shape != labels.shape:
            shapes = f"{list(indices.shape)} and {list(labels.shape)}"
            raise McalError(f"training needs as many labels as indices, at least one: got {shapes}")
        order = np.argsort(indices, kind="stable")
        indices, labels = indices[order], labels[order]
        pool = len(self.pool.images)
        if indices[0] < 0 or indices[-1] >= pool:
            raise McalError(f"training indices {indices[0]} to {indices[-1]} are not all within 0 to {pool - 1}")
        if not np.all(np.diff(indices)):
            raise McalError(f"training index {indices[:-1][np.diff(indices) == 0][0]} is given twice")
        if labels.min() < 0 or labels.max() >= self.classes:
            outside = f"{labels.min()} to {labels.max()}"
            raise McalError(f"training labels {outside} are not all within 0 to {self.classes - 1}")
        return indices, labels

    def score(self, model: Model, indices: np.ndarray) -> Scores:
        """Scores of the images at ``indices`` [m], in that order."""
        return Scores(*self.stream(model, indices, lambda out: out[:-1]))

    def features(self, model: Model, indices: np.ndarray) -> np.ndarray:
        """Penultimate features, float32 [m, d], of the images at ``indices`` [m]."""
        return self.stream(model, indices, lambda out: out[-1:])[0]

    @devices.our_defaults()
    def stream(self, model: Model, indices: np.ndarray, wanted: Callable) -> list[np.ndarray]:
        """The ``wanted`` part of ``score_batch`` over ``indices``, in batches of one size.

        Beside the result there are never more than AHEAD batches.
        """
        batch = self.score_batch
        padded = np.zeros(max(1, math.ceil(len(indices) / batch)) * batch, np.int32)
        padded[: len(indices)] = indices
        columns: list[np.ndarray] = []
        running: deque[tuple[int, Sequence[jax.Array]]] = deque()

        def keep() -> None:
            at, part = running.popleft()
            for column, values in zip(columns, part, strict=True):
                column[at : at + batch] = values

        for at in range(0, len(padded), batch):
            index = padded[at : at + batch]
            part = wanted(score_batch(self.net, model.params, model.stats, self.pool, index))
            columns = columns or [np.empty((len(padded), *values.shape[1:]), values.dtype) for values in part]
            for values in part:
                values.copy_to_host_async()
            running.append((at, part))
            if len(running) > AHEAD:
                keep()
        while running:
            keep()
        return [column[: len(indices)] for column in columns]


def compilations() -> int:
    """How many training programs this process has compiled."""
    return sum(program._cache_size() for program in (run_steps, run_steps_of_many))  # type: ignore[attr-defined]
