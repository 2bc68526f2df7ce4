"""When one more opinion on an image pays: the rule, in expected US dollars.

An annotator names the right class with probability a and each other class with (1 - a) / (k - 1). With opinions that
err independently and classes that were equally frequent before, Bayes' rule gives the belief b(c) in each class. To
stop and take the likeliest class costs m (1 - max b) in expectation, where m is what a wrong label costs. To ask an
annotator of price p costs p, and then the least of the same two choices, at the belief after the answer v::

    stop(b) = m (1 - max_c b(c))
    ask(b)  = p + sum_v P(v) least(b given v),   P(v) = sum_c b(c) P(v | c)
    least   = min(stop, ask)

This is the value of sample information (Raiffa and Schlaifer 1961), looked ahead for ``AHEAD`` opinions. One is too
few: a second opinion of the same quality never changes the label at once, it only shows whether a third is needed. Of
many classes only the ``LIKELIEST`` enter one by one, the others together as one, which bounds the work.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from mcal_jax.algorithm.protocol import UNKNOWN

AHEAD = 2
"""Opinions that the rule looks ahead."""
LIKELIEST = 10
"""Classes that enter the rule, the last of them for all others."""


def belief(votes: Mapping[str, int], accuracy: Mapping[str, float], classes: int) -> np.ndarray:
    """The probability of each class after ``votes`` by annotator, float [classes]; "can't tell" says nothing.

    >>> belief({"ada": 1, "bob": 1, "eve": 0}, {"ada": 0.8, "bob": 0.8, "eve": 0.8}, 2).round(2)
    array([0.2, 0.8])
    """
    logs = np.zeros(classes)
    for annotator, label in votes.items():
        if label != UNKNOWN:
            right = _within(accuracy[annotator], classes)
            logs += np.log((1 - right) / max(classes - 1, 1))
            logs[label] += np.log(right) - np.log((1 - right) / max(classes - 1, 1))
    likelihood = np.exp(logs - logs.max())
    return likelihood / likelihood.sum()


def pays(belief: np.ndarray, accuracy: float, price: float, mistake_cost: float) -> bool:
    """Whether an opinion of an annotator, right with chance ``accuracy``, is expected to save more than its ``price``.

    ``belief`` [classes] is what the opinions so far make of the image, ``mistake_cost`` what a wrong label costs; both
    in US dollars.

    >>> pays(np.array([0.6, 0.4]), 0.98, 0.04, 0.5), pays(np.array([0.98, 0.02]), 0.98, 0.04, 0.5)
    (True, False)
    """
    falling = np.sort(belief)[::-1]
    likeliest = np.append(falling[: LIKELIEST - 1], falling[LIKELIEST - 1 :].sum())[: len(belief)]
    rounded = tuple((likeliest / likeliest.sum()).round(3).tolist())
    return _pays(rounded, round(accuracy, 3), price, mistake_cost)


@lru_cache(100_000)
def _pays(belief: tuple[float, ...], accuracy: float, price: float, mistake_cost: float) -> bool:
    b, right = np.array(belief), _within(accuracy, len(belief))
    answers = np.full((len(b), len(b)), (1 - right) / max(len(b) - 1, 1))  # [answer, class]
    np.fill_diagonal(answers, right)
    return _ask(b, answers, price, mistake_cost, AHEAD) < _stop(b, mistake_cost) - 1e-12


def _stop(b: np.ndarray, mistake_cost: float) -> float:
    return float(mistake_cost * (1 - b.max()))


def _ask(b: np.ndarray, answers: np.ndarray, price: float, mistake_cost: float, ahead: int) -> float:
    """Expected US dollars of asking once, and then at most ``ahead`` - 1 times."""
    cost = price
    for joint in answers * b:
        if (chance := float(joint.sum())) > 0:
            after = joint / chance
            stop = _stop(after, mistake_cost)
            least = min(stop, _ask(after, answers, price, mistake_cost, ahead - 1)) if ahead > 1 else stop
            cost += chance * least
    return cost


def _within(accuracy: float, classes: int) -> float:
    """An accuracy that is no worse than chance, and not beyond doubt."""
    return min(max(accuracy, 1 / classes), 0.999)
