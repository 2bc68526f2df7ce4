"""Greedy k-center over a large pool: the farthest image again and again, most of the pool looked at rarely.

Distances to the nearest centre only fall, so one computed a while ago is an upper bound. The images with the
largest are candidates, and only these are kept up to date with every choice; as long as the best of them is at
least as far as any other image was, it is the farthest of all. Then one product of matrices brings the whole pool
up to date with the centres chosen since, which takes a small part of the time of one pass over the features for
each. It is the greedy of the definition, choice by choice.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.spatial.distance import cdist

from mcal_jax.errors import McalError
from mcal_jax.training import devices

CANDIDATES = 1024
"""Images kept up to date: few enough to stay in the processor's cache, enough for long rounds."""
CENTRES = 64
"""Centres that one product of matrices compares with ..."""
ROWS = 4096
"""... so many images: what bounds the memory beyond the features."""
SHORT = 16
"""A round with fewer choices than this costs more than a pass over the features for each ..."""
PASSES = (16, 256)
"""... so passes follow, so many, and after short rounds in a row twice as many each time, at most so many."""
OTHERS = 256
"""Images whose distances to all choices are kept at once."""

Count = jax.Array | np.int32
Chosen = tuple[jax.Array, Count, jax.Array]
"""Positions [capacity], of which the first ``count`` are valid; ``count``; distances as they are then."""


@devices.our_defaults()
def k_center(features: np.ndarray, n: int, centres: np.ndarray | None = None) -> np.ndarray:
    """Greedy k-center (Sener & Savarese 2017): each choice is the image farthest from all centres so far.

    ``features`` [pool, d], ``centres`` [m, d] to begin with (none: the first image is chosen first) ->
    positions int64 [n], in the order chosen. Of equally far images the one of the lower position is chosen, none
    twice even among identical ones, and a larger ``n`` begins with the choices of a smaller. Distances are sums of
    squared differences in float32, exact for whole numbers of moderate size. Time O(pool d (m + n)), memory on the
    device a copy of the features and O(pool + d) beyond, one compilation for each [pool, d].

    Raises McalError for features that are not finite or not of the shape of the centres, and for too large an n.
    """
    x = checked(features, "features")
    if n > len(x):
        raise McalError(f"k-center cannot choose {n} of {len(x)} images")
    distance = jnp.full(len(x), jnp.inf, jnp.float32)
    if centres is not None and len(centres):
        labelled = checked(centres, "features of the labelled images")
        if labelled.shape[1] != x.shape[1]:
            raise McalError(f"k-center was given images of {x.shape[1]} features and centres of {labelled.shape[1]}")
        for start in range(0, len(labelled), CANDIDATES):
            part = labelled[start : start + CANDIDATES]
            padded = part[np.arange(CANDIDATES) % len(part)]
            distance = update(x, distance, padded, np.int32(len(part)))

    chosen: list[np.ndarray] = []
    left, passes, short = n, PASSES[0], centres is None or not len(centres)  # few centres: each is near to many
    while left:
        if short:
            picks, count, distance = pass_by_pass(x, distance, np.int32(min(passes, left)))
            passes, short = min(2 * passes, PASSES[1]), False
        else:
            picks, count, distance = round_of_candidates(x, distance, np.int32(left))
            short = bool(count < SHORT)
            passes = passes if short else PASSES[0]
        chosen.append(np.asarray(picks)[: int(count)])
        left -= int(count)
    return np.concatenate([np.empty(0, np.int64), *chosen]).astype(np.int64)


