"""Several labelling services in one run: who labels T and V, B, and R, each at its price and with its error.

A service errs with a chance of at most ``error`` on every label, independently: that is stated, not measured. Its
mistakes count against epsilon, and what they leave of it is the machine's. The machine's label is wrong only if it
differs from the label that the service of V would give, or if that label would be wrong; V bounds the first. So with
the chance of the certificate fewer than epsilon |X| of all labels are wrong, whoever gave them.

How many labels a service gives is decided as the run goes, by what its labels were. ``most_mistakes`` therefore holds
at every number of labels at once: it is the line that the exponential supermartingale of the mistakes crosses with a
chance of no more than the risk (Ville's inequality).
"""

import math
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.special import bdtrc

from mcal_jax.algorithm.fields import HIGHEST_PRICE, LOWEST_PRICE, Settings

PURPOSES = ("test", "certify", "train", "residual")
"""What humans label images for: T, V, B, and R."""
SHARE_OF_RISK = 0.5
"""Of the risk of a certificate, what is spent on the mistakes of services, if there may be any."""

SLOPES = np.geomspace(1e-3, 30, 400)
"""Slopes among which ``most_mistakes`` chooses."""


class Service(Settings):
    """Who labels images: US dollars for a label, and the most that its chance to be wrong may be."""

    name: str
    price: Annotated[float, Field(ge=LOWEST_PRICE, le=HIGHEST_PRICE)]
    error: Annotated[float, Field(ge=0, lt=0.5)] = 0.0

    def voting(self, votes: int) -> "Service":
        """The majority of an odd number of ``votes`` of this service, as one service.

        Its error is that where all who err name the same wrong class, the worst case.

        >>> Service(name="crowd", price=0.01, error=0.1).voting(3)
        Service(name='crowd x3', price=0.03, error=0.028)
        """
        error = round(float(bdtrc(votes // 2, votes, self.error)), 12)
        return Service(name=f"{self.name} x{votes}", price=self.price * votes, error=error)


class Services(Settings):
    """Who labels what: ``test`` T and V, ``train`` B, ``residual`` R."""

    test: Service
    train: Service
    residual: Service

    def of(self, purpose: str) -> Service:
        """The service that labels for the ``purpose`` of a request: test, certify, train or residual."""
        return {"train": self.train, "residual": self.residual}.get(purpose, self.test)

    @property
    def may_err(self) -> bool:
        """Whether any of them has an error."""
        return any(one.error for one in (self.test, self.train, self.residual))

    def mistakes(self, n: int, size: int, risk: float) -> float:
        """How many labels the services get wrong at most, if ``size`` of ``n`` images are B; ``risk`` is the chance of
        more, for all sizes at once.

        The service of V counts for all images, because its label of an image of S may be wrong too where nobody asks
        for it; that of R for all that are not B.
        """
        counts: dict[Service, int] = {}
        for service, count in ((self.test, n), (self.train, size), (self.residual, n - size)):
            counts[service] = min(counts.get(service, 0) + count, n)
        counts = {service: count for service, count in counts.items() if service.error}
        return sum(most_mistakes(n, count, one.error, risk / len(counts)) for one, count in counts.items())

    def __str__(self) -> str:
        names = {"T and V": self.test, "B": self.train, "R": self.residual}
        parts = [f"{what} by {one.name} (${one.price:g}, error {one.error:.2%})" for what, one in names.items()]
        return ", ".join(parts)


def most_mistakes(n: int, count: int, error: float, risk: float) -> float:
    """The most mistakes among the first ``count`` of up to ``n`` labels, each wrong with a chance of at most ``error``.

    With a chance of at least 1 - ``risk`` there are fewer at no count from 1 to ``n``.

    >>> from scipy.stats import binom
    >>> most_mistakes(10_000, 10_000, 0.02, 0.025) < 1.2 * float(binom.isf(0.025, 10_000, 0.02))
    True
    """
    # Any slope is valid, if it depends on no label: this one has the lowest line at half of n.
    growth, log_risk = np.log1p(error * np.expm1(SLOPES)), math.log(1 / risk)
    best = int(np.argmin((log_risk + n / 2 * growth) / SLOPES))
    return float((log_risk + count * growth[best]) / SLOPES[best])
