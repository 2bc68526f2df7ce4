"""All images on the device as uint8, or features as they are, and what a net sees of them."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcal_jax.training import devices

CHUNK = 2**22
"""About how many bytes of images are copied and summed at once."""
CONSTANT = 1e-6
"""Standard deviation, as a share of the mean, up to which a feature varies by rounding alone."""


class Pool(NamedTuple):
    """All images [n, h, w, c], uint8, with the mean and the standard deviation of each channel; or all features
    [n, d], float32 or float16, with those of each feature."""

    images: jax.Array
    mean: jax.Array
    std: jax.Array


@devices.our_defaults()
def pool_of(images: np.ndarray) -> Pool:
    """``images``, uint8 [n, h, w, c], on the device, chunk by chunk: beside the pool there is never more than a chunk.

    Mean and standard deviation are those of the exact sums, rounded once.
    """
    n, channels = len(images), images.shape[3]
    rows = min(n, max(1, CHUNK // math.prod(images.shape[1:])))
    total, squares = np.zeros((2, channels), np.int64)
    there = jnp.zeros(images.shape, jnp.uint8)
    for start in range(0, n, rows):
        part = np.ascontiguousarray(images[start : start + rows])
        counts = [np.bincount(part[..., c].ravel(), minlength=256) for c in range(channels)]
        total += np.matmul(counts, np.arange(256))
        squares += np.matmul(counts, np.arange(256) ** 2)
        there = jax.block_until_ready(put(there, part, np.int32(start)))  # the caller may change the images later
    pixels = images.size // channels
    # Whole numbers of any length: the difference is exact.
    variance = [(pixels * int(s) - int(t) ** 2) / pixels**2 for s, t in zip(squares, total, strict=True)]
    std = np.maximum(np.sqrt(variance), 1.0)  # a constant channel must not divide by zero
    return Pool(there, jnp.asarray(total / pixels, jnp.float32), jnp.asarray(std, jnp.float32))


@devices.our_defaults()
def pool_of_features(features: np.ndarray) -> Pool:
    """``features``, float32 or float16 [n, d], on the device. Those that are constant over the pool become 0."""
    rows = max(1, CHUNK // (8 * features.shape[1]))
    starts = range(0, len(features), rows)
    mean = sum(features[i : i + rows].sum(0, dtype=np.float64) for i in starts) / len(features)
    squares = sum(((features[i : i + rows] - mean) ** 2).sum(0) for i in starts)
    std = np.sqrt(squares / len(features))
    constant = std <= np.maximum(CONSTANT * np.abs(mean), np.finfo(np.float32).tiny)
    return Pool(
        jnp.asarray(features, features.dtype),
        jnp.asarray(mean, jnp.float32),
        jnp.asarray(np.where(constant, np.finfo(np.float32).max, std), jnp.float32),
    )


@partial(jax.jit, donate_argnums=0)
def put(images: jax.Array, part: jax.Array, start: jax.Array) -> jax.Array:
    return lax.dynamic_update_slice_in_dim(images, part, start, 0)


def look_up(pool: Pool, index: jax.Array) -> jax.Array:
    """The images or features at ``index`` [b] -> float32 [b, ...], of mean 0 and variance 1 over the pool."""
    seen = (pool.images[index] - pool.mean) / pool.std
    # Fused into the products of matrices that follow, looking features up took several times as long on a CPU.
    return lax.optimization_barrier(seen) if seen.ndim == 2 else seen
