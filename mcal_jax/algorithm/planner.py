"""The decision of lines 13 to 23: predict the error and cost of every (|B|, theta), choose the best, choose delta.

All of it is arithmetic on counts and costs. An objective (objectives.py) defines what is best; stop rules
(stopping.py) end the training.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcal_jax.algorithm import costs, powerlaw, service_errors
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.objectives import Objective, objective_of
from mcal_jax.algorithm.plan import Forecast, Law, Owned, Plan, Progress, Split, Surface
from mcal_jax.algorithm.protocol import TrainResult, trials
from mcal_jax.errors import McalError

N_SIZES = 80
"""Points of the cost surface along |B|."""
FINE_THETAS = np.arange(1, 201) / 200
"""The thetas that are searched where ``interpolate_theta`` is set."""


# ---------------------------------------------------------------------------------------------------------
# Sizes


def n_test(n: int, config: Config) -> int:
    """|T|. Planned, it guides the search and guarantees nothing: of 0.5, 1, 2 and 5 % of X the first
    three cost the same within 1 % in bench/simulated_worlds.py, 5 % more; small pools want some more than 1 %."""
    if config.test_fraction == "planned":
        return max(round(0.01 * n), min(250, round(0.05 * n)), 1)
    return max(round(config.test_fraction * n), 1)


def tests_of(n: int, owned: Owned, config: Config) -> int:
    """|T| in a pool of ``n`` images; where more of its labels are owned than are needed, all of those."""
    return max(n_test(n - owned.total, config), owned.test)


def n_seed(n: int, config: Config) -> int:
    """|B_0|, which is the first delta too."""
    return max(round(config.seed_fraction * n), 1)


def n_repeat(tests: int, config: Config) -> int:
    """How many of the ``tests`` images of T humans label twice."""
    return max(round(config.repeat * tests), 1) if config.repeat else 0


def check(n: int, architecture: str, config: Config, owned_test: int = 0) -> None:
    """Raises McalError where the pool, ``n`` images without a label, or the budget is too small to begin with.

    ``owned_test`` labels of T are there already.
    """
    tests, seed = max(n_test(n, config), owned_test), n_seed(n, config)
    if (wanted := tests - owned_test + seed) >= n:
        raise McalError(f"test_fraction and seed_fraction ask for {wanted} labels, the pool holds {n}")
    first = costs.labelling_cost(tests - owned_test, seed, config)
    first += costs.expected_training_cost(seed, architecture, config, n - wanted)
    first += config.label_price * n_repeat(tests, config)
    service_errors.check(n, config)
    if config.budget is not None and config.budget < first - 1e-9:
        raise McalError(f"budget: ${config.budget:,.2f} does not pay for T, B_0 and one training, ${first:,.2f}")


# ---------------------------------------------------------------------------------------------------------
# Errors


def upper_limit(p: np.ndarray, n: np.ndarray | int, z: float) -> np.ndarray:
    """Wilson's upper limit, ``z`` standard errors above the share ``p`` of ``n`` trials; p itself at z = 0, and 1 where
    there was no trial."""
    p, n = np.where(np.equal(n, 0), 1.0, p), np.maximum(n, 1e-9)
    return (p + z**2 / (2 * n) + z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))) / (1 + z**2 / n)


def machine_images(n: int, rest: np.ndarray | int, theta: np.ndarray, config: Config) -> np.ndarray:
    """|S| in images, if ``rest`` images are in neither T nor B."""
    return trials(theta, rest) if config.theta_of == "remaining" else np.minimum(trials(theta, n), rest)


def n_machine(n: int, rest: int, plan: Plan, config: Config) -> int:
    """|S| if training stops here."""
    return int(machine_images(n, rest, np.array(plan.theta_now), config))


def constrained_error(
    n: int, rest: np.ndarray | int, theta: np.ndarray, eps: np.ndarray, tests: int, config: Config
) -> np.ndarray:
    """What the constraint holds below epsilon: Eqn 2's (|S|/|X|) eps(S), or eps(S), ``safety_z`` above its
    estimate ``eps`` from the top fraction ``theta`` of ``tests`` test images."""
    if config.constraint == "on_S":
        return upper_limit(eps, np.maximum(theta * tests, 1), config.safety_z)
    share = machine_images(n, rest, theta, config) / n
    # The share of all T that is both in the top theta and wrong has all of T for its trials.
    return np.minimum(share / theta * upper_limit(theta * eps, tests, config.safety_z), share)


def eps_on_test(fit: TrainResult, thetas: np.ndarray) -> np.ndarray:
    """eps_T(S^theta(D(B))) of the present classifier, as counted (lines 6 and 15); [thetas]."""
    return fit.errors(thetas) / np.maximum(trials(thetas, fit.n_test), 1)


# ---------------------------------------------------------------------------------------------------------
# The plan


def search(
    n: int,
    history: Sequence[TrainResult],
    architecture: str,
    previous: Plan | None,
    config: Config,
    objective: Objective | None = None,
    owned: Owned = Owned(),  # noqa: B008 - an immutable tuple
) -> Plan:
    """Lines 13 to 23: fit the laws, search the cost surface for the best (|B|, theta), choose delta.

    ``history`` are all trainings so far, ``previous`` is the plan before; ``objective`` None is that of the
    configuration; labels that are ``owned`` cost nothing. A plan's costs are those of the whole job: labels of T, B and
    R, training so far (sunk, but counted) and the retraining at each size, reached in one step. Labelling all the rest
    by hand now is always a candidate.
    Raises McalError if the architecture has no price, and for an objective that fails.
    """
    progress = progress_of(n, history, architecture, config, owned)
    laws = powerlaw.fit_all(history, config)
    forecast = predict(progress, laws, history[-1], config)
    split, value = weigh(objective_of(config, objective), forecast, config)
    best = int(np.argmin(value))
    surface = surface_of(forecast, split, config)
    B_opt, cost = int(forecast.sizes[best]), float(surface.least_cost[best])
    stable = is_stable(float(value[best]), previous, len(history), config)
    return Plan(
        size=progress.size,
        spent=progress.spent,
        rate=progress.rate,
        laws=laws,
        surface=surface,
        B_opt=B_opt,
        theta=float(split.theta[best]),
        cost=cost,
        cost_now=float(surface.least_cost[0]),
        theta_now=float(split.theta[0]),
        error=float(split.error[best]),
        value=float(value[best]),
        delta=next_delta(progress, B_opt, cost, stable, config),
        stable=stable,
        form=laws[-1].form,
        certificate_size=split.certificate_size,
        owned=owned,
    )


def progress_of(n: int, history: Sequence[TrainResult], architecture: str, config: Config, owned: Owned) -> Progress:
    """How far a run has come, and what a retraining costs by what the trainings so far cost (line 13)."""
    spent = costs.total_training_cost(history, architecture, config)
    rate = costs.learned_rate(history, architecture, config)
    now = history[-1]
    tests = tests_of(n, owned, config) if config.age_test_set else now.n_test
    return Progress(n, tests, now.size, spent, rate, now.n_test, owned)


def predict(progress: Progress, laws: Sequence[Law], now: TrainResult, config: Config) -> Forecast:
    """What the ``laws`` say of each size from the present one, of the classifier ``now``, to the whole pool."""
    n, tests, size, spent, rate, counted, owned = progress
    largest = n - tests
    sizes = np.unique(np.concatenate([[size], np.geomspace(size, largest, N_SIZES).round()])).astype(int)
    thetas = FINE_THETAS if config.interpolate_theta else config.thetas
    eps = interpolate_eps(config.thetas, powerlaw.predict(laws, sizes), thetas)
    if config.estimate == "test":
        eps[0] = eps_on_test(now, thetas)
    rest = n - tests - sizes
    return Forecast(
        n=n,
        sizes=sizes,
        thetas=thetas,
        eps=eps,
        error=constrained_error(n, rest[:, None], thetas, eps, max(counted, 1), config),
        log_sd=np.minimum(powerlaw.log_sd(laws[-1], sizes), 1.0),
        rest=rest,
        labels=costs.labelling_cost(tests - owned.test, sizes - owned.train, config),
        training=spent + costs.retraining_cost(rate, size, sizes, np.ones(len(sizes))),
    )


def cost_of(forecast: Forecast, rest: np.ndarray, theta: np.ndarray, config: Config) -> np.ndarray:
    """Eqn 1: US dollars of the whole job where the machine labels theta of ``rest``, which broadcasts with theta."""
    residual = costs.price_of(config, "residual") * (rest - machine_images(forecast.n, rest, theta, config))
    fixed = forecast.labels + forecast.training
    return (fixed[:, None] if residual.ndim == 2 else fixed) + residual


def surface_of(forecast: Forecast, split: Split, config: Config) -> Surface:
    """The cost surface of line 18, and along it the theta of ``split`` with its cost."""
    cost = cost_of(forecast, forecast.rest[:, None], forecast.thetas, config)
    least_cost = cost_of(forecast, forecast.rest, split.theta, config) + split.surcharge
    return Surface(forecast.sizes, forecast.thetas, forecast.error, cost, split.theta, least_cost)


def weigh(objective: Objective, forecast: Forecast, config: Config) -> tuple[Split, np.ndarray]:
    """The split that an objective makes, and what it minimises, [sizes]. Raises McalError for an objective that fails,
    or returns what no split can be, or nothing but NaN and infinity."""
    what, shape = f"objective {objective.description!r}", forecast.sizes.shape
    try:
        split = objective.split(Forecast(*map(_unwritable, forecast)), config)
        split = split._replace(theta=np.asarray(split.theta, float), error=np.asarray(split.error, float))
        _check_split(split, forecast)
        cost = cost_of(forecast, forecast.rest, split.theta, config) + split.surcharge
        value = np.asarray(objective.value(cost, split.error), float)
    except McalError as error:
        raise McalError(f"{what}: {error}") from None
    except Exception as error:
        raise McalError(f"{what} fails: {type(error).__name__}: {error}") from error
    if value.shape != shape:
        raise McalError(f"{what}: theta, error and value must each be of shape {shape}")
    if np.isnan(value).any() or not np.isfinite(value).any():
        raise McalError(f"{what}: the value is NaN somewhere, or finite nowhere")
    return split, value


def _unwritable(value: Any) -> Any:
    """A view of an array that an objective can't change; anything else as it is."""
    if isinstance(value, np.ndarray):
        value = value.view()
        value.flags.writeable = False
    return value


