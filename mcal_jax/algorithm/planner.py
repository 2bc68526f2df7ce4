"""The decision of lines 13 to 23: the cost surface over (|B|, theta), its best point, the next delta, when to stop.

All of it is arithmetic on counts and dollars; nothing here knows what an image is.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mcal_jax.algorithm import certificate, costs, powerlaw
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.plan import Plan, Surface
from mcal_jax.algorithm.protocol import TrainResult, trials
from mcal_jax.errors import McalError

SIZES = 80  # points of the cost surface along |B|
FINE_THETAS = np.arange(1, 201) / 200


# ---------------------------------------------------------------------------------------------------------
# Sizes


def n_test(n: int, config: Config) -> int:
    """|T|. Planned, it guides the search and vouches for nothing: of 0.5, 1, 2 and 5 % of X the first
    three cost the same within 1 % in bench/simulated_worlds.py, 5 % more; small pools want some more than 1 %."""
    if config.test_fraction == "planned":
        return max(round(0.01 * n), min(250, round(0.05 * n)), 1)
    return max(round(config.test_fraction * n), 1)


def n_seed(n: int, config: Config) -> int:
    """|B_0|, which is the first delta too."""
    return max(round(config.seed_fraction * n), 1)


def n_repeat(n: int, config: Config) -> int:
    """How many images of T are labelled twice."""
    return max(round(config.repeat * n_test(n, config)), 1) if config.repeat else 0


def check(n: int, architecture: str, config: Config) -> None:
    """Raises McalError where the pool or the budget is too small to begin with."""
    tests, seed = n_test(n, config), n_seed(n, config)
    if tests + seed >= n:
        raise McalError(f"test_fraction and seed_fraction ask for {tests + seed} labels, the pool holds {n}")
    first = costs.labelling_cost(tests, seed, config) + costs.expected_training_cost(seed, architecture, config)
    first += config.label_price * n_repeat(n, config)
    if config.budget is not None and config.budget < first - 1e-9:
        raise McalError(f"budget: ${config.budget:,.2f} does not pay for T, B_0 and one training, ${first:,.2f}")


# ---------------------------------------------------------------------------------------------------------
# Errors


def upper_limit(p: np.ndarray, n: np.ndarray | int, z: float) -> np.ndarray:
    """Wilson's upper limit, ``z`` standard errors above the share ``p`` of ``n`` trials; p itself at z = 0."""
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


def theta_for_budget(n: int, rest: int, left: float, config: Config) -> float:
    """The theta that leaves people just what ``left`` dollars pay for."""
    residual = min(int(max(left, 0) / config.label_price + 1e-9), rest)
    return (rest - residual) / (rest if config.theta_of == "remaining" else n) if rest else 0.0


# ---------------------------------------------------------------------------------------------------------
# The plan


