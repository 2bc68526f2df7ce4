"""How a run ended: the sets, the bill, and what is certified about the labels."""

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np

from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import Indices, Request, TrainResult


class ClassBound(NamedTuple):
    """Upper limit on the share of mistakes among the machine's labels of one class, which made ``mistakes`` of
    ``trials``; with ``class_epsilon`` a share of all that it calls so, whether it or people label them."""

    label: int
    trials: int
    mistakes: int
    bound: float


class ClassRecall(NamedTuple):
    """Upper limit on the share of X's images of one class, as people label them, that get another label.

    V holds ``trials`` such images; of these, ``mistakes`` lie where S does and the classifier gets them wrong. It calls
    ``called`` images of U so; if none, all that are in S are mislabelled. Without trials only T and B speak for a
    class: the bound is 1 if they hold none of it either.
    """

    label: int
    trials: int
    mistakes: int
    called: int
    bound: float


class Certificate(NamedTuple):
    """What V vouches for: with ``confidence``, at most ``bound`` of X is labelled wrongly by the machine.

    Of the ``sample`` images of V, ``trials`` lie where S does, and ``mistakes`` of those the classifier gets wrong. S
    are the ``machine`` surest images, of each class no more than ``limits``, if there are any. ``by_class`` holds for
    all classes at once: with that confidence alone, or with ``class_epsilon`` together with ``bound``. It is about what
    the classifier calls a class; ``by_true_class``, of what people call one, holds with that confidence alone.
    """

    confidence: float
    method: str
    sample: int
    trials: int
    mistakes: int
    machine: int
    bound: float
    by_class: tuple[ClassBound, ...] = ()
    limits: tuple[int, ...] | None = None
    by_true_class: tuple[ClassRecall, ...] = ()


class AnnotatorError(NamedTuple):
    """What labelling ``sample`` images of T twice says: ``differ`` of them got two different labels, so people mislabel
    at most ``bound`` of X. ``counted``: whether epsilon has room for that; if not, it is relative to people."""

    sample: int
    differ: int
    bound: float
    counted: bool


class Contestant(NamedTuple):
    """How an architecture did in the race: its trainings, dollars of training, and last predicted C*."""

    architecture: str
    trainings: int
    spent: float
    cost: float
    won: bool


class Ledger(NamedTuple):
    """Dollars by part. ``race`` is what the losing architectures' training cost, ``certificate`` the labels of V,
    ``repeat`` the second labels."""

    test: float
    train: float
    residual: float
    training: float
    race: float
    humans_only: float
    certificate: float = 0.0
    repeat: float = 0.0

    @property
    def total(self) -> float:
        return self.test + self.train + self.residual + self.training + self.race + self.certificate + self.repeat

    @property
    def savings(self) -> float:
        """1 - total / humans only."""
        return 1 - self.total / self.humans_only


class Outcome(NamedTuple):
    """How X was divided, what it cost, and why it ended. T, B, S, R and V partition X; V, by which the labels are
    certified, is empty if that was not asked for."""

    n: int
    T: Indices
    B: Indices
    S: Indices
    R: Indices
    theta: float
    architecture: str
    stop: str
    ledger: Ledger
    plans: tuple[Plan, ...]
    history: tuple[TrainResult, ...]
    race: tuple[Contestant, ...] = ()
    V: Indices = np.empty(0, np.int64)
    certificate: Certificate | None = None
    annotator_error: AnnotatorError | None = None


Algorithm = Generator[Request, Any, Outcome]
"""Yields requests, is sent their answers, returns the Outcome."""
