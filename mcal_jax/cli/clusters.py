"""The options of commands whose runs may be made on a cluster."""

from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from mcal_jax.cli.app import emit
from mcal_jax.errors import McalError


@Parameter(name="*")
@dataclass(frozen=True)
class ClusterOptions:
    """Where the runs are made."""

    scheduler: Annotated[
        str | None, Parameter(help="make runs by the workers of this Dask scheduler, such as tcp://host:8786")
    ] = None
    cluster: Annotated[
        Literal["local", "slurm"] | None,
        Parameter(help="start Dask workers: local processes, or jobs of Slurm, as many as --jobs says"),
    ] = None

    def executor(self, jobs: int | None) -> Callable[[int], AbstractContextManager[Executor]] | None:
        """What opens the cluster for a number of runs, None for processes of this machine. Raises McalError."""
        scheduler, cluster = self.scheduler, self.cluster
        if scheduler and cluster:
            raise McalError("scheduler and cluster: one is there, the other is started; choose")
        if scheduler and jobs:
            raise McalError("scheduler and jobs: its workers say how many runs there are at once; leave jobs out")
        if not scheduler and not cluster:
            return None
        from mcal_jax.runs import clusters, sweeps

        default = sweeps.default_jobs() if cluster == "local" and not jobs else 1
        return lambda runs: clusters.connect(scheduler, cluster or "local", min(jobs or default, runs), emit)


NO_CLUSTER = ClusterOptions()
