"""Which images of B a training sees: one random order after another, cut into mini-batches and chunks of them."""

from collections.abc import Iterator

import numpy as np


def minibatches(size: int, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Positions [batch] into B for ever: one random order of B after another, cut into mini-batches."""
    ahead = np.empty(0, np.int64)
    while True:
        while len(ahead) < batch:
            ahead = np.concatenate([ahead, rng.permutation(size)])
        yield ahead[:batch]
        ahead = ahead[batch:]


def chunks(order: Iterator[np.ndarray], shape: tuple[int, ...], steps: int) -> Iterator[np.ndarray]:
    """The next ``steps`` of ``order`` in chunks of ``shape`` [chunk, ...], the last of them filled up; before them one
    that holds none."""
    yield np.zeros(shape, np.int64)
    for start in range(0, steps, shape[0]):
        chosen = np.zeros(shape, np.int64)
        for row in range(min(shape[0], steps - start)):
            chosen[row] = next(order)
        yield chosen
