"""The bound on the error within S (ours): Eqn 2 alone lets the machine label epsilon |X| images however badly.

The limit on the mistakes in S, which epsilon is compared with, divided by |S|, must keep ``machine_epsilon``. It is one
statement about one number of mistakes, so it holds with the confidence that the limit has, and costs none. A smaller S
that might keep the bound is not looked for after V: a share, unlike a number of mistakes, may fall and rise again along
the order of confidence, so the hypotheses are not nested, and every further S would cost confidence.
"""

import numpy as np

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.outcome import Certificate, Rejected
from mcal_jax.algorithm.plan import Surface
from mcal_jax.algorithm.protocol import Verification


def error_in_S(error: np.ndarray, n: int, rest: np.ndarray | int, thetas: np.ndarray, config: Config) -> np.ndarray:
    """The share of S that is wrong, as cautious as ``error``, which is what the constraint compares with epsilon.

    ``rest`` is |U| and broadcasts with ``thetas``, as ``error`` does; 0 where S is empty.
    """
    if config.constraint == "on_S":
        return error
    return np.minimum(error / np.maximum(_share(n, rest, thetas, config), 1e-12), 1.0)


def is_kept(error: np.ndarray, n: int, rest: np.ndarray | int, thetas: np.ndarray, config: Config) -> np.ndarray:
    """Whether the error within S is below ``machine_epsilon``, bool like ``error``; true where there is no bound."""
    if config.machine_epsilon is None:
        return np.ones(np.shape(error), bool)
    return error_in_S(error, n, rest, thetas, config) < config.machine_epsilon


def rejected_by_plan(n: int, rest: int, surface: Surface, config: Config) -> Rejected | None:
    """The S that epsilon alone allows if training stops now, where ``machine_epsilon`` allows none; else None.

    ``rest`` is |U|. With a certificate the error of S is the most that it could state.
    """
    error, thetas = surface.error[0], surface.thetas
    machine = np.floor(_share(n, rest, thetas, config) * n + 1e-9).astype(int)
    allowed = np.flatnonzero((error < config.epsilon) & (machine > 0))
    if config.machine_epsilon is None or config.budget is not None or not len(allowed):
        return None
    within = error_in_S(error, n, rest, thetas, config)
    if config.certify:
        within = np.minimum(config.epsilon * n / np.maximum(machine, 1), 1.0)
    if (within[allowed] < config.machine_epsilon).any():
        return None
    return Rejected(int(machine[allowed[-1]]), float(within[allowed[-1]]))


def without_junk(
    n: int, certified: Certificate, verification: Verification, config: Config
) -> tuple[Certificate, Rejected | None]:
    """The certificate with its bound on the error within S; if that breaks ``machine_epsilon``, one of an empty S, and
    what was rejected. In budget mode nothing is rejected: no money is left for the labels of humans."""
    machine = least_machine(certified, verification)
    bound = min(certified.bound * n / machine, 1.0) if machine else 1.0 if certified.machine else 0.0
    if config.machine_epsilon is None or config.budget is not None or bound <= config.machine_epsilon:
        return certified._replace(bound_in_S=bound), None
    empty = certified._replace(
        trials=0, mistakes=0, machine=0, bound=0.0, by_class=(), limits=None, by_true_class=(), bound_in_S=0.0
    )
    return empty, Rejected(certified.machine, bound)


def least_machine(certified: Certificate, verification: Verification) -> int:
    """|S|, or no more than that where limits by class take images from the ``machine`` most confident ones."""
    if certified.limits is None:
        return certified.machine
    beyond = np.maximum(verification.called - np.array(certified.limits), 0).sum()
    return max(certified.machine - int(beyond), 0)


def _share(n: int, rest: np.ndarray | int, thetas: np.ndarray, config: Config) -> np.ndarray:
    """|S| / |X|."""
    return thetas * rest / n if config.theta_of == "remaining" else np.minimum(thetas, np.asarray(rest) / n)
