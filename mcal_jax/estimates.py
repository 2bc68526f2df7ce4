"""What a labelling job would cost, before anything is spent: runs of the algorithm in worlds with an assumed law."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mcal_jax.algorithm.choose_services import Choice
from mcal_jax.algorithm.choose_services import choose_services as cheapest
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.services import PURPOSES, Service
from mcal_jax.display import html_table
from mcal_jax.errors import McalError
from mcal_jax.result import Result
from mcal_jax.runs.driver import drive
from mcal_jax.runs.recorded import RecordedRun
from mcal_jax.runs.session_setup import checked_seed
from mcal_jax.worlds.simulated import Analytic, Curve, Recorded, SimulatedWorld

if TYPE_CHECKING:
    import pandas as pd

Law = tuple[float, float] | Curve | Result | str | os.PathLike
"""(alpha, gamma) of Eqn 3, a curve, a finished run, or the path of its log."""


class Estimate(NamedTuple):
    """What simulated runs of a job cost: one value a run. Money is US dollars, shares are of all n images.

    ``human`` counts the labels of humans, ``train`` those for training (|B|), ``machine`` is the share that the
    classifier labels, ``error`` the true error of all labels in the assumed world.
    """

    n: int
    cost: np.ndarray
    savings: np.ndarray
    human: np.ndarray
    train: np.ndarray
    machine: np.ndarray
    trainings: np.ndarray
    error: np.ndarray

    def to_frame(self) -> "pd.DataFrame":
        """One row a simulated run."""
        import pandas as pd

        return pd.DataFrame({name: getattr(self, name) for name in self._fields if name != "n"})

    def _rows(self) -> dict[str, object]:
        return {
            "images": f"{self.n:,}",
            "cost": _spread(self.cost, "${:,.2f}"),
            "savings": _spread(self.savings, "{:.1%}"),
            "labels by humans": _spread(self.human, "{:,.0f}"),
            "of these for training": _spread(self.train, "{:,.0f}"),
            "share labelled by the machine": _spread(self.machine, "{:.1%}"),
            "trainings": _spread(self.trainings, "{:.0f}"),
            "error of all labels": _spread(self.error, "{:.2%}"),
        }

    def __repr__(self) -> str:
        return f"Estimate({self.n:,} images: cost {_spread(self.cost, '${:,.2f}')}, {len(self.cost)} simulated runs)"

    def __str__(self) -> str:
        width = max(map(len, self._rows()))
        rows = [f"{name:<{width}}  {value}" for name, value in self._rows().items()]
        return "\n".join([*rows, f"medians of {len(self.cost)} simulated runs (5th to 95th percentile)"])

    def _repr_html_(self) -> str:
        return html_table(
            f"Estimate: medians of {len(self.cost)} simulated runs (5th to 95th percentile)", self._rows()
        )


def plan(
    n: int, config: Config | None = None, *, law: Law, architecture: str = "resnet18", runs: int = 20, seed: int = 0
) -> Estimate:
    """The cost of labelling ``n`` images, with its uncertainty, if the classifier's error follows ``law``.

    ``config`` is by default ``Config.certified()``, as for ``label``.

    ``law`` is a guess, (alpha, gamma) of Eqn 3: an error of alpha |B|^-gamma after training on |B| labels; or a run on
    similar images, whose measured errors are taken. The algorithm runs ``runs`` times in simulated worlds with that
    law, which differ in the luck of their test sets. Raises McalError for settings that can't work.

    >>> estimate = plan(10_000, Config(epsilon=0.05), law=(3.0, 0.4), runs=3)
    >>> estimate.cost.shape, bool((estimate.savings > 0).all())
    ((3,), True)
    """
    if runs < 1:
        raise McalError(f"runs: at least 1, got {runs}")
    curve = as_curve(law)
    seed = checked_seed(seed)
    job = Job(n=n, architectures=(architecture,), config=config or Config.certified())
    services = job.config.services
    noise = {purpose: services.of(purpose).error for purpose in PURPOSES} if services else 0.0
    deliveries = [drive(job, SimulatedWorld(n, curve, noise=noise, seed=seed + run)) for run in range(runs)]
    outcomes = [delivery.outcome for delivery in deliveries]
    return Estimate(
        n,
        cost=np.array([outcome.ledger.total for outcome in outcomes]),
        savings=np.array([outcome.ledger.savings for outcome in outcomes]),
        human=np.array([n - len(outcome.S) for outcome in outcomes]),
        train=np.array([len(outcome.B) for outcome in outcomes]),
        machine=np.array([len(outcome.S) / n for outcome in outcomes]),
        trainings=np.array([len(outcome.history) for outcome in outcomes]),
        error=np.array([delivery.true_error for delivery in deliveries]),
    )


def choose_services(
    n: int, offered: Sequence[Service], config: Config | None = None, *, law: Law, architecture: str = "resnet18"
) -> Choice:
    """Which of the ``offered`` services should label T and V, B, and R: the cheapest assignment, by expectation.

    ``config`` is by default ``Config.certified()``; ``law`` is as in ``plan``. ``choice.services`` goes into the
    configuration of the run, and with it into its log. Raises McalError where no assignment keeps epsilon.

    >>> expert, crowd = Service(name="expert", price=0.2), Service(name="crowd", price=0.02, error=0.015)
    >>> choice = choose_services(50_000, [expert, crowd], Config.certified(label_price=0.2), law=(3.0, 0.4))
    >>> choice.services.train.name, choice.cost < min(choice.alone.values()) + 1e-9
    ('crowd', True)
    """
    return cheapest(n, offered, config or Config.certified(), as_curve(law).wrong_share, architecture)


def as_curve(law: Law) -> Curve:
    """The learning curve that ``law`` stands for. Raises McalError."""
    if isinstance(law, str | os.PathLike | Result):
        run = law.record if isinstance(law, Result) else RecordedRun(os.fspath(law))
        history = run.fits[run.leader]
        if not history:
            raise McalError(f"{run.path}: no classifier was trained, so its log shows no law")
        return Recorded(tuple(history))
    if isinstance(law, Sequence):
        try:
            alpha, gamma = map(float, law)
            return Analytic(alpha=alpha, gamma=gamma)
        except (TypeError, ValueError):
            raise McalError(f"law: two numbers, alpha > 0 and gamma >= 0 of Eqn 3, got {law!r}") from None
    return law


def _spread(values: np.ndarray, form: str) -> str:
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return f"{form.format(middle)} ({form.format(low)} to {form.format(high)})"