def _check_split(split: Split, forecast: Forecast) -> None:
    """Raises McalError for a split that no plan can follow."""
    if not split.theta.shape == split.error.shape == forecast.sizes.shape:
        raise McalError(f"theta, error and value must each be of shape {forecast.sizes.shape}")
    if not ((split.theta >= 0) & (split.theta <= 1 + 1e-9)).all():
        raise McalError("theta is a share, from 0 to 1")
    if np.isnan(split.error).any():
        raise McalError("the error is NaN somewhere")
    size = split.certificate_size
    if not isinstance(size, int | np.integer) or not 0 <= size <= forecast.rest[0]:
        raise McalError(f"certificate_size is a number of images, 0 to {forecast.rest[0]}, not {size!r}")


def is_stable(value: float, previous: Plan | None, points: int, config: Config) -> bool:
    """Line 19: what is minimised moved by less than Delta since the last plan. Once stable, always stable.

    ``points`` counts the trainings so far. A budget that lets humans label everything leaves no error to minimise:
    nothing will change that.
    """
    if value == 0:
        return True
    if previous is None:
        return False
    near = abs(value - previous.value) < config.stability * value
    return previous.stable or (near and points >= config.min_points)


def next_delta(progress: Progress, B_opt: int, cost: float, stable: bool, config: Config) -> int:
    """How many images to label next: lines 19 to 22, and before the plan is stable the step of exploration.

    ``cost`` is C*, that of the whole job. 0 if nothing is left to label, or to pay for it.
    """
    n, tests, size, _, rate, _, owned = progress
    to_go = max(B_opt - size, 0)
    first = n_seed(n - owned.total, config)
    if stable and to_go:
        steps = np.arange(1, config.max_steps + 1)
        training = costs.retraining_cost(rate, size, np.array(B_opt), steps)
        N = int(steps[training - training[0] <= config.beta * cost][-1])
        delta = max(-(-to_go // N), min(first, to_go))
        if config.max_growth is not None:
            delta = min(delta, round(size * (config.max_growth - 1)))
    elif config.growth is None:
        delta = first
    else:
        delta = min(round(size * (config.growth - 1)), max(to_go, first))
    delta = min(max(delta, 1), n - tests - size)
    return delta if config.budget is None else min(delta, affordable(progress, config))


def affordable(progress: Progress, config: Config) -> int:
    """The largest delta that the budget pays for, its retraining included; 0 if none."""
    assert config.budget is not None
    tests, bought = progress.n_test - progress.owned.test, progress.size - progress.owned.train
    left = config.budget - progress.spent - costs.labelling_cost(tests, bought, config)
    left -= costs.retraining_cost(progress.rate, 0, np.array(progress.size), np.array(1))
    return max(int(left / (config.label_price + progress.rate[1]) + 1e-9), 0)


def interpolate_eps(grid: np.ndarray, eps: np.ndarray, thetas: np.ndarray) -> np.ndarray:
    """eps [sizes, thetas] from eps [sizes, grid]: theta * eps, a share of all of T, is linear between points."""
    if thetas is grid or (len(thetas) == len(grid) and np.allclose(thetas, grid)):
        return eps
    knots = np.concatenate([[0], grid])
    wrong = np.concatenate([np.zeros((len(eps), 1)), grid * eps], axis=1)
    return np.stack([np.interp(thetas, knots, row) for row in wrong]) / thetas
