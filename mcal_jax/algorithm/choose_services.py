"""Which services should label T and V, B, and R: the cheapest assignment by expectation, before anything is bought."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mcal_jax.algorithm import costs, planner, service_errors
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.objectives import within_certified_epsilon
from mcal_jax.algorithm.plan import Forecast
from mcal_jax.algorithm.services import Service, Services
from mcal_jax.errors import McalError

N_SIZES = 30
"""Sizes of B that are compared."""
WrongShare = Callable[[np.ndarray, float], np.ndarray]
"""(thetas, |B|) -> the share of U that is among its top theta and mislabelled, after training on |B| right labels."""


class Choice(NamedTuple):
    """Who labels what, and the US dollars that the whole job is then expected to cost.

    ``alone`` has the same for each service that may label everything alone, by its name.
    """

    services: Services
    cost: float
    alone: dict[str, float]

    def __str__(self) -> str:
        alone = ", ".join(f"{name} alone ${cost:,.2f}" for name, cost in self.alone.items())
        return f"{self.services}: expected ${self.cost:,.2f}" + (f"; {alone}" if alone else "")


def choose_services(
    n: int, offered: Sequence[Service], config: Config, wrong_share: WrongShare, architecture: str = "resnet18"
) -> Choice:
    """The cheapest assignment of the ``offered`` services to T and V, B, and R, by expectation, for ``n`` images.

    ``config`` is a certified one; its ``services`` are not looked at. ``wrong_share`` is what the classifier is
    expected to get wrong. A service that may err teaches less by each of its labels, see ``worth``. Raises McalError
    where no assignment keeps epsilon, and for services of one name.
    """
    if len({one.name for one in offered}) < len(offered) or not offered:
        raise McalError(f"services: different names are needed, got {', '.join(one.name for one in offered) or 'none'}")
    best, alone = None, {}
    for test, train, residual in itertools.product(offered, repeat=3):
        services = Services(test=test, train=train, residual=residual)
        try:
            cost = expected_cost(n, config.model_copy(update={"services": services}), wrong_share, architecture)
        except McalError:
            continue  # its mistakes leave nothing of epsilon
        if test == train == residual:
            alone[test.name] = cost
        if best is None or cost < best.cost:
            best = Choice(services, cost, alone)
    if best is None:
        raise McalError(f"services: no choice of {', '.join(one.name for one in offered)} keeps epsilon")
    return best


def expected_cost(n: int, config: Config, wrong_share: WrongShare, architecture: str = "resnet18") -> float:
    """US dollars that a run is expected to cost if the classifier errs by ``wrong_share``: the least over |B|.

    Raises McalError where the services' own mistakes may break epsilon.
    """
    assert config.services
    service_errors.check(n, config)
    services, tests = config.services, planner.n_test(n, config)
    sizes = np.unique(np.geomspace(planner.n_seed(n, config), n - tests - 1, N_SIZES).astype(int))
    thetas = planner.FINE_THETAS
    wrong = np.stack([wrong_share(thetas, max(size * worth(services.train), 2)) for size in sizes])
    seen = np.minimum(wrong / thetas + services.test.error, 1.0)  # V takes its own mistakes for the classifier's
    growth = config.growth or 2.0
    trainings = growth / (growth - 1)  # of all sizes together, in trainings on the last one

    def once(size: int) -> float:
        return costs.expected_training_cost(size, architecture, config, n - tests - size)

    forecast = Forecast(
        n=n,
        sizes=sizes,
        thetas=thetas,
        eps=seen,
        error=seen,
        log_sd=np.zeros(len(sizes)),
        rest=n - tests - sizes,
        labels=costs.labelling_cost(tests, sizes, config),
        training=trainings * np.array([once(int(s)) for s in sizes]),
    )
    split = within_certified_epsilon(forecast, config)
    return float((planner.cost_of(forecast, forecast.rest, split.theta, config) + split.surcharge).min())


def worth(service: Service) -> float:
    """How many right labels one label of a service is worth to training: the square of 1 - 2 error.

    That is the loss of information where two classes are confused at random (Natarajan et al. 2013); it is an
    assumption about the classifier, on which no certificate depends.
    """
    return (1 - 2 * service.error) ** 2
