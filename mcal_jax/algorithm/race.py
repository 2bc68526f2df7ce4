"""Choosing the architecture (section 4): one Algorithm 1 each, in lockstep, until the best plan is stable.

All train on the same B: in every round the architecture of the least predicted cost chooses the images, humans
label them once, and all architectures get them. When the leader's plan is stable, or one of them would stop, the
cheapest plan wins; the training cost of the others is the tax of the race.
"""

import math
from collections.abc import Sequence

from mcal_jax.algorithm import costs
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.mcal import mcal
from mcal_jax.algorithm.objectives import Objective
from mcal_jax.algorithm.outcome import Algorithm, Contestant
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import Label, MachineLabel, Relabel, Request, Train
from mcal_jax.algorithm.stopping import StopRule, stop
from mcal_jax.errors import McalError


def race(
    n: int,
    config: Config,
    architectures: Sequence[str],
    stop_rule: StopRule = stop,
    objective: Objective | None = None,
    owned: Sequence[int] = (),
    owned_test: Sequence[int] = (),
) -> Algorithm:
    """MCAL with the best of ``architectures``. Yields requests, returns the Outcome.

    The other arguments are those of ``mcal``; the race itself is decided by cost. Raises McalError for no or a repeated
    architecture, for one without a price, and for a budget.
    """
    if not architectures or len(set(architectures)) < len(architectures):
        raise McalError(f"architectures: a race needs different ones, got {', '.join(architectures) or 'none'}")
    if config.budget is not None and len(architectures) > 1:
        raise McalError("budget: give one architecture; a race can't know beforehand what its losers will cost")
    runs = {name: mcal(n, config, name, stop_rule, objective, owned, owned_test) for name in architectures}
    pending: dict[str, Request] = {name: next(run) for name, run in runs.items()}
    trainings, spent = dict.fromkeys(runs, 0), dict.fromkeys(runs, 0.0)
    while len(runs) > 1 and not _decided(pending):
        leader = _leader(pending)
        if isinstance(pending[leader], Label | Relabel):
            labelled = yield pending[leader]
            pending = {name: run.send(labelled) for name, run in runs.items()}
        for name, request in pending.items():
            if isinstance(request, Train):
                fit = yield request
                trainings[name] += 1
                spent[name] += costs.training_cost(fit, name, config)
                pending[name] = runs[name].send(fit)
    winner = _leader(pending)
    for name, run in runs.items():
        if name != winner:
            run.close()
    outcome = yield from _finish(runs[winner], pending[winner])
    result = tuple(_contestant(name, trainings[name], spent[name], pending[name].plan, name == winner) for name in runs)
    tax = math.fsum(c.spent for c in result if not c.won)
    return outcome._replace(ledger=outcome.ledger._replace(race=tax), race=result if len(runs) > 1 else ())


def _contestant(architecture: str, trainings: int, spent: float, plan: Plan | None, won: bool) -> Contestant:
    return Contestant(architecture, trainings, spent, plan.cost if plan else 0.0, won)


def _leader(pending: dict[str, Request]) -> str:
    """The architecture whose plan costs the least from here on."""
    return min(pending, key=lambda name: _still_to_pay(pending[name].plan))


def _decided(pending: dict[str, Request]) -> bool:
    """Whether the leader's plan is stable, or an architecture would stop: later plans of the others cost too much."""
    plan = pending[_leader(pending)].plan
    return (plan is not None and plan.stable) or any(_ends(request) for request in pending.values())


def _ends(request: Request) -> bool:
    """Whether a request is the first of a run that trains no more: V is for its classifier alone."""
    return isinstance(request, MachineLabel) or (isinstance(request, Label) and request.purpose == "certify")


def _still_to_pay(plan: Plan | None) -> float:
    """C* less what training has cost already, which is sunk."""
    return plan.cost - plan.spent if plan else 0.0


def _finish(run: Algorithm, request: Request) -> Algorithm:
    """The rest of a run that has yielded ``request``."""
    try:
        while True:
            request = run.send((yield request))
    except StopIteration as end:
        return end.value
