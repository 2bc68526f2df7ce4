"""A job: everything that determines what an algorithm requests, given the answers."""

from typing import Annotated

from pydantic import Field

from mcal_jax.algorithm import baselines, planner
from mcal_jax.algorithm.certify_predictions import certify_predictions
from mcal_jax.algorithm.config import Config, Fraction, Settings
from mcal_jax.algorithm.mcal import mcal
from mcal_jax.algorithm.outcome import Algorithm
from mcal_jax.algorithm.planner import StopRule
from mcal_jax.algorithm.race import race
from mcal_jax.errors import McalError


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


def algorithm(job: Job, stop: StopRule = planner.stop) -> Algorithm:
    """The generator that a job describes; ``stop`` says when MCAL trains no more.

    Raises McalError for an unknown name or a missing setting.
    """
    first = job.architectures[0]
    match job.algorithm:
        case "mcal" if len(job.architectures) > 1:
            return race(job.n, job.config, job.architectures, stop)
        case "mcal":
            return mcal(job.n, job.config, first, stop)
        case "humans_only":
            return baselines.humans_only(job.n, job.config)
        case "without_active_learning":
            return baselines.without_active_learning(job.n, job.config, first, stop)
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
            return certify_predictions(job.n, job.config, job.sample)
    known = "mcal, naive_al, without_active_learning, humans_only, trajectory"
    raise McalError(f"unknown algorithm {job.algorithm!r}; known: {known}")
