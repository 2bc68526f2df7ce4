"""Training a net from scratch on the labelled set B, and scoring the pool with it (sections 4 and 5).

The images stay on the device as uint8. One compiled program per architecture, recipe and image shape serves
every |B|: it runs a chunk of mini-batches, and which images they hold, how many there are and how far the
training has come are run-time values.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

from mcal_jax import backends
from mcal_jax.acquisition import Scores
from mcal_jax.backends import Backend
from mcal_jax.native import cache_folder
from mcal_jax.nets import build, lookup
from mcal_jax.types import McalError

Told = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


class Recipe(NamedTuple):
    """How a net is trained. Its length is in epochs, so the number of steps is a function of |B|."""

    name: str
    optimizer: optax.GradientTransformation
    """Gradient -> direction, the learning rate left out."""
    learning_rate: float
    schedule: optax.Schedule
    """Factor on the learning rate, as a function of the 200ths of the training done."""
    epochs: float
    """Epochs at |B| = 1,000 ..."""
    power: float
    """... times (1,000 / |B|) to this power at other sizes; 0: the same number at each; negative: more as B grows."""
    batch: int
    label_smoothing: float
    shift: float
    """Random shift by up to this fraction of the height and of the width; edge pixels are repeated."""
    flip: bool
    """Random mirror image."""

    def steps(self, size: int) -> int:
        """Number of mini-batches for |B| = ``size``."""
        epochs = max(1, round(self.epochs * (1000 / size) ** self.power))
        return epochs * math.ceil(size / self.batch)

    def rate(self, step: Any, steps: Any) -> Any:
        """Learning rate of mini-batch number ``step`` (from 0) of ``steps``."""
        return self.learning_rate * self.schedule(200 * step / steps)


def decay(weight: float) -> optax.GradientTransformation:
    """L2 on the weights that are matrices or convolutions, added to the gradient."""
    return optax.add_decayed_weights(weight, mask=partial(jax.tree.map, lambda p: p.ndim > 1))


RECIPES = {
    # Section 5: 200 epochs, mini-batch 256, /10 after epochs 80, 120, 160 and 180. The rest is the released
    # code's: Adam with a rate of 0.001 per 32 images of the mini-batch, L2 1e-4, shift 10 %, flip; not its
    # rotation by 15 degrees, nor its last reduction, by 2.
    "paper": Recipe(
        name="paper",
        optimizer=optax.chain(decay(1e-4), optax.scale_by_adam()),
        learning_rate=0.001 * 256 / 32,
        schedule=optax.piecewise_constant_schedule(1.0, {80: 0.1, 120: 0.1, 160: 0.1, 180: 0.1}),
        epochs=200,
        power=0,
        batch=256,
        label_smoothing=0,
        shift=0.1,
        flip=True,
    ),
    # Chosen on 10,000 held-out training images of Fashion-MNIST (14x14) and CIFAR-10 (16x16) at width 8, one seed a
    # variant: as good as "paper" with 600 to 50,000 labels and a sixth to less than half of its work
    # (results/bench/recipes.csv). With 24 or 32 epochs, at half to four times the rate, it falls behind; 40 do up to
    # 16,000 labels, and 40,000 of CIFAR-10 want 80.
    "fast": Recipe(
        name="fast",
        optimizer=optax.chain(decay(5e-4), optax.trace(0.9, nesterov=True)),
        learning_rate=0.2,
        schedule=optax.warmup_cosine_decay_schedule(0.1, 1.0, 40, 200),
        epochs=40,
        power=-1 / 5,
        batch=64,
        label_smoothing=0.1,
        shift=0.1,
        flip=True,
    ),
}
# For many runs on a CPU. "short" is as good as "fast" with 600 labels, and with 16,000, and a quarter of the work, has
# 2 points less on Fashion-MNIST and 8 on CIFAR-10; "brief" takes half the work of "short", and less from 3,000 on.
RECIPES["short"] = RECIPES["fast"]._replace(name="short", epochs=24, power=1 / 3, shift=0.05)
RECIPES["brief"] = RECIPES["short"]._replace(name="brief", epochs=16, power=1 / 2)


class Pool(NamedTuple):
    """All images [n, h, w, c], uint8, with the mean and the standard deviation of each channel."""

    images: jax.Array
    mean: jax.Array
    std: jax.Array


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
    """Training images processed: steps times mini-batch."""
    seconds: float
    """Wall clock of the training steps, compilation left out; of nets trained as one program, an equal share."""


def look_up(pool: Pool, index: jax.Array) -> jax.Array:
    """The images at ``index`` [b] -> float32 [b, h, w, c], of mean 0 and variance 1 over the pool."""
    return (pool.images[index] - pool.mean) / pool.std


def augment(images: jax.Array, recipe: Recipe, key: jax.Array) -> jax.Array:
    """Each of ``images`` [b, h, w, c] shifted and mirrored at random, as the recipe says."""
    batch, height, width, _ = images.shape
    keys = jax.random.split(key, 3)
    places = []
    for k, n in zip(keys, (height, width), strict=False):
        reach = math.floor(recipe.shift * n + 0.5)
        shift = jax.random.randint(k, (batch, 1), -reach, reach + 1)
        places.append(jnp.clip(jnp.arange(n) + shift, 0, n - 1))
    rows, columns = places
    if recipe.flip:
        mirrored = jax.random.bernoulli(keys[2], 0.5, (batch, 1))
        columns = jnp.where(mirrored, columns[:, ::-1], columns)
    return images[jnp.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]


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
    start: int,
    stop: int,
    steps: int,
    key: jax.Array,
) -> tuple[State, jax.Array]:
    """Mini-batches ``start`` to ``stop`` of a training of ``steps``; rows 0, 1, ... of ``picks`` hold them.

    ``picks`` are positions in the pool, ``targets`` their labels, both [chunk, batch]; rows from
    ``stop - start`` on are never read. Returns the loss of the last one too, NaN if a weight is not finite.
    """

    def loss_of(params: Any, stats: Any, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, Any]:
        model = nnx.merge(net.definition, params, stats, copy=True)
        logits, _ = model(images, train=True)
        wanted = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[1]), recipe.label_smoothing)
        return optax.softmax_cross_entropy(logits, wanted).mean(), nnx.state(model, nnx.BatchStat)

    def step(i: jax.Array, so_far: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
        state, _ = so_far
        images = augment(look_up(pool, picks[i - start]), recipe, jax.random.fold_in(key, i))
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (loss, stats), grads = gradient(state.params, state.stats, images, targets[i - start])
        updates, optimizer = recipe.optimizer.update(grads, state.optimizer, state.params)
        rate = recipe.rate(i, steps)
        params = jax.tree.map(lambda p, u: p - rate * u, state.params, updates)
        return State(params, stats, optimizer), loss

    state, loss = lax.fori_loop(start, stop, step, (state, jnp.zeros(())))
    # Weights that overflow can leave a dead net behind, whose loss is finite.
    finite = jax.tree.reduce(lambda so_far, p: so_far & jnp.isfinite(p).all(), state.params, jnp.array(True))
    return state, jnp.where(finite, loss, jnp.nan)


@compiled
def run_steps_of_many(net: Graph, recipe: Recipe, state: State, *rest: Any) -> tuple[State, jax.Array]:
    """``run_steps`` of several nets: a new first axis in ``state``, ``key`` and the loss, a second in ``picks``
    and ``targets``."""
    axes = (0, None, 1, 1, None, None, None, 0)
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
    (first, second), label = jnp.unstack(lax.top_k(p, 2)[0], axis=1), jnp.argmax(p, 1)
    return label.astype(jnp.int32), first - second, -(p * logs).sum(1), first


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

    ``images`` uint8 [n, h, w, c]; ``architecture``: a name, or what makes a net like those of nets.py; ``width``:
    filters of the first stage; ``backend`` (default: by the device): precision, layout, and how much at once.
    Raises McalError for images of another type or shape, and for an unknown architecture or recipe.
    """

    def __init__(
        self,
        images: np.ndarray,
        classes: int,
        *,
        architecture: str | Callable[..., Any] = "resnet18",
        width: int = 64,
        recipe: str | Recipe = "fast",
        backend: Backend | None = None,
    ):
        if images.dtype != np.uint8 or images.ndim != 4 or not images.size:
            raise McalError(f"images must be uint8 [n, h, w, c], not {images.dtype} {list(images.shape)}")
        self.recipe: Recipe = lookup(RECIPES, recipe, "recipe") if isinstance(recipe, str) else recipe
        self.classes, self.backend = classes, backend or backends.default()
        make = partial(build, architecture) if isinstance(architecture, str) else architecture
        self.build = partial(make, classes=classes, channels=images.shape[3], width=width, backend=self.backend)
        net = self.build(rng=np.random.default_rng(0))
        self.net = Graph(nnx.split(net, nnx.Param, nnx.BatchStat)[0])
        self.score_batch = self.backend.score_batch(net.largest_activation(*images.shape[1:3]))
        std = np.maximum(images.std((0, 1, 2)), 1.0)  # a constant channel must not divide by zero
        mean = images.mean((0, 1, 2))
        self.pool = Pool(*map(jnp.asarray, (images, mean.astype(np.float32), std.astype(np.float32))))

    def fit(
        self,
        indices: np.ndarray,
        labels: np.ndarray,
        key: jax.Array,
        on_progress: Told | None = None,
    ) -> Model:
        """A net trained from scratch on the images at ``indices`` [m], labelled ``labels`` [m].

        The same indices (in any order), labels and ``key`` give the same weights. ``on_progress`` is told
        (steps done, steps in all) after every chunk. Raises McalError for indices that are outside of the
        pool or repeated, for labels that do not fit them, and if the loss is no longer finite.
        """
        indices, labels = self.checked(indices, labels)
        state, order = self.begin(key, len(indices))
        state, seconds = self.advance(run_steps, state, order, key, indices, labels, on_progress)
        return Model(state.params, state.stats, self.recipe.steps(len(indices)) * self.recipe.batch, seconds)

    def fit_many(
        self,
        indices: np.ndarray,
        labels: np.ndarray,
        keys: Sequence[jax.Array],
        on_progress: Told | None = None,
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
        state, seconds = self.advance(run_steps_of_many, state, order, jnp.stack(keys), indices, labels, on_progress)
        processed = self.recipe.steps(len(indices)) * self.recipe.batch
        weights = [jax.tree.map(lambda leaf, i=i: leaf[i], state[:2]) for i in range(len(keys))]
        return [Model(params, stats, processed, seconds / len(keys)) for params, stats in weights]

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
        key: jax.Array,
        indices: np.ndarray,
        labels: np.ndarray,
        on_progress: Told | None,
    ) -> tuple[State, float]:
        """The state at the end of the training by ``program``, and its seconds, compilation left out.

        ``order`` gives positions in B, [batch], or [nets, batch] where ``key`` is one for each net. The device
        never waits: a chunk's loss is looked at while the next one runs.
        """
        recipe, chunk, steps = self.recipe, self.backend.chunk, self.recipe.steps(len(indices))
        made = recipe._replace(name="", epochs=0, power=0)  # programs do not depend on how long they run
        many = jax.random.key_data(key).shape[:-1]  # () for one net
        chosen = np.zeros((chunk, *many, recipe.batch), np.int64)

        def dispatch(state: State, start: int, stop: int) -> tuple[State, jax.Array]:
            for row in range(stop - start):
                chosen[row] = next(order)
            picks, targets = (jnp.asarray(a[chosen], jnp.int32) for a in (indices, labels))
            return program(self.net, made, state, self.pool, picks, targets, start, stop, steps, key)

        def look(stop: int, loss: jax.Array) -> None:
            if not np.isfinite(loss).all():
                what = f"recipe {recipe.name!r}, learning rate {recipe.learning_rate:g}"
                raise McalError(f"the loss is no longer finite after {stop} of {steps} steps ({what})")
            if on_progress:
                on_progress(stop, steps)

        state, _ = jax.block_until_ready(dispatch(state, 0, 0))  # compiles
        began = time.perf_counter()
        running: list[tuple[int, jax.Array]] = []
        for start in range(0, steps, chunk):
            stop = min(start + chunk, steps)
            state, loss = dispatch(state, start, stop)
            running.append((stop, loss))
            if len(running) > 1:
                look(*running.pop(0))
        look(*running.pop())
        jax.block_until_ready(state)
        return state, time.perf_counter() - began

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

    def stream(self, model: Model, indices: np.ndarray, wanted: Callable) -> list[np.ndarray]:
        """The ``wanted`` part of ``score_batch`` over ``indices``, in batches of one size."""
        batch = self.score_batch
        padded = np.zeros(max(1, math.ceil(len(indices) / batch)) * batch, np.int32)
        padded[: len(indices)] = indices
        batches = padded.reshape(-1, batch)
        parts = [wanted(score_batch(self.net, model.params, model.stats, self.pool, b)) for b in batches]
        parts = jax.device_get(parts)  # all at once: the device does not wait between batches
        return [np.concatenate(column)[: len(indices)] for column in zip(*parts, strict=True)]


def compilations() -> int:
    """How many training programs this process has compiled."""
    return sum(program._cache_size() for program in (run_steps, run_steps_of_many))  # type: ignore[attr-defined]


def enable_compilation_cache(folder: str | os.PathLike | None = None) -> Path:
    """Keeps compiled programs in ``folder`` (default: mcal_jax in the user's cache folder, XDG_CACHE_HOME).

    A later process that trains the same net compiles nothing. Returns the folder.
    """
    path = Path(folder) if folder is not None else cache_folder()
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path
