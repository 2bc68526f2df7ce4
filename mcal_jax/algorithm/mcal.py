"""Algorithm 1 of the paper (appendix A). The numbers in the margin are its lines; "ours" are steps beyond it.

A request costs money or time and is answered by a world; all else is a pure function. U is the paper's
X \\ T \\ B, the images nobody has labelled yet.
"""

from collections.abc import Sequence

import numpy as np

from mcal_jax.algorithm import costs, planner
from mcal_jax.algorithm.certification import certify_pool, measure_annotators
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.objectives import Objective
from mcal_jax.algorithm.outcome import Algorithm, Outcome
from mcal_jax.algorithm.plan import Owned
from mcal_jax.algorithm.protocol import Label, MachineLabel, Train, remove
from mcal_jax.algorithm.stopping import StopRule, stop


def mcal(
    n: int,
    config: Config,
    architecture: str = "resnet18",
    stop_rule: StopRule = stop,
    objective: Objective | None = None,
    owned: Sequence[int] = (),
    owned_test: Sequence[int] = (),
) -> Algorithm:
    """Label the images 0 ... n-1 at least cost. Yields requests, returns the Outcome.

    ``stop_rule`` says when to train no more (``stop_with`` adds rules to the default ones), ``objective`` what a plan
    minimises, that of the configuration if none is given. ``owned`` are images that humans have labelled before: these
    labels cost nothing and are a part of B; all else is drawn from the other images, since nobody knows how the owned
    ones were chosen. ``owned_test`` are such images too, but known to be a random sample of X: they are a part of T.
    Raises McalError where the pool or the budget is too small.
    """
    B, T0, known = np.array(owned, np.int64), np.array(owned_test, np.int64), Owned(len(owned), len(owned_test))
    to_buy, tests = n - known.total, planner.tests_of(n, known, config)
    planner.check(to_buy, architecture, config, known.test)
    if len(T0):
        yield Label(T0, len(T0), "all", "owned_test")  #                                                           ours
    if len(B):
        yield Label(B, len(B), "all", "owned")  #                                                                  ours
    T, U = T0, remove(remove(np.arange(n), T0), B)
    if tests > len(T0):
        bought = (yield Label(U, tests - len(T0), "random", "test")).indices  #                                       1
        T, U = np.union1d(T0, bought), remove(U, bought)
    annotator_error, config = yield from measure_annotators(n, T, config)  #                                       ours
    b = (yield Label(U, planner.n_seed(to_buy, config), "random", "train")).indices  #                                2
    B, U, E = np.union1d(B, b), remove(U, b), T  # E: the images of T that are a sample of U still                 ours
    fit = yield Train(B, E, architecture)  #                                                                          3
    history = [fit]  #                                                                                              4-7
    plans = [planner.search(n, history, architecture, None, config, objective, known)]  #                             8
    while not (reason := stop_rule(n, plans, config)):  #                                                             9
        plan = plans[-1]
        ageing = E if config.age_test_set else None  #                                                             ours
        b = yield Label(U, plan.delta, config.acquisition, "train", fit.model, plan, ageing)  #                      10
        B, U, E = np.union1d(B, b.indices), remove(U, b.indices), remove(E, b.retired)  #                            11
        fit = yield Train(B, E, architecture, plan)  #                                                               12
        history.append(fit)  #                                                                                 13,14-15
        plans.append(planner.search(n, history, architecture, plan, config, objective, known))  #  13, 16-18,19-23
    plan = plans[-1]  #                                                                                           24-25
    V, machine, certificate, rejected = allowance = yield from certify_pool(n, U, fit.model, plan, config)  #      ours
    U = remove(U, V)
    S = (yield MachineLabel(U, machine, fit.model, plan, allowance.limits)).indices  #                               26
    R = (yield Label(remove(U, S), len(U) - len(S), "all", "residual", fit.model, plan)).indices  #                  27
    n_repeat = annotator_error.sample if annotator_error else 0
    return Outcome(
        n=n,
        T=T,
        B=B,
        S=S,
        R=R,
        theta=len(S) / max(len(U), 1) if certificate else plan.theta_now,
        architecture=architecture,
        stop=reason,
        ledger=costs.ledger(
            to_buy, len(T) - known.test, len(B) - known.train, len(R), plan.spent, config, len(V), n_repeat
        ),
        plans=tuple(plans),
        history=tuple(history),
        V=V,
        certificate=certificate,
        annotator_error=annotator_error,
        rejected=rejected,
        owned=known.total,
    )
