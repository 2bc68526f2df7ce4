"""One run: looked up by its settings and its images, resumed from its log, or executed; never executed twice."""

import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mcal_jax import data
from mcal_jax.algorithm.job import Job, check_job
from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.algorithm.services import PURPOSES
from mcal_jax.data import Dataset, is_own
from mcal_jax.errors import McalError
from mcal_jax.files import absolute, check_distinct, check_writable
from mcal_jax.runs.driver import Delivery, drive
from mcal_jax.runs.images import check_content, content, load_data
from mcal_jax.runs.labels import LABELS_BEGIN, write_labels
from mcal_jax.runs.progress import Reporter
from mcal_jax.runs.provenance import device, provenance
from mcal_jax.runs.recorded import RecordedRun
from mcal_jax.runs.report import summary
from mcal_jax.runs.runlog import LOG_BEGINS, RunLog, flat
from mcal_jax.runs.settings import Emit, Run, check, digest, map_file_strategies, results


class LoggedRun:
    """A run and its log. ``delivery`` and ``outcome`` raise McalError while the run is not finished."""

    def __init__(self, run: Run, record: RecordedRun, data_dir: str | Path | None = None):
        self.run, self.record, self.data_dir = run, record, data_dir

    @property
    def path(self) -> Path:
        """The log."""
        return self.record.path

    @property
    def job(self) -> Job:
        """What the algorithm was asked to do."""
        return self.record.job

    @property
    def outcome(self) -> Outcome:
        """Sets, bill and certificate."""
        return self.record.outcome

    @property
    def delivery(self) -> Delivery:
        """The outcome and the label of every image."""
        return self.record.delivery

    @cached_property
    def dataset(self) -> Dataset:
        """The images. Raises McalError if they are no longer those that the log is about."""
        dataset = load_data(self.run, self.data_dir)
        check_content(self.record.log, dataset)
        return dataset

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, from the log if it has them."""
        names = self.record.log.content.get("class_names")
        return tuple(names) if names is not None else self.dataset.classes

    def summary(self) -> str:
        """The end of the run as a table; it needs the log alone."""
        return summary(
            self.record.delivery_without_plans, self.job.config, self.record.log.content.get("class_names", ())
        )

    def write_labels(self, path: Path) -> None:
        """The labels delivered, as CSV. Raises McalError."""
        files = self.record.log.content.get("files", ())
        write_labels(self.record.delivery_without_plans, self.classes, path, files)


# ---------------------------------------------------------------------------------------------------------
# Which log belongs to a run


def identity(run: Run) -> dict[str, Any]:
    """What a run is about, as plain values: its settings and, for a file of one's own, the content of the images."""
    plain = run.canonical()
    if is_own(run.data.name):
        plain["data"] = data.fingerprint(load_data(run))
    return plain


def log_path(run: Run, profile: str) -> Path:
    """Where a run is kept: results/runs/<profile>/<data set>-<12 digits of its identity>.jsonl."""
    return results() / "runs" / profile / f"{Path(run.data.name).stem}-{digest(identity(run))[:12]}.jsonl"


def run_of(log: RunLog) -> Run:
    """The run that a log says it is of. Raises McalError."""
    try:
        return check(Run, log.run)
    except McalError as error:
        raise McalError(f"{log.path}: {error}") from None


def _check_settings(run: Run, log: RunLog) -> None:
    """Raises McalError if the log is of other settings; the path of a file of one's own is none."""
    recorded = run_of(log)
    there, here = flat(recorded.canonical()), flat(run.canonical())
    both_files = is_own(run.data.name) and is_own(recorded.data.name)
    for key in {**here, **there}:
        if here.get(key) != there.get(key) and not (both_files and key == "data.name"):
            raise McalError(
                f"{log.path} is the log of another run: {key} is {there.get(key)!r} there, {here.get(key)!r} here"
            )


# ---------------------------------------------------------------------------------------------------------
# Execution


def execute(
    run: Run,
    path: str | Path | None = None,
    *,
    profile: str = "smoke",
    data_dir: str | Path | None = None,
    labels: str | Path | None = None,
    inputs: dict[str, str | Path] | None = None,
    deterministic: bool = False,
    emit: Emit = print,
) -> LoggedRun:
    """The finished run: looked up, resumed, or executed, with one line to ``emit`` for each decision.

    ``path``: its log, by default ``log_path``. ``labels``: where the labels will go, by default beside the log; only
    looked at, as are ``inputs``, files by what they are for: none of them may be another one. ``data_dir`` (TFDS's
    folder) and ``deterministic`` are kept in the log for ``resume``.

    Whatever can be known to fail fails before anything is bought. Raises McalError, above all if ``path`` is of
    another run.
    """
    data_dir = absolute(data_dir) if data_dir is not None else None
    path = Path(path) if path else log_path(run, profile)
    check_outputs(run, path, labels, inputs)
    log = RunLog.read(path) if path.exists() else None
    if log:
        _check_settings(run, log)
        if log.end is not None:
            if is_own(run.data.name):
                check_content(log, load_data(run, data_dir), emit)
            return LoggedRun(run, RecordedRun(path), data_dir or log.made.get("data_dir"))
    return _execute(run, path, log, data_dir, deterministic, emit)


