"""The steps that certified runs add to Algorithm 1, as generators over the same requests."""

from collections.abc import Generator
from typing import Any, NamedTuple

from mcal_jax.algorithm import certificate, machine_epsilon, planner, service_errors
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.outcome import AnnotatorError, Certificate, Rejected
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import Indices, Label, Relabel, Request, Verify, remove


class Allowance(NamedTuple):
    """What the machine may label: the ``machine`` most confident images of U \\ V, and their certificate, if any.

    ``rejected`` is the S that ``machine_epsilon`` leaves to humans.
    """

    V: Indices
    machine: int
    certificate: Certificate | None = None
    rejected: Rejected | None = None

    @property
    def limits(self) -> tuple[int, ...] | None:
        """How many images of each class the machine may label, if that is limited."""
        return self.certificate.limits if self.certificate else None


def measure_annotators(
    n: int, T: Indices, config: Config
) -> Generator[Request, Any, tuple[AnnotatorError | None, Config]]:
    """With ``repeat``, humans label a part of T twice; returns the bound on their error, and the Config after it."""
    if not config.repeat:
        return None, config
    second_labels = yield Relabel(T, planner.n_repeat(len(T), config))
    error = certificate.bound_annotator_error(n, second_labels, config)
    return error, certificate.with_annotator_error(config, error)


def certify_pool(n: int, U: Indices, model: int, plan: Plan, config: Config) -> Generator[Request, Any, Allowance]:
    """Humans label V, a random part of U, with ``certify``; returns what the machine may label of U \\ V.

    Without a certificate it is what the ``plan`` allows.
    """
    config = service_errors.for_machine(n, plan.size, config)
    machine = planner.n_machine(n, len(U), plan, config)
    if not (config.certify and plan.certificate_size):
        rejected = None if machine else machine_epsilon.rejected_by_plan(n, len(U), plan.surface, config)
        return Allowance(U[:0], machine, rejected=rejected)
    size = certificate.size_to_buy(n, len(U), plan.certificate_size, config)
    V = (yield Label(U, size, "random", "certify", model, plan)).indices
    U = remove(U, V)
    verification = yield Verify(V, U, model, plan)
    certified = certificate.certificate(n, len(U), machine, verification, config)
    certified, rejected = machine_epsilon.without_junk(n, certified, verification, config)
    return Allowance(V, certified.machine, certified, rejected)
