"""One run: found by the hash of its description, resumed from its log, or made; never made twice."""

import os
import platform
import subprocess
import sys
from functools import cached_property, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from mcal_jax import data
from mcal_jax.report import Reporter, Tell, summary, write_labels
from mcal_jax.runlog import Finished, Replayed, RunLog, algorithm, drive, flat, replay
from mcal_jax.settings import DataSettings, Run, check, home, results
from mcal_jax.types import Job, McalError, Outcome


class Result:
    """A run and its log. ``finished`` and ``outcome`` raise McalError while the run is not finished."""

    def __init__(self, run: Run, path: Path, replayed: Replayed):
        self.run, self.path, self.replayed = run, path, replayed

    @property
    def job(self) -> Job:
        return self.replayed.log.job

    @property
    def outcome(self) -> Outcome:
        return self.replayed.outcome

    @property
    def finished(self) -> Finished:
        assert self.outcome
        assert self.replayed.finished
        return self.replayed.finished

    @cached_property
    def dataset(self) -> data.Dataset:
        return load_data(self.run)

    def summary(self) -> str:
        """The end of the run as a table."""
        return summary(self.finished, self.job.config)

    def write_labels(self, path: Path) -> None:
        """The labels delivered, as CSV. Raises McalError."""
        write_labels(self.finished, self.dataset.classes, path)


def load_data(run: Run, data_dir: str | Path | None = None) -> data.Dataset:
    return _load(run.data, data_dir)


@lru_cache(2)  # a sweep asks for the same images again and again, and decoding them takes seconds
def _load(d: DataSettings, data_dir: str | Path | None) -> data.Dataset:
    return data.load(d.name, data_dir=data_dir, first=d.first, per_class=d.per_class, downsample=d.downsample)


def log_path(run: Run, profile: str) -> Path:
    """Where a run of this description is kept: results/runs/<profile>/<data set>-<id>.jsonl."""
    return results() / "runs" / profile / f"{Path(run.data.name).stem}-{run.id}.jsonl"


def execute(
    run: Run,
    path: str | Path | None = None,
    *,
    profile: str = "smoke",
    data_dir: str | Path | None = None,
    tell: Tell = print,
) -> Result:
    """The finished run: found by its hash, resumed, or made, with one line told for each decision.

    ``path``: its log, by default ``log_path``. Raises McalError, above all if ``path`` is of another run.
    """
    path = Path(path) if path else log_path(run, profile)
    if path.exists():
        log = RunLog.read(path)
        _same_run(run, log)
        if log.end is not None:
            return Result(run, path, replay(path))
    dataset = load_data(run, data_dir)
    job = Job(
        algorithm=run.algorithm,
        n=len(dataset.images),
        architectures=run.architectures,
        config=run.resolve(dataset.images.shape[3]),
        delta=run.delta,
        far=run.far,
        compare=run.compare,
    )
    algorithm(job).send(None)  # complains of an impossible job before anything is written
    world = _world(run, dataset)
    if path.exists():
        log = RunLog.resume(path)
    else:
        log = RunLog.create(path, job, run.model_dump(mode="json"), {**provenance(), "device": device()})
    try:
        drive(job, world, log, Reporter(tell, job))
    finally:
        log.close()
    return Result(run, path, replay(path))


def resume(path: str | Path, *, data_dir: str | Path | None = None, tell: Tell = print) -> Result:
    """Go on with the run of a log. Raises McalError if the log does not say which run it is."""
    run = _described(RunLog.read(path))
    return execute(run, path, data_dir=data_dir, tell=tell)


def _described(log: RunLog) -> Run:
    """The run that a log says it is of. Raises McalError."""
    try:
        return check(Run, log.run)
    except McalError as error:
        raise McalError(f"{log.path}: {error}") from None


def _same_run(run: Run, log: RunLog) -> None:
    there, here = flat(_described(log).canonical()), flat(run.canonical())
    for key in {**here, **there}:
        if here.get(key) != there.get(key):
            raise McalError(
                f"{log.path} is the log of another run: {key} is {there.get(key)!r} there, {here.get(key)!r} here"
            )


def _world(run: Run, dataset: data.Dataset):
    from mcal_jax.annotators import Annotator
    from mcal_jax.annotators.ground_truth import GroundTruth
    from mcal_jax.annotators.noisy import Noisy, uniform

    truth = GroundTruth(dataset)  # complains of missing labels before JAX is loaded
    annotator: Annotator = truth
    if run.noise is not None:
        classes = len(dataset.classes)
        confusion = uniform(run.noise, classes) if isinstance(run.noise, float) else np.array(run.noise)
        annotator = Noisy(truth.labels, classes, confusion, votes=run.votes or 1, seed=run.seed)
    from mcal_jax.train import enable_compilation_cache
    from mcal_jax.worlds.trained import TrainedWorld

    enable_compilation_cache()
    bar = _TrainingBar() if sys.stderr.isatty() else None
    return TrainedWorld(dataset, annotator, width=run.width, recipe=run.recipe, seed=run.seed, on_progress=bar)


class _TrainingBar:
    """A bar in a terminal; executed notebooks get the lines of the Reporter alone, where bars freeze."""

    def __init__(self) -> None:
        self.bar: Any = None

    def __call__(self, done: int, steps: int) -> None:
        from tqdm import tqdm

        if self.bar is None:
            self.bar = tqdm(total=steps, unit="step", leave=False, desc="training")
        self.bar.update(done - self.bar.n)
        if done >= steps:
            self.bar.close()
            self.bar = None


def device() -> str:
    """What JAX trains on here."""
    import jax

    return f"{jax.default_backend()}: {jax.devices()[0].device_kind}"


def provenance() -> dict[str, Any]:
    """Where and with which versions something is made."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=home(), capture_output=True, text=True, check=False
    )
    packages = ("mcal-jax", "jax", "flax", "optax", "numpy", "lmfit")
    return {
        "commit": commit.stdout.strip(),
        "versions": {"python": platform.python_version()} | {p: metadata.version(p) for p in packages},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
