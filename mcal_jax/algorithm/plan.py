"""What one iteration of Algorithm 1 knows and decides: laws, cost surface, plan (lines 13 to 23)."""

from typing import NamedTuple

import numpy as np


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


class Plan(NamedTuple):
    """What one iteration decided (lines 13 to 23), and what it knew."""

    size: int  # |B| now
    spent: float  # dollars of training so far
    rate: tuple[float, float]  # dollars of a retraining: rate[0] + rate[1] |B|
    laws: tuple[Law, ...]  # one per theta of the grid
    surface: Surface
    B_opt: int
    theta: float  # at B_opt; 0: people label all the rest
    cost: float  # C*: dollars of the whole job if the plan is followed
    cost_now: float  # the same if training stops here
    theta_now: float
    error: float  # predicted at B_opt, as the constraint counts it
    value: float  # what the search minimises: the cost, or in budget mode the error
    delta: int  # images to buy next
    stable: bool
    form: str  # which law the fits used
    check: int = 0  # |V| if training stops here and the labels are to be certified
