"""Algorithm 1 of the paper (appendix A). The numbers in the margin are its lines.

A request costs money or time and is answered by a world; all else is a pure function. U is the paper's
X \\ T \\ B, the images nobody has labelled yet.
"""

import numpy as np

from mcal_jax import costs, planner
from mcal_jax.types import Algorithm, Annotate, Config, Label, Outcome, Train, remove


def mcal(n: int, config: Config, architecture: str = "resnet18") -> Algorithm:
    """Label the images 0 ... n-1 at least cost. Yields requests, returns the Outcome. Raises McalError."""
    planner.check(n, architecture, config)
    X = np.arange(n)
    T = (yield Label(X, planner.n_test(n, config), "random", "test")).indices  #                              1
    U = remove(X, T)
    B = (yield Label(U, planner.n_seed(n, config), "random", "train")).indices  #                             2
    U = remove(U, B)
    fit = yield Train(B, T, architecture)  #                                                                  3
    history = [fit]  #                                                                                      4-7
    plans = [planner.search(n, history, architecture, None, config)]  #                                       8
    while not (stop := planner.stop(n, plans, config)):  #                                                    9
        plan = plans[-1]
        b = (yield Label(U, plan.delta, config.acquisition, "train", fit.model, plan)).indices  #            10
        B, U = np.union1d(B, b), remove(U, b)  #                                                             11
        fit = yield Train(B, T, architecture, plan)  #                                                       12
        history.append(fit)  #                                                                         13,14-15
        plans.append(planner.search(n, history, architecture, plan, config))  #                    13, 16-18,19-23
    plan = plans[-1]  #                                                                                      24-25
    S = (yield Annotate(U, planner.n_machine(n, len(U), plan, config), fit.model, plan)).indices  #         26
    R = (yield Label(remove(U, S), len(U) - len(S), "all", "residual", fit.model, plan)).indices  #          27
    bill = costs.ledger(n, len(T), len(B), len(R), plan.spent, config)
    return Outcome(n, T, B, S, R, plan.theta_now, architecture, stop, bill, tuple(plans), tuple(history))
