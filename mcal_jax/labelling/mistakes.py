"""The chance that a machine's label is wrong, estimated from the images whose labels humans gave to test it.

The images of V, or of T where nothing is certified, are ranked by the margin as those of S are. They are cut into bins
of equal size; the share of mistakes of a bin is (mistakes + 1/2) / (images + 1); shares are made to rise with the rank
(isotonic regression), and taken between the middles of bins by a straight line. It is an estimate, not a bound.
"""

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import rankdata

from mcal_jax.algorithm.protocol import Labels, MachineLabel, Train, TrainResult, Verification, Verify
from mcal_jax.runs.recorded import RecordedRun

_LEAST = 25  # images of a bin
_MOST_BINS = 20


def mistake_chances(run: RecordedRun) -> np.ndarray:
    """The chance that each label is wrong, float [n]; NaN for labels of humans, and where a log lacks the margins."""
    chances = np.full(run.job.n, np.nan)
    for request, answer in run.steps:
        if isinstance(request, MachineLabel) and isinstance(answer, Labels) and len(answer.margins):
            ranks = (rankdata(-answer.margins) - 0.5) / len(request.pool)
            sample = _sample(run, request.model)
            if sample is not None:
                chances[answer.indices] = chance_at(ranks, *sample)
    return chances


def chance_at(ranks: np.ndarray, sample_ranks: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """The chance of a mistake at each of ``ranks``, 0 for the most confident image and 1 for the least.

    ``sample_ranks`` [m] are those of tested images, ``wrong`` bool [m] says which of them are mislabelled.

    >>> at = np.linspace(0, 1, 200)
    >>> chance_at(np.array([0.1, 0.9]), at, at > 0.5).round(2)
    array([0.02, 0.98])
    """
    order = np.argsort(sample_ranks, kind="stable")
    bins = np.array_split(order, int(np.clip(len(order) // _LEAST, 1, _MOST_BINS)))
    sizes = np.array([len(one) for one in bins], float)
    shares = np.array([(wrong[one].sum() + 0.5) / (len(one) + 1) for one in bins])
    middles = np.array([sample_ranks[one].mean() for one in bins])
    return np.interp(ranks, middles, isotonic_regression(shares, weights=sizes).x)


def _sample(run: RecordedRun, model: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Ranks of the images that the classifier was tested on, and whether it is wrong on each: V, or else T."""
    for request, answer in run.steps:
        if isinstance(request, Verify) and isinstance(answer, Verification) and request.model == model:
            return (answer.ahead + 0.5) / (len(request.pool) + 1), np.asarray(answer.wrong, bool)
    for request, answer in run.steps:
        if isinstance(request, Train) and isinstance(answer, TrainResult) and answer.model == model and answer.n_test:
            wrong = np.zeros(answer.n_test, bool)
            wrong[answer.wrong] = True
            return (np.arange(answer.n_test) + 0.5) / answer.n_test, wrong
    return None
