"""One run: found by what it is about, resumed from its log, or made; never made twice.

What a run is about are its settings and the content of its images. A named data set stands for its content; a file of
one's own is known by the digests of what it holds, never by its path.
"""

import os
import sys
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mcal_jax import data
from mcal_jax.algorithm.job import Job, algorithm
from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.data import Dataset
from mcal_jax.errors import McalError
from mcal_jax.files import absolute, check_distinct, check_writable
from mcal_jax.runs.driver import Delivery, drive
from mcal_jax.runs.provenance import device, provenance
from mcal_jax.runs.recorded import RecordedRun
from mcal_jax.runs.report import LABELS_BEGIN, Emit, Reporter, summary, write_labels
from mcal_jax.runs.runlog import LOG_BEGINS, RunLog, flat
from mcal_jax.runs.settings import DataSettings, Run, check, digest, results


class LoggedRun:
    """A run and its log. ``delivery`` and ``outcome`` raise McalError while the run is not finished."""

    def __init__(self, run: Run, record: RecordedRun, data_dir: str | Path | None = None):
        self.run, self.record, self.data_dir = run, record, data_dir

    @property
    def path(self) -> Path:
        return self.record.path

    @property
    def job(self) -> Job:
        return self.record.job

    @property
    def outcome(self) -> Outcome:
        return self.record.outcome

    @property
    def delivery(self) -> Delivery:
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
        return summary(self.delivery, self.job.config, self.record.log.content.get("class_names", ()))

    def write_labels(self, path: Path) -> None:
        """The labels delivered, as CSV. Raises McalError."""
        write_labels(self.delivery, self.classes, path)


# ---------------------------------------------------------------------------------------------------------
# What a run is about


def is_file(name: str) -> bool:
    """Whether a data set is a file of one's own."""
    return name.lower().endswith(".npz")


def load_data(run: Run, data_dir: str | Path | None = None) -> Dataset:
    """The images of a run, kept in memory while their file stays as it is."""
    stamp = None
    if is_file(run.data.name):
        try:
            found = os.stat(absolute(run.data.name))
            stamp = found.st_ino, found.st_size, found.st_mtime_ns
        except (OSError, ValueError):
            pass  # load says what is wrong
    return _load(run.data, data_dir, stamp)


@lru_cache(2)  # a sweep asks for the same images again and again, and decoding them takes seconds
def _load(d: DataSettings, data_dir: str | Path | None, stamp: Any) -> Dataset:
    return data.load(d.name, data_dir=data_dir, first=d.first, per_class=d.per_class, downsample=d.downsample)


def content(dataset: Dataset) -> dict[str, Any]:
    """What a log says of the images it is about."""
    named = {"version": dataset.version} if dataset.version else {}
    return {**data.fingerprint(dataset), **named, "class_names": list(dataset.classes)}


WHAT = {"shape": "shapes", "images": "pixels", "labels": "labels", "version": "version"}


def check_content(log: RunLog, dataset: Dataset, tell: Emit = print) -> None:
    """Raises McalError if a log is about other images, labels or classes than those of ``dataset``, as far as it says.

    Early logs say only how many images they are about. Name and version of a TFDS set stand for its pixels, which
    another decoder may read otherwise: that is only told.
    """
    if log.job.n != len(dataset.images):
        raise McalError(
            f"{log.path} is the log of other images: {log.job.n:,} of them, and {dataset.name} holds "
            f"{len(dataset.images):,}; give another log"
        )
    here = content(dataset)
    changed = [key for key, there in log.content.items() if key in here and here[key] != there]
    if changed == ["images"] and "version" in here:
        tell(f"{dataset.name}: the pixels are not quite those that {log.path} began with: another decoder?")
    elif changed:
        key = changed[0]
        values = f" ({log.content[key]}, here {here[key]})" if key in ("shape", "version") else ""
        raise McalError(
            f"{log.path} is the log of other images: the {WHAT.get(key, 'classes')} of {dataset.name} are not those it "
            f"is about{values}; give another log"
        )