def search(n: int, history: Sequence[TrainResult], architecture: str, previous: Plan | None, config: Config) -> Plan:
    """Lines 13 to 23: fit the laws, search the cost surface for the cheapest (|B|, theta), choose delta.

    A plan's dollars are those of the whole job: labels of T, B and R, training so far (sunk, but counted) and
    the retraining at each size, reached in one step. Labelling all the rest by hand now is always a candidate.
    """
    now, tests = history[-1], history[-1].n_test
    size = now.size
    spent = costs.total_training_cost(history, architecture, config)
    rate = costs.learned_rate(history, architecture, config)
    laws = powerlaw.fit_all(history, config)

    largest = n - tests
    sizes = np.unique(np.concatenate([[size], np.geomspace(size, largest, SIZES).round()])).astype(int)
    thetas = FINE_THETAS if config.interpolate_theta else config.thetas
    eps = _between(config.thetas, powerlaw.predict(laws, sizes), thetas)
    if config.estimate == "test":
        eps[0] = eps_on_test(now, thetas)
    rest = n - tests - sizes
    error = constrained_error(n, rest[:, None], thetas, eps, tests, config)
    labels = costs.labelling_cost(tests, sizes, config)
    training = spent + costs.retraining_cost(rate, size, sizes, np.ones(len(sizes)))
    residual = config.label_price * (rest[:, None] - machine_images(n, rest[:, None], thetas, config))
    dollars = (labels + training)[:, None] + residual

    check = 0
    if config.budget is not None:
        left = config.budget - labels - training
        best = np.array([theta_for_budget(n, int(r), d, config) for r, d in zip(rest, left, strict=True)])
    elif config.certify:
        doubt = np.minimum(powerlaw.log_sd(laws[-1], sizes), 1.0)
        checks = [
            certificate.best_check(
                n, int(r), thetas, thetas * row, config.epsilon, certificate.risk_of_all(config), float(sd)
            )
            for r, row, sd in zip(rest, eps, doubt, strict=True)
        ]
        best, check = np.array([one.theta for one in checks]), checks[0].sample
    else:
        best = np.array([_largest(thetas, row < config.epsilon) for row in error])
    cost = labels + training + config.label_price * (rest - machine_images(n, rest, best, config))
    predicted = np.array([_at(thetas, row, theta) for row, theta in zip(error, best, strict=True)])
    if config.certify and config.budget is not None:
        promises = [
            certificate.check_in_budget(int(r), float(b), thetas, thetas * row, 1 - config.certify)
            for r, b, row in zip(rest, best, eps, strict=True)
        ]
        check, predicted = promises[0][0], np.array([bound for _, bound in promises]) * rest / n
    if config.budget is None:
        at = int(np.argmin(cost))
    else:
        at = int(np.argmin(np.where((left < 0) & (sizes > size), np.inf, predicted)))

    surface = Surface(sizes, thetas, error, dollars, best, cost)
    value = cost if config.budget is None else predicted
    plan = Plan(
        size, spent, rate, laws, surface, int(sizes[at]), float(best[at]), float(cost[at]), float(cost[0]),
        float(best[0]), float(predicted[at]), float(value[at]), 0, False, laws[-1].form, check,
    )  # fmt: skip
    plan = plan._replace(stable=is_stable(plan, previous, len(history), config))
    return plan._replace(delta=next_delta(n, tests, plan, config))


def is_stable(plan: Plan, previous: Plan | None, points: int, config: Config) -> bool:
    """Line 19: what is minimised moved by less than Delta since the last plan. Once stable, always stable.

    A budget that lets people label everything leaves no error to minimise: nothing will change that.
    """
    if plan.value == 0:
        return True
    if previous is None:
        return False
    near = abs(plan.value - previous.value) < config.stability * plan.value
    return previous.stable or (near and points >= config.min_points)


