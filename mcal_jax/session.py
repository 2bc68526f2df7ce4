"""Labelling a pool of one's own: ``label`` with a function that answers, ``Session`` to ask and tell as labels come in.

Both drive the algorithm of the command line and write the same run log. Every image that is handed out and every label
that comes back is on disk before the call returns, so a killed process asks for nothing twice and loses nothing.
"""

import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mcal_jax
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job, check_job
from mcal_jax.algorithm.objectives import OBJECTIVES
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import OWNED, UNKNOWN, Indices, Label, Labels, Relabel, SecondLabels, World
from mcal_jax.annotators import Annotator, ask
from mcal_jax.data import Dataset
from mcal_jax.display import html_table
from mcal_jax.errors import McalError
from mcal_jax.files import absolute
from mcal_jax.inputs import Images, as_annotator, as_dataset, class_number, class_numbers, with_defaults
from mcal_jax.result import Result
from mcal_jax.runs.driver import Driver
from mcal_jax.runs.images import check_content, content
from mcal_jax.runs.open_batches import Batch, OpenBatch, OpenBatches, request_after_test
from mcal_jax.runs.progress import Reporter
from mcal_jax.runs.provenance import provenance
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.session_setup import ProgressCallback, setup, trained_world, with_owned
from mcal_jax.runs.settings import Emit
from mcal_jax.runs.tally import Progress, Tally


