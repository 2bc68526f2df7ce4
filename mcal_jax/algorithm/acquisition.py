"""Which images humans label next, M(.), and which the classifier labels, L(.) (sections 3.3 and 5).

An acquisition function is a strategy by name in ``ACQUISITIONS``. Most are scores: a function of ``Scores`` that gives
a number for each image, the higher the more wanted. ``Config(acquisition=...)`` takes a name, such a function, or
"my_file.py:my_scores". One that needs more than scores is an ``Acquisition`` that selects from a ``PoolView``.

Positions count from 0 into the pool. Of equally wanted images the one of the lower position comes first.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from mcal_jax.errors import McalError
from mcal_jax.registry import Registry


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


class PoolView:
    """What an acquisition function may look at: the unlabelled images, through the last classifier.

    Everything but ``size`` may be given as a function without arguments, which is called when it is first needed.
    What is not given raises McalError when it is asked for.
    """

    def __init__(
        self,
        size: int,
        *,
        scores: Scores | Callable[[], Scores] | None = None,
        features: np.ndarray | Callable[[], np.ndarray] | None = None,
        labelled_features: np.ndarray | Callable[[], np.ndarray] | None = None,
        rng: np.random.Generator | None = None,
        k_center: Callable[[np.ndarray, int, np.ndarray | None], np.ndarray] | None = None,
    ):
        self.size = size
        self._inputs = {"scores": scores, "features": features, "rng": rng, "k_center": k_center}
        self._labelled_features = labelled_features

    @cached_property
    def scores(self) -> Scores:
        """The classifier's scores of the pool; each array is [size]."""
        return _value(self._input("scores"))

    @cached_property
    def features(self) -> np.ndarray:
        """Penultimate features of the pool, float32 [size, d]."""
        return _value(self._input("features"))

    @cached_property
    def labelled_features(self) -> np.ndarray | None:
        """Penultimate features of the images in B, float32 [|B|, d]; None if there are none."""
        return _value(self._labelled_features)

    @property
    def rng(self) -> np.random.Generator:
        """A generator seeded by the world and the number of the request."""
        return self._input("rng")

    def k_center(self, features: np.ndarray, n: int, centres: np.ndarray | None) -> np.ndarray:
        """Positions int64 [n] of a greedy k-center of ``features``, starting from ``centres``."""
        return self._input("k_center")(features, n, centres)

    def _input(self, name: str) -> Any:
        if self._inputs[name] is None:
            raise McalError(f"the acquisition function needs {name}, which there are none of here")
        return self._inputs[name]


def _value(given: Any) -> Any:
    return given() if callable(given) else given


ScoreFunction = Callable[[Scores], np.ndarray]
"""Scores of n images -> how much each is wanted, [n], the higher the more, whatever the other images are."""


class Acquisition(NamedTuple):
    """A sample selection function M(.).

    ``select(pool, n)`` returns the positions int64 [n] of the images of a ``PoolView`` that it wants most, best first.
    ``score``, if it has one, is what it selects by; the choices of k-center have none, for each depends on the others.
    """

    description: str
    select: Callable[[PoolView, int], np.ndarray]
    reference: str = ""
    score: ScoreFunction | None = None


def by_score(score: ScoreFunction, description: str = "", reference: str = "", name: str = "") -> Acquisition:
    """An acquisition function that selects the images of the highest ``score``.

    ``select`` raises McalError, which names the function, where the score is not one number for each image.
    """
    name = name or getattr(score, "__name__", type(score).__name__)

    def select(pool: PoolView, n: int) -> np.ndarray:
        return lowest(-_checked_scores(score, pool, name), n)

    return Acquisition(description or (score.__doc__ or name).strip().splitlines()[0], select, reference, score)


def _checked_scores(score: ScoreFunction, pool: PoolView, name: str) -> np.ndarray:
    """What ``score`` gives for the pool, float [size]. Raises McalError."""
    scores = pool.scores
    if len(scores.margin) != pool.size:
        raise McalError(
            f"acquisition function {name!r} was given the scores of {len(scores.margin)} images for a pool of"
            f" {pool.size}"
        )
    try:
        values = np.asarray(score(scores))
    except Exception as error:
        raise McalError(f"acquisition function {name!r} fails: {type(error).__name__}: {error}") from error
    if values.shape != (pool.size,):
        raise McalError(f"acquisition function {name!r} returned shape {list(values.shape)}, not [{pool.size}]")
    if values.dtype.kind not in "fiub":
        raise McalError(f"acquisition function {name!r} returned {values.dtype} values, not numbers")
    if values.dtype.kind != "f":
        values = values.astype(float)
    # A classifier that diverged has no margins either; then the function is not to blame.
    if pool.size and np.isnan(values).all() and not np.isnan(scores.margin).all():
        raise McalError(f"acquisition function {name!r} returned NaN for every image")
    return values


def _select_k_center(pool: PoolView, n: int) -> np.ndarray:
    if len(pool.features) != pool.size:
        raise McalError(
            f"acquisition function 'kcenter' was given the features of {len(pool.features)} images for a pool of"
            f" {pool.size}"
        )
    return pool.k_center(pool.features, n, pool.labelled_features)


def _select_at_random(pool: PoolView, n: int) -> np.ndarray:
    return pool.rng.choice(pool.size, n, replace=False)


