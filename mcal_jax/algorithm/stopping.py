"""When to train no more: stop rules by name in ``STOP_RULES``.

A stop rule is a predicate of (|X|, plans so far, configuration). ``stop`` asks the rules of the paper; ``stop_with``
adds rules of your own, functions or "my_file.py:my_rule".
"""

from collections.abc import Callable, Sequence

import numpy as np

from mcal_jax.algorithm import costs
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.planner import tests_of
from mcal_jax.errors import McalError
from mcal_jax.registry import Registry

StopPredicate = Callable[[int, Sequence[Plan], Config], bool]
"""One stop rule: (|X|, plans so far, configuration) -> whether to train no more."""
StopRule = Callable[[int, Sequence[Plan], Config], str | None]
"""All of them: (|X|, plans so far, configuration) -> the name of the rule that stops, or None."""


def pool_exhausted(n: int, plans: Sequence[Plan], config: Config) -> bool:
    """Humans have labelled everything."""
    return plans[-1].size + tests_of(n, plans[-1].owned, config) >= n


def budget_spent(n: int, plans: Sequence[Plan], config: Config) -> bool:
    """Budget mode: what is left does not pay for another label and its retraining."""
    return config.budget is not None and plans[-1].delta == 0


def exploration_tax(n: int, plans: Sequence[Plan], config: Config) -> bool:
    """Footnote 5: another training would exceed its share of the cost of humans only, and no plan beats them."""
    return hopeless(n, plans[-1], config) and not tax_left(n, plans[-1], config)


def reached_optimum(n: int, plans: Sequence[Plan], config: Config) -> bool:
    """Line 9: another delta costs more than it saves, according to one stable plan or two consecutive plans.

    Two, because money spent after B_opt was passed makes C* rise and keeps it from ever being stable. A hopeless
    plan does not count as long as the exploration tax is not spent: most of B must be labelled anyway, and only
    the training is at risk.
    """
    if hopeless(n, plans[-1], config) and tax_left(n, plans[-1], config):
        return False
    at_optimum = [plan.B_opt <= plan.size for plan in plans[-2:]]
    return at_optimum[-1] and (plans[-1].stable or (len(plans) >= config.min_points and all(at_optimum)))


def cost_rose(n: int, plans: Sequence[Plan], config: Config) -> bool:
    """Section 4: once stable, the total cost in this step is higher than in the previous one."""
    if not config.stop_on_rise or len(plans) < 3:
        return False
    return plans[-1].stable and plans[-2].stable and plans[-1].cost > plans[-2].cost


def hopeless(n: int, plan: Plan, config: Config) -> bool:
    """Whether the plan costs as much as humans only."""
    return config.budget is None and plan.cost >= (n - plan.owned.total) * config.label_price


def tax_left(n: int, plan: Plan, config: Config) -> bool:
    """Whether the next training still fits into the exploration tax (footnote 5)."""
    next_training = costs.retraining_cost(plan.rate, plan.size, np.array(plan.size + plan.delta), np.array(1))
    humans_only = (n - plan.owned.total) * config.label_price
    return plan.spent + float(next_training) <= config.exploration_tax * humans_only


STOP_RULES: Registry[StopPredicate] = Registry(
    "stop rule",
    {
        "pool_exhausted": pool_exhausted,
        "budget_spent": budget_spent,
        "exploration_tax": exploration_tax,
        "reached_optimum": reached_optimum,
        "cost_rose": cost_rose,
    },
)
"""Stop rules by name."""
DEFAULT_RULES = tuple(STOP_RULES)
"""The names of the rules that always apply, in the order in which they are asked."""


def stop_with(*rules: str | StopPredicate) -> StopRule:
    """The default rules and, after them, ``rules`` of your own: functions, or names such as "my_file.py:my_rule".

    >>> plans = [Plan(20, 1.0, (0.0, 0.001), (), None, 400, 0.6, 20.0, 30.0, 0.3, 0.04, 20.0, 20, False, "power")]
    >>> def three_dollars(n, plans, config):
    ...     return plans[-1].spent >= 3
    >>> stop_with(three_dollars)(4000, [*plans, plans[-1]._replace(spent=3.5)], Config())
    'three_dollars'

    The StopRule raises McalError for a rule that fails or returns something else than true or false. Raises McalError
    for an unknown name and for a file that can't be loaded.
    """
    names = [*DEFAULT_RULES, *map(STOP_RULES.name_of, rules)]
    predicates = {name: STOP_RULES[name] for name in names}

    def first_to_fire(n: int, plans: Sequence[Plan], config: Config) -> str | None:
        return next((name for name, rule in predicates.items() if fires(name, rule, n, plans, config)), None)

    return first_to_fire


def fires(name: str, rule: StopPredicate, n: int, plans: Sequence[Plan], config: Config) -> bool:
    """Whether one rule stops the run. Raises McalError, which names the rule, where it fails or returns no bool."""
    try:
        answer = rule(n, plans, config)
    except McalError:
        raise
    except Exception as error:
        raise McalError(f"stop rule {name!r} fails: {type(error).__name__}: {error}") from error
    if not isinstance(answer, bool | np.bool_):
        raise McalError(f"stop rule {name!r} returned {answer!r}, not true or false")
    return bool(answer)


def stop(n: int, plans: Sequence[Plan], config: Config) -> str | None:
    """The name of the first default rule that stops a run over ``n`` images, or None.

    >>> plan = Plan(400, 1.0, (0.0, 0.001), (), None, 400, 0.6, 20.0, 20.0, 0.6, 0.04, 20.0, 20, True, "power")
    >>> stop(4000, [plan], Config())
    'reached_optimum'
    """
    return _default(n, plans, config)


_default = stop_with()
