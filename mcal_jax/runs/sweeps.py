"""Sweeps: runs for every combination of settings, executed several at once, each only once.

A sweep is a YAML file in experiments/runs/. Each of its runs is looked up by the hash of its settings, resumed from
its log, or executed; what is finished costs nothing to ask for again.
"""

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mcal_jax.algorithm import costs
from mcal_jax.algorithm.config import FIRST
from mcal_jax.errors import McalError
from mcal_jax.files import absolute, read_bytes
from mcal_jax.runs.execution import execute, log_path, portable
from mcal_jax.runs.places import Place, place, probing, store, when_free
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import Run, Settings, describe, home, load_settings, named
from mcal_jax.runs.workers import Workers


class Sweep(Settings):
    """Runs over grids of settings. A list in a grid varies, the first key slowest; anything else is fixed.

    With ``defaults: "0.1"`` what is not set is as version 0.1 had it, so that its recorded runs stay runs of the sweep.
    """

    title: str
    defaults: Literal["0.1"] | None = None
    run: dict[str, Any] = {}
    grids: dict[str, list[dict[str, Any]]]


def sweeps(profile: str) -> list[str]:
    """The names of all sweeps that have runs for a profile. Raises McalError for an unknown one, and naming a file and
    key."""
    named("profiles", profile)
    paths = sorted((home() / "experiments" / "runs").glob("*.yaml"))
    return [path.stem for path in paths if profile in load_settings(path, Sweep).grids]


class Planned(NamedTuple):
    """A run of a sweep, and the data set it is for; a profile may take other images in its place."""

    data_set: str
    run: Run

    def matches(self, **wanted: Any) -> bool:
        """Whether the run has these settings: data_set, architecture, or fields of Run or Config. A list allows
        each of its values."""
        run, config = self.run, self.run.resolve(channels=1)
        own = {"data_set": self.data_set, "architecture": run.architectures[0]}
        for key, value in wanted.items():
            has = own.get(key, getattr(run, key, getattr(config, key, None)))
            if has not in (value if isinstance(value, list) else [value]):
                return False
        return True


def planned(name: str, profile: str, **wanted: Any) -> list[Planned]:
    """Every run of a sweep at a profile, in order, or those that match. Raises McalError naming the file and the
    key."""
    path = named("runs", name)
    sweep = load_settings(path, Sweep)
    if profile not in sweep.grids:
        raise McalError(f"sweep {name} has no runs for profile {profile}, only for {', '.join(sweep.grids)}")
    runs: dict[str, Planned] = {}
    for grid in sweep.grids[profile]:
        settings = {**sweep.run, **grid}
        if "data_set" not in settings:
            raise McalError(f"{path}: grids.{profile}: a grid needs its data_set")
        choices = [value if isinstance(value, list) else [value] for value in settings.values()]
        for chosen in itertools.product(*choices):
            given = dict(zip(settings, chosen, strict=True))
            if "architecture" in given:
                given["architectures"] = [given.pop("architecture")]
            data_set = given.pop("data_set")
            if sweep.defaults:
                unset = {key: value for key, value in FIRST.items() if key not in given}
                given["config"] = {**unset, **given.get("config", {})}
            try:
                run = describe(data_set, profile=profile, stand_in=True, **given)
            except McalError as error:
                raise McalError(f"{path}: {error}") from None
            runs.setdefault(run.id, Planned(data_set, run))
    return [one for one in runs.values() if one.matches(**wanted)]


class Progress(NamedTuple):
    """How a run of a sweep went; ``left`` are the seconds still to come, by what the finished ones took."""

    run: Run
    done: int
    of: int
    seconds: float
    left: float
    error: str = ""


def state(run: Run, profile: str) -> Literal["to make", "begun", "there"]:
    """How far a run is, by its log. Raises McalError for a damaged one."""
    path = log_path(run, profile)
    if not path.exists():
        return "to make"
    return "begun" if RunLog.read(path).end is None else "there"


def is_finished(run: Run, profile: str) -> bool:
    """Whether the log of a run is there, whole. Raises McalError for a damaged one."""
    return state(run, profile) == "there"


def description(run: Run) -> str:
    """The settings of a run in a few words."""
    words = [run.data.name, *(f"{k} {v}" for k, v in run.data.model_dump(exclude_none=True, exclude={"name"}).items())]
    words += [run.algorithm, "+".join(run.architectures), str(run.service) if run.algorithm == "mcal" else ""]
    words += [run.preset if run.preset != "recommended" else "", f"delta {run.delta:.3g}" if run.delta else ""]
    words += [f"{k} {v}" for k, v in run.config.items() if v is not None and v != FIRST.get(k)]
    return " ".join(word for word in [*words, f"seed {run.seed}"] if word)


