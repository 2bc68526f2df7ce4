"""Batch norm, with or without relu, and its gradient, in few passes over the activations.

Sums and what follows from them are float32 whatever the dtype of the activations.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mcal_jax.training.operations import Operations

EPSILON = 1e-5
"""Added to the variance."""

Pair = tuple[jax.Array, jax.Array]
Triple = tuple[jax.Array, jax.Array, jax.Array]
Residuals = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]
"""x, gamma, beta, mean and variance, kept for the backward pass."""


class NormOptions(NamedTuple):
    """How a batch norm is computed: hashable, a static argument of ``normalise``."""

    ops: Operations
    """Gives the layout of the activations and their sums."""
    relu: bool
    """Whether relu follows."""


def folded(gamma: jax.Array, beta: jax.Array, mean: jax.Array, var: jax.Array) -> Pair:
    """Factor and summand of each channel, float32 [C]."""
    scale = gamma * lax.rsqrt(var + EPSILON)
    return scale, beta - mean * scale


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise(x: jax.Array, gamma: jax.Array, beta: jax.Array, options: NormOptions) -> Triple:
    """x normalised by its own mean and variance over all axes but C, times gamma plus beta; the mean; the variance.

    Mean and variance are [C] and have no gradient of their own.
    """
    return forward(x, gamma, beta, options)[0]


def forward(x: jax.Array, gamma: jax.Array, beta: jax.Array, options: NormOptions) -> tuple[Triple, Residuals]:
    """What ``normalise`` returns, and what ``backward`` needs of it."""
    ops, share = options.ops, len(gamma) / x.size
    plain, square = ops.channel_sums(x, x)
    mean = plain * share
    var = jnp.maximum(square * share - mean * mean, 0)
    y = ops.affine(x, *folded(gamma, beta, mean, var), relu=options.relu)
    return (y, mean, var), (x, gamma, beta, mean, var)


def backward(options: NormOptions, residuals: Residuals, gradients: Triple) -> Triple:
    """Gradients by x, gamma and beta."""
    ops, (x, gamma, beta, mean, var) = options.ops, residuals
    gradient, share = gradients[0], len(gamma) / x.size
    scale, shift = folded(gamma, beta, mean, var)

    def through_relu(x: jax.Array, gradient: jax.Array) -> jax.Array:
        full = gradient.astype(jnp.float32)
        return jnp.where(ops.affine_float32(x, scale, shift) > 0, full, 0) if options.relu else full

    # Each pass recomputes what relu lets through: that is faster than a pass that writes it down. The barriers stop
    # XLA from merging the passes.
    x, gradient_again = lax.optimization_barrier(x), lax.optimization_barrier(gradient)
    of_beta, product = ops.channel_sums(through_relu(x, gradient), x)
    inverse = lax.rsqrt(var + EPSILON)
    of_gamma = inverse * (product - mean * of_beta)
    by_x = -share * scale * inverse * of_gamma
    constant = -share * scale * of_beta - by_x * mean
    x = lax.optimization_barrier(x)
    of_x = through_relu(x, gradient_again) * ops.per_channel(scale)
    of_x = of_x + x.astype(jnp.float32) * ops.per_channel(by_x) + ops.per_channel(constant)
    return of_x.astype(x.dtype), of_gamma, of_beta


normalise.defvjp(forward, backward)


@jax.custom_vjp
def relu(x: jax.Array) -> jax.Array:
    """``max(x, 0)``, whose gradient reads the result, which the next layer keeps anyway, and not x."""
    return jax.nn.relu(x)


def relu_forward(x: jax.Array) -> Pair:
    y = lax.optimization_barrier(relu(x))
    return y, y


relu.defvjp(relu_forward, lambda y, gradient: (jnp.where(y > 0, gradient, 0),))
