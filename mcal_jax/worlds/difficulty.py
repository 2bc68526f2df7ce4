"""A simulated world in which each image has a difficulty of its own, so that acquisition moves the hardest ones to B.

In ``SimulatedWorld`` the pool stays as T is. Here it does not: what is chosen by uncertainty leaves the pool easier
than T, as on real images, and an estimate on the whole of T is too high.
"""

from functools import lru_cache

import numpy as np
from scipy.special import ndtr

from mcal_jax.algorithm import acquisition
from mcal_jax.algorithm.protocol import (
    Answer,
    Indices,
    Label,
    Labels,
    MachineLabel,
    Measure,
    Measurement,
    Relabel,
    Request,
    SecondLabels,
    Train,
    TrainResult,
    Verify,
)
from mcal_jax.errors import McalError
from mcal_jax.worlds.ranking import machine_labels, verification
from mcal_jax.worlds.simulated import Curve, chance


class DifficultyWorld:
    """Answers from a curve, which says how often an image at rank u of X is mistaken, 0 the most confident.

    The rank of an image under each classifier is its own difficulty, with weight ``stability`` in [0, 1], and luck.
    Every true label is 0, a mistake of the machine is a 1. Any acquisition function with a score chooses the hardest
    images.
    """

    def __init__(self, n: int, curve: Curve, *, seed: int = 0, stability: float = 0.8, persistence: float = 0.5):
        self.truth: np.ndarray | None = np.zeros(n, np.int32)
        self.n, self.curve, self.seed = n, curve, seed
        self.stability, self.persistence = stability, persistence
        rng = np.random.default_rng([seed, 0])
        self._difficulty, self._luck = rng.standard_normal(n), rng.standard_normal(n)
        self.trained: dict[int, int] = {}
        self.view = lru_cache(4)(self._view)

    def answer(self, request: Request, number: int) -> Answer:
        match request:
            case Label():
                chosen = self.choose(request, number)
                return Labels(chosen, np.zeros(len(chosen), np.int32), retired=self.retire(request, chosen))
            case Relabel():
                chosen = self.choose(request, number)
                return SecondLabels(chosen, np.zeros(len(chosen), bool))
            case Train(train, test):
                self.trained[number] = len(train)
                rank, label = self.view(number)
                wrong = np.flatnonzero(label[test][np.argsort(rank[test])])
                return TrainResult(number, len(train), len(test), wrong, 200 * len(train), 0.02 * len(train))
            case MachineLabel(pool, n, model, _, limits):
                rank, label = (values[pool] for values in self.view(model))
                return machine_labels(pool, label, 1 - rank, acquisition.lowest(rank, n), limits)
            case Verify(sample, pool, model):
                both = np.union1d(sample, pool)
                rank, label = (values[both] for values in self.view(model))
                labelled = np.zeros(self.n - len(both), np.int32)
                in_sample = np.isin(both, sample, assume_unique=True)
                return verification(np.argsort(rank), label, in_sample, np.zeros(len(sample), np.int32), labelled, 2)
            case Measure(pool, model):
                return self._measure(pool, model)

    def choose(self, request: Label | Relabel, number: int) -> Indices:
        """The hardest images under the classifier that chooses, or random ones; sorted."""
        if isinstance(request, Label) and request.model is not None and _has_score(request):
            rank, _ = self.view(request.model)
            return np.sort(request.pool[acquisition.lowest(-rank[request.pool], request.n)])
        return np.sort(np.random.default_rng([self.seed, number]).choice(request.pool, request.n, replace=False))

    def retire(self, request: Label, chosen: Indices) -> Indices:
        """The images of ``request.test`` that are no easier than the easiest of the batch; sorted."""
        if request.test is None or request.model is None or not _has_score(request):
            return np.empty(0, np.int64)
        rank, _ = self.view(request.model)
        return request.test[rank[request.test] >= rank[chosen].min()]

    def restore(self, request: Request, number: int, answer: Answer) -> None:
        if isinstance(request, Train):
            self.trained[number] = len(request.train)

    def _view(self, model: int) -> tuple[np.ndarray, np.ndarray]:
        """Rank in X, 0 to 1, and label of every image under a classifier; both [n]."""
        rng = np.random.default_rng([self.seed, 1, model])
        s, p = self.stability, self.persistence
        rank = ndtr(np.sqrt(s) * self._difficulty + np.sqrt(1 - s) * rng.standard_normal(self.n))
        luck = ndtr(np.sqrt(p) * self._luck + np.sqrt(1 - p) * rng.standard_normal(self.n))
        return rank, (luck < chance(self.curve, rank, self.trained[model])).astype(np.int32)

    def _measure(self, pool: Indices, model: int) -> Measurement:
        raise McalError("this world measures nothing: ask its ``view``")


def _has_score(request: Label) -> bool:
    """Whether the images of a request are chosen by a score, not at random and not all."""
    return request.purpose == "train" and acquisition.find(request.by).score is not None
