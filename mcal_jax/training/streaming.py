"""Pools that no device can hold: their images are read while the device is at work on those read before.

Whatever the size of the pool, memory holds about three parts of it: one at work, one that waits, one that is read.
"""

import math
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np

from mcal_jax.rows import Rows
from mcal_jax.training import devices, sharding
from mcal_jax.training.pool import Normalisation, Pool, normalisation, placement, pool_of

PART = 2**25
"""About how many bytes of images are given to a device at once ..."""
HELD = 3
"""... and how many times as many memory holds."""
AHEAD = 16
"""Batches that are read, or scored, before the results of the first are waited for, at most."""
ALIGNED = 64
"""Bytes, of whose multiples one is the address of an array that JAX does not copy."""

Served = tuple[Pool, np.ndarray]
"""Images on the device, and positions among them."""


class Streamed:
    """A pool whose ``images``, uint8 [n, h, w, c], or features, float32 or float16 [n, d], stay in the memory of the
    host, or in the file that they are mapped from. ``by``: what nets' inputs are normalised by, if it is known."""

    def __init__(self, images: np.ndarray, by: Normalisation | None = None):
        self.images, self._rows = images, Rows(images)
        self.mean, self.std = by or normalisation(images)

    @property
    def n(self) -> int:
        """How many images there are."""
        return len(self.images)

    @devices.our_defaults()
    def part(self, indices: np.ndarray) -> Served:
        """The images at ``indices``, of any shape, on the device, and their positions there. Raises McalError."""
        there = _empty((indices.size, *self.images.shape[1:]), self.images.dtype)
        self._rows.take(indices.reshape(-1), there)
        positions = np.arange(indices.size, dtype=np.int32).reshape(indices.shape)
        return Pool(sharding.whole(jax.device_put(there)), self.mean, self.std), positions


AnyPool = Pool | Streamed


def any_pool(images: np.ndarray) -> AnyPool:
    """The pool of ``images`` or features, wherever there is room for it."""
    place = placement(images)
    return Streamed(images) if place == "streamed" else pool_of(images, place == "divided")


def bytes_on_device(images: np.ndarray) -> int:
    """How much of a device's memory the pool of ``images`` takes."""
    return {"whole": images.nbytes, "divided": images.nbytes // sharding.count(), "streamed": HELD * PART}[
        placement(images)
    ]


def minibatches_at_once(pool: AnyPool, batch: int, most: int) -> int:
    """How many mini-batches of ``batch`` images a call of the training program is given, at most ``most``."""
    return most if isinstance(pool, Pool) else max(1, min(most, PART // (batch * _row_bytes(pool))))


def ahead(pool: AnyPool, batch: int) -> int:
    """How many batches of ``batch`` images may wait for each other."""
    return AHEAD if isinstance(pool, Pool) else min(AHEAD, PART // (batch * _row_bytes(pool)))


def serve(pool: AnyPool, wanted: Iterable[np.ndarray]) -> Generator[Served]:
    """For each of ``wanted``, indices of any shape, images on the device that hold those, and where.

    What a streamed pool is to serve next is read by a thread. Raises McalError where that fails.
    """
    if isinstance(pool, Pool):
        yield from ((pool, indices.astype(np.int32)) for indices in wanted)
        return
    with ThreadPoolExecutor(1) as reader:
        waiting: deque[Future[Served]] = deque()
        for indices in wanted:
            waiting.append(reader.submit(pool.part, indices))
            if len(waiting) > ahead(pool, indices.size):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array that a CPU computes with where it is: JAX copies those that begin elsewhere."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNED, np.uint8)
    begin = -memory.ctypes.data % ALIGNED
    return memory[begin : begin + size].view(dtype).reshape(shape)


def _row_bytes(pool: Streamed) -> int:
    return math.prod(pool.images.shape[1:]) * pool.images.itemsize