def identity(run: Run) -> dict[str, Any]:
    """What a run is about, as plain values: its settings and, for a file of one's own, the content of the images."""
    plain = run.canonical()
    if is_file(run.data.name):
        plain["data"] = data.fingerprint(load_data(run))
    return plain


def log_path(run: Run, profile: str) -> Path:
    """Where a run is kept: results/runs/<profile>/<data set>-<12 digits of its identity>.jsonl."""
    return results() / "runs" / profile / f"{Path(run.data.name).stem}-{digest(identity(run))[:12]}.jsonl"


def _described(log: RunLog) -> Run:
    """The run that a log says it is of. Raises McalError."""
    try:
        return check(Run, log.run)
    except McalError as error:
        raise McalError(f"{log.path}: {error}") from None


def _check_settings(run: Run, log: RunLog) -> None:
    """Raises McalError if the log is of other settings; the path of a file of one's own is none."""
    recorded = _described(log)
    there, here = flat(recorded.canonical()), flat(run.canonical())
    both_files = is_file(run.data.name) and is_file(recorded.data.name)
    for key in {**here, **there}:
        if here.get(key) != there.get(key) and not (both_files and key == "data.name"):
            raise McalError(
                f"{log.path} is the log of another run: {key} is {there.get(key)!r} there, {here.get(key)!r} here"
            )


# ---------------------------------------------------------------------------------------------------------
# A scale for a file of one's own

WIDTHS = (8, 16, 32, 64)
PATIENCE = 0.25
"""Seconds of training on a fifth of the images that a CPU may take, by a rough estimate, before nets get narrower."""


def suited(run: Run, given: dict[str, Any], tell: Emit) -> Run:
    """``run`` on a file with the recipe ``fast`` and a width that suits the images and this machine, unless ``given``:
    the full width on an accelerator, and on a CPU the widest net that trains within ``PATIENCE``."""
    chosen: dict[str, Any] = {}
    if given.get("recipe") is None:
        chosen["recipe"] = "fast"
    if given.get("width") is None:
        chosen["width"] = _suitable_width(load_data(run))
    if chosen:
        run = run.model_copy(update=chosen)
        tell(f"nets of width {run.width}, trained by recipe {run.recipe}; --width and --recipe choose others")
    return run