def next_delta(n: int, tests: int, plan: Plan, config: Config) -> int:
    """How many images to buy next: lines 19 to 22, and before the plan is stable the step of exploration.

    0 if nothing is left to buy, or to buy it with.
    """
    to_go = max(plan.B_opt - plan.size, 0)
    first = n_seed(n, config)
    if plan.stable and to_go:
        steps = np.arange(1, config.max_steps + 1)
        extra = costs.retraining_cost(plan.rate, plan.size, np.array(plan.B_opt), steps)
        N = int(steps[extra - extra[0] <= config.beta * plan.cost][-1])
        delta = max(-(-to_go // N), min(first, to_go))
        if config.max_growth is not None:
            delta = min(delta, round(plan.size * (config.max_growth - 1)))
    elif config.growth is None:
        delta = first
    else:
        delta = min(round(plan.size * (config.growth - 1)), max(to_go, first))
    delta = min(max(delta, 1), n - tests - plan.size)
    return delta if config.budget is None else min(delta, affordable(tests, plan, config))


def affordable(tests: int, plan: Plan, config: Config) -> int:
    """The largest delta that the budget pays for, its retraining included; 0 if none."""
    assert config.budget is not None
    left = config.budget - plan.spent - costs.labelling_cost(tests, plan.size, config)
    left -= costs.retraining_cost(plan.rate, 0, np.array(plan.size), np.array(1))
    return max(int(left / (config.label_price + plan.rate[1]) + 1e-9), 0)


def _largest(thetas: np.ndarray, allowed: np.ndarray) -> float:
    """The largest theta that is allowed, 0 if none is."""
    return float(thetas[allowed][-1]) if allowed.any() else 0.0


def _at(thetas: np.ndarray, error: np.ndarray, theta: float) -> float:
    """The error at ``theta``, none where the machine labels nothing."""
    return float(np.interp(theta, np.concatenate([[0], thetas]), np.concatenate([[0], error])))


def _between(grid: np.ndarray, eps: np.ndarray, thetas: np.ndarray) -> np.ndarray:
    """eps at ``thetas`` from eps [sizes, grid]: theta * eps, a share of all of T, is linear between points."""
    if thetas is grid or (len(thetas) == len(grid) and np.allclose(thetas, grid)):
        return eps
    knots = np.concatenate([[0], grid])
    wrong = np.concatenate([np.zeros((len(eps), 1)), grid * eps], axis=1)
    return np.stack([np.interp(thetas, knots, row) for row in wrong]) / thetas


# ---------------------------------------------------------------------------------------------------------
# When to stop. Each rule is a predicate of (|X|, plans so far, configuration).

StopPredicate = Callable[[int, Sequence[Plan], Config], bool]
StopRule = Callable[[int, Sequence[Plan], Config], str | None]
"""The name of the reason to train no more, or None."""


def reached_optimum(n: int, plans: Sequence[Plan], config: Config) -> bool:
    """Line 9: another delta costs more than it saves, by a stable plan or by two plans running.

    Two, because money spent after B_opt was passed makes C* rise and keeps it from ever being stable. A hopeless
    plan does not count as long as the exploration tax is not spent: most of B must be labelled anyway, and only
    the training is at risk.
    """
    done = [plan.B_opt <= plan.size for plan in plans[-2:]]
    if hopeless(n, plans[-1], config) and _tax_left(n, plans[-1], config):
        return False
    return done[-1] and (plans[-1].stable or (len(plans) >= config.min_points and all(done)))


def cost_rose(n: int, plans: Sequence[Plan], config: Config) -> bool:
    """Section 4: once stable, the total cost in this step is higher than in the previous one."""
    if not config.stop_on_rise or len(plans) < 3:
        return False
    return plans[-1].stable and plans[-2].stable and plans[-1].cost > plans[-2].cost


def exploration_tax(n: int, plans: Sequence[Plan], config: Config) -> bool:
    """Footnote 5: another training would exceed its share of the cost of humans only, and no plan beats them."""
    return hopeless(n, plans[-1], config) and not _tax_left(n, plans[-1], config)


def budget_spent(n: int, plans: Sequence[Plan], config: Config) -> bool:
    """Budget mode: what is left does not pay for another label and its retraining."""
    return config.budget is not None and plans[-1].delta == 0


def pool_exhausted(n: int, plans: Sequence[Plan], config: Config) -> bool:
    """People have labelled everything."""
    return plans[-1].size + n_test(n, config) >= n


def hopeless(n: int, plan: Plan, config: Config) -> bool:
    """Whether the plan costs as much as humans only."""
    return config.budget is None and plan.cost >= n * config.label_price


def _tax_left(n: int, plan: Plan, config: Config) -> bool:
    """Whether the next training still fits into the exploration tax."""
    following = costs.retraining_cost(plan.rate, plan.size, np.array(plan.size + plan.delta), np.array(1))
    return plan.spent + float(following) <= config.exploration_tax * n * config.label_price


STOP_RULES: tuple[StopPredicate, ...] = (pool_exhausted, budget_spent, exploration_tax, reached_optimum, cost_rose)


def stop(n: int, plans: Sequence[Plan], config: Config) -> str | None:
    """The name of the first stop rule that fires, or None."""
    return next((rule.__name__ for rule in STOP_RULES if rule(n, plans, config)), None)
