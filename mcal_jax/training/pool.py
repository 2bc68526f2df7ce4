"""All images on the device as uint8, or features as they are, and what a net sees of them."""

import math
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcal_jax.rows import Rows
from mcal_jax.training import devices, sharding

CHUNK = 2**22
"""About how many bytes of images are copied and summed at once."""
CONSTANT = 1e-6
"""Standard deviation, as a share of the mean, up to which a feature varies by rounding alone."""
SHARE = 1 / 2
"""Of a device's memory, up to which images lie there; the rest is for nets. On a CPU the images lie there twice."""


class Pool(NamedTuple):
    """All images [n, h, w, c], uint8, with the mean and the standard deviation of each channel; or all features
    [n, d], float32 or float16, with those of each feature."""

    images: jax.Array
    mean: jax.Array
    std: jax.Array
    filled: np.int32 | None = None
    """How many of ``images`` there are, where others fill them up so that devices hold equal parts."""

    @property
    def n(self) -> int:
        """How many images there are."""
        return len(self.images) if self.filled is None else int(self.filled)


class Normalisation(NamedTuple):
    """Mean and standard deviation of each channel or feature over a pool, float32."""

    mean: jax.Array
    std: jax.Array


Placement = Literal["whole", "divided", "streamed"]


def placement(images: np.ndarray) -> Placement:
    """Where images go: each device holds them whole where they fit into SHARE of its memory, or else a part of them,
    where that does; all others are streamed."""
    capacity = devices.memory()
    if capacity is None or images.nbytes <= SHARE * capacity:
        return "whole"
    return "divided" if images.nbytes <= SHARE * capacity * sharding.count() else "streamed"


@devices.our_defaults()
def pool_of(images: np.ndarray, divided: bool = False) -> Pool:
    """``images``, uint8 [n, h, w, c], or features, float32 or float16 [n, d], on the device, chunk by chunk: beside
    the pool there is never more than a chunk. Several devices hold them whole or ``divided``."""
    rows, devices_, filled = Rows(images), jax.local_devices(), None
    if divided:
        size = -(-len(images) // len(devices_))
        parts = [_there(rows, at * size, size, device) for at, device in enumerate(devices_)]
        there, filled = sharding.joined(parts), np.int32(len(images))
    else:
        there = sharding.whole(_there(rows, 0, len(images)))
    return Pool(there, *normalisation(images), filled)


def _there(rows: Rows, first: int, size: int, device: jax.Device | None = None) -> jax.Array:
    """``size`` rows from ``first`` on, on one device; zeros after the last one."""
    shape = rows.array.shape[1:]
    step = min(size, max(1, CHUNK // (math.prod(shape) * rows.array.itemsize)))
    there = jnp.zeros((size, *shape), rows.array.dtype, device=device)
    for start in range(0, min(size, len(rows.array) - first), step):
        part = rows.block(first + start, first + min(start + step, size))
        there = jax.block_until_ready(put(there, part, np.int32(start)))  # the caller may change the images later
    return there


@devices.our_defaults()
def normalisation(images: np.ndarray) -> Normalisation:
    """What the nets' inputs are normalised by. Of images: that of the exact sums, rounded once; features that are
    constant over the pool become 0."""
    mean, std = (_of_pixels if images.ndim == 4 else _of_features)(Rows(images))
    found = Normalisation(*(jnp.asarray(values, jnp.float32) for values in (mean, std)))
    return sharding.whole(found)


def _of_pixels(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    images = rows.array
    n, channels = len(images), images.shape[3]
    step = min(n, max(1, CHUNK // math.prod(images.shape[1:])))
    total, squares = np.zeros((2, channels), np.int64)
    for start in range(0, n, step):
        part = rows.block(start, start + step)
        counts = [np.bincount(part[..., c].ravel(), minlength=256) for c in range(channels)]
        total += np.matmul(counts, np.arange(256))
        squares += np.matmul(counts, np.arange(256) ** 2)
    pixels = images.size // channels
    # Whole numbers of any length: the difference is exact.
    variance = [(pixels * int(s) - int(t) ** 2) / pixels**2 for s, t in zip(squares, total, strict=True)]
    return total / pixels, np.maximum(np.sqrt(variance), 1.0)  # a constant channel must not divide by zero


def _of_features(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    n, width = rows.array.shape
    step = max(1, CHUNK // (8 * width))
    starts, zero = range(0, n, step), np.zeros(width)
    mean = sum((rows.block(i, i + step).sum(0, dtype=np.float64) for i in starts), zero) / n
    squares = sum((((rows.block(i, i + step) - mean) ** 2).sum(0) for i in starts), zero)
    std = np.sqrt(squares / n)
    constant = std <= np.maximum(CONSTANT * np.abs(mean), np.finfo(np.float32).tiny)
    return mean, np.where(constant, np.finfo(np.float32).max, std)


@partial(jax.jit, donate_argnums=0)
def put(images: jax.Array, part: jax.Array, start: jax.Array) -> jax.Array:
    return lax.dynamic_update_slice_in_dim(images, part, start, 0)


def look_up(pool: Pool, index: jax.Array) -> jax.Array:
    """The images or features at ``index`` [b] -> float32 [b, ...], of mean 0 and variance 1 over the pool."""
    images = pool.images[sharding.divided(index)]
    seen = sharding.divided((images - pool.mean) / pool.std)
    # Fused into the products of matrices that follow, looking features up took several times as long on a CPU.
    return lax.optimization_barrier(seen) if seen.ndim == 2 else seen