def resume(
    path: str | Path,
    *,
    data_dir: str | Path | None = None,
    labels: str | Path | None = None,
    emit: Emit = print,
) -> LoggedRun:
    """The run of a log, after it went on to its end. Raises McalError if the log does not say which run it is.

    A finished run is shown from its log alone.
    """
    log = RunLog.read(path)
    run = run_of(log)
    data_dir = absolute(data_dir) if data_dir is not None else log.made.get("data_dir")
    check_outputs(run, log.path, labels)
    if log.end is not None:
        return LoggedRun(run, RecordedRun(path), data_dir)
    return _execute(run, log.path, log, data_dir, bool(log.made.get("deterministic")), emit)


def check_outputs(run: Run, path: Path, labels: str | Path | None, inputs: dict[str, str | Path] | None = None) -> None:
    """Raises McalError if the log or the labels can't be written, or would be written over each other, an input, or
    something else of the user's."""
    check_writable(path, "--log", LOG_BEGINS)
    labels = labels or path.with_suffix(".csv")
    data_file = run.data.name if is_own(run.data.name) else None
    check_distinct({**(inputs or {}), "--data": data_file, "--log": path, "--labels": labels})
    check_writable(labels, "--labels", LABELS_BEGIN)


def _execute(
    run: Run, path: Path, log: RunLog | None, data_dir: str | Path | None, deterministic: bool, emit: Emit
) -> LoggedRun:
    """Execute a run, or go on with what its ``log`` holds."""
    if deterministic:
        from mcal_jax.training import devices

        devices.deterministic()
    dataset = load_data(run, data_dir)
    if log:
        check_content(log, dataset, emit)
    for note in dataset.notes:
        emit(f"{dataset.name}: {note}")
    run = portable(run)
    job = log.job if log else _job(run, dataset)
    check_job(job, is_new=log is None)  # before anything is written
    world = world_of(run, job, dataset)
    if log:
        log = RunLog.resume(path)
    else:
        where = {
            "device": device() if job.algorithm != "humans_only" else None,
            "data_dir": str(data_dir) if data_dir else None,
            "deterministic": deterministic,
        }
        made = {**provenance(), **{key: value for key, value in where.items() if value}}
        log = RunLog.create(path, job, run.model_dump(mode="json"), made, content(dataset))
    try:
        drive(job, world, log, Reporter(emit, job))
    finally:
        log.close()
    return LoggedRun(run, RecordedRun(path), data_dir)


def _job(run: Run, dataset: Dataset) -> Job:
    return Job(
        algorithm=run.algorithm,
        n=len(dataset.images),
        architectures=run.architectures,
        config=run.resolve(*_what_training_costs(dataset)),
        delta=run.delta,
        max_train_fraction=run.max_train_fraction,
        compare=run.compare,
        stop_rules=run.stop_rules,
        objective=run.objective,
    )


def _what_training_costs(dataset: Dataset) -> tuple[int, int, int]:
    """Channels, features and classes, on which the price of training depends."""
    features = 1 if dataset.features is None else dataset.features.shape[1]
    return dataset.images.shape[-1], features, len(dataset.classes)


def portable(run: Run) -> Run:
    """The run as its log describes it: its images and strategies in files by their paths from the root, so that it
    resumes from any folder."""
    plain = map_file_strategies(run.model_dump(mode="json", exclude={"data"}, exclude_unset=True), absolute)
    here = {"name": str(absolute(run.data.name))} if is_own(run.data.name) else {}
    return check(Run, {**plain, "data": run.data.model_copy(update=here)})


def world_of(run: Run, job: Job, dataset: Dataset):
    """The world in which a run happens: classifiers trained here, labels of ``dataset`` with the run's noise. Raises
    McalError if ``dataset`` has no labels."""
    from mcal_jax.annotators import Annotator
    from mcal_jax.annotators.ground_truth import GroundTruth
    from mcal_jax.annotators.noisy import Noisy, uniform

    truth = GroundTruth(dataset)  # complains of missing labels before JAX is loaded
    annotator: Annotator | dict[str, Annotator] = truth
    if run.noise is not None:
        classes = len(dataset.classes)
        confusion = uniform(run.noise, classes) if isinstance(run.noise, float) else np.array(run.noise)
        annotator = Noisy(truth.labels, classes, confusion, votes=run.votes or 1, seed=run.seed)
    if (services := job.config.services) is not None:
        if run.noise is not None or run.votes is not None:
            raise McalError("noise, votes: with services the errors are theirs; leave them out")
        errors = {purpose: services.of(purpose).error for purpose in PURPOSES}
        count = len(dataset.classes)
        annotator = {
            purpose: Noisy(truth.labels, count, uniform(error, count), seed=run.seed) if error else truth
            for purpose, error in errors.items()
        }
    from mcal_jax.training.cache import enable_compilation_cache
    from mcal_jax.worlds.trained import TrainedWorld

    enable_compilation_cache()
    bar = _TrainingBar() if sys.stderr.isatty() else None
    trained_by: dict[str, Any] = dict(width=run.width, recipe=run.recipe, ranking=job.config.ranking, seed=run.seed)
    world = TrainedWorld(dataset, annotator, **trained_by, on_progress=bar)
    if job.algorithm != "humans_only":
        world.prepare(job.architectures)
    return world


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
