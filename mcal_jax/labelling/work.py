"""A labelling job in a folder of its own: begun, gone on with and finished by calling the same function again.

The folder holds the run log, the decoded pictures, what humans are asked, and in the end labels and datasheet.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcal_jax.algorithm.config import Config
from mcal_jax.data import Dataset, describe, from_folder, from_table, is_own, is_table, load
from mcal_jax.errors import McalError, shown
from mcal_jax.files import absolute, read_bytes, write_atomically
from mcal_jax.inputs import Images, as_dataset
from mcal_jax.labelling import datasheet, export
from mcal_jax.labelling.desk import check_settings
from mcal_jax.labelling.doors import DOORS, Door, Visit
from mcal_jax.labelling.servers import Server, server
from mcal_jax.result import Result
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.session_setup import recorded
from mcal_jax.runs.settings import Emit, check, configured
from mcal_jax.session import Batch, Session

PURPOSES = {
    "test": "for the test set (T)",
    "train": "to train the classifier (B)",
    "certify": "to certify the labels of the classifier (V)",
    "residual": "too hard for the classifier (R)",
    "relabel": "once more, for a second opinion (T)",
}
ASKING = ("opinions", "aggregation", "mistake_cost", "prices", "gold", "lease")
"""Settings of the page that a job remembers; where it listens must be said each time."""


class Source(NamedTuple):
    """A pool, and the folder that holds the files of its images, None where they are no files."""

    dataset: Dataset
    folder: Path | None


def work_on(
    source: Images,
    *,
    classes: Sequence[str] | None = None,
    out: str | os.PathLike | None = None,
    settings: dict[str, Any] | None = None,
    size: int | None = None,
    emit: Emit = print,
    door: str | None = None,
    annotator: str = "",
    url: str | None = None,
    api_key: str | None = None,
    page: Mapping[str, Any] | None = None,
    **of_session: Any,
) -> Result | Batch:
    """Begin a labelling job or go on with it: take the labels that came back, and hand out what is wanted next.

    Args:
      source: a folder of pictures, a table of their paths, or anything else that ``Session`` takes.
      classes: names of the classes; taken from the source where it knows them, and from the log of a job begun.
      out: the folder of the job; by default the name of the source with ``.mcal``, beside it.
      settings: fields of ``Config`` that differ from ``Config.certified()``, or must agree with the job begun.
      size: pixels a side to which pictures are scaled; by default as before.
      emit: called with each line about the job.
      door, annotator, url, api_key, page: how images reach humans, see ``way_of``.
      of_session: other arguments of ``Session``: architecture, width, recipe, acquisition, stop_rules, objective, seed.

    Returns the batch that humans are to label, or the Result once every image has a label; then ``out`` holds
    ``labels.csv`` and a datasheet. Raises McalError.
    """
    folder = job_folder(source, out)
    about = remembered(folder / "job.json", door=door, size=size, page=page)
    way = way_of(about, annotator, url, api_key, page)
    session, pictures = _begin(source, classes, folder, about, settings or {}, of_session, emit)
    with session:
        batch = way.visit(session, pictures, folder, emit)
        if batch is None:
            return finish(session.result(), folder, emit)
        for line in wanted(session, batch):
            emit(line)
        return batch


def _begin(
    source: Images, classes: Sequence[str] | None, folder: Path, about: dict[str, Any], settings: dict[str, Any],
    of_session: dict[str, Any], emit: Emit,
) -> tuple[Session, Path | None]:  # fmt: skip
    """The session of a job, and the folder of its pictures. Raises McalError."""
    log = folder / "run.jsonl"
    begun = RunLog.read(log) if log.exists() else None
    classes = classes or (begun.content.get("class_names") if begun else None)
    config = _config(begun, settings)
    pool = _open(source, classes, folder / "cache", about["size"])
    if begun is None:
        for line in describe(pool.dataset):
            emit(line)
    with _remembering(folder / "job.json", about, log):
        of_session = _of_session(begun, of_session)
        session = Session(pool.dataset, classes=classes, config=config, log=log, emit=emit, **of_session)
    return session, pool.folder


@contextlib.contextmanager
def _remembering(path: Path, about: dict[str, Any], log: Path) -> Iterator[None]:
    """Write what a job remembers once what is done within is not refused: before its log, if there is none yet, for
    that tells nothing of the size of the pictures."""
    is_new = not log.exists()
    if is_new:
        write_atomically(path, json.dumps(about) + "\n")
    try:
        yield
    except BaseException:
        if is_new and not log.exists():
            path.unlink(missing_ok=True)
        raise
    write_atomically(path, json.dumps(about) + "\n")


class Way(NamedTuple):
    """How images reach humans: a door, who labels where answers do not say, a server, settings of the page."""

    door: Door
    annotator: str
    server: Server
    page: dict[str, Any]

    def visit(self, session: Session, source: Path | None, out: Path, emit: Emit) -> Batch | None:
        """Take what has come back, and hand out what is wanted: the batch that is open then, None at the end."""
        return self.door(Visit(session, source, out, self.annotator, emit, self.server, self.page))


def way_of(
    about: dict[str, Any], annotator: str, url: str | None, api_key: str | None, page: Mapping[str, Any] | None
) -> Way:
    """How images reach humans, by what a job remembers and what is given now.

    Args:
      about: the ``door``, a name in ``mcal_jax.labelling.doors.DOORS``, and settings of the ``page`` given before.
      annotator: who labelled, where the answers do not say.
      url: address of the server, for the door label-studio; by default as before.
      api_key: the key to it; by default that in the environment variable LABEL_STUDIO_API_KEY. It is kept nowhere.
      page: settings of ``mcal_jax.serve``, for the door browser: opinions, gold, host, ... The job remembers how
        annotators are asked (``ASKING``).

    Raises McalError for settings of another door, and for those that make no sense.
    """
    name = about["door"]
    door, place = DOORS[name], server_of(name, url, api_key)
    if page and name != "browser":
        raise McalError(f"{', '.join(page)}: the door {name} has no page; give --browser")
    if name != "browser":
        return Way(door, annotator, place, {})
    settings = {**about["page"], **(page or {})}
    check_settings(**{name: value for name, value in settings.items() if name in ASKING})
    return Way(door, annotator, place, settings)


def wanted(session: Session, batch: Batch) -> list[str]:
    """What is wanted next, and what the whole job is expected to cost, in lines."""
    count = int((session.labels >= 0).sum())
    humans_only = session.log.job.cost_of(np.arange(len(session.labels)))
    lines = [
        f"wanted: {len(batch):,} labels {PURPOSES[batch.purpose]}, ${batch.cost:,.2f}; batch {batch.number}",
        f"labelled in earlier batches: {count:,} of {len(session.labels):,}",
    ]
    if session.plan is None:
        return [*lines, f"no plan yet, since no classifier is trained; humans alone would cost ${humans_only:,.2f}"]
    return [*lines, f"expected in all: ${session.plan.cost:,.2f}; humans alone: ${humans_only:,.2f}"]


def finish(result: Result, folder: Path, emit: Emit) -> Result:
    """Write labels and datasheet; returns the result. Raises McalError."""
    export.write(result, "csv", folder / "labels.csv")
    for ending in (".html", ".md"):
        datasheet.write(result, folder / f"datasheet{ending}")
    emit(result.summary())
    emit(f"every image has a label: {folder / 'labels.csv'}, {folder / 'datasheet.html'}")
    return result


def remembered(path: Path, page: Mapping[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    """What a job remembers beside its log: what is given now, else what was given before. Raises McalError."""
    before: dict[str, Any] = {"door": "csv", "size": None, "page": {}}
    if path.exists():
        try:
            before |= {key: value for key, value in json.loads(read_bytes(path)).items() if key in before}
        except (ValueError, AttributeError):
            raise McalError(f"{path}: damaged; delete it, and give --door and --size again") from None
    asking = {name: value for name, value in (page or {}).items() if name in ASKING}
    kept = {"page": {**before["page"], **asking}}
    return {**before, **kept, **{key: value for key, value in given.items() if value is not None}}


def server_of(door: str, url: str | None, key: str | None) -> Server:
    """The server that a door is to reach. Raises McalError where the door has none."""
    if (url, key) != (None, None) and door in DOORS and door != "label-studio":
        raise McalError(f"url, api_key: the door {door} has no server; give --door label-studio")
    return server(url, key)


def job_folder(source: Images, out: str | os.PathLike | None) -> Path:
    """The folder of the job. Raises McalError for one that is a file, or lies within the source."""
    if isinstance(source, str) and not source:
        raise McalError("source: the name is empty")
    if out is None:
        if not isinstance(source, str | os.PathLike):
            raise McalError("out: these images have no name, so give the folder of the job")
        path = absolute(source)
        out = path.with_name(f"{path.name}.mcal") if path.exists() else absolute(f"{path.name}.mcal")
    folder = absolute(out)
    if folder.exists() and not folder.is_dir():
        raise McalError(f"out: {shown(str(folder))} is no folder")
    if isinstance(source, str | os.PathLike) and absolute(source).is_dir():
        root = Path(os.path.realpath(absolute(source)))
        if Path(os.path.realpath(folder)).is_relative_to(root):
            raise McalError(f"out: {shown(str(folder))} lies in the folder of the pictures; give another one")
    return folder


def _of_session(begun: RunLog | None, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the session: what is given, else what the job began with."""
    chosen: dict[str, Any] = {}
    if begun is not None:
        there = recorded(begun)
        chosen = {**there._asdict(), "architecture": list(there.architectures)}
        del chosen["architectures"]
        chosen |= {"stop_rules": begun.job.stop_rules, "objective": begun.job.objective}
    return {**chosen, **{key: value for key, value in given.items() if value is not None}}


def _config(begun: RunLog | None, settings: dict[str, Any]) -> Config:
    """The configuration: as the job began, or certified, with the settings given. Raises McalError."""
    if begun is None:
        return configured("certified", **settings)
    return check(Config, {**begun.job.config.model_dump(), **settings})


def _open(source: Images, classes: Sequence[str] | None, cache: Path, size: int | None) -> Source:
    """The pool; of pictures on disk those that can be read, decoded once into ``cache``. Raises McalError."""
    if isinstance(source, str | os.PathLike):
        path = absolute(source)
        how: dict[str, Any] = dict(size=size, classes=classes, cache=cache, skip_unreadable=True)
        if path.is_dir():
            return Source(as_dataset(from_folder(path, **how)._replace(name=path.name), classes), path)
        if is_table(path):
            return Source(as_dataset(from_table(path, **how)._replace(name=path.name), classes), path.parent)
        source = load(path)._replace(name=path.name) if is_own(os.fspath(path)) else load(source)
    if size is not None:
        raise McalError("size: only pictures in a folder or a table are scaled")
    return Source(as_dataset(source, classes), None)
