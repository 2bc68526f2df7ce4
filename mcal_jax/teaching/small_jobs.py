"""Labelling jobs in five numbers, their bill and their cheapest plan: what the exercises ask about."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Error = Callable[[Any, Any], Any]  # (|B|, theta) -> eps(S^theta(D(B))), Eqn 3; the two broadcast


class JobNumbers(NamedTuple):
    """A labelling job in five numbers; prices are in US dollars."""

    n: int  # |X|
    n_test: int  # |T|
    label_price: float  # C_h
    training_price: float  # of the training, for each image of B
    epsilon: float

    @property
    def sizes(self) -> np.ndarray:
        """The |B| that are searched: 60 or fewer, from 1 % of |X| to all but T, int64."""
        return np.unique(np.geomspace(0.01 * self.n, self.n - self.n_test, 60).round().astype(int))

    @property
    def thetas(self) -> np.ndarray:
        """The shares of machine labels that are searched, 0 to 1, float64."""
        return np.arange(51) / 50


JOBS = (
    (JobNumbers(50_000, 2_500, 0.04, 1e-3, 0.05), (3.0, 0.4, 2.0)),
    (JobNumbers(20_000, 1_000, 0.003, 1e-3, 0.02), (2.0, 0.3, 1.0)),
    (JobNumbers(10_000, 500, 0.04, 1e-3, 0.05), (0.9, 0.01, 0.01)),  # a classifier that learns next to nothing
)
"""Jobs that are searched, with alpha, gamma and quality of their learning curves."""
NEARLY_FREE_LABELS = JOBS[0][0]._replace(label_price=1e-5)


def power_law(alpha: float, gamma: float, quality: float) -> Error:
    """eps(S^theta(D(B))) = alpha |B|^-gamma theta^quality, a law for each theta (Eqn 3 without truncation)."""
    return lambda size, theta: alpha * size**-gamma * theta**quality


def bill(job: JobNumbers, size: Any, theta: Any) -> Any:
    """Eqn 1 in US dollars: T, B and R are all of X but S."""
    machine = theta * (job.n - job.n_test - size)
    return job.label_price * (job.n - machine) + job.training_price * size


def wrong_share(job: JobNumbers, error: Error, size: Any, theta: Any) -> Any:
    """The left side of Eqn 2: the share of all labels that is wrong."""
    return theta * (job.n - job.n_test - size) / job.n * error(size, theta)


def least_cost(job: JobNumbers, error: Error) -> float:
    """The cost in US dollars of the cheapest of ``job.sizes`` and ``job.thetas`` that keeps the bound (line 18)."""
    sizes, thetas = job.sizes[:, None], job.thetas
    allowed = wrong_share(job, error, sizes, thetas) < job.epsilon
    return float(bill(job, sizes, thetas)[allowed].min())