class Session:
    """Labelling a pool step by step: ``ask`` for images, ``tell`` their labels, and at the end take the ``result``.

    Args:
      images: uint8 [n, h, w] or [n, h, w, c], a Dataset, a folder of pictures, a table of paths, or a data set's name;
        or features in their place, floats [n, d]. ``features`` stand beside images.
      classes: names of the classes; taken from the images where they know them.
      config: bounds, prices and the reading of the algorithm; by default that of the log, or ``Config.certified()``.
      architecture: a name, a class, "my_file.py:MyNet", one with a recipe of its own, "resnet18@brief", or a list of
        them: a race; default: "resnet18", on features "linear".
      acquisition: a name, a function from ``Scores`` to numbers, or "my_file.py:my_scores"; default: as ``config``.
      stop_rules: rules of one's own, besides the default ones: functions, or "my_file.py:my_rule".
      objective: what is minimised instead of what ``config`` asks for, by name or as an ``Objective``.
      log: the run log; the session goes on from it if it is there. Without one nothing outlives the process.
      width, recipe: of the net and its training; by default what suits the images and this machine.
      seed: of all that is random; by default 0, or that of the log.
      known_at_random: whether the images whose labels are known are a random sample of all of them.
      emit, on_progress: called with a line for each decision, and in training with the steps done and all steps.

    Labels that a table of pictures knows cost nothing. They are a part of B, and T is drawn from the other images;
    where they are ``known_at_random``, T is made of them first and B of the rest. V is always drawn from the other
    images, so the certificate holds however they were chosen. May be used from several threads. Raises McalError for
    what can't work, before a label is bought, and for a log of other images or settings.
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
        seed: int | None = None,
        known_at_random: bool = False,
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
        job = with_owned(job, self.dataset, known_at_random, settings.seed, begun)
        check_job(job, is_new=begun is None)  # before anything is written
        if begun:
            check_content(begun, self.dataset, self._emit)
        self._tally = Tally(job, on_progress)
        # The nets were tried when the session was begun.
        report = self._tally.on_progress
        world = trained_world(self.dataset, settings, job.config.ranking, report, prepare=begun is None)
        self._open_log(path, job, {"data": {"name": self.dataset.name}, "session": settings._asdict()}, world)

    @classmethod
    def over(
        cls,
        world: World,
        job: Job,
        dataset: Dataset,
        log: str | os.PathLike,
        *,
        run: dict[str, Any] | None = None,
        content: dict[str, Any] | None = None,
        emit: Emit | None = None,
    ) -> "Session":
        """A session over any world, such as a simulated one; a new log says ``run`` of it and ``content`` of X."""
        session = cls.__new__(cls)
        session.dataset, session._emit = dataset, emit or (lambda line: None)
        session._lock, session._folder, session._tally = threading.RLock(), None, Tally(job)
        session._open_log(absolute(log), job, run or {"data": {"name": dataset.name}, "session": {}}, world, content)
        return session

    def _open_log(
        self, path: Path, job: Job, run: dict[str, Any], world: World, about: dict[str, Any] | None = None
    ) -> None:
        if path.exists():
            self.log = RunLog.resume(path)
        else:
            self.log = RunLog.create(path, job, run, provenance(), about or content(self.dataset))
        try:
            self._driver = Driver(job, world, self.log, self._tally.then(Reporter(self._emit, job)))
        except BaseException:
            self.log.close()
            raise
        self._world = world
        self.batches = OpenBatches(self.log, job.n, self._driver.number if self._driver.request is not None else None)

    def ask(self) -> Batch | None:
        """The images that humans are to label next: what is left of the open batch, or the next one; None at the end.

        Trains, scores and plans as far as it must for that. The same images are asked for until they have labels.
        """
        with self._lock:
            while (request := self._driver.request) is not None:
                number = self._driver.number
                if not isinstance(request, Label | Relabel):
                    self.log.check_open()  # before a training, not after it
                    self._driver.answer(self._world.answer(request, number))
                elif isinstance(request, Label) and request.purpose in OWNED:
                    self._answer_owned(request)
                elif number not in self.batches.batches:
                    self._open(request, number)
                elif len(batch := self._batch(request, number)):
                    return batch
                else:
                    self._complete(request)
            self.log.close()
            return None

    def ask_ahead(self) -> Batch | None:
        """What is left of the batch after the open one, where no missing answer can change it; else None.

        That is the first batch of B while T is being labelled: both are random. ``ask`` asks for it later.
        """
        with self._lock:
            request, number = self._driver.request, self._driver.number
            if not isinstance(request, Label) or request.purpose != "test" or number not in self.batches.batches:
                return None
            following = request_after_test(self.log.job, self.batches.batches[number].indices)
            if following is None:
                return None
            if number + 1 not in self.batches.batches:
                self._open(following, number + 1)
            return batch if len(batch := self._batch(following, number + 1)) else None

    def tell(self, batch: Batch | Iterable[int], labels: Iterable[Any], *, annotator: str = "") -> None:
        """Labels for images of the open batch: all or part of it, in any order.

        ``batch`` is what ``ask`` gave, or positions of images; ``labels`` are numbers or names of classes, as many.
        ``annotator`` says who gave them. All labels are taken or none. Raises McalError for images that are not asked
        for, or have a label already, and for an unknown class.
        """
        with self._lock:
            indices = np.asarray(batch.indices if isinstance(batch, Batch) else list(batch), np.int64)
            self.batches.tell(indices, class_numbers(labels, len(indices), self.dataset.classes), annotator)

    def tell_unknown(self, images: Iterable[int], *, annotator: str = "") -> None:
        """No human can tell the class of these ``images`` of the open batch. Raises McalError as ``tell`` does.

        They are billed, their label is -1 (``UNKNOWN``), and no classifier trains on them. Every label that a
        classifier gives such an image of T or V counts as a mistake, so that estimate and certificate err on the safe
        side.
        """
        with self._lock:
            indices = np.asarray(list(images), np.int64)
            self.batches.tell(indices, np.full(len(indices), UNKNOWN, np.int32), annotator)

    def vote(self, image: int, label: int, *, annotator: str) -> None:
        """Keep what one of several annotators calls an ``image`` of the open batch: a class number, or UNKNOWN.

        It is labelled by ``tell`` alone. Raises McalError as ``tell`` does.
        """
        number = UNKNOWN if label == UNKNOWN else class_number(label, self.dataset.classes)
        with self._lock:
            self.batches.vote(int(image), number, annotator)

    def undo(self, image: int, *, annotator: str = "") -> None:
        """Take back the answer to an ``image`` of an open batch: ``ask`` asks for it again. Raises McalError."""
        with self._lock:
            self.batches.undo(int(image), annotator)

    def progress(self) -> Progress:
        """How far the run is: labels, US dollars, and what is expected. Does not wait for a training."""
        return self._tally.progress(self._driver.request, self.batches.answered)

    @property
    def labels(self) -> np.ndarray:
        """The labels of all batches that are complete, int32 [n]; -1 elsewhere."""
        return self._driver.labels

    @property
    def plan(self) -> Plan | None:
        """The plan behind the open batch; None before a classifier has been trained."""
        request = self._driver.request
        return request.plan if request else None

    def result(self) -> Result:
        """The labels of all images and how they came about. Raises McalError while labels are wanted."""
        with self._lock:
            if (batch := self.ask()) is not None:
                raise McalError(f"{len(batch):,} images are still to be labelled ({batch.purpose}): see Session.ask")
            return Result(self.log.path, self.dataset, self._world, self._folder)

    def run(self, annotate: Annotator | Callable[[Indices], Any]) -> None:
        """Have ``annotate`` label all that is asked for, to the end; see ``label``. Raises McalError."""
        classes = self.dataset.classes
        annotator = as_annotator(annotate, classes)
        while (batch := self.ask()) is not None:
            self.tell(batch, ask(annotator, batch.indices, classes, again=batch.purpose == "relabel"))

    def serve(self, **settings: Any) -> None:
        """Have the images labelled in web browsers: ``mcal_jax.serve``, which has the ``settings``."""
        mcal_jax.serve(self, **settings)

    def widget(self, **settings: Any) -> Any:
        """A widget for notebooks in which to label the images: ``mcal_jax.widget``, which has the ``settings``."""
        return mcal_jax.widget(self, **settings)

    def close(self) -> None:
        """Leave the log to other processes; the session can be opened again from it."""
        with self._lock:
            self.log.close()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _batch(self, request: Label | Relabel, number: int) -> Batch:
        """What is left of a batch, once the labels that its source knew are taken."""
        left, given = self.batches.left(number), self.dataset.given
        purpose = request.purpose if isinstance(request, Label) else "relabel"
        if given is not None and purpose != "relabel" and (given[left] >= 0).any():
            known = left[given[left] >= 0]
            self.batches.tell(known, given[known], self.dataset.name)
            left = self.batches.left(number)
        files = tuple(self.dataset.files[i] for i in left) if self.dataset.files else ()
        stands_for = len(request.pool) / request.n if purpose in ("test", "certify") and request.n else 1.0
        return Batch(number, left, purpose, self.log.job.cost_of(left, purpose), files, stands_for)

    def _answer_owned(self, request: Label) -> None:
        """Answer with the labels that the source of the images knows. Raises McalError if it knows them no more."""
        given = self.dataset.given
        if given is None or (given[request.pool] == UNKNOWN).any():
            raise McalError(f"'{self.dataset.name}' knew {request.n:,} labels when the job began: give them again")
        answer = Labels(request.pool, given[request.pool])
        self._world.restore(request, self._driver.number, answer)
        self._driver.answer(answer)

    def _open(self, request: Label | Relabel, number: int) -> None:
        asked = self._world.choose(request, number)
        retired = self._world.retire(request, asked) if isinstance(request, Label) else np.empty(0, np.int64)
        self.batches.open(OpenBatch(number, asked, retired))

    def _complete(self, request: Label | Relabel) -> None:
        """Answer the request with the labels of its whole batch."""
        with self.batches.complete(self._driver.number) as (batch, labels):
            answer: Labels | SecondLabels = Labels(batch.indices, labels, retired=batch.retired)
            if isinstance(request, Relabel):
                answer = SecondLabels(batch.indices, labels != self._driver.labels[batch.indices])
            self._world.restore(request, self._driver.number, answer)
            self._driver.answer(answer)

    def _summary(self) -> dict[str, object]:
        driver = self._driver
        labelled = int((driver.labels >= 0).sum()) + self.batches.answered
        return {
            "images": f"{len(driver.labels):,}",
            "labelled": f"{labelled:,}",
            "state": "finished" if driver.request is None else "labels wanted" if self.batches.batches else "at work",
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
    with Session(images, classes=classes, emit=emit, **settings) as session:
        session.run(annotate)
        return session.result()
