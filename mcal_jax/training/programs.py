"""The compiled training steps, as functions of arrays alone.

One program per architecture, recipe and image shape serves every |B|: it runs a chunk of mini-batches, and which images
they hold, how many there are and how far the training has come are run-time values.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

from mcal_jax.training import sharding
from mcal_jax.training.pool import Pool, look_up
from mcal_jax.training.recipe import Recipe


class Graph:
    """The structure of a net as a static argument of compiled programs.

    It keeps its hash: computing that took half a millisecond a call, on a CPU a tenth of scoring small images.
    """

    def __init__(self, definition: nnx.GraphDef):
        self.definition, self._hash = definition, hash(definition)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.definition == other.definition

    def merge(self, params: Any, stats: Any) -> Any:
        """The net again, with variables of its own: a training step may change them."""
        return nnx.merge(self.definition, params, stats, copy=True)


def split(net: Any) -> tuple[Graph, Any, Any]:
    """Structure, parameters and the rest of the state of a net: statistics of batch norm, above all."""
    definition, *parts = nnx.split(net, nnx.Param, ...)
    params, stats = parts
    return Graph(definition), params, stats


class State(NamedTuple):
    """What a training step changes."""

    params: Any
    stats: Any
    """Whatever a net keeps beside its parameters: running statistics, above all."""
    optimizer: Any


class Model(NamedTuple):
    """A trained net: its parameters, the rest of its state, and what it took to train it."""

    params: Any
    stats: Any
    images: int
    """Training images processed: steps times mini-batch, including those of attempts that failed."""
    seconds: float
    """Wall clock of the training steps, compilation left out; of nets trained as one program, an equal share."""
    learning_rate: float
    """That of the recipe, or a smaller one if the loss did not stay finite at that."""
    unlabelled: int = 0
    """Of ``images``, those that no human has labelled."""


class Ensemble(NamedTuple):
    """Models of one net whose probabilities are averaged."""

    models: tuple[Model, ...]
    """The latest first: features are those of the first."""
    weights: tuple[float, ...] = (1.0,)
    """One for each model; their sum is 1."""
    mirror: bool = False
    """Average over each image and its mirror image too."""

    @property
    def is_plain(self) -> bool:
        """Whether this is a single model on the images as they are."""
        return len(self.models) == 1 and not self.mirror


def augment(images: jax.Array, recipe: Recipe, key: jax.Array) -> jax.Array:
    """Each of ``images`` [b, h, w, c] shifted and mirrored at random, as the recipe says; features [b, d] unchanged."""
    if images.ndim == 2:
        return images
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
    # By image, so that devices that hold different images need nothing of each other.
    moved = jax.vmap(lambda image, row, column: image[row[:, None], column])(images, rows, columns)
    return sharding.divided(moved)


def key_of(seed: int) -> jax.Array:
    """The key of ``jax.random.key(seed)`` before any of JAX's global defaults, for seeds of up to 64 bits."""
    words = np.array([seed >> 32 & 0xFFFFFFFF, seed & 0xFFFFFFFF], np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(words, jnp.uint32), impl="threefry2x32")


def program_of(recipe: Recipe) -> Recipe:
    """What the compiled program depends on: not how long it runs."""
    return recipe._replace(name="", epochs=0, power=0, student=None)


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
        model = net.merge(params, stats)
        logits, _ = model(images, train=True)
        one_hot = jax.nn.one_hot(labels, logits.shape[1], dtype=jnp.float32)
        targets = optax.smooth_labels(one_hot, recipe.label_smoothing)
        return optax.softmax_cross_entropy(logits, targets).mean(), nnx.state(model, nnx.Not(nnx.Param))

    def step(i: jax.Array, carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
        state, _ = carry
        images = augment(look_up(pool, picks[i - start]), recipe, jax.random.fold_in(key, i))
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        labels = sharding.divided(targets[i - start])
        (loss, stats), grads = gradient(state.params, state.stats, images, labels)
        updates, optimizer = recipe.optimizer.update(grads, state.optimizer, state.params)
        rate = recipe.rate(i, steps) * reduction
        params = jax.tree.map(lambda p, u: p - rate * u, state.params, updates)
        return State(params, stats, optimizer), loss

    state, loss = lax.fori_loop(start, stop, step, (state, jnp.zeros((), jnp.float32)))
    # Weights that overflow can leave a dead net behind, whose loss is finite.
    finite = jax.tree.reduce(lambda all_finite, p: all_finite & jnp.isfinite(p).all(), state.params, jnp.array(True))
    return sharding.whole((state, jnp.where(finite, loss, jnp.nan)))


@compiled
def run_steps_of_many(net: Graph, recipe: Recipe, state: State, *rest: Any) -> tuple[State, jax.Array]:
    """``run_steps`` of several nets: a new first axis in ``state``, ``key`` and the loss, a second in ``picks``
    and ``targets``."""
    axes = (0, None, 1, 1, None, None, None, None, 0)
    return jax.vmap(partial(run_steps, net, recipe), axes)(state, *rest)


def compilations() -> int:
    """How many training programs this process has compiled."""
    return sum(program._cache_size() for program in (run_steps, run_steps_of_many))  # type: ignore[attr-defined]
