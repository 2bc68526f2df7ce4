"""What a plan minimises: strategies by name in ``OBJECTIVES``, chosen from a Config by ``objective_of``.

An objective works in two steps. ``split`` says how much of U the machine would label at each size that B may grow to.
``value`` weighs the cost and the error of the whole job there; the size of the least value is B_opt (line 18).
``mcal(..., objective=...)`` takes one of your own.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mcal_jax.algorithm import certificate, costs, machine_epsilon, sample_size, service_errors
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.plan import Forecast, Split
from mcal_jax.errors import McalError
from mcal_jax.registry import Registry


class Objective(NamedTuple):
    """What a plan minimises.

    ``split(forecast, config)`` returns a Split; ``value(cost, error)`` maps the cost in US dollars and the predicted
    error at each size, both [sizes], to what is minimised, [sizes].
    """

    description: str
    split: Callable[[Forecast, Config], Split]
    value: Callable[[np.ndarray, np.ndarray], np.ndarray]


def cost_alone(cost: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The cost; the constraint on the error is kept by the split."""
    return cost


def error_alone(cost: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The error; the budget is kept by the split."""
    return error


# ---------------------------------------------------------------------------------------------------------
# Splits


def within_epsilon(forecast: Forecast, config: Config) -> Split:
    """The largest theta of which the constraint, Eqn 2 or ``constraint="on_S"``, and ``machine_epsilon`` hold; 0 where
    there is none."""
    kept = machine_epsilon.is_kept(forecast.error, forecast.n, forecast.rest[:, None], forecast.thetas, config)
    theta = np.array([largest_allowed(forecast.thetas, row) for row in kept & (forecast.error < config.epsilon)])
    return Split(theta, error_at(forecast, theta))


def within_certified_epsilon(forecast: Forecast, config: Config) -> Split:
    """The theta that a certificate from the best size of V is expected to allow."""
    price = costs.price_of(config, "residual")
    more = costs.price_of(config, "certify") - price
    certified = [
        sample_size.best_sample_size(
            forecast.n,
            int(rest),
            forecast.thetas,
            forecast.thetas * eps,
            service_errors.for_machine(forecast.n, int(size), config).epsilon,
            certificate.risk_of_all(config),
            float(log_sd),
            config.machine_epsilon,
            more / price,
        )
        for size, rest, eps, log_sd in zip(forecast.sizes, forecast.rest, forecast.eps, forecast.log_sd, strict=True)
    ]
    theta = np.array([one.theta for one in certified])
    surcharge = more * np.array([one.sample for one in certified])
    return Split(theta, error_at(forecast, theta), certified[0].sample, surcharge)


def within_budget(forecast: Forecast, config: Config) -> Split:
    """The theta that leaves humans as many labels as the budget still pays for; sizes beyond it are not allowed."""
    left = budget_left(forecast, config)
    theta = np.array(
        [theta_for_budget(forecast.n, int(r), d, config) for r, d in zip(forecast.rest, left, strict=True)]
    )
    return Split(theta, _if_affordable(forecast, left, error_at(forecast, theta)))


def within_certified_budget(forecast: Forecast, config: Config) -> Split:
    """As ``within_budget``; the error is the bound that a certificate is expected to state."""
    assert config.certify
    theta = within_budget(forecast, config).theta
    certified = [
        sample_size.best_sample_size_in_budget(
            int(rest), float(t), forecast.thetas, forecast.thetas * eps, 1 - config.certify
        )
        for rest, t, eps in zip(forecast.rest, theta, forecast.eps, strict=True)
    ]
    bound = np.array([bound for _, bound in certified]) * forecast.rest / forecast.n
    return Split(theta, _if_affordable(forecast, budget_left(forecast, config), bound), certified[0][0])


def largest_allowed(thetas: np.ndarray, allowed: np.ndarray) -> float:
    """The largest of ``thetas`` that is ``allowed`` (bool, same length), 0 if none is."""
    return float(thetas[allowed][-1]) if allowed.any() else 0.0


def error_at(forecast: Forecast, theta: np.ndarray) -> np.ndarray:
    """The error that the constraint compares with epsilon at one ``theta`` for each size; [sizes].

    It is linear between the thetas of the forecast, and 0 where the machine labels nothing.
    """
    knots = np.concatenate([[0], forecast.thetas])
    rows = zip(forecast.error, theta, strict=True)
    return np.array([float(np.interp(t, knots, np.concatenate([[0], row]))) for row, t in rows])


def budget_left(forecast: Forecast, config: Config) -> np.ndarray:
    """US dollars that remain for the labels of R (and V) at each size, negative beyond the budget; [sizes]."""
    assert config.budget is not None
    return config.budget - forecast.labels - forecast.training


def theta_for_budget(n: int, rest: int, left: float, config: Config) -> float:
    """The theta that leaves humans as many of the ``rest`` images as ``left`` US dollars pay for."""
    residual = min(int(max(left, 0) / config.label_price + 1e-9), rest)
    return (rest - residual) / (rest if config.theta_of == "remaining" else n) if rest else 0.0


def _if_affordable(forecast: Forecast, left: np.ndarray, error: np.ndarray) -> np.ndarray:
    """``error``, infinite where the budget does not pay for B and its training; the present B is paid already."""
    return np.where((left < 0) & (forecast.sizes > forecast.sizes[0]), np.inf, error)


# ---------------------------------------------------------------------------------------------------------
# Objectives by name

OBJECTIVES: Registry[Objective] = Registry(
    "objective",
    {
        "least_cost": Objective("least cost with an error below epsilon (line 18)", within_epsilon, cost_alone),
        "certified_least_cost": Objective(
            "least cost with an error that V certifies to be below epsilon", within_certified_epsilon, cost_alone
        ),
        "least_error": Objective("least error within a budget", within_budget, error_alone),
        "certified_least_error": Objective(
            "least error that V certifies within a budget", within_certified_budget, error_alone
        ),
    },
)


NEEDS: dict[str, tuple[str, ...]] = {
    "least_cost": (),
    "certified_least_cost": ("certify",),
    "least_error": ("budget",),
    "certified_least_error": ("certify", "budget"),
}
"""Which of certify and budget an objective of the package keeps, and has no sense without."""


def objective_of(config: Config, objective: "str | Objective | None" = None) -> Objective:
    """``objective``, an entry of OBJECTIVES or its name; none given: the one that the configuration asks for.

    >>> objective_of(Config(budget=100.0)).description
    'least error within a budget'

    Raises McalError for an unknown name, for what is no Objective, and where the configuration lacks what it needs.
    """
    if missing := [name for name in NEEDS.get(str(objective), ()) if getattr(config, name) is None]:
        raise McalError(f"objective {objective}: it needs {' and '.join(missing)}")
    if objective is None:
        objective = "least_cost" if config.budget is None else "least_error"
        objective = f"certified_{objective}" if config.certify else objective
    chosen = OBJECTIVES[objective] if isinstance(objective, str) else objective
    if not isinstance(chosen, Objective):
        raise McalError(f"objective {objective!r} is a {type(chosen).__name__}, not an Objective")
    return chosen
