"""Labelling a pool of one's own: ``label`` with a function that answers, ``Session`` to ask and tell as labels come in.

Both drive the algorithm of the command line and write the same run log. Every image that is handed out and every label
that comes back is on disk before the call returns, so a killed process asks for nothing twice and loses nothing.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job, algorithm
from mcal_jax.algorithm.objectives import OBJECTIVES
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import Indices, Label, Labels, Relabel, SecondLabels, World
from mcal_jax.annotators import Annotator, ask
from mcal_jax.data import Dataset
from mcal_jax.display import html_table
from mcal_jax.errors import McalError
from mcal_jax.files import absolute
from mcal_jax.inputs import Images, as_annotator, as_dataset, class_number, with_defaults
from mcal_jax.result import Result
from mcal_jax.runs.codec import pack, unpack
from mcal_jax.runs.driver import Driver
from mcal_jax.runs.images import check_content, content
from mcal_jax.runs.progress import Reporter
from mcal_jax.runs.provenance import provenance
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.session_setup import ProgressCallback, Setup, setup, trained_world
from mcal_jax.runs.settings import Emit


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """Images that humans are asked to label.

    ``purpose``: "test" (T), "train" (B), "certify" (V), "residual" (R), or "relabel" for a second, independent opinion
    on images of T. ``files`` are the names of the pictures, if they came from disk; ``cost`` is in US dollars.
    """

    number: int
    indices: Indices
    purpose: str
    cost: float
    files: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"Batch({len(self.indices):,} images, {self.purpose}, ${self.cost:,.2f})"


class Session:
    """Labelling a pool step by step: ``ask`` for images, ``tell`` their labels, and at the end take the ``result``.

    Args:
      images: uint8 [n, h, w] or [n, h, w, c], a Dataset, a folder of pictures, a table of paths, or a data set's name;
        or features in their place, floats [n, d]. ``features`` stand beside images.
      classes: names of the classes; taken from the images where they know them.
      config: bounds, prices and the reading of the algorithm; by default that of the log, or ``Config.certified()``.
      architecture: a name, a class, "my_file.py:MyNet", or a list: a race; default: "resnet18", on features "linear".
      acquisition: a name, a function from ``Scores`` to numbers, or "my_file.py:my_scores"; default: as ``config``.
      stop_rules: rules of one's own, besides the default ones: functions, or "my_file.py:my_rule".
      objective: what is minimised instead of what ``config`` asks for, by name or as an ``Objective``.
      log: the run log; the session goes on from it if it is there. Without one nothing outlives the process.
      width, recipe: of the net and its training; by default what suits the images and this machine.
      seed: of all that is random.
      emit: called with a line for each decision, such as ``print``.
      on_progress: called while a classifier trains, with the steps done and all steps.

    Raises McalError for images, classes or settings that can't work, before a label is bought, and for a log of other
    images or settings. May be used from several threads.
    """

    def __init__(
        self,
        images: Images,
        *,
        classes: Sequence[str] | None = None,
        features: Any = None,
        config: Config | None = None,
        architecture: Any = None,
        acquisition: Any = None,
        stop_rules: Sequence[Any] = (),
        objective: Any = None,
        log: str | os.PathLike | None = None,
        width: int | None = None,
        recipe: str | None = None,
        seed: int = 0,
        emit: Emit | None = None,
        on_progress: ProgressCallback | None = None,
    ):
        self.dataset = as_dataset(images, classes, features)
        self._emit = emit or (lambda line: None)
        self._lock = threading.RLock()
        self._folder = None if log else tempfile.TemporaryDirectory(prefix="mcal-")
        path = absolute(log) if log else Path(self._folder.name, "run.jsonl")  # type: ignore[union-attr]
        begun = RunLog.read(path) if path.exists() else None
        settings = setup(self.dataset, architecture, width, recipe, seed, begun)
        config = config or (begun.job.config if begun else Config.certified())
        job = Job(
            n=len(self.dataset.images),
            architectures=settings.architectures,
            config=with_defaults(config, acquisition, self.dataset, settings.architectures),
            stop_rules=tuple(stop_rules),
            objective=None if objective is None else OBJECTIVES.name_of(objective),
        )
        algorithm(job).send(None)  # an impossible job is refused before anything is written
        if begun:
            check_content(begun, self.dataset, self._emit)
        # The nets were tried when the session was begun.
        world = trained_world(self.dataset, settings, job.config.ranking, on_progress, prepare=begun is None)
        self._open_log(path, job, settings, world)

    @classmethod
    def over(cls, world: World, job: Job, dataset: Dataset, log: str | os.PathLike) -> "Session":
        """A session over any world, such as a simulated one."""
        session = cls.__new__(cls)
        session.dataset, session._emit = dataset, lambda line: None
        session._lock, session._folder = threading.RLock(), None
        session._open_log(absolute(log), job, None, world)
        return session

    def _open_log(self, path: Path, job: Job, settings: Setup | None, world: World) -> None:
        if path.exists():
            self.log = RunLog.resume(path)
        else:
            run = {"data": {"name": self.dataset.name}, "session": settings._asdict() if settings else {}}
            self.log = RunLog.create(path, job, run, provenance(), content(self.dataset))
        try:
            self._driver = Driver(job, world, self.log, Reporter(self._emit, job))
        except BaseException:
            self.log.close()
            raise
        self._world = world
        self._asked: Indices | None = None
        self._retired = np.empty(0, np.int64)
        self._answers = np.full(job.n, -1, np.int32)
        self._recall()

    def ask(self) -> Batch | None:
        """The images that humans are to label next: what is left of the open batch, or the next one; None at the end.

        Trains, scores and plans as far as it must for that. The same images are asked for until they have labels.
        """
        with self._lock:
            while (request := self._driver.request) is not None:
                if not isinstance(request, Label | Relabel):
                    self._driver.answer(self._world.answer(request, self._driver.number))
                elif self._asked is None:
                    self._choose(request)
                elif len(left := self._left()):
                    return self._batch(request, left)
                else:
                    self._complete(request)
            self.log.close()
            return None

    def tell(self, batch: Batch | Iterable[int], labels: Iterable[Any], *, annotator: str = "") -> None:
        """Labels for images of the open batch: all or part of it, in any order.

        ``batch`` is what ``ask`` gave, or positions of images; ``labels`` are numbers or names of classes, as many.
        ``annotator`` says who gave them. All labels are taken or none. Raises McalError for images that are not asked
        for, or have a label already, and for an unknown class.
        """
        with self._lock:
            indices = np.asarray(batch.indices if isinstance(batch, Batch) else list(batch), np.int64)
            numbers = self._numbers(labels, indices)
            self._check_open(indices)
            self._keep(
                indices=pack(indices),
                labels=pack(numbers),
                annotator=annotator,
                time=round(time.time(), 3),
            )
            self._answers[indices] = numbers

    @property
    def labels(self) -> np.ndarray:
        """The labels of all batches that are complete, int32 [n]; -1 elsewhere."""
        return self._driver.labels

    @property
    def plan(self) -> Plan | None:
        """The plan behind the open batch; None before a classifier has been trained."""
        return self._driver.request.plan if self._driver.request else None

    def result(self) -> Result:
        """The labels of all images and how they came about. Raises McalError while labels are wanted."""
        with self._lock:
            if (batch := self.ask()) is not None:
                raise McalError(f"{len(batch):,} images are still to be labelled ({batch.purpose}): see Session.ask")
            return Result(self.log.path, self.dataset, self._world, self._folder)

    def close(self) -> None:
        """Leave the log to other processes; the session can be opened again from it."""
        with self._lock:
            self.log.close()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _batch(self, request: Label | Relabel, left: Indices) -> Batch:
        purpose = request.purpose if isinstance(request, Label) else "relabel"
        files = tuple(self.dataset.files[i] for i in left) if self.dataset.files else ()
        return Batch(self._driver.number, left, purpose, len(left) * self.log.job.config.label_price, files)

    def _choose(self, request: Label | Relabel) -> None:
        """Open the next batch, on disk first."""
        asked = self._world.choose(request, self._driver.number)
        retired = self._world.retire(request, asked) if isinstance(request, Label) else np.empty(0, np.int64)
        self._keep(asked=pack(asked, differences=True), retired=pack(retired, differences=True))
        self._asked, self._retired = asked, retired

    def _left(self) -> Indices:
        """The images of the open batch that have no label yet."""
        assert self._asked is not None
        return self._asked[self._answers[self._asked] < 0]

    def _complete(self, request: Label | Relabel) -> None:
        """Answer the request with the labels of its whole batch."""
        assert self._asked is not None
        labels = self._answers[self._asked]
        answer: Labels | SecondLabels = Labels(self._asked, labels, retired=self._retired)
        if isinstance(request, Relabel):
            answer = SecondLabels(self._asked, labels != self._driver.labels[self._asked])
        number, self._asked = self._driver.number, None
        self._answers[answer.indices] = -1
        self._world.restore(request, number, answer)
        self._driver.answer(answer)

    def _keep(self, **part: Any) -> None:
        self.log.append_part({"number": self._driver.number, **part})

    def _recall(self) -> None:
        """Learn from the log which images of the open batch were asked for, and their labels."""
        for part in self.log.parts:
            if part["number"] != self._driver.number or self._driver.request is None:
                continue
            if "asked" in part:
                self._asked, self._retired = (unpack(part[name], np.int64) for name in ("asked", "retired"))
            else:
                self._answers[unpack(part["indices"], np.int64)] = unpack(part["labels"], np.int32)

    def _check_open(self, indices: Indices) -> None:
        asked = self._asked if self._asked is not None else np.empty(0, np.int64)
        if len(strange := indices[~np.isin(indices, asked)]):
            raise McalError(f"image {strange[0]} is not asked for; call ask for the images that are")
        if len(known := indices[self._answers[indices] >= 0]):
            raise McalError(f"image {known[0]} has a label in this batch already")
        if len(np.unique(indices)) < len(indices):
            raise McalError("an image is named twice in one call of tell")

    def _numbers(self, labels: Iterable[Any], indices: Indices) -> np.ndarray:
        """Class numbers, int32, of as many labels as there are images. Raises McalError."""
        given = list(labels)
        if len(given) != len(indices):
            raise McalError(f"{len(given)} labels for {len(indices)} images")
        return np.array([class_number(label, self.dataset.classes) for label in given], np.int32)

    def _summary(self) -> dict[str, object]:
        driver = self._driver
        labelled = int((driver.labels >= 0).sum() + (self._answers >= 0).sum())
        state = "finished" if driver.request is None else "labels wanted" if self._asked is not None else "at work"
        return {
            "images": f"{len(driver.labels):,}",
            "labelled": f"{labelled:,}",
            "state": state,
            "log": "none: nothing outlives this process" if self._folder else str(self.log.path),
        }

    def __repr__(self) -> str:
        rows = self._summary()
        return f"Session({rows['images']} images, {rows['labelled']} labelled, {rows['state']})"

    def _repr_html_(self) -> str:
        return html_table("Session", self._summary())


def label(
    images: Images,
    *,
    annotate: Annotator | Callable[[Indices], Any],
    classes: Sequence[str] | None = None,
    emit: Emit | None = print,
    **settings: Any,
) -> Result:
    """Label all ``images``: humans, asked by ``annotate``, label as few as they must, a classifier the others.

    ``annotate`` is an annotator (``GroundTruth``, ...) or a function from positions, int64 [m], to labels [m], numbers
    or names of classes. ``emit`` gets a line for each decision. The other ``settings`` are those of ``Session``; with
    ``log`` an interrupted call goes on. Raises McalError.
    """
    session = Session(images, classes=classes, emit=emit, **settings)
    annotator = as_annotator(annotate, session.dataset.classes)
    with session:
        while (batch := session.ask()) is not None:
            again = batch.purpose == "relabel"
            session.tell(batch, ask(annotator, batch.indices, session.dataset.classes, again=again))
        return session.result()
