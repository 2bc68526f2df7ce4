"""Runs and experiments: found by the hash of their description, resumed, or made; never made twice."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from difflib import get_close_matches
from functools import cached_property, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mcal_jax import data
from mcal_jax.report import Reporter, Tell, summary, write_atomically, write_labels
from mcal_jax.runlog import Finished, Replayed, RunLog, algorithm, drive, flat, replay
from mcal_jax.settings import (
    PACKAGE,
    DataSettings,
    Experiment,
    Run,
    check,
    digest,
    home,
    load_settings,
    named,
    results,
)
from mcal_jax.types import Job, McalError, Outcome

# ---------------------------------------------------------------------------------------------------------
# Runs


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
        log = RunLog.create(path, job, run.model_dump(mode="json"), {**_provenance(), "device": _device()})
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
    from mcal_jax.annotators.ground_truth import GroundTruth

    annotator = GroundTruth(dataset)  # complains of missing labels before JAX is loaded
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


# ---------------------------------------------------------------------------------------------------------
# Experiments: notebooks executed with parameters


class Made(NamedTuple):
    """How an experiment went: ``state`` is made, up to date or failed; ``message`` says why it failed."""

    name: str
    state: Literal["made", "up to date", "failed"]
    seconds: float
    folder: Path
    message: str = ""


def experiments(profile: str) -> list[str]:
    """The names of all experiments at a profile, in order."""
    paths = sorted((home() / "experiments").glob("*.yaml"))
    return [path.stem for path in paths if profile in load_settings(path, Experiment).profiles]


def reproduce(
    names: Iterable[str], profile: str, *, again: bool = False, executor: Executor | None = None
) -> Iterator[Made]:
    """Make experiments, several at once; what is up to date is left alone unless ``again``.

    Results go to results/<profile>/<name>/: the executed notebook, pictures, tables, provenance.json. One that
    fails leaves its folder as it was, and the others go on.
    """
    chosen = [(name, load_settings(named(".", name), Experiment)) for name in names]
    named("profiles", profile)
    for name, experiment in chosen:
        if profile not in experiment.profiles:
            raise McalError(f"{name} is for profile {' or '.join(experiment.profiles)}, not {profile}")
        _check_parameters(experiment)
    own = executor or ProcessPoolExecutor(max(1, (os.cpu_count() or 2) // 2))
    try:
        futures = [own.submit(_make, name, experiment, profile, again) for name, experiment in chosen]
        for future in as_completed(futures):
            yield future.result()
    finally:
        if executor is None:
            own.shutdown(cancel_futures=True)


def _notebook(experiment: Experiment) -> Path:
    path = home() / "notebooks" / f"{experiment.notebook}.ipynb"
    if not path.is_file():
        raise McalError(f"{experiment.title}: there is no notebook {experiment.notebook!r}")
    return path


def _check_parameters(experiment: Experiment) -> None:
    import papermill

    known = papermill.inspect_notebook(str(_notebook(experiment)))
    for key in experiment.parameters:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise McalError(f"notebook {experiment.notebook!r} has no parameter {key!r}{hint}")


def _make(name: str, experiment: Experiment, profile: str, again: bool) -> Made:
    import papermill

    began = time.perf_counter()
    folder = results() / profile / name
    state = _state(experiment, profile)
    if not again and _up_to_date(folder, state):
        return Made(name, "up to date", 0.0, folder)
    work = folder.with_name(f".{name}.{os.getpid()}")
    parameters = dict(experiment.parameters)
    known = papermill.inspect_notebook(str(_notebook(experiment)))
    parameters |= {k: v for k, v in {"profile": profile, "out": str(work)}.items() if k in known}
    try:
        work.mkdir(parents=True)
        papermill.execute_notebook(
            str(_notebook(experiment)),
            str(work / "notebook.ipynb"),
            parameters,
            progress_bar=False,
            kernel_name="python3",
            cwd=str(home()),
            stdout_file=sys.stdout,  # what the notebook tells while it works is its progress
        )
        seconds = time.perf_counter() - began
        files = sorted(p.name for p in work.iterdir() if p.suffix != ".ipynb")  # it names paths of this machine
        provenance = {**_provenance(), **state, "title": experiment.title, "profile": profile, "files": files}
        text = json.dumps({**provenance, "seconds": round(seconds, 1)}, indent=1)
        write_atomically(work / "provenance.json", text + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(work, folder)
        return Made(name, "made", seconds, folder)
    except OSError as error:
        message = f"can't write {error.filename}: {error.strerror}"
    except papermill.PapermillExecutionError as error:
        message = f"{error.ename}: {error.evalue}"
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Made(name, "failed", time.perf_counter() - began, folder, " ".join(message.split()))


def _state(experiment: Experiment, profile: str) -> dict[str, str]:
    """Hashes of all that a result depends on."""
    code = sorted(PACKAGE.glob("**/*.py"))
    return {
        "experiment": digest(experiment.model_dump(mode="json")),
        "notebook_sha256": hashlib.sha256(_notebook(experiment).read_bytes()).hexdigest(),
        "profile_sha256": hashlib.sha256(named("profiles", profile).read_bytes()).hexdigest(),
        "package_sha256": hashlib.sha256(b"".join(p.read_bytes() for p in code)).hexdigest(),
    }


def _up_to_date(folder: Path, state: dict[str, str]) -> bool:
    try:
        made = json.loads((folder / "provenance.json").read_text())
    except (OSError, ValueError):
        return False
    return all(made.get(k) == v for k, v in state.items()) and all((folder / f).exists() for f in made["files"])


def _device() -> str:
    """What JAX trains on here."""
    import jax

    return f"{jax.default_backend()}: {jax.devices()[0].device_kind}"


def _provenance() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=home(), capture_output=True, text=True, check=False
    )
    packages = ("mcal-jax", "jax", "flax", "optax", "numpy", "lmfit")
    return {
        "commit": commit.stdout.strip(),
        "versions": {"python": platform.python_version()} | {p: metadata.version(p) for p in packages},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
