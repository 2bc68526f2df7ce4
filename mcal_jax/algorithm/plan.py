"""What one iteration of Algorithm 1 knows, predicts and decides (lines 13 to 23), as plain data.

``Progress`` and the laws lead to a ``Forecast``; an objective makes a ``Split`` of it; both end in a ``Plan``.
Costs are in US dollars, sizes in images.
"""

from typing import NamedTuple

import numpy as np

from mcal_jax.display import html_table


class Law(NamedTuple):
    """log (eps(B) - floor) = a - gamma log(B / B0 + shift) - kappa B / B0: Eqn 3 with alpha = e^a B0^gamma and
    k = B0 / kappa where floor and shift are 0.

    ``covariance`` [5, 5] is of (a, gamma, kappa, floor, shift); ``form`` says what was fitted, "power" where there
    were too few points for more.
    """

    a: float
    gamma: float
    kappa: float
    B0: float
    covariance: np.ndarray
    form: str
    floor: float = 0.0
    shift: float = 0.0


class Owned(NamedTuple):
    """How many labels of B and of T were known before the run and cost nothing."""

    train: int = 0
    test: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.train + self.test


class Progress(NamedTuple):
    """How far a run has come."""

    n: int  # |X|
    n_test: int  # |T|
    size: int  # |B|
    spent: float  # cost of all trainings so far
    rate: tuple[float, float]  # c0, c1: a retraining on |B| labels costs c0 + c1 |B|
    n_counted: int  # how many images of T the errors are counted on; less than |T| where T ages
    owned: Owned = Owned()


class Forecast(NamedTuple):
    """What is predicted of each size that B may grow to, the present one first, before an objective chooses.

    ``eps`` [sizes, thetas] is eps(S^theta(D(B))); ``error`` [sizes, thetas] what the constraint compares with epsilon;
    ``log_sd`` [sizes] the standard error of log eps at theta = 1, at most 1. ``rest`` [sizes] is |U|, the images in
    neither T nor B. ``labels`` [sizes] is the cost of labelling T and B, ``training`` [sizes] that of all trainings.
    """

    n: int
    sizes: np.ndarray
    thetas: np.ndarray
    eps: np.ndarray
    error: np.ndarray
    log_sd: np.ndarray
    rest: np.ndarray
    labels: np.ndarray
    training: np.ndarray


class Split(NamedTuple):
    """How an objective divides U between the machine and humans, at each size that B may grow to.

    ``theta`` [sizes] is the share for the machine, 0 to 1. ``error`` [sizes] is the error predicted there, infinite
    where an objective that minimises it may not go. ``certificate_size`` is |V| if training stops now. ``surcharge``
    [sizes] are the US dollars that V costs beyond as many labels of R.
    """

    theta: np.ndarray
    error: np.ndarray
    certificate_size: int = 0
    surcharge: np.ndarray | float = 0.0


class Surface(NamedTuple):
    """The cost surface of line 18: ``error`` and ``cost`` (US dollars of the whole job) are [sizes, thetas].

    ``best_theta`` [sizes] is the largest theta that meets the constraint (between points of the grid if so
    configured), ``least_cost`` [sizes] the cost there.
    """

    sizes: np.ndarray
    thetas: np.ndarray
    error: np.ndarray
    cost: np.ndarray
    best_theta: np.ndarray
    least_cost: np.ndarray

    def __repr__(self) -> str:
        return f"Surface({len(self.sizes)} sizes, {len(self.thetas)} theta)"


class Plan(NamedTuple):
    """What one iteration decided (lines 13 to 23), and what it knew."""

    size: int  # |B| now
    spent: float  # cost of all trainings so far
    rate: tuple[float, float]  # a retraining on |B| labels costs rate[0] + rate[1] |B|
    laws: tuple[Law, ...]  # one per theta of the grid
    surface: Surface
    B_opt: int  # the best |B|
    theta: float  # at B_opt; 0: humans label all the rest
    cost: float  # C*: the whole job if the plan is followed
    cost_now: float  # the whole job if training stops here
    theta_now: float  # theta if training stops here
    error: float  # predicted at B_opt, as the constraint counts it
    value: float  # what the objective minimises, at B_opt
    delta: int  # images to label next
    stable: bool  # line 19
    form: str  # which law the fits used
    certificate_size: int = 0  # |V| if training stops here and the labels are to be certified
    owned: Owned = Owned()

    def __repr__(self) -> str:
        state = "stable" if self.stable else "not yet stable"
        return (
            f"Plan(|B| {self.size:,} -> {self.B_opt:,}, theta {self.theta:.1%}, cost ${self.cost:,.2f}, "
            f"next {self.delta:,} labels, {state})"
        )

    def _repr_html_(self) -> str:
        rows = {
            "|B| now": f"{self.size:,}",
            "best |B|": f"{self.B_opt:,}",
            "theta there": f"{self.theta:.1%}",
            "cost of the whole job": f"${self.cost:,.2f}",
            "cost if training stops now": f"${self.cost_now:,.2f}",
            "predicted error": f"{self.error:.2%}",
            "labels to buy next": f"{self.delta:,}",
            "stable": "yes" if self.stable else "no",
        }
        return html_table("Plan", rows)