def would_be_chosen(others: np.ndarray, chosen: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Whether k-center would have chosen each of ``others``, had that image alone been in the pool too; bool [others].

    ``others``, ``chosen`` and ``centres`` are features, [images, d]; ``chosen``, in any order, is a whole batch that
    ``k_center`` chose beginning with ``centres``. An image would have been chosen if before some choice it was at least
    as far from all centres as the image that was chosen, and no copy of one. Raises McalError as ``k_center`` does.
    """
    if not len(chosen) or not len(others):
        return np.zeros(len(others), bool)
    greedy = chosen[k_center(chosen, len(chosen), centres)].astype(float)  # of the batch alone the greedy is the same
    starts = range(0, len(greedy), OTHERS)
    radii = [_before_each_choice(greedy[at : at + OTHERS], greedy, centres).diagonal(at) for at in starts]
    radius, starts = np.concatenate(radii), range(0, len(others), OTHERS)
    parts = (_before_each_choice(others[at : at + OTHERS], greedy, centres) for at in starts)
    return np.concatenate([((part >= radius) & (part > 0)).any(1) for part in parts])


def _before_each_choice(points: np.ndarray, greedy: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances to the nearest centre before each choice of ``greedy``; [points, greedy]."""
    first = cdist(points, centres, "sqeuclidean").min(1) if len(centres) else np.full(len(points), np.inf)
    later = cdist(points, greedy[:-1], "sqeuclidean")
    return np.minimum.accumulate(np.concatenate([first[:, None], later], axis=1), axis=1)


def checked(features: np.ndarray, what: str) -> jax.Array:
    """``features`` on the device, float32. Raises McalError if they are not finite or not [images, d]."""
    x = jnp.asarray(features, jnp.float32)
    if x.ndim != 2:
        raise McalError(f"k-center needs {what} of shape [images, d], not {list(x.shape)}")
    if not finite(x):
        raise McalError(f"k-center needs finite {what}: there is NaN or infinity among them")
    return x


@jax.jit
def finite(x: jax.Array) -> jax.Array:
    return jnp.isfinite(jnp.abs(x).max(initial=0))  # one pass; a truth value for each feature would be kept


@partial(jax.jit, donate_argnames="distance")
def round_of_candidates(x: jax.Array, distance: jax.Array, left: Count) -> Chosen:
    """Up to ``left`` choices, at least one, as long as the farthest image must be a candidate.

    ``distance`` [pool]: squared, to the nearest centre; below 0 for images chosen.
    """
    # Of equal ones the lower position comes first, so what is no candidate yields to all candidates as far as the
    # first that is none and before it. The end of the list stands for that if all images are candidates.
    values, order = lax.top_k(jnp.append(distance, np.float32(-np.inf)), min(CANDIDATES, len(x)) + 1)
    at = jnp.sort(order[:-1])
    picks, count, near = choose(x[at], distance[at], at, (values[-1], order[-1]), left, len(at))
    return picks, count, update(x, distance.at[at].set(near), x[picks], count)


@partial(jax.jit, donate_argnames="distance")
def pass_by_pass(x: jax.Array, distance: jax.Array, left: Count) -> Chosen:
    """``left`` choices, at most PASSES[1], each with a pass over all features."""
    nobody = (np.float32(-np.inf), np.int32(len(x)))
    return choose(x, distance, jnp.arange(len(x), dtype=jnp.int32), nobody, left, PASSES[1])


def choose(points: jax.Array, distance: jax.Array, at: jax.Array, rival: tuple, left: Count, most: int) -> Chosen:
    """Greedy choices among ``points`` [m, d], whose positions ``at`` [m] ascend, while the farthest of them comes
    before the ``rival``, a distance and a position. The choices not made repeat the first one."""

    def may_go_on(state: tuple) -> jax.Array:
        distance, best, _, count = state
        far, (limit, place) = distance[best], rival
        return (count < left) & ((far > limit) | ((far == limit) & (at[best] < place)))

    def go_on(state: tuple) -> tuple:
        distance, best, picks, count = state
        distance = jnp.minimum(distance, ((points - points[best]) ** 2).sum(1))
        # Below every distance, so that no image is chosen twice, even among identical ones.
        distance = distance.at[best].set(-1)
        return distance, lax.argmax(distance, 0, jnp.int32), picks.at[count].set(at[best]), count + 1

    best = lax.argmax(distance, 0, jnp.int32)
    begin = distance, best, jnp.full(most, at[best], jnp.int32), np.int32(0)
    distance, _, picks, count = lax.while_loop(may_go_on, go_on, begin)
    return picks, count, distance


@partial(jax.jit, donate_argnames="distance")
def update(x: jax.Array, distance: jax.Array, centres: jax.Array, count: Count) -> jax.Array:
    """``distance`` [pool] brought up to date with the first ``count`` of ``centres`` [capacity, d]; the others
    must be repetitions of these."""
    rows, capacity = min(ROWS, len(x)), len(centres)
    width = min(CENTRES, capacity)
    # The product finds which centre is the nearest, where rounding matters only between two that are about as far;
    # how far it is, is computed from differences. Near the origin less is rounded away.
    origin = centres[0]
    moved = centres - origin
    squares = (moved**2).sum(1)

    def block(i: jax.Array, distance: jax.Array) -> jax.Array:
        first = jnp.minimum(i * rows, len(x) - rows)  # the last block overlaps the one before
        here = lax.dynamic_slice_in_dim(x, first, rows)

        def compare(j: jax.Array, nearest: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            start = jnp.minimum(j * width, capacity - width)
            some, squared = (lax.dynamic_slice_in_dim(a, start, width) for a in (moved, squares))
            product = jnp.dot(here - origin, some.T, precision=lax.Precision.HIGHEST)
            value = squared - 2 * product  # |x|^2 is the same for all centres
            best = lax.argmin(value, 1, jnp.int32)
            value = jnp.take_along_axis(value, best[:, None], 1)[:, 0]
            closer = value < nearest[0]
            return jnp.where(closer, value, nearest[0]), jnp.where(closer, start + best, nearest[1])

        begin = jnp.full(rows, jnp.inf, jnp.float32), jnp.zeros(rows, jnp.int32)
        _, nearest = lax.fori_loop(np.int32(0), -(-count // width), compare, begin)
        near = lax.dynamic_slice_in_dim(distance, first, rows)
        near = jnp.minimum(near, ((here - centres[nearest]) ** 2).sum(1))
        return lax.dynamic_update_slice_in_dim(distance, near, first, 0)

    return lax.fori_loop(np.int32(0), np.int32(-(-len(x) // rows)), block, distance)