def _suitable_width(dataset: Dataset) -> int:
    from mcal_jax.training import devices
    from mcal_jax.training.trainer import RECIPES

    if devices.default().layout == "NHWC":
        return WIDTHS[-1]
    n, height, columns, _ = dataset.images.shape
    processed = RECIPES["fast"].steps(max(n // 5, 1)) * RECIPES["fast"].batch
    # ResNet18 of width 8 trains on about 3,700 images of 28x28 pixels a second on two cores.
    seconds = [processed * height * columns / 3e6 * (width / WIDTHS[0]) ** 1.8 for width in WIDTHS]
    return max((w for w, s in zip(WIDTHS, seconds, strict=True) if s <= PATIENCE), default=WIDTHS[0])


# ---------------------------------------------------------------------------------------------------------
# Making it


def execute(
    run: Run,
    path: str | Path | None = None,
    *,
    profile: str = "smoke",
    data_dir: str | Path | None = None,
    labels: str | Path | None = None,
    inputs: dict[str, str | Path] | None = None,
    deterministic: bool = False,
    tell: Emit = print,
) -> LoggedRun:
    """The finished run: found, resumed, or made, with one line told for each decision.

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
            if is_file(run.data.name):
                check_content(log, load_data(run, data_dir), tell)
            return LoggedRun(run, RecordedRun(path), data_dir or log.made.get("data_dir"))
    return _make(run, path, log, data_dir, deterministic, tell)


def resume(
    path: str | Path,
    *,
    data_dir: str | Path | None = None,
    labels: str | Path | None = None,
    tell: Emit = print,
) -> LoggedRun:
    """Go on with the run of a log, to its end. Raises McalError if the log does not say which run it is.

    A finished run is shown from its log alone.
    """
    log = RunLog.read(path)
    run = _described(log)
    data_dir = absolute(data_dir) if data_dir is not None else log.made.get("data_dir")
    check_outputs(run, log.path, labels)
    if log.end is not None:
        return LoggedRun(run, RecordedRun(path), data_dir)
    return _make(run, log.path, log, data_dir, bool(log.made.get("deterministic")), tell)


def check_outputs(run: Run, path: Path, labels: str | Path | None, inputs: dict[str, str | Path] | None = None) -> None:
    """Raises McalError if the log or the labels can't be written, or would be written over each other, an input, or
    something else of the user's."""
    check_writable(path, "--log", LOG_BEGINS)
    labels = labels or path.with_suffix(".csv")
    data_file = run.data.name if is_file(run.data.name) else None
    check_distinct({**(inputs or {}), "--data": data_file, "--log": path, "--labels": labels})
    check_writable(labels, "--labels", LABELS_BEGIN)


def _make(
    run: Run, path: Path, log: RunLog | None, data_dir: str | Path | None, deterministic: bool, tell: Emit
) -> LoggedRun:
    """Make a run, or go on with what its ``log`` holds."""
    if deterministic:
        from mcal_jax.training import devices

        devices.deterministic()
    dataset = load_data(run, data_dir)
    if log:
        check_content(log, dataset, tell)
    for note in dataset.notes:
        tell(f"{dataset.name}: {note}")
    job = log.job if log else _job(run, dataset)
    algorithm(job).send(None)  # complains of an impossible job before anything is written
    world = _world(run, job, dataset)
    if log:
        log = RunLog.resume(path)
    else:
        where = {
            "device": device() if job.algorithm != "humans_only" else None,
            "data_dir": str(data_dir) if data_dir else None,
            "deterministic": deterministic,
        }
        made = {**provenance(), **{key: value for key, value in where.items() if value}}
        log = RunLog.create(path, job, _portable(run).model_dump(mode="json"), made, content(dataset))
    try:
        drive(job, world, log, Reporter(tell, job))
    finally:
        log.close()
    return LoggedRun(run, RecordedRun(path), data_dir)


def _job(run: Run, dataset: Dataset) -> Job:
    return Job(
        algorithm=run.algorithm,
        n=len(dataset.images),
        architectures=run.architectures,
        config=run.resolve(dataset.images.shape[3]),
        delta=run.delta,
        max_train_fraction=run.max_train_fraction,
        compare=run.compare,
    )


def _portable(run: Run) -> Run:
    """The run as its log describes it: a file by its path from the root, so that it resumes from any folder."""
    if not is_file(run.data.name):
        return run
    here = run.data.model_copy(update={"name": str(absolute(run.data.name))})
    return run.model_copy(update={"data": here})


def _world(run: Run, job: Job, dataset: Dataset):
    from mcal_jax.annotators import Annotator
    from mcal_jax.annotators.ground_truth import GroundTruth
    from mcal_jax.annotators.noisy import Noisy, uniform

    truth = GroundTruth(dataset)  # complains of missing labels before JAX is loaded
    annotator: Annotator = truth
    if run.noise is not None:
        classes = len(dataset.classes)
        confusion = uniform(run.noise, classes) if isinstance(run.noise, float) else np.array(run.noise)
        annotator = Noisy(truth.labels, classes, confusion, votes=run.votes or 1, seed=run.seed)
    from mcal_jax.training.trainer import enable_compilation_cache
    from mcal_jax.worlds.trained import TrainedWorld

    enable_compilation_cache()
    bar = _TrainingBar() if sys.stderr.isatty() else None
    world = TrainedWorld(dataset, annotator, width=run.width, recipe=run.recipe, seed=run.seed, on_progress=bar)
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
