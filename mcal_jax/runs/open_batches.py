"""The batches that humans are labelling: what was asked for and what was answered, in the run log before it is used."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from mcal_jax.algorithm.job import Job, algorithm
from mcal_jax.algorithm.protocol import OWNED, UNKNOWN, Indices, Label, Labels
from mcal_jax.errors import McalError
from mcal_jax.runs.codec import pack, unpack
from mcal_jax.runs.runlog import RunLog

UNANSWERED = UNKNOWN - 1
GOLD = -1
"""The batch that gold questions are in, which is none."""


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """Images that humans are asked to label.

    ``purpose``: "test" (T), "train" (B), "certify" (V), "residual" (R), or "relabel" for a second, independent opinion
    on images of T. ``files`` are the names of the pictures, if they came from disk; ``cost`` is in US dollars.
    ``stands_for``: of how many images each is a sample, in T and V; 1 elsewhere.
    """

    number: int
    indices: Indices
    purpose: str
    cost: float
    files: tuple[str, ...] = ()
    stands_for: float = 1.0

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"Batch({len(self.indices):,} images, {self.purpose}, ${self.cost:,.2f})"


class OpenBatch(NamedTuple):
    """The images asked for by request ``number``, sorted, and those that leave T with them (``Labels.retired``)."""

    number: int
    indices: Indices
    retired: Indices


class Opinion(NamedTuple):
    """What one annotator called one image of the batch ``number``; ``final``: it is the image's label, not one vote of
    several; ``time`` in seconds since 1970; ``panel``: the rules by which annotators were asked then (``agree``)."""

    image: int
    label: int
    annotator: str
    final: bool
    number: int
    time: float
    panel: Mapping[str, Any]


class GoldAnswer(NamedTuple):
    """What one annotator answered to a gold question: an image whose label, ``truth``, was known.

    ``number`` is the batch that was open then, ``panel`` the rules by which annotators were asked.
    """

    image: int
    label: int
    truth: int
    annotator: str
    number: int = -1
    panel: Mapping[str, Any] = MappingProxyType({})


def said(parts: Iterable[dict[str, Any]]) -> Iterator[Opinion | GoldAnswer]:
    """Answers in the parts of a log that were not taken back, in the order they came in, whatever the clock says."""
    kept: dict[tuple[int, int, str | None], Opinion | GoldAnswer] = {}
    panel: dict[str, Any] = {}
    for part in parts:
        panel = part.get("panel", panel)
        number, annotator, when = part["number"], part.get("annotator", ""), part.get("time", 0.0)
        if "labels" in part:
            images, labels = unpack(part["indices"], int).tolist(), unpack(part["labels"], int).tolist()
            for image, label in zip(images, labels, strict=True):
                kept[number, image, None] = Opinion(image, label, annotator, True, number, when, panel)
        elif "vote" in part:
            image = part["image"]
            kept[number, image, annotator] = Opinion(image, part["vote"], annotator, False, number, when, panel)
        elif "undone" in part:
            kept.pop((number, part["undone"], None), None)
            kept.pop((number, part["undone"], annotator), None)
        elif "gold" in part:
            image = part["gold"]
            kept[GOLD, image, annotator] = GoldAnswer(image, part["answer"], part["truth"], annotator, number, panel)
        elif "undone_gold" in part:
            kept.pop((GOLD, part["undone_gold"], annotator), None)
    yield from kept.values()


def opinions(parts: Iterable[dict[str, Any]]) -> Iterator[Opinion]:
    """Answers and votes in the parts of a log that were not taken back, in the order they came in."""
    yield from (one for one in said(parts) if isinstance(one, Opinion))


def gold_answers(parts: Iterable[dict[str, Any]]) -> Iterator[GoldAnswer]:
    """The answers to gold questions in the parts of a log that were not taken back, in the order they came in."""
    yield from (one for one in said(parts) if isinstance(one, GoldAnswer))


class OpenBatches:
    """The open batches of a run of ``n`` images, from request ``number`` on, as far as its log knows them.

    ``labels`` [n] has the answers, UNANSWERED elsewhere; UNKNOWN where no human could tell. ``answered``: how many.
    """

    def __init__(self, log: RunLog, n: int, number: int | None):
        self.log = log
        self.labels = np.full(n, UNANSWERED, np.int32)
        self.answered = 0
        self.batches: dict[int, OpenBatch] = {}
        for part in log.parts if number is not None else []:
            if part["number"] >= number:
                self._take_in(part)

    def open(self, batch: OpenBatch) -> None:
        """Add a batch, on disk first."""
        asked = {name: pack(getattr(batch, name), differences=True) for name in ("indices", "retired")}
        self._keep({"number": batch.number, "asked": asked["indices"], "retired": asked["retired"]})

    def left(self, number: int) -> Indices:
        """The images of a batch that have no answer yet."""
        indices = self.batches[number].indices
        return indices[self.labels[indices] == UNANSWERED]

    def tell(self, indices: Indices, labels: np.ndarray, annotator: str) -> None:
        """Take answers. All are taken or none. Raises McalError for images that are not asked for, or have one."""
        self._check_open(indices)
        if len(known := indices[self.labels[indices] != UNANSWERED]):
            raise McalError(f"image {known[0]} has a label in this batch already")
        self._keep(
            *(
                _part(number, annotator, indices=pack(indices[of]), labels=pack(labels[of]))
                for number, of in self._by_batch(indices)
            )
        )

    def vote(self, index: int, label: int, annotator: str) -> None:
        """Keep what one of several annotators calls an image that has no answer yet. Raises McalError as ``tell``."""
        self._check_open(np.array([index]))
        self._keep(_part(self._number_of(index), annotator, image=index, vote=label))

    def undo(self, index: int, annotator: str) -> None:
        """Take back the answer to an image and the vote of this annotator on it. Raises McalError if it is not open."""
        self._check_open(np.array([index]))
        self._keep(_part(self._number_of(index), annotator, undone=index))

    def gold(self, answer: GoldAnswer) -> None:
        """Keep an answer to a gold question, which labels nothing. It may come from a thread of its own."""
        said = {"gold": answer.image, "answer": answer.label, "truth": answer.truth}
        self._keep(_part(self._first(), answer.annotator, **said))

    def undo_gold(self, index: int, annotator: str) -> None:
        """Take back this annotator's answer to a gold question. It may come from a thread of its own."""
        self._keep(_part(self._first(), annotator, undone_gold=index))

    def agree(self, panel: dict[str, Any]) -> None:
        """Keep by what rules several annotators label, unless the log says so already."""
        before = next((part["panel"] for part in reversed(self.log.parts) if "panel" in part), None)
        if panel != before:
            self._keep({"number": self._first(), "panel": panel})

    def said(self) -> Iterator[Opinion | GoldAnswer]:
        """Answers and votes that came in while these batches were open and were not taken back, in their order."""
        yield from said(part for part in self.log.parts if part["number"] in self.batches)

    @contextlib.contextmanager
    def complete(self, number: int) -> Iterator[tuple[OpenBatch, np.ndarray]]:
        """A batch all of whose images have answers, and these; it is open no more, unless what is done with them fails:
        then nothing is asked for again."""
        batch = self.batches.pop(number)
        labels = self.labels[batch.indices].copy()
        self._set(batch.indices, UNANSWERED)
        try:
            yield batch, labels
        except BaseException:
            self.batches[number] = batch
            self._set(batch.indices, labels)
            raise

    def _first(self) -> int:
        """The number of the first open batch, 0 where none is open."""
        return min(list(self.batches), default=0)

    def _keep(self, *parts: dict[str, Any]) -> None:
        self.log.append_parts(*parts)
        for part in parts:
            self._take_in(part)

    def _take_in(self, part: dict[str, Any]) -> None:
        """Learn from a part of the log."""
        if "asked" in part:
            asked, retired = (unpack(part[name], np.int64) for name in ("asked", "retired"))
            self.batches[part["number"]] = OpenBatch(part["number"], asked, retired)
        elif "labels" in part:
            self._set(unpack(part["indices"], np.int64), unpack(part["labels"], np.int32))
        elif "undone" in part:
            self._set(np.array([part["undone"]]), UNANSWERED)

    def _set(self, indices: Indices, labels: np.ndarray | int) -> None:
        self.answered -= int((self.labels[indices] != UNANSWERED).sum())
        self.labels[indices] = labels
        self.answered += int((self.labels[indices] != UNANSWERED).sum())

    def _check_open(self, indices: Indices) -> None:
        inside = np.zeros(len(indices), bool)
        for batch in self.batches.values():
            inside |= _inside(indices, batch.indices)
        if len(strange := indices[~inside]):
            raise McalError(f"image {strange[0]} is not asked for; call ask for the images that are")
        if len(indices) > 1 and len(np.unique(indices)) < len(indices):
            raise McalError("an image is named twice in one call of tell")

    def _by_batch(self, indices: Indices) -> Iterator[tuple[int, np.ndarray]]:
        """For each batch that has some of the images, its number and which they are."""
        for batch in list(self.batches.values()):
            if (of := _inside(indices, batch.indices)).any():
                yield batch.number, of

    def _number_of(self, index: int) -> int:
        return next(number for number, _ in self._by_batch(np.array([index])))


def _part(number: int, annotator: str, **said: Any) -> dict[str, Any]:
    """What an annotator says now of batch ``number``, as a part of a log."""
    return {"number": number, **said, "annotator": annotator, "time": round(time.time(), 3)}


def request_after_test(job: Job, test: Indices) -> Label | None:
    """The request that follows the labels of T, whatever they are, if it is for random images; else None."""
    run = algorithm(job)
    request = run.send(None)
    while isinstance(request, Label) and request.purpose in OWNED:
        request = run.send(Labels(request.pool, np.zeros(request.n, np.int32)))
    following = run.send(Labels(test, np.zeros(len(test), np.int32)))
    return following if isinstance(following, Label) and following.by == "random" else None


def _inside(indices: Indices, among: Indices) -> np.ndarray:
    """Whether each of ``indices`` is one of ``among``, sorted."""
    if not len(among):
        return np.zeros(len(indices), bool)
    at = np.minimum(np.searchsorted(among, indices), len(among) - 1)
    return among[at] == indices
