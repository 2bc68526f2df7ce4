"""A job: everything that determines what an algorithm requests, given the answers."""

from typing import Annotated, Any

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from mcal_jax.algorithm import baselines, costs
from mcal_jax.algorithm.acquisition import find
from mcal_jax.algorithm.certify_predictions import certify_predictions
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.fields import Fraction, Settings
from mcal_jax.algorithm.mcal import mcal
from mcal_jax.algorithm.objectives import NEEDS, OBJECTIVES, objective_of
from mcal_jax.algorithm.outcome import Algorithm
from mcal_jax.algorithm.plan import Owned
from mcal_jax.algorithm.protocol import Indices
from mcal_jax.algorithm.race import race
from mcal_jax.algorithm.stopping import STOP_RULES, StopRule, stop_with
from mcal_jax.errors import McalError

PLANNED = ("mcal", "without_active_learning")
"""Algorithms that make plans, and so have an objective and stop rules."""
OWNING = (*PLANNED, "certify_predictions")
"""Algorithms that use labels known beforehand."""
LATER = ("sample", "label_costs", "stop_rules", "objective", "owned", "owned_test")
"""Settings that the first versions did not have."""


class Job(Settings):
    """Everything that determines an algorithm's requests, given the answers: the head of a run log."""

    algorithm: str = "mcal"
    n: Annotated[int, Field(ge=1)]
    architectures: tuple[str, ...] = ("resnet18",)
    config: Config = Config()
    delta: Fraction | None = Field(None, description="fixed batch of active learning, fraction of |X|")
    max_train_fraction: Fraction | None = Field(None, description="|B| at which a trajectory ends, fraction of |X|")
    compare: tuple[str, ...] = Field((), description="M(.) by which a trajectory's last classifier ranks U")
    sample: Annotated[int, Field(ge=1)] | None = Field(None, description="|V| where given predictions are certified")
    label_costs: tuple[float, ...] | None = Field(
        None,
        description="US dollars for a label of each image where given predictions are certified; none: label_price",
    )
    owned: tuple[int, ...] = Field((), description="images whose labels are known beforehand: a part of B, at no cost")
    owned_test: tuple[int, ...] = Field(
        (), description="such images that are a random sample of X: a part of T, at no cost"
    )
    stop_rules: tuple[str, ...] = Field((), description="stop rules besides the default ones")
    objective: str | None = Field(None, description="what is minimised; none: what the configuration asks for")

    @field_validator("stop_rules", mode="before")
    @classmethod
    def _known_stop_rules(cls, rules: Any) -> Any:
        """Names of stop rules; functions are registered under their own."""
        return tuple(STOP_RULES.check(STOP_RULES.name_of(rule)) for rule in rules)

    @field_validator("owned", "owned_test")
    @classmethod
    def _in_order(cls, owned: tuple[int, ...]) -> tuple[int, ...]:
        if owned and (owned[0] < 0 or (np.diff(owned) < 1).any()):
            raise ValueError("positions of images, 0 or more, each larger than the one before")
        return owned

    @field_validator("objective")
    @classmethod
    def _known_objective(cls, name: str | None) -> str | None:
        return name if name is None else OBJECTIVES.check(name)

    @property
    def known(self) -> Owned:
        """How many labels are known beforehand."""
        return Owned(len(self.owned), len(self.owned_test))

    @property
    def known_images(self) -> list[int]:
        """The images whose labels are known beforehand."""
        return [*self.owned, *self.owned_test]

    def cost_of(self, images: Indices, purpose: str = "train") -> float:
        """US dollars that humans charge for one label of each of ``images``, by the ``purpose`` of the request.

        What is owned costs nothing, unless it is to be labelled once more ("relabel").
        """
        bought = images if purpose == "relabel" else np.setdiff1d(images, self.known_images)
        if self.config.services is not None:
            return len(bought) * costs.price_of(self.config, purpose)
        return costs.cost_of_labels(bought, self.config, self.label_costs)

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The job as the first versions wrote it, less settings of later versions that are not given."""
        plain = serialize(self)
        return {key: value for key, value in plain.items() if value or key not in LATER}


def certified_by_default(plain: dict[str, Any]) -> dict[str, Any]:
    """A run in plain values, by the certified preset if none is given and its algorithm can certify."""
    is_given = "preset" in plain or plain.get("algorithm", "mcal") not in PLANNED
    return plain if is_given else {**plain, "preset": "certified"}


def check_job(job: Job, *, is_new: bool) -> None:
    """Raises McalError for a job that can't be done, and for a strategy that can't be loaded; nothing is requested.

    A new job is refused, too, whose objective would ignore a setting; one that was begun so goes on.
    """
    algorithm(job).send(None)
    for name in (job.config.acquisition, *job.compare):
        find(name)
    kept = NEEDS.get(str(job.objective), ("certify", "budget"))
    for name in ("certify", "budget"):
        if is_new and getattr(job.config, name) is not None and name not in kept:
            raise McalError(f"objective {job.objective}: it keeps no {name}; leave one of them out")


def algorithm(job: Job, stop: StopRule | None = None) -> Algorithm:
    """The generator that a job describes; ``stop`` says when MCAL trains no more, in the place of the job's rules.

    Raises McalError for an unknown name, a missing setting, and a stop rule or an objective that can't be loaded.
    """
    if job.algorithm not in PLANNED and (job.stop_rules or job.objective):
        raise McalError(f"stop_rules, objective: {job.algorithm} makes no plans; leave them out")
    for setting, known, who in (("owned", job.owned, OWNING), ("owned_test", job.owned_test, PLANNED)):
        if known and (job.algorithm not in who or known[-1] >= job.n):
            raise McalError(
                f"{setting}: labels known beforehand are for {', '.join(who)}, and for images below {job.n}"
            )
    if len(twice := np.intersect1d(job.owned, job.owned_test)):
        raise McalError(f"owned, owned_test: image {int(twice[0])} is in both")
    first = job.architectures[0]
    objective = objective_of(job.config, job.objective) if job.objective else None
    stop, owned = stop or stop_with(*job.stop_rules), (job.owned, job.owned_test)
    match job.algorithm:
        case "mcal" if len(job.architectures) > 1:
            return race(job.n, job.config, job.architectures, stop, objective, *owned)
        case "mcal":
            return mcal(job.n, job.config, first, stop, objective, *owned)
        case "without_active_learning":
            return baselines.without_active_learning(job.n, job.config, first, stop, objective, *owned)
        case "humans_only":
            return baselines.humans_only(job.n, job.config)
        case "naive_al":
            if job.delta is None:
                raise McalError("delta: naive_al needs its batch, a fraction of |X|")
            return baselines.naive_al(job.n, job.config, first, job.delta)
        case "trajectory":
            if job.delta is None or job.max_train_fraction is None:
                raise McalError(
                    "trajectory needs delta, its batch, and max_train_fraction, where it ends: fractions of |X|"
                )
            return baselines.trajectory(job.n, job.config, first, job.delta, job.max_train_fraction, job.compare)
        case "certify_predictions":
            if job.sample is None:
                raise McalError("sample: certify_predictions needs |V|, a number of images")
            return certify_predictions(job.n, job.config, job.sample, job.label_costs, job.owned)
    names = "mcal, naive_al, without_active_learning, humans_only, trajectory"
    raise McalError(f"unknown algorithm {job.algorithm!r}; known: {names}")
