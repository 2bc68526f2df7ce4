"""L(.): how the classifier's labels are made and ranked, the most reliable first (section 3.3).

A ranking is a strategy by name in ``RANKINGS``. ``Config(ranking=...)`` takes a name, a ``Ranking``, a function from
``Scores`` to how confident each label is, or "my_file.py:my_ranking". T, U and V are ranked alike, so the estimate and
the certificate hold for any of them.
"""

from typing import Any, NamedTuple

import numpy as np

from mcal_jax.algorithm.acquisition import ScoreFunction, Scores, lowest
from mcal_jax.errors import McalError
from mcal_jax.registry import Registry


class Ranking(NamedTuple):
    """A way to label and to rank images.

    The scores come from the classifier's probabilities, or from a mean of several, and so do the labels. M(.) selects
    by the latest classifier alone: what it selects is scored often, what L(.) labels once.
    """

    description: str
    confidence: ScoreFunction
    """Scores of n images -> how confident each label is, [n], the higher the more."""
    mirror: bool = False
    """Average over the image and its mirror image, where the recipe trains on mirror images too."""
    previous: float = 0.0
    """Weight of the classifier of the training before, on the smaller B; below 1."""


def _margin(scores: Scores) -> np.ndarray:
    return scores.margin


def _probability(scores: Scores) -> np.ndarray:
    return scores.confidence


RANKINGS: Registry[Ranking | ScoreFunction] = Registry(
    "ranking",
    {
        "margin": Ranking("difference between the two highest probabilities", _margin),
        "mirror": Ranking("highest mean probability over the image and its mirror image", _probability, mirror=True),
        # Chosen on CIFAR-10 and Fashion-MNIST at half the resolution (results/bench/rankings.csv): weights of 0.2 and
        # 0.4 are no better, nor is a third classifier; the highest probability ranks a little better than the margin.
        "averaged": Ranking(
            "highest mean probability over the image, its mirror image, and the last two classifiers",
            _probability,
            mirror=True,
            previous=0.3,
        ),
    },
)
"""L(.) by name. An entry is a ``Ranking`` or a confidence function; ``find`` gives either as a ``Ranking``."""


def find(name: str) -> Ranking:
    """The ranking of that name in ``RANKINGS``, or in "my_file.py:name".

    >>> find("averaged").previous
    0.3

    Raises McalError with the nearest name if there is none, for an object that is no ranking, and for a weight that is
    not from 0 to below 1.
    """
    entry = RANKINGS[name]
    if not isinstance(entry, Ranking):
        if not callable(entry):
            raise McalError(f"ranking {name!r} is a {type(entry).__name__}, not a function or a Ranking")
        entry = Ranking((entry.__doc__ or name).strip().splitlines()[0], entry)
    if not 0 <= entry.previous < 1:
        raise McalError(
            f"ranking {name!r}: the weight of the previous classifier is {entry.previous}, not 0 to below 1"
        )
    return entry


def most_confident(ranking: Ranking, scores: Scores, n: int | None = None) -> np.ndarray:
    """Positions int64 of the ``n`` images (none given: all) whose labels ``ranking`` trusts most, those first.

    >>> scores = Scores(np.zeros(3, int), *[np.array([0.1, 0.9, 0.5], np.float32)] * 3)
    >>> most_confident(find("margin"), scores, 2).tolist()
    [1, 2]

    Raises McalError where the confidence is not one number for each image.
    """
    size = len(scores.margin)
    return lowest(-_checked(ranking, scores), size if n is None else n)


def _checked(ranking: Ranking, scores: Scores) -> np.ndarray:
    what = f"ranking {ranking.description!r}"
    try:
        confidence: Any = np.asarray(ranking.confidence(scores))
    except Exception as error:
        raise McalError(f"{what} fails: {type(error).__name__}: {error}") from error
    if confidence.shape != scores.margin.shape or confidence.dtype.kind not in "fiub":
        found = f"{confidence.dtype} {list(confidence.shape)}"
        raise McalError(f"{what} returned {found}, not one number for each of {len(scores.margin)} images")
    return confidence if confidence.dtype.kind == "f" else confidence.astype(float)
