"""The arithmetic of batch norm, with relu if so asked, and its gradient, in few passes over the activations.

``layout`` names the axes of the activations; ``uses_native``: whether native.py sums. Sums and what follows from them
are float32 whatever the activations are.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcal_jax.training.cpu import native

EPSILON = 1e-5
"""Added to the variance."""
PARTS, ROWS = 256, 128
"""A GPU sums in so many parts at most, each of so many rows at least."""

Two = tuple[jax.Array, jax.Array]
Three = tuple[jax.Array, jax.Array, jax.Array]


class How(NamedTuple):
    layout: str
    uses_native: bool
    relu: bool

    def fold(self, of_channel: jax.Array) -> jax.Array:
        """[C] with axes of length 1 for the others."""
        return of_channel.reshape([-1 if name == "C" else 1 for name in self.layout])


def folded(gamma: jax.Array, beta: jax.Array, mean: jax.Array, var: jax.Array) -> Two:
    """Factor and summand of each channel."""
    scale = gamma * lax.rsqrt(var + EPSILON)
    return scale, beta - mean * scale


def affine(x: jax.Array, scale: jax.Array, shift: jax.Array, how: How) -> jax.Array:
    """``x * scale + shift`` with scale and shift [C] of each channel, and relu if so asked, in the precision of x."""
    y = before_relu(x, scale, shift, how)
    return (jax.nn.relu(y) if how.relu else y).astype(x.dtype)


def before_relu(x: jax.Array, scale: jax.Array, shift: jax.Array, how: How) -> jax.Array:
    return x.astype(jnp.float32) * how.fold(scale) + how.fold(shift)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise(x: jax.Array, gamma: jax.Array, beta: jax.Array, how: How) -> Three:
    """x normalised by its own mean and variance over all axes but C, times gamma plus beta, and these two, each [C].

    Mean and variance have no gradient of their own.
    """
    return forward(x, gamma, beta, how)[0]


def forward(x: jax.Array, gamma: jax.Array, beta: jax.Array, how: How) -> tuple[Three, tuple]:
    share = len(gamma) / x.size
    plain, square = sums(x, x, how)
    mean = plain * share
    var = jnp.maximum(square * share - mean * mean, 0)
    return (affine(x, *folded(gamma, beta, mean, var), how), mean, var), (x, gamma, beta, mean, var)


def backward(how: How, kept: tuple, gradients: Three) -> Three:
    x, gamma, beta, mean, var = kept
    gradient, share = gradients[0], len(gamma) / x.size
    scale, shift = folded(gamma, beta, mean, var)

    def passed(x: jax.Array, gradient: jax.Array) -> jax.Array:
        full = gradient.astype(jnp.float32)
        return jnp.where(before_relu(x, scale, shift, how) > 0, full, 0) if how.relu else full

    # Each pass asks anew what relu lets through: that is faster than a pass that writes it down.
    x, again = anew(x), anew(gradient)
    of_beta, product = sums(passed(x, gradient), x, how)
    inverse = lax.rsqrt(var + EPSILON)
    of_gamma = inverse * (product - mean * of_beta)
    by_x = -share * scale * inverse * of_gamma
    constant = -share * scale * of_beta - by_x * mean
    x = anew(x)
    of_x = passed(x, again) * how.fold(scale) + x.astype(jnp.float32) * how.fold(by_x) + how.fold(constant)
    return of_x.astype(x.dtype), of_gamma, of_beta


normalise.defvjp(forward, backward)


@jax.custom_vjp
def relu(x: jax.Array) -> jax.Array:
    """``max(x, 0)``, whose gradient reads the result, which the next layer keeps anyway, and not x."""
    return jax.nn.relu(x)


def relu_forward(x: jax.Array) -> Two:
    y = anew(relu(x))
    return y, y


relu.defvjp(relu_forward, lambda y, gradient: (jnp.where(y > 0, gradient, 0),))


def anew(x: Any) -> Any:
    """x as another value to XLA, which else would compute it, or what follows from it, once for several uses."""
    return lax.optimization_barrier(x)


def sums(a: jax.Array, b: jax.Array, how: How) -> Two:
    """Sums of a and of a * b over all axes but C, each [C], float32."""
    if how.uses_native:
        return native.sums(a, b)
    a = a.astype(jnp.float32)
    b = a * b.astype(jnp.float32)
    if how.layout[-1] == "C":
        return sums_in_parts(a, b)
    axes = tuple(axis for axis, name in enumerate(how.layout) if name != "C")
    return a.sum(axes), b.sum(axes)


def sums_in_parts(a: jax.Array, b: jax.Array) -> Two:
    """Sums of a and of b over all axes but the last, in two steps, each one kernel for both.

    Left to itself XLA sums 4,096 rows of 256 channels by 2 blocks of a GPU that runs hundreds, which takes as long as
    the convolution.
    """

    zero = np.zeros((), np.float32)

    def both(pair: Two, axis: int) -> Two:
        return lax.reduce(pair, (zero, zero), lambda s, t: (s[0] + t[0], s[1] + t[1]), (axis,))

    channels = a.shape[-1]
    rows = a.size // channels
    parts = math.gcd(rows, 2 ** min(int(math.log2(PARTS)), int(math.log2(max(rows / ROWS, 1)))))
    shape = (parts, -1, channels)
    return both(anew(both((a.reshape(shape), b.reshape(shape)), 1)), 0)
