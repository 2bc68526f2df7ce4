"""Which images people label next, M(.), and which the classifier labels, L(.) (sections 3.3 and 5).

Pure functions of a classifier's scores and features. Positions count from 0 into the pool that was scored;
of equally good images the one of the lower position comes first. JAX is loaded by k-center alone.
"""

from difflib import get_close_matches
from typing import Literal, NamedTuple

import numpy as np

from mcal_jax.errors import McalError


class Scores(NamedTuple):
    """A classifier's view of n images, from its softmax probabilities; each array is [n]."""

    label: np.ndarray
    """The most probable class, int32."""
    margin: np.ndarray
    """Probability of the most probable class minus that of the second, float32."""
    entropy: np.ndarray
    """Entropy in nats, float32."""
    confidence: np.ndarray
    """Probability of the most probable class, float32."""


class Acquisition(NamedTuple):
    """A sample selection function M(.): what it selects, and what from."""

    description: str
    needs: Literal["scores", "features", "rng"]


ACQUISITIONS = {
    "margin": Acquisition("least difference between the two highest probabilities", "scores"),
    "entropy": Acquisition("highest entropy of the probabilities", "scores"),
    "least_confidence": Acquisition("lowest probability of the most probable class", "scores"),
    "kcenter": Acquisition("k-center greedy: farthest in feature space from all chosen so far", "features"),
    "random": Acquisition("uniformly at random", "rng"),
}


def check(by: str) -> Acquisition:
    """The entry of ``by`` in ACQUISITIONS; McalError with the nearest name if there is none."""
    if by in ACQUISITIONS:
        return ACQUISITIONS[by]
    near = get_close_matches(by, ACQUISITIONS, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(ACQUISITIONS)}"
    raise McalError(f"unknown acquisition function {by!r}: {hint}")


def select(
    by: str,
    n: int,
    *,
    pool: int,
    scores: Scores | None = None,
    features: np.ndarray | None = None,
    labelled_features: np.ndarray | None = None,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """The ``n`` images out of ``pool`` that M(.) = ``by`` wants labelled: positions int64 [n], best first.

    ``scores`` of the pool serve margin, entropy and least_confidence; ``features`` [pool, d] and those of the
    images labelled so far [m, d] serve kcenter; ``rng`` serves random.

    Raises McalError for an unknown name, for a missing or mis-sized input and for more images than the pool
    holds.
    """
    needs = check(by).needs
    if not 0 <= n <= pool:
        raise McalError(f"cannot select {n} images by {by!r} from a pool of {pool}")
    given = {"scores": scores, "features": features, "rng": rng}[needs]
    if given is None:
        raise McalError(f"acquisition function {by!r} needs {needs}")
    if scores is not None and needs == "scores":
        values = {"margin": scores.margin, "entropy": -scores.entropy, "least_confidence": scores.confidence}[by]
        return lowest(sized(values, pool, by), n)
    if features is not None and needs == "features":
        from mcal_jax.training.kcenter import k_center

        return k_center(sized(features, pool, by), n, labelled_features)
    assert rng is not None
    return rng.choice(pool, n, replace=False)


def sized(values: np.ndarray, pool: int, by: str) -> np.ndarray:
    if len(values) != pool:
        raise McalError(f"acquisition function {by!r} was given {len(values)} images for a pool of {pool}")
    return values


def lowest(values: np.ndarray, n: int) -> np.ndarray:
    """Positions int64 [n] of the ``n`` lowest values, lowest first: of equal ones the lower position, NaN last.

    The same as the first n of a stable argsort, in time O(len(values) + n log n).
    """
    if not 0 < n < len(values):
        return np.argsort(values, kind="stable")[:n]
    cut = np.partition(values, n - 1)[n - 1]
    level = np.isnan(values) if np.isnan(cut) else values == cut
    below = np.flatnonzero(~level if np.isnan(cut) else values < cut)
    chosen = np.concatenate([below, np.flatnonzero(level)[: n - len(below)]])
    return chosen[np.argsort(values[chosen], kind="stable")]


def rank_within_class(order: np.ndarray, counted: np.ndarray, label: np.ndarray) -> np.ndarray:
    """How many ``counted`` images of the same ``label`` stand before each image in ``order``, positions in the other
    two; all [n]."""
    ahead = np.empty(len(order), np.int64)
    for one in np.unique(label):
        of = order[label[order] == one]
        ahead[of] = np.cumsum(counted[of]) - counted[of]
    return ahead


def apply_class_limits(limits: tuple[int, ...] | None, order: np.ndarray, label: np.ndarray) -> np.ndarray:
    """``order`` less those images that more than ``limits[c]`` of their ``label`` c stand before; no limits: all."""
    if limits is None:
        return order
    rank = rank_within_class(np.arange(len(order)), np.ones(len(order), np.int64), label[order])
    return order[rank < np.asarray(limits)[label[order]]]


def rank_confident(scores: Scores, n: int | None = None) -> np.ndarray:
    """L(.) = margin: positions int64 of the ``n`` images (none given: all) of which the classifier is most sure,
    the surest first."""
    return lowest(-scores.margin, len(scores.margin) if n is None else n)