def make(
    runs: Iterable[Run],
    profile: str,
    *,
    jobs: int | None = None,
    data_dir: Path | None = None,
    again: bool = False,
    executor: Callable[[int], AbstractContextManager[Executor]] | None = None,
) -> Iterator[Progress]:
    """Execute the runs that are not there yet, ``jobs`` at once (default: one a core, one on an accelerator).

    Yields the progress after each run. A run that fails has its ``error``, and the others go on; Ctrl-C or a kill
    loses at most the training in progress. ``again``: execute those too that are there. A log stays in its place until
    the new one is whole, and is then kept beside it under another name: it may have taken hours of a machine that is
    not here.

    ``executor`` takes the number of runs to make, if there are any, and opens what makes them in the place of
    processes of this machine, such as ``clusters.connect``. Raises McalError if that fails as a whole.
    """
    todo, impossible = _unfinished(runs, profile, again)
    weights = {run.id: work(run) for run, _ in todo}
    began, worked, of = time.perf_counter(), 0.0, len(todo) + len(impossible)
    for done, (run, error) in enumerate(impossible, 1):
        yield Progress(run, done, of, 0.0, 0.0, error)
    if not todo:
        return
    data_dir = absolute(data_dir) if data_dir else None
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(executor(len(todo)) if executor else _processes(jobs, len(todo)))
        probe = stack.enter_context(probing(todo[0][1].parent)) if executor else None
        futures: dict[Future, tuple[Run, Path]] = {}
        for run, path in todo:
            given = portable(run).model_dump(mode="json", exclude_unset=True)
            task = workers.submit(_work, given, place(path, probe, again), data_dir)
            futures[task] = run, path
        for done, future in enumerate(as_completed(futures), 1 + len(impossible)):
            run, path = futures.pop(future)
            seconds, error = _received(future, path, again)
            worked += weights[run.id]
            left = (time.perf_counter() - began) * (sum(weights.values()) / worked - 1)
            yield Progress(run, done, of, seconds, left, error)


def _processes(jobs: int | None, runs: int) -> Workers:
    count = min(jobs or default_jobs(), runs)
    # Two nets on a core each train faster than one after the other on both.
    return Workers(range(count) if count > 1 else [None])


def _received(future: Future, path: Path, again: bool) -> tuple[float, str]:
    """The seconds that a run took, its log put in its place, or the error. Raises McalError if no other run can be
    made either."""
    try:
        done: Done = future.result()
        new = path.with_name(f"{path.name}.new") if again else path
        if done.log is not None:
            store(new, done.log)
        if again:
            _supersede(path, new)
    except McalError as error:
        if isinstance(error, BrokenExecutor):
            raise
        return 0.0, str(error)
    return done.seconds, ""


def _unfinished(runs: Iterable[Run], profile: str, again: bool) -> tuple[list[tuple[Run, Path]], list[tuple[Run, str]]]:
    """The runs to make with their logs, and those whose log is damaged or whose images can't be read, with how."""
    todo, impossible = [], []
    for run in runs:
        try:
            if again or not is_finished(run, profile):
                todo.append((run, log_path(run, profile)))
        except McalError as error:
            impossible.append((run, str(error)))
    return todo, impossible


def work(run: Run) -> float:
    """A rough measure of what a run takes, for the estimate of the time left: the paper's training prices, which
    are proportional to time, times the images that the labels of all steps sum to."""
    price = max(costs.PAPER_PRICES["grey"].get(costs.split_recipe(name)[0], 1e-5) for name in run.architectures)
    far, delta = run.max_train_fraction or 0.3, run.delta or 0.05
    return price * run.width**2 * far ** (5 / 3) / delta


def default_jobs() -> int:
    """How many runs train at once on this machine: one a core, one on an accelerator."""
    import jax

    return (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1


class Done(NamedTuple):
    """What a worker says of a run: the seconds it took, and its log if that is not at its place."""

    seconds: float
    log: bytes | None


def _work(given: dict[str, Any], at: Place, data_dir: Path | None) -> Done:
    """One run in a worker. Raises McalError."""
    began = time.perf_counter()
    run, log = Run.model_validate(given), at.here()

    def make_it() -> None:
        execute(run, log, data_dir=data_dir, emit=lambda line: None)

    if at.probe:
        when_free(log, make_it)
    else:
        make_it()
    return Done(time.perf_counter() - began, None if log == at.log else read_bytes(log))


def _supersede(path: Path, new: Path) -> None:
    """Put a log that is whole in the place of another, which is kept."""
    try:
        if path.exists():
            kept = (path.with_name(f"{path.name}.old{number or ''}") for number in itertools.count())
            os.rename(path, next(old for old in kept if not old.exists()))
        os.replace(new, path)
    except OSError as error:
        raise McalError(f"can't write {path}: {error.strerror}; the new log is {new}") from None
