"""Scoring images with a trained net: the compiled program, and batches that stream through it."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcal_jax.training import sharding
from mcal_jax.training.pool import Pool, look_up
from mcal_jax.training.programs import Ensemble, Graph
from mcal_jax.training.streaming import AnyPool, ahead, serve


class Member(NamedTuple):
    """A model whose probabilities count with ``weight``, float32 []."""

    params: Any
    stats: Any
    weight: Any


def members_of(ensemble: Ensemble) -> tuple[Member, ...]:
    """The models of ``ensemble`` as ``score_batch`` takes them."""
    models = zip(ensemble.models, ensemble.weights, strict=True)
    return tuple(Member(model.params, model.stats, np.float32(weight)) for model, weight in models)


@partial(jax.jit, static_argnames=("net", "mirror"))
def score_batch(
    net: Graph, members: Sequence[Member], pool: Pool, index: jax.Array, mirror: bool = False
) -> tuple[jax.Array, ...]:
    """Scores and penultimate features [b, d] of the images at ``index`` [b].

    The scores are those of the mean of the probabilities by all ``members``, and over the mirror images too if
    ``mirror``; the features are the first member's of the images as they are.
    """
    images = look_up(pool, index)
    views = (images, images[:, :, ::-1]) if mirror else (images,)
    nets = [net.merge(member.params, member.stats) for member in members]
    logits, features = zip(*(model(view, train=False) for model in nets for view in views), strict=True)
    if len(logits) == 1:
        return *scores_of(logits[0]), features[0]
    log_weights = [jnp.log(member.weight / len(views)) for member in members for _ in views]
    logs = [jax.nn.log_softmax(one) + weight for one, weight in zip(logits, log_weights, strict=True)]
    return *scores_of(jax.nn.logsumexp(jnp.stack(logs), axis=0)), features[0]


def scores_of(logits: jax.Array) -> tuple[jax.Array, ...]:
    """The fields of Scores, each [b], from logits [b, classes]."""
    logs = jax.nn.log_softmax(logits)
    p = jnp.exp(logs)
    (first, second), label = jnp.unstack(lax.top_k(p, 2)[0], axis=1), lax.argmax(p, 1, jnp.int32)
    return label, first - second, -(p * logs).sum(1), first


def stream(
    score: Callable[[Pool, np.ndarray], Sequence[jax.Array]], pool: AnyPool, indices: np.ndarray, batch: int
) -> list[np.ndarray]:
    """The outputs of ``score`` over the images of ``pool`` at ``indices``, computed in batches of one size, as arrays
    of the host.

    The results of the first batches are read while later ones are scored, so that the device does not wait.
    """
    padded = np.zeros(max(1, math.ceil(len(indices) / batch)) * batch, np.int64)
    padded[: len(indices)] = indices
    columns: list[np.ndarray] = []
    running: deque[tuple[int, Sequence[jax.Array]]] = deque()

    def collect() -> None:
        at, outputs = running.popleft()
        for column, values in zip(columns, outputs, strict=True):
            column[at : at + batch] = values

    for number, (part, index) in enumerate(serve(pool, padded.reshape(-1, batch))):
        outputs = sharding.settled(score(part, index))
        columns = columns or [np.empty((len(padded), *values.shape[1:]), values.dtype) for values in outputs]
        for values in outputs:
            values.copy_to_host_async()
        running.append((number * batch, outputs))
        if len(running) > ahead(pool, batch):
            collect()
    while running:
        collect()
    return [column[: len(indices)] for column in columns]
