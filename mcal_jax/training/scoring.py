"""Scoring images with a trained net: the compiled program, and batches that stream through it."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcal_jax.training.pool import Pool, look_up
from mcal_jax.training.programs import Graph

AHEAD = 16
"""Batches that are scored before the results of the first are read, so that the device does not wait."""


@partial(jax.jit, static_argnames="net")
def score_batch(
    net: Graph, params: Any, stats: Any, pool: Pool, index: jax.Array
) -> tuple[tuple[jax.Array, ...], jax.Array]:
    """Scores and penultimate features [b, d] of the images at ``index`` [b]."""
    logits, features = net.merge(params, stats)(look_up(pool, index), train=False)
    return *scores_of(logits), features


def scores_of(logits: jax.Array) -> tuple[jax.Array, ...]:
    """The fields of Scores, each [b], from logits [b, classes]."""
    logs = jax.nn.log_softmax(logits)
    p = jnp.exp(logs)
    (first, second), label = jnp.unstack(lax.top_k(p, 2)[0], axis=1), lax.argmax(p, 1, jnp.int32)
    return label, first - second, -(p * logs).sum(1), first


def stream(score: Callable[[np.ndarray], Sequence[jax.Array]], indices: np.ndarray, batch: int) -> list[np.ndarray]:
    """The outputs of ``score`` over ``indices``, computed in batches of one size, as arrays of the host.

    Beside the result there are never more than AHEAD batches.
    """
    padded = np.zeros(max(1, math.ceil(len(indices) / batch)) * batch, np.int32)
    padded[: len(indices)] = indices
    columns: list[np.ndarray] = []
    running: deque[tuple[int, Sequence[jax.Array]]] = deque()

    def collect() -> None:
        at, outputs = running.popleft()
        for column, values in zip(columns, outputs, strict=True):
            column[at : at + batch] = values

    for at in range(0, len(padded), batch):
        outputs = score(padded[at : at + batch])
        columns = columns or [np.empty((len(padded), *values.shape[1:]), values.dtype) for values in outputs]
        for values in outputs:
            values.copy_to_host_async()
        running.append((at, outputs))
        if len(running) > AHEAD:
            collect()
    while running:
        collect()
    return [column[: len(indices)] for column in columns]
