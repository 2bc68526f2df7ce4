"""The world of a classifier that was trained elsewhere: its predictions and how confident it is of each."""

import numpy as np

from mcal_jax.algorithm import acquisition
from mcal_jax.algorithm.protocol import (
    Answer,
    Indices,
    Label,
    Labels,
    MachineLabel,
    Measure,
    Relabel,
    Request,
    SecondLabels,
    Train,
    Verify,
)
from mcal_jax.annotators import Annotator, ask
from mcal_jax.errors import McalError
from mcal_jax.worlds.ranking import machine_labels, verification


class PredictionsWorld:
    """Answers from ``predictions``, int32 [n], and ``confidence``, float [n], the higher the surer the classifier is.

    Humans are asked by ``annotator``, or answer from outside (``restore``). ``seed`` draws V. ``truth`` int32 [n],
    where it is known, is for the true error alone.
    """

    def __init__(
        self,
        predictions: np.ndarray,
        confidence: np.ndarray,
        classes: tuple[str, ...],
        annotator: Annotator | None = None,
        *,
        seed: int = 0,
        truth: np.ndarray | None = None,
    ):
        self.truth, self.predictions, self.confidence, self.classes = truth, predictions, confidence, classes
        self.annotator, self.seed = annotator, seed
        self.known = np.full(len(predictions), -1, np.int32)

    def answer(self, request: Request, number: int) -> Answer:
        match request:
            case Label() | Relabel():
                if self.annotator is None:
                    raise McalError("this world has no annotator: give one, or the labels from outside")
                indices, again = self.choose(request, number), isinstance(request, Relabel)
                labels = ask(self.annotator, indices, self.classes, again=again)
                if again:
                    return SecondLabels(indices, labels != self.known[indices])
                self.known[indices] = labels
                return Labels(indices, labels)
            case Verify(sample, pool):
                both = np.union1d(sample, pool)
                in_sample = np.isin(both, sample, assume_unique=True)
                before = np.setdiff1d(np.flatnonzero(self.known >= 0), sample)
                human, elsewhere = self.known[sample], self.known[before]
                label, order = self.predictions[both], self._order(both, len(both))
                return verification(order, label, in_sample, human, elsewhere, len(self.classes))
            case MachineLabel(pool, n, _, _, limits):
                label, confidence = self.predictions[pool], self.confidence[pool]
                return machine_labels(pool, label, confidence, self._order(pool, n), limits)
            case Train() | Measure():
                raise McalError("predictions are given: nothing can be trained or measured")

    def choose(self, request: Label | Relabel, number: int) -> Indices:
        """The images that humans are to label, sorted: at random, or all."""
        if request.n == len(request.pool):
            return request.pool
        return np.sort(np.random.default_rng([self.seed, number]).choice(request.pool, request.n, replace=False))

    def retire(self, request: Label, chosen: Indices) -> Indices:
        """None: there is no T."""
        return np.empty(0, np.int64)

    def restore(self, request: Request, number: int, answer: Answer) -> None:
        if isinstance(request, Label) and isinstance(answer, Labels):
            self.known[answer.indices] = answer.labels

    def _order(self, pool: Indices, n: int) -> np.ndarray:
        """Positions of the ``n`` images of ``pool`` that the classifier is most confident of, the surest first."""
        return acquisition.lowest(-self.confidence[pool], n)
