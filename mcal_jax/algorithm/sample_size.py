"""How large V should be, decided before it is labelled: what a certificate is expected to say.

A larger V costs labels and lets S go nearer to epsilon, with less variance.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

N_SIZES = 48
"""How many sizes of V are compared."""
QUANTILES = ndtri((np.arange(12) + 0.5) / 12)
"""Quantiles of the standard normal, over which the outcome of V is averaged."""


class SampleSize(NamedTuple):
    """|V|, and the share theta of U that the machine is then expected to label."""

    sample: int
    theta: float


def best_sample_size(
    n: int,
    pool: int,
    thetas: np.ndarray,
    wrong: np.ndarray,
    epsilon: float,
    risk: float,
    log_sd: float = 0.0,
    machine_epsilon: float | None = None,
    surcharge: float = 0.0,
) -> SampleSize:
    """The |V| that is expected to leave humans least to label, V itself included.

    ``n`` is |X|, ``pool`` is |U|; ``wrong`` [thetas] is the share of U that is in its top fraction theta and wrong, as
    the planner expects it, with ``log_sd`` the standard deviation of its logarithm. The mean over the outcomes of V
    counts, for what S may gain by chance ends at all of U, and what it may lose does not. An S that would break
    ``machine_epsilon`` is empty; where every |V| leads to one, V is empty too. A label of V costs ``surcharge`` more,
    as a share of the price of one of R.
    """
    if not pool or epsilon <= 0:
        return SampleSize(0, 0.0)
    sizes = sample_sizes(pool)
    share = expected_mistake_share(pool, sizes, epsilon * n, risk)
    sd = np.sqrt(1 / (share * sizes + 1) + log_sd**2)  # of where the mistake of V stands that ends S
    reached = share[:, None] * np.exp(sd[:, None] * QUANTILES - sd[:, None] ** 2 / 2)
    rising = np.maximum.accumulate(np.concatenate([[0.0], wrong]))
    knots = rising + 1e-12 * np.arange(len(rising))  # where it is flat, the largest theta
    theta = np.interp(reached, knots, np.concatenate([[0.0], thetas]))
    if machine_epsilon is None:
        theta = np.maximum(theta, min(epsilon * n / pool, 1.0))  # so few may all be wrong
    else:
        rest = (pool - sizes)[:, None]
        bound = np.minimum(epsilon * n, rest * upper_share(wrong[-1] * sizes, sizes, risk)[:, None])
        theta = np.where(bound <= machine_epsilon * rest * theta, theta, 0.0)
    machine = (pool - sizes) * theta.mean(axis=1)
    saved = machine - surcharge * sizes
    best = int(np.argmax(saved))
    return SampleSize(int(sizes[best]), float(machine[best]) / pool) if saved[best] > 0 else SampleSize(0, 0.0)


def best_sample_size_in_budget(
    pool: int, theta: float, thetas: np.ndarray, wrong: np.ndarray, risk: float
) -> tuple[int, float]:
    """The |V| of the least expected bound where a budget fixes |S| at ``theta`` |U|, and that bound, a share of U.

    ``pool``, ``thetas`` and ``wrong`` are as in ``best_sample_size``. The labels of V are taken from those of R;
    without any, all of S may be wrong.
    """
    machine = int(theta * pool)
    sizes = sample_sizes(pool)
    sizes = sizes[sizes <= pool - machine]
    if not machine or not len(sizes):
        return 0, machine / max(pool, 1)
    at = machine / (pool - sizes)
    rate = np.interp(at, np.concatenate([[0.0], thetas]), np.concatenate([[0.0], wrong]))
    bound = upper_share(rate * sizes, sizes, risk)
    best = int(np.argmin(bound))
    return int(sizes[best]), min(float(bound[best]), machine / pool)


def upper_share(mistakes: np.ndarray, sample: np.ndarray, risk: float) -> np.ndarray:
    """Upper limit on the share that is wrong, of which ``sample`` images show ``mistakes``; both [sizes].

    It is Poisson's, so that it is above 0 where no mistakes are expected.
    """
    return (mistakes - ndtri(risk) * np.sqrt(mistakes + 1) + 1) / sample


def expected_mistake_share(pool: int, sample: np.ndarray, max_mistakes: float, risk: float) -> np.ndarray:
    """The share of U that is wrong and stands ahead of where S is expected to end, V included; [sample].

    ``pool`` is |U|. It is the score test's normal approximation of ``acceptance_number`` / ``sample``.
    """
    left = np.maximum(1 - sample / pool, 1 / pool)
    rate = np.minimum(max_mistakes / (pool * left), 1.0)
    sd = np.sqrt(rate * (1 - rate) / (sample * left))
    return np.maximum(rate + ndtri(risk) * sd, 0)


def sample_sizes(pool: int) -> np.ndarray:
    """The sizes of V that are compared, from 20 to half of ``pool``, ascending; none for no pool."""
    if not pool:
        return np.empty(0, int)
    return np.unique(np.geomspace(min(20, pool), max(pool // 2, 1), N_SIZES).astype(int))
