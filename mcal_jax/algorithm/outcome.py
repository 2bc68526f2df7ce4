"""How a run ended: the sets, the bill, and what is certified about the labels."""

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np

from mcal_jax.algorithm.limits import clopper_pearson
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import Indices, Request, TrainResult, trials
from mcal_jax.display import html_table


class ClassBound(NamedTuple):
    """Upper limit ``bound`` on the share of mistakes among the machine's labels of one class.

    Of ``trials`` images of V that it gives this label, ``mistakes`` are wrong. With ``class_epsilon`` the bound is a
    share of all images that it gives this label, whether it or humans label them in the end.
    """

    label: int
    trials: int
    mistakes: int
    bound: float


class ClassRecall(NamedTuple):
    """Upper limit on the share of X's images of one class, as humans label them, that get another label.

    V holds ``trials`` such images; of these, ``mistakes`` lie where S does and the classifier gets them wrong. It gives
    ``called`` images of U this label; if none, all that are in S are mislabelled. Without trials only T and B hold
    images of the class: the bound is 1 if they hold none either.
    """

    label: int
    trials: int
    mistakes: int
    called: int
    bound: float


class Certificate(NamedTuple):
    """The bound that V gives: with ``confidence``, at most ``bound`` of X is labelled wrongly by the machine.

    Of the ``sample`` images of V, ``trials`` lie where S does, and ``mistakes`` of those the classifier gets wrong. S
    are the ``machine`` most confident images, of each class no more than ``limits``, if there are any. ``by_class``
    holds for all classes at once: with that confidence alone, or with ``class_epsilon`` together with ``bound``. It
    goes by the labels of the classifier; ``by_true_class``, by those of humans, holds with that confidence alone.
    ``bound_in_S`` is ``bound`` as a share of S; the first logs lack it.
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
    bound_in_S: float | None = None

    def __repr__(self) -> str:
        in_S = "" if self.bound_in_S is None else f" and {self.bound_in_S:.1%} of S"
        return (
            f"Certificate(the machine mislabels at most {self.bound:.2%} of X{in_S}, {self.confidence:.0%} confidence: "
            f"{self.mistakes} mistakes among {self.trials:,} of {self.sample:,} images)"
        )

    def _repr_html_(self) -> str:
        rows = {
            "wrong by the machine, of all labels": f"at most {self.bound:.2%}",
            "of its own labels": "not known" if self.bound_in_S is None else f"at most {self.bound_in_S:.1%}",
            "confidence": f"{self.confidence:.0%}",
            "labelled by the machine": f"{self.machine:,}",
            "images of V": f"{self.sample:,}",
            "of these where S lies": f"{self.trials:,}, {self.mistakes} of them mistaken",
            "method": self.method,
        }
        return html_table("Certificate", rows)


class MachineError(NamedTuple):
    """The error within S, a share of S: ``limit`` is an upper confidence limit.

    With a certificate it is V's bound, and holds with its ``confidence``. Without one it is that of Clopper and Pearson
    for ``mistakes`` among ``trials`` images of T where S lies, which is none: T has also chosen theta. ``estimate`` is
    the share there, None with a certificate, or where T has no image.
    """

    limit: float
    confidence: float
    estimate: float | None = None
    mistakes: int = 0
    trials: int = 0


class Rejected(NamedTuple):
    """An S that epsilon allows and ``machine_epsilon`` does not: ``machine`` images, of which up to the share ``error``
    may be wrong. Humans label them."""

    machine: int
    error: float


class AnnotatorError(NamedTuple):
    """How many labels humans get wrong: at most ``bound`` of X, because ``differ`` of ``sample`` images of T that were
    labelled twice got two different labels.

    ``counted``: whether epsilon has room for that; if not, the certificate is relative to humans.
    """

    sample: int
    differ: int
    bound: float
    counted: bool


class Contestant(NamedTuple):
    """How an architecture did in the race: its number of trainings, their cost ``spent`` and the last predicted C*, in
    US dollars."""

    architecture: str
    trainings: int
    spent: float
    cost: float
    won: bool


class Ledger(NamedTuple):
    """Eqn 1 by part, in US dollars: the labels of T, B and R, and training.

    ``race`` is the training cost of the losing architectures, ``certificate`` the cost of the labels of V, ``repeat``
    that of the second labels. ``humans_only`` is what humans would charge for all of X, less labels that
    were known before the run.
    """

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
        """C: US dollars of the whole job."""
        return self.test + self.train + self.residual + self.training + self.race + self.certificate + self.repeat

    @property
    def savings(self) -> float:
        """1 - total / humans only, a fraction."""
        return 1 - self.total / self.humans_only

    def _repr_html_(self) -> str:
        parts = {name: f"${value:,.2f}" for name, value in self._asdict().items() if value}
        return html_table("Bill", {**parts, "total": f"${self.total:,.2f}", "savings": f"{self.savings:.1%}"})


class Outcome(NamedTuple):
    """How X was divided, what it cost, and why it ended.

    The sets T, B, S, R and V partition X, ``n`` images; V, by which the labels are certified, is empty if that was not
    asked for. ``theta`` is |S| / |U|, ``stop`` the name of the rule that ended training, ``plans`` and ``history`` are
    one per training. ``rejected`` is the S that was left to humans, if ``machine_epsilon`` asked for that. ``owned``
    labels of B were known beforehand and are not in the bill.
    """

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
    rejected: Rejected | None = None
    owned: int = 0

    @property
    def machine_error(self) -> MachineError | None:
        """How many of the machine's labels are wrong, which Eqn 2 does not bound; None where it gave none.

        By the certificate if there is one, else by the last classifier's mistakes on T.
        """
        machine, rest = len(self.S), len(self.S) + len(self.R)
        if not machine:
            return None
        if self.certificate:
            return MachineError(min(self.certificate.bound * self.n / machine, 1.0), self.certificate.confidence)
        fit = self.history[-1]
        count = int(trials(machine / rest, fit.n_test))
        if not count:
            return MachineError(1.0, 0.95)
        mistakes = int(fit.errors(machine / rest))
        return MachineError(clopper_pearson(mistakes, count, 0.05), 0.95, mistakes / count, mistakes, count)

    @property
    def why(self) -> str:
        """What is known of the machine's labels, or why it gave none, in a few words; "" if there is nothing to say."""
        if self.rejected:
            return f"S left to humans: up to {self.rejected.error:.0%} of {self.rejected.machine:,} would be wrong"
        error = self.machine_error
        return "" if error is None else f"within S at most {error.limit:.1%} wrong ({error.confidence:.0%})"

    def __repr__(self) -> str:
        sizes = ", ".join(f"|{name}| {len(getattr(self, name)):,}" for name in "TBSRV" if len(getattr(self, name)))
        why = f"; {self.why}" if self.why else ""
        return f"Outcome({self.n:,} images: {sizes}; ${self.ledger.total:,.2f}; stopped by {self.stop}{why})"

    def _repr_html_(self) -> str:
        sizes = {f"|{name}|": f"{len(getattr(self, name)):,}" for name in "TBSRV" if len(getattr(self, name))}
        rows = {"images": f"{self.n:,}", **sizes, "cost": f"${self.ledger.total:,.2f}", "stopped by": self.stop}
        return html_table("Outcome", {**rows, **({"the machine's labels": self.why} if self.why else {})})


Algorithm = Generator[Request, Any, Outcome]
"""Yields requests, is sent their answers, returns the Outcome."""
