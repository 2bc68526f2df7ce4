"""Colander's learned confidence for threshold-based auto-labelling (Vishwakarma et al.: Pearls from pebbles, NeurIPS
2024)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from labelling_peers import Budget, Round, tbal
from labelling_worlds import PeerAlgorithm

from mcal_jax.algorithm.config import Config

SLOPE, WEIGHT = 10.0, 10.0
"""Of the sigmoid that stands for "above the threshold", and of the error against coverage."""
STEPS, LEARNING_RATE, DECAY = 500, 0.01, 0.01


def colander(n: int, config: Config, architecture: str, budget: Budget) -> PeerAlgorithm:
    """``tbal`` whose confidence is learned after each training, on a random half of V; the other half sets thresholds.

    From the classifier's logits, a net of two layers (tanh, twice as wide as its input) gives a confidence to each
    class, and a threshold t for each is learned along. With s = sigmoid(SLOPE (g - t)) it maximises the mean of s less
    WEIGHT times the mean error weighted by s. The paper searches slope, weight and the net on further labels, which
    it does not count; here they are fixed, within its grids where it has them. Same aim as ``tbal``, same lack of a
    bound.
    """
    return tbal(n, config, architecture, budget, learn=learned)


def learned(seen: Round) -> Round:
    """The round with learned confidences; the half of V that they were learned on sets no thresholds."""
    rng = np.random.default_rng(len(seen.wrong))
    half = np.zeros(len(seen.wrong), bool)
    half[rng.permutation(len(half))[: len(half) // 2]] = True
    assert seen.V.logits is not None
    assert seen.U.logits is not None
    mean, std = seen.V.logits.mean(0), seen.V.logits.std(0) + 1e-6
    on_V, on_U = ((one.logits - mean) / std for one in (seen.V, seen.U))
    more = -len(half) % 256  # V shrinks; few shapes are compiled
    padded = (np.pad(a, [(0, more)] + [(0, 0)] * (a.ndim - 1)) for a in (on_V, seen.V.label, seen.wrong, half))
    net = fit(*(jnp.asarray(a, jnp.int32 if a.dtype == np.int32 else jnp.float32) for a in padded))
    V, U = (
        one._replace(confidence=np.asarray(confidence(net, x, one.label)))
        for one, x in ((seen.V, on_V), (seen.U, on_U))
    )
    return seen._replace(V=V, U=U, usable=~half)


def confidence(net: dict, x: jax.Array, label: np.ndarray) -> jax.Array:
    """g of the class that is predicted, [n]."""
    g = jax.nn.softmax(jnp.tanh(x @ net["first"] + net["shift"]) @ net["second"], axis=1)
    return jnp.take_along_axis(g, jnp.asarray(label)[:, None], 1)[:, 0]


@jax.jit
def fit(x: jax.Array, label: jax.Array, wrong: jax.Array, weight: jax.Array) -> dict:
    """The net after STEPS steps on the images of ``weight`` 1; x float32 [n, d], the others [n]."""
    d = x.shape[1]
    keys = jax.random.split(jax.random.key(0), 2)
    net = {
        "first": jax.random.normal(keys[0], (d, 2 * d)) / jnp.sqrt(d),
        "shift": jnp.zeros(2 * d),
        "second": jax.random.normal(keys[1], (2 * d, d)) / jnp.sqrt(2 * d),
        "threshold": jnp.full(d, 0.5),
    }

    def loss(net: dict) -> jax.Array:
        s = weight * jax.nn.sigmoid(SLOPE * (confidence(net, x, label) - net["threshold"][label]))
        return -s.sum() / weight.sum() + WEIGHT * (s @ wrong) / (s.sum() + 1e-6)

    optimizer = optax.adamw(LEARNING_RATE, weight_decay=DECAY)

    def step(state: tuple, _: None) -> tuple[tuple, None]:
        net, memory = state
        update, memory = optimizer.update(jax.grad(loss)(net), memory, net)
        return (optax.apply_updates(net, update), memory), None

    return jax.lax.scan(step, (net, optimizer.init(net)), None, length=STEPS)[0][0]
