"""Runs on Dask: by the workers of a scheduler, by processes of this machine, or by jobs of Slurm.

Dask is optional, and only this module imports it.
"""

import contextlib
import functools
import importlib.util
import itertools
import logging
import platform
import subprocess
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, InvalidStateError
from typing import Any, Literal

import mcal_jax
from mcal_jax.errors import McalError
from mcal_jax.runs.provenance import version
from mcal_jax.runs.settings import Emit
from mcal_jax.runs.workers import in_a_line

LOOPBACK = "127.0.0.1"
PULSE = 5.0  # seconds between two looks at the scheduler
GONE = "the scheduler is gone; the same command goes on from here"
GPU_JOB: dict[str, Any] = {
    "cores": 1,  # threads of a worker, and so runs at once
    "processes": 1,
    "job_cpu": 4,
    "memory": "16GB",
    "walltime": "24:00:00",
    "job_extra_directives": ["--gres=gpu:1"],
    "worker_extra_args": ["--resources", "GPU=1"],
}
"""A job of Slurm, where the user's configuration of Dask (jobqueue.slurm) says nothing else."""


class ClusterError(McalError, BrokenExecutor):
    """The cluster as a whole can't go on, so no further run can be made."""


class Cluster(Executor):
    """Tasks by the workers of a Dask scheduler; by those that declare the resource GPU if any does, one a GPU.

    A task whose worker is lost is given to another one, unless it began on too many that were lost. Dask counts those
    too on which it was only waiting, so a task that Dask gives up for them is submitted again. The future of a task
    that fails has a McalError of one line, a ClusterError if no other task can succeed either.
    """

    def __init__(self, client: Any, gpus: bool):
        self._client = client
        self._executor = client.get_executor(pure=False, **({"resources": {"GPU": 1}} if gpus else {}))
        self._pending: set[Future] = set()
        self._is_shut = threading.Event()
        self._topic = f"mcal-{uuid.uuid4().hex}"
        self._numbers = itertools.count()
        self._begun: Counter[int] = Counter()
        client.subscribe_topic(self._topic, lambda event: self._begun.update([event[1]]))
        threading.Thread(target=self._watch, args=(client.run_on_scheduler(_identity),), daemon=True).start()

    def submit(self, task: Callable[..., Any], /, *args: Any, **options: Any) -> Future:
        outcome: Future = Future()
        self._pending.add(outcome)
        outcome.add_done_callback(self._pending.discard)
        self._send(outcome, next(self._numbers), (task, args, options))
        return outcome

    def _send(self, outcome: Future, number: int, call: tuple[Callable[..., Any], Any, Any]) -> None:
        """Give Dask the task that is to settle ``outcome``."""
        done = self._executor.submit(_on_worker, versions(), (self._topic, number), *call)
        done.add_done_callback(functools.partial(self._pass_on, outcome, number, call))

    def _pass_on(self, outcome: Future, number: int, call: tuple[Callable[..., Any], Any, Any], done: Future) -> None:
        """Give a future the value or the error of Dask's."""
        from distributed.scheduler import KilledWorker

        try:
            _settle(outcome, done.result())
        except McalError as error:
            _settle(outcome, error)
        except KilledWorker as error:
            if (times := self._begun[number]) <= error.allowed_failures:
                self._send(outcome, number, call)
            else:
                _settle(outcome, McalError(f"{times} workers that had it were lost; their logs may say why"))
        except CancelledError:
            _settle(outcome, ClusterError(GONE))
        except Exception as error:
            _settle(outcome, McalError(in_a_line(error)))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Watch the scheduler no longer."""
        self._is_shut.set()

    def _watch(self, identity: str) -> None:
        """Fail all tasks when the scheduler is gone; a client is not told of one that ends in an orderly way."""
        while not self._is_shut.wait(PULSE):
            try:
                is_there = self._client.run_on_scheduler(_identity) == identity
            except Exception:
                is_there = False
            if not is_there:
                for outcome in list(self._pending):
                    _settle(outcome, ClusterError(GONE))
                return


def _identity(dask_scheduler: Any) -> str:
    return dask_scheduler.id


def _note(topic: str, number: int, dask_scheduler: Any) -> None:
    """Have a client know that a task begins."""
    dask_scheduler.log_event(topic, number)


def _on_worker(
    wanted: dict[str, str], begins: tuple[str, int], task: Callable[..., Any], args: Any, options: Any
) -> Any:
    """A task in a worker, which may have come after the others were looked at."""
    from distributed import get_client, get_worker

    _check_versions(f"worker {get_worker().address}", versions(), wanted)
    get_client().run_on_scheduler(_note, *begins)
    try:
        return task(*args, **options)
    except Exception as error:
        raise McalError(in_a_line(error)) from None


def _settle(outcome: Future, value: Any) -> None:
    """End a future with a value or an error, unless it has ended."""
    with contextlib.suppress(InvalidStateError):
        if isinstance(value, BaseException):
            outcome.set_exception(value)
        else:
            outcome.set_result(value)


@contextlib.contextmanager
def connect(
    scheduler: str | None = None,
    cluster: Literal["local", "slurm"] = "local",
    workers: int = 1,
    emit: Emit = print,
) -> Iterator[Cluster]:
    """The workers of the ``scheduler``, or of a new cluster: ``workers`` processes of this machine, or jobs of Slurm.

    Waits for the first worker, compares versions, and says on which machines the tasks will be. At the end what was
    started here is ended. Raises McalError if there is no scheduler, if Dask is missing, or a version differs.
    """
    distributed = _library("distributed")
    start: Callable[[int], Any] = {"local": local, "slurm": _slurm}[cluster]
    with contextlib.ExitStack() as stack:
        source = scheduler or stack.enter_context(start(workers))
        try:
            client = stack.enter_context(distributed.Client(source))
        except (OSError, ValueError) as error:
            raise McalError(f"no Dask scheduler at {scheduler}: {in_a_line(error)}") from None
        if not client.scheduler_info()["workers"]:
            emit("waiting for the first worker")
            client.wait_for_workers(1)
        _check_machines(client)
        yield stack.enter_context(Cluster(client, _describe(client, emit)))


def _check_machines(client: Any) -> None:
    """Raises McalError if a worker has another version than this process, or can't load the package, and likewise for
    the scheduler, which needs no JAX."""
    own = versions()
    try:
        _check_versions("the scheduler", {**client.run_on_scheduler(versions), "jax": own["jax"]}, own)
    except McalError:
        raise
    except Exception as error:
        raise McalError(f"the scheduler can't load mcal_jax ({in_a_line(error)}); install it there") from None
    for address, found in client.run(versions, on_error="return").items():
        if isinstance(found, BaseException):
            raise McalError(f"worker {address} can't load mcal_jax ({in_a_line(found)}); install it there")
        _check_versions(f"worker {address}", found, own)


def _describe(client: Any, emit: Emit) -> bool:
    """Say what the cluster is. Whether its workers declare GPUs."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    gpus = int(sum(worker["resources"].get("GPU", 0) for worker in workers))
    slots = f"{gpus} GPUs" if gpus else f"{sum(worker['nthreads'] for worker in workers)} runs at once"
    board = f", dashboard {client.dashboard_link}" if importlib.util.find_spec("bokeh") else ""
    emit(f"{client.scheduler.address}: {len(workers)} workers, {slots}{board}")
    return gpus > 0


