"""The desk: who labels which image of a session, whatever door they come in by.

A desk hands every image to one annotator at a time, takes answers, and has the session train in a thread of its own as
soon as a batch is whole. Answers are on disk before a call returns; leases live in memory alone.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

from mcal_jax.algorithm.protocol import UNKNOWN
from mcal_jax.errors import McalError
from mcal_jax.labelling.leases import Item, Leases
from mcal_jax.runs.tally import Progress
from mcal_jax.session import Session

PACE_SPAN = 600.0
"""Seconds of answers from which the pace is taken."""


class Status(NamedTuple):
    """What a desk tells annotators.

    ``state``: "labelling", "working" (a classifier trains, the next batch is chosen), "finished" or "failed" (why:
    ``message``). ``left`` images of the open batch have no label yet; ``pace`` is in labels a second. ``seconds`` is
    about how long the work still takes, None where nobody knows.
    """

    state: str
    left: int
    pace: float
    progress: Progress
    seconds: float | None = None
    message: str = ""


class Desk:
    """Hands images of ``session`` to annotators, known by name, and takes their answers. May be used from any thread.

    Args:
      opinions: how many annotators label each image; the label that most of them give is kept, and a tie goes to one
        more.
      lease: seconds for which an image is kept for an annotator of whom nothing is heard.
      clock: seconds, for leases and pace.
    """

    def __init__(
        self,
        session: Session,
        *,
        opinions: int = 1,
        lease: float = 180.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        if opinions < 1:
            raise McalError(f"opinions: at least 1, got {opinions}")
        if not lease > 0:
            raise McalError(f"lease: more than 0 seconds, got {lease}")
        self.session, self.opinions, self._clock = session, opinions, clock
        self._leases = Leases(opinions, lease, clock)
        self._changed = threading.Condition(threading.RLock())
        self._state, self._message, self._closed = "working", "", False
        self._purposes: dict[int, str] = {}  # of the open batches
        self._unlabelled: dict[int, int] = {}  # how many images of each open batch have no label
        self._given: dict[str, list[int]] = {}  # what can be undone
        self._times: deque[float] = deque()
        self._began, self._took = clock(), 0.0
        self._thread = threading.Thread(target=self._work, name="mcal-desk", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------------------------------------------
    # What annotators do

    def take(self, annotator: str, count: int = 1) -> list[int]:
        """Up to ``count`` images for an annotator: those that they hold already, then new ones. Renews their leases."""
        with self._changed:
            return self._leases.take(annotator, count)

    def answer(self, annotator: str, image: int, label: int) -> None:
        """Take an annotator's answer to an image they hold: the number of a class, or UNKNOWN for "I can't tell".

        The same answer given twice is taken once. Raises McalError where the image is not theirs to label.
        """
        classes = len(self.session.dataset.classes)
        if label != UNKNOWN and not 0 <= label < classes:
            raise McalError(f"class {label} of {classes}: classes are numbered from 0")
        with self._changed:
            item = self._leases.items.get(image)
            if item and item.votes.get(annotator) == label:
                return
            if not item or not (annotator in item.holders or self._is_free(annotator, item)):
                raise McalError(f"image {image} is not yours to label: it has a label, or someone else has it now")
            self._keep(annotator, image, item, label)
            self._leases.end(annotator, image)
            self._given.setdefault(annotator, []).append(image)
            self._times.append(self._clock())
            if not self._unlabelled[item.number]:
                self._changed.notify_all()

    def skip(self, annotator: str, image: int) -> None:
        """Give an image that an annotator holds to someone else, or to them again when no other is left."""
        with self._changed:
            if image in self._leases.items and annotator in self._leases.items[image].holders:
                self._leases.skip(annotator, image)

    def undo(self, annotator: str) -> int:
        """Take back the last answer of an annotator, who holds its image again. Returns the image.

        Raises McalError if there is none, or if its batch is whole: then a classifier trains on it.
        """
        with self._changed:
            given = self._given.get(annotator, [])
            if not given or not self._is_open(given[-1]):
                raise McalError("nothing to undo: only answers of a batch that is still open can be taken back")
            image = given[-1]
            self.session.undo(image, annotator=annotator)
            given.pop()
            item = self._leases.items[image]
            item.votes.pop(annotator, None)
            if item.label is not None:
                item.label = None
                self._unlabelled[item.number] += 1
            self._leases.give(annotator, image)
            return image

    def release(self, annotator: str) -> None:
        """Give back all images that an annotator holds: they pause or leave."""
        with self._changed:
            self._leases.release(annotator)

    def answers(self, annotator: str, count: int = 8) -> list[tuple[int, int]]:
        """The last answers of an annotator that can be undone, the latest last: images and labels."""
        with self._changed:
            images = [image for image in self._given.get(annotator, []) if self._is_open(image)][-count:]
            return [(image, self._leases.items[image].votes[annotator]) for image in images]

    def purpose(self, image: int) -> str:
        """What an image is labelled for (``Batch.purpose``), empty where it is in no open batch."""
        with self._changed:
            item = self._leases.items.get(image)
            return self._purposes.get(item.number, "") if item else ""

    @property
    def version(self) -> int:
        """Another number whenever images may have become free, or the state is another."""
        return self._leases.version

    def status(self) -> Status:
        """How far the labelling is."""
        with self._changed:
            progress = self.session.progress()
            seconds = self._seconds_left(progress) if self._state == "working" else None
            left = sum(self._unlabelled.values())
            return Status(self._state, left, self._pace(), progress, seconds, self._message)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all images have labels, or the work failed; whether that is so."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._state in ("finished", "failed"), timeout)
            return self._state in ("finished", "failed")

    def close(self) -> None:
        """Hand out no more images. The session stays open; a training that runs goes on to its end."""
        with self._changed:
            self._closed, self._given = True, {}
            self._leases.replace({})
            self._changed.notify_all()

    def fail(self, message: str) -> None:
        """Hand out no more images, and say why."""
        with self._changed:
            self._state, self._message = "failed", message
            self.close()

    # ------------------------------------------------------------------------------------------------------
    # The session's side

    def _work(self) -> None:
        """Ask the session for batches until the end, and wait for people between them."""
        try:
            while not self._closed:
                self._began = self._clock()
                batch = self.session.ask()
                ahead = self.session.ask_ahead()
                with self._changed:
                    if batch is None:
                        self._state, self._unlabelled = "finished", {}
                        self._leases.replace({})
                        self._changed.notify_all()
                        return
                    self._took = self._clock() - self._began
                    self._purposes = {each.number: each.purpose for each in (batch, ahead) if each}
                    self._open()
                    while self._unlabelled[batch.number] and not self._closed:
                        self._changed.wait()
                    if self._closed:
                        return
                    self._state = "labelling" if any(self._unlabelled.values()) else "working"
                    self._leases.version += 1
        except Exception as error:  # those who wait are told whatever ends this thread
            self.fail(str(error))

    def _open(self) -> None:
        """Hand out the open batches, less what is answered or in hand."""
        batches = self.session.batches
        items = {image: Item(batch.number) for batch in batches.batches.values() for image in batch.indices.tolist()}
        self._unlabelled = {batch.number: len(batch.indices) for batch in batches.batches.values()}
        self._given = {}
        for opinion in batches.opinions():
            item = items[opinion.image]
            if opinion.final:
                item.label = opinion.label
                self._unlabelled[item.number] -= 1
            if not opinion.final or self.opinions == 1:
                item.votes[opinion.annotator] = opinion.label
                self._given.setdefault(opinion.annotator, []).append(opinion.image)
        for image, item in items.items():
            self._settle(image, item)
        self._leases.replace(items)
        self._state = "labelling"
        self._changed.notify_all()

    def _keep(self, annotator: str, image: int, item: Item, label: int) -> None:
        """Have an answer on disk, and the image's label too if that is settled by it."""
        if self.opinions > 1:
            self.session.vote(image, label, annotator=annotator)
            item.votes[annotator] = label
            if not self._settle(image, item):
                self._leases.want(image)
        else:
            self._tell(image, item, label, annotator)
            item.votes[annotator] = label

    def _settle(self, image: int, item: Item) -> bool:
        """Tell the session the label that most annotators gave, once there are enough of them and no tie."""
        if item.label is None and len(item.votes) >= self.opinions:
            ranked = Counter(item.votes.values()).most_common(2)
            if len(ranked) == 1 or ranked[0][1] > ranked[1][1]:
                self._tell(image, item, ranked[0][0], ", ".join(item.votes))
        return item.label is not None

    def _tell(self, image: int, item: Item, label: int, annotator: str) -> None:
        if label == UNKNOWN:
            self.session.tell_unknown([image], annotator=annotator)
        else:
            self.session.tell([image], [label], annotator=annotator)
        item.label = label
        self._unlabelled[item.number] -= 1

    def _is_open(self, image: int) -> bool:
        """Whether an answer to an image can be taken back still."""
        return image in self._leases.items and self._unlabelled[self._leases.items[image].number] > 0

    def _is_free(self, annotator: str, item: Item) -> bool:
        """Whether an annotator whose lease was lost may label an image all the same, because nobody else has it."""
        return annotator not in item.votes and item.is_wanted(self.opinions)

    # ------------------------------------------------------------------------------------------------------
    # Estimates

    def _pace(self) -> float:
        """Labels a second of late, 0 before there are a few."""
        now = self._clock()
        while self._times and self._times[0] < now - PACE_SPAN:
            self._times.popleft()
        return len(self._times) / max(now - self._times[0], 1.0) if len(self._times) >= 5 else 0.0

    def _seconds_left(self, progress: Progress) -> float | None:
        """About how long the work on the next batch still takes."""
        elapsed = self._clock() - self._began
        if progress.training:
            return elapsed * (1 - progress.training) / progress.training
        return max(self._took - elapsed, 1.0) if self._took > 1 else None