ACQUISITIONS: Registry[Acquisition | ScoreFunction] = Registry(
    "acquisition function",
    {
        "margin": by_score(
            lambda scores: -scores.margin,
            "least difference between the two highest probabilities",
            "Scheffer, Decomain and Wrobel 2001",
            "margin",
        ),
        "entropy": by_score(
            lambda scores: scores.entropy, "highest entropy of the probabilities", "Dagan and Engelson 1995", "entropy"
        ),
        "least_confidence": by_score(
            lambda scores: -scores.confidence,
            "lowest probability of the most probable class",
            "Culotta and McCallum 2005",
            "least_confidence",
        ),
        "kcenter": Acquisition(
            "k-center greedy: farthest in feature space from all chosen so far",
            _select_k_center,
            "Sener and Savarese 2018",
        ),
        "random": Acquisition("uniformly at random", _select_at_random),
    },
)
"""M(.) by name. An entry is an ``Acquisition`` or a score function; ``find`` gives either as an ``Acquisition``."""


def find(name: str) -> Acquisition:
    """The acquisition function of that name in ``ACQUISITIONS``, or in "my_file.py:name".

    Raises McalError with the nearest name if there is none, and for an object that is no acquisition function.
    """
    entry = ACQUISITIONS[name]
    if isinstance(entry, Acquisition):
        return entry
    if not callable(entry):
        raise McalError(f"acquisition function {name!r} is a {type(entry).__name__}, not a function or an Acquisition")
    return by_score(entry, name=name)


def select(by: str, n: int, pool: PoolView) -> np.ndarray:
    """The ``n`` images of ``pool`` that M(.) = ``by`` wants humans to label: positions int64 [n], best first.

    >>> scores = Scores(np.zeros(3, int), *[np.array([0.5, 0.1, 0.5], np.float32)] * 3)
    >>> select("margin", 2, PoolView(3, scores=scores)).tolist()
    [1, 0]

    Raises McalError for an unknown name, for more images than the pool holds, for an input that the pool does not
    have, and for a function that fails or does not return ``n`` different positions.
    """
    acquisition = find(by)
    if not 0 <= n <= pool.size:
        raise McalError(f"cannot select {n} images by {by!r} from a pool of {pool.size}")
    try:
        positions = np.asarray(acquisition.select(pool, n))
    except McalError:
        raise
    except Exception as error:
        raise McalError(f"acquisition function {by!r} fails: {type(error).__name__}: {error}") from error
    if positions.shape != (n,) or (n and positions.dtype.kind not in "iu"):
        raise McalError(f"acquisition function {by!r} was asked for {n} positions and returned {_outline(positions)}")
    if n and (positions.min() < 0 or positions.max() >= pool.size or len(np.unique(positions)) < n):
        raise McalError(f"acquisition function {by!r} selected images twice or outside the pool of {pool.size}")
    return positions.astype(np.int64, copy=False)


def would_choose(by: str, chosen: Scores, chosen_at: np.ndarray, others: Scores, others_at: np.ndarray) -> np.ndarray:
    """Whether M(.) = ``by`` would have chosen each of ``others`` too, had it been in the pool; bool [others].

    ``chosen`` are the scores of a batch, ``chosen_at`` and ``others_at`` the indices of the images in X. An image
    belongs to the batch if its score is higher than the lowest there, or equal and its index lower than the last with
    that score: so ties are broken in the pool. Never so for a function without a score: random images leave the pool as
    it is. k-center has a rule of its own, see ``training.kcenter.would_be_chosen``.

    >>> batch, others = (Scores(*[np.array(margin)] * 4) for margin in ([0.1, 0.3], [0.2, 0.3, 0.3, 0.4]))
    >>> would_choose("margin", batch, np.array([4, 8]), others, np.array([9, 5, 10, 0])).tolist()
    [True, True, False, False]
    """
    score = find(by).score
    if score is None or not len(chosen.margin) or not len(others.margin):
        return np.zeros(len(others.margin), bool)
    own, theirs = np.asarray(score(chosen)), np.asarray(score(others))
    lowest_chosen = own.min()
    last = chosen_at[own == lowest_chosen].max(initial=-1)
    return (theirs > lowest_chosen) | (theirs == lowest_chosen) & (others_at < last)


def _outline(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"


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


def rank_confident(scores: Scores, n: int | None = None) -> np.ndarray:
    """L(.) = margin: positions int64 of the ``n`` images (none given: all) of which the classifier is most confident,
    the most confident first."""
    return lowest(-scores.margin, len(scores.margin) if n is None else n)


def rank_within_class(order: np.ndarray, counted: np.ndarray, label: np.ndarray) -> np.ndarray:
    """How many ``counted`` images of the same ``label`` stand before each image in ``order``; int64 [n].

    ``order`` holds positions, ``counted`` is bool or 0 and 1, ``label`` the class of each image; all [n].
    """
    ahead = np.empty(len(order), np.int64)
    for one in np.unique(label):
        of = order[label[order] == one]
        ahead[of] = np.cumsum(counted[of]) - counted[of]
    return ahead


def apply_class_limits(limits: tuple[int, ...] | None, order: np.ndarray, label: np.ndarray) -> np.ndarray:
    """``order`` less those images that ``limits[c]`` or more of their ``label`` c stand before; no limits: all."""
    if limits is None:
        return order
    rank = rank_within_class(np.arange(len(order)), np.ones(len(order), np.int64), label[order])
    return order[rank < np.asarray(limits)[label[order]]]