def versions() -> dict[str, str]:
    """What must be the same on all machines."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"mcal_jax": mcal_jax.__version__, "python": python, "jax": version("jax")}


def _check_versions(machine: str, found: dict[str, str], wanted: dict[str, str]) -> None:
    for name, own in wanted.items():
        if found.get(name) != own:
            raise ClusterError(f"{machine} has {name} {found.get(name)}, this machine {own}; install one of them")


def job_script() -> str:
    """The script of a job of Slurm, one for each worker. Raises McalError if dask-jobqueue is missing or misled."""
    slurm = _library("dask_jobqueue.slurm")
    try:
        return slurm.SLURMJob("tcp://SCHEDULER:PORT", name="mcal", **_job_settings()).job_script()
    except (TypeError, ValueError) as error:
        raise McalError(f"Dask's configuration, jobqueue.slurm: {in_a_line(error)}") from None


def _job_settings() -> dict[str, Any]:
    """What the user's own configuration of Dask leaves open."""
    import dask.config

    own = dask.config.collect().get("jobqueue", {}).get("slurm", {})
    given = {key.replace("-", "_") for key, value in own.items() if value is not None}
    return {key: value for key, value in GPU_JOB.items() if key not in given}


def _slurm(jobs: int) -> Any:
    """Jobs of Slurm, begun anew when their time is over. Raises McalError where Slurm would refuse them."""
    jobqueue = _library("dask_jobqueue")
    try:
        # Dask would log a refusal and wait on.
        tried = subprocess.run(
            ["sbatch", "--test-only"], input=job_script(), capture_output=True, encoding="utf-8", check=False
        )
    except FileNotFoundError:
        raise McalError("cluster slurm: there is no sbatch on this machine; start on a login node") from None
    if tried.returncode:
        raise McalError(f"cluster slurm: sbatch refuses the job ({' '.join(tried.stderr.split())})")
    cluster = jobqueue.SLURMCluster(**_job_settings())
    cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
    return cluster


@contextlib.contextmanager
def local(processes: int) -> Iterator[Any]:
    """Processes of this machine, which listen to it alone; one that dies is started anew.

    Without this setting Dask gives a worker up that is absent 15 seconds after it was lost once, even if it is just
    being started again, and the tasks wait for ever.
    """
    library = _library("distributed")
    import dask.config

    settings = dict(n_workers=processes, threads_per_worker=1, memory_limit=0, silence_logs=logging.ERROR)
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "365 days"}),
        library.LocalCluster(host=LOOPBACK, dashboard_address=f"{LOOPBACK}:0", **settings) as cluster,
    ):
        yield cluster


def _library(name: str) -> Any:
    """A module of Dask. Raises McalError if it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise McalError(f"a cluster needs {error.name}: pip install 'mcal-jax[cluster]'") from None
