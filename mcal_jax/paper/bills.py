"""What recorded active learning costs at any prices.

No price enters a trajectory (active learning in batches of delta), so one training serves every labelling service,
epsilon and price of training.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mcal_jax.algorithm import baselines, costs, planner
from mcal_jax.algorithm.config import Config
from mcal_jax.paper.bootstrap import once_a_record
from mcal_jax.paper.records import Trajectory, finished


class Bill(NamedTuple):
    """The cost of active learning that stops after one of its trainings.

    ``labelling`` and ``training`` are US dollars, ``true_error`` is the error of all delivered labels. ``met`` is
    whether the classifier was allowed to label all of the remaining pool; otherwise it labels as much as it may.
    """

    delta: float
    B: int
    S: int
    labelling: float
    training: float
    savings: float
    true_error: float
    met: bool

    @property
    def cost(self) -> float:
        """US dollars in all."""
        return self.labelling + self.training


SAME = 0.005
"""Two |B| that differ by less of X are the same: batches are rounded to images."""


def bill(trajectory: Trajectory, *, best_stop: bool = False, until: float = 1.0, **changes: Any) -> Bill:
    """The bill of active learning along a trajectory with ``changes`` to its Config (label_price, epsilon, ...).

    It goes on until the classifier may label all of the remaining pool within epsilon according to its errors on T,
    with the safety margin that MCAL keeps (``safety_z``); if it never may, to |B| = ``until`` |X|. With ``best_stop``,
    a stronger rival, it stops where that is cheapest in hindsight, and the machine labels the largest theta that is
    allowed.
    """
    config = trajectory.config.model_copy(update=changes)
    options = [bill_at(trajectory, i, config) for i in range(len(trajectory.measured))]
    if best_stop:
        return min(options, key=lambda option: option.cost)
    if met := [option for option in options if option.met]:
        return met[0]
    far_enough = [option for option in options if option.B / trajectory.n < until + SAME]
    return far_enough[-1] if far_enough else options[0]


def bill_at(trajectory: Trajectory, i: int, config: Config) -> Bill:
    """The bill if active learning stops after its training number ``i``."""
    n, fit, measured = trajectory.n, trajectory.fits[i], trajectory.measured[i]
    tests, rest = fit.n_test, measured.n
    met = baselines.may_label_all(n, rest, fit, config)
    thetas = planner.FINE_THETAS
    eps = planner.eps_on_test(fit, thetas)
    has_images = thetas * tests >= 1  # a smaller theta is no image of T
    allowed = planner.constrained_error(n, rest, thetas, eps, tests, config)
    theta = 1.0 if met else max((float(t) for t in thetas[has_images & (allowed < config.epsilon)]), default=0.0)
    S = int(planner.machine_images(n, rest, np.array(theta), config))
    training_cost = costs.total_training_cost(trajectory.fits[: i + 1], trajectory.architecture, config)
    ledger = costs.ledger(n, tests, fit.size, rest - S, training_cost, config)
    error = float(measured.eps(S / rest)) * S / n if S else 0.0
    labelling = ledger.test + ledger.train + ledger.residual
    return Bill(trajectory.delta, fit.size, S, labelling, training_cost, ledger.savings, error, met)


BILL_COLUMNS = ("dollars", "training", "machine", "trained_on", "savings", "true_error", "met", "hindsight")


def billed(trajectories: pd.DataFrame, service: str | float) -> pd.DataFrame:
    """A frame of trajectories with their bills at the label price of ``service``; a run that is not finished has none.

    ``dollars`` in all and of ``training``, ``machine`` = |S|/|X|, ``trained_on`` = |B|/|X|, and the dollars if
    stopped in ``hindsight``; see ``Bill``. The runs of one data set and architecture whose classifier never may label
    all of the remaining pool end at one |B|, the largest that all of them have: their costs differ by delta alone.
    """
    price, rows = costs.label_price(service), []
    done = finished(trajectories)
    ends = {key: last_common(own["record"]) for key, own in done.groupby(["data_set", "architecture"], sort=False)}
    for one in done["record"]:
        until = ends[one.data_set, one.architecture]
        rows.append(dict(zip(BILL_COLUMNS, _bill_values(one, price, until), strict=True)))
    bills = pd.DataFrame(rows, index=done.index, columns=list(BILL_COLUMNS), dtype=float)
    return trajectories.drop(columns=list(BILL_COLUMNS), errors="ignore").join(bills)


def last_common(trajectories: Iterable[Trajectory]) -> float:
    """The largest |B|, as a share of X, at which all of those that never may label all of the remaining pool were
    measured; 1 where they have none in common."""
    sizes = [shares for one in trajectories if (shares := _unmet_sizes(one))]
    common = set.intersection(*map(set, sizes)) if sizes else set()
    return max(common, default=1 / SAME) * SAME


@once_a_record
def _unmet_sizes(one: Trajectory) -> tuple[int, ...]:
    """|B| of each measured training, in units of ``SAME`` |X|; none where the classifier may label all of the pool."""
    if any(bill_at(one, i, one.config).met for i in range(len(one.measured))):
        return ()
    return tuple(round(size / one.n / SAME) for size in one.sizes[: len(one.measured)].tolist())


@once_a_record
def _bill_values(one: Trajectory, price: float, until: float) -> tuple[float, ...]:
    """The values of BILL_COLUMNS at a price of labels."""
    own, best = bill(one, until=until, label_price=price), bill(one, best_stop=True, label_price=price)
    return own.cost, own.training, own.S / one.n, own.B / one.n, own.savings, own.true_error, own.met, best.cost
