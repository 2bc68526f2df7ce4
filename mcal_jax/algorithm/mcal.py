"""Algorithm 1 of the paper (appendix A). The numbers in the margin are its lines.

A request costs money or time and is answered by a world; all else is a pure function. U is the paper's
X \\ T \\ B, the images nobody has labelled yet.
"""

import numpy as np

from mcal_jax.algorithm import certificate, costs, planner
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.objectives import Objective
from mcal_jax.algorithm.outcome import Algorithm, Outcome
from mcal_jax.algorithm.protocol import Label, MachineLabel, Relabel, Train, Verify, remove
from mcal_jax.algorithm.stopping import StopRule, stop


def mcal(
    n: int,
    config: Config,
    architecture: str = "resnet18",
    stop_rule: StopRule = stop,
    objective: Objective | None = None,
) -> Algorithm:
    """Label the images 0 ... n-1 at least cost. Yields requests, returns the Outcome. Raises McalError."""
    planner.check(n, architecture, config)
    X = np.arange(n)
    T = (yield Label(X, planner.n_test(n, config), "random", "test")).indices  #                              1
    U, people = remove(X, T), None
    if config.repeat:  #                                                                                   ours
        again = yield Relabel(T, planner.n_repeat(n, config))
        people, config = certificate.bound_annotator_error(n, again, config)
    B = (yield Label(U, planner.n_seed(n, config), "random", "train")).indices  #                             2
    U = remove(U, B)
    fit = yield Train(B, T, architecture)  #                                                                  3
    history = [fit]  #                                                                                      4-7
    plans = [
        planner.search(n, history, architecture, None, config, objective)
    ]  #                                       8
    while not (reason := stop_rule(n, plans, config)):  #                                                    9
        plan = plans[-1]
        b = (yield Label(U, plan.delta, config.acquisition, "train", fit.model, plan)).indices  #            10
        B, U = np.union1d(B, b), remove(U, b)  #                                                             11
        fit = yield Train(B, T, architecture, plan)  #                                                       12
        history.append(fit)  #                                                                         13,14-15
        plans.append(
            planner.search(n, history, architecture, plan, config, objective)
        )  #                    13, 16-18,19-23
    plan = plans[-1]  #                                                                                      24-25
    V, machine, sure = U[:0], planner.n_machine(n, len(U), plan, config), None
    if (
        config.certify and plan.certificate_size
    ):  #                                                                   ours
        V = (yield Label(U, plan.certificate_size, "random", "certify", fit.model, plan)).indices
        U = remove(U, V)
        seen = yield Verify(V, U, fit.model, plan)
        sure = certificate.certificate(n, len(U), machine, seen, config)
        machine = sure.machine
    S = (yield MachineLabel(U, machine, fit.model, plan, sure.limits if sure else None)).indices  #             26
    R = (yield Label(remove(U, S), len(U) - len(S), "all", "residual", fit.model, plan)).indices  #          27
    bill = costs.ledger(n, len(T), len(B), len(R), plan.spent, config, len(V), people.sample if people else 0)
    theta = len(S) / max(len(U), 1) if sure else plan.theta_now
    done = Outcome(n, T, B, S, R, theta, architecture, reason, bill, tuple(plans), tuple(history))
    return done._replace(V=V, certificate=sure, annotator_error=people)
