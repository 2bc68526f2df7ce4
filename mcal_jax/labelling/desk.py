"""The desk: who labels which image of a session, whatever door they come in by.

A desk hands every image to one annotator at a time, takes answers, and has the session train in a thread of its own as
soon as a batch is whole. Answers are on disk before a call returns; leases live in memory alone.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from mcal_jax.algorithm.protocol import UNKNOWN
from mcal_jax.errors import McalError
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


@dataclass
class _Item:
    """An image of an open batch: who called it what, who has it until when, and its label once that is settled."""

    number: int
    votes: dict[str, int] = field(default_factory=dict)
    holders: dict[str, float] = field(default_factory=dict)
    label: int | None = None

    def is_wanted(self, opinions: int) -> bool:
        """Whether one more annotator is to see it."""
        needed = max(opinions, len(self.votes) + 1)
        return self.label is None and len(self.votes) + len(self.holders) < needed


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
        self.session, self.opinions, self.lease, self._clock = session, opinions, lease, clock
        self._changed = threading.Condition(threading.RLock())
        self._state, self._message, self._closed = "working", "", False
        self._items: dict[int, _Item] = {}
        self._purposes: dict[int, str] = {}  # of the open batches
        self._unlabelled: dict[int, int] = {}  # how many images of each open batch have no label
        self._queue: deque[int] = deque()  # images that are wanted, and some that are no more
        self._held: dict[str, list[int]] = {}
        self._given: dict[str, list[int]] = {}  # what can be undone
        self._skipped: set[tuple[str, int]] = set()
        self._times: deque[float] = deque()
        self._began, self._took, self._looked = clock(), 0.0, clock()
        self.version = 0  # rises when images may have become free, and when the state changes
        self._thread = threading.Thread(target=self._work, name="mcal-desk", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------------------------------------------
    # What annotators do

    def take(self, annotator: str, count: int = 1) -> list[int]:
        """Up to ``count`` images for an annotator: those that they hold already, then new ones. Renews their leases."""
        with self._changed:
            now = self._clock()
            self._lapse(now)
            held = self._held.setdefault(annotator, [])
            held[:] = [image for image in held if annotator in self._items[image].holders]
            self._lease_new(annotator, held, count)
            for image in held:
                self._items[image].holders[annotator] = now + self.lease
            return held[:count]

    def answer(self, annotator: str, image: int, label: int) -> None:
        """Take an annotator's answer to an image they hold: the number of a class, or UNKNOWN for "I can't tell".

        The same answer given twice is taken once. Raises McalError where the image is not theirs to label.
        """
        classes = len(self.session.dataset.classes)
        if label != UNKNOWN and not 0 <= label < classes:
            raise McalError(f"class {label} of {classes}: classes are numbered from 0")
        with self._changed:
            item = self._items.get(image)
            if item and item.votes.get(annotator) == label:
                return
            if item is None or annotator not in item.holders:
                raise McalError(f"image {image} is not yours to label: it has a label, or someone else has it now")
            self._keep(annotator, image, item, label)
            self._give_back(annotator, image)
            self._given.setdefault(annotator, []).append(image)
            self._times.append(self._clock())
            if not self._unlabelled[item.number]:
                self._changed.notify_all()

    def skip(self, annotator: str, image: int) -> None:
        """Give an image that an annotator holds to someone else, or to them again when no other is left."""
        with self._changed:
            if image in self._items and annotator in self._items[image].holders:
                self._give_back(annotator, image)
                self._skipped.add((annotator, image))
                self._queue.append(image)
                self.version += 1

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
            item = self._items[image]
            item.votes.pop(annotator, None)
            if item.label is not None:
                item.label = None
                self._unlabelled[item.number] += 1
            item.holders[annotator] = self._clock() + self.lease
            self._held.setdefault(annotator, []).insert(0, image)
            if item.is_wanted(self.opinions):
                self._queue.append(image)
            self.version += 1
            return image

    def release(self, annotator: str) -> None:
        """Give back all images that an annotator holds: they pause or leave."""
        with self._changed:
            for image in reversed(self._held.pop(annotator, [])):
                if annotator in self._items[image].holders:
                    self._give_back(annotator, image)
                    self._queue.appendleft(image)
            self.version += 1

    def answers(self, annotator: str, count: int = 8) -> list[tuple[int, int]]:
        """The last answers of an annotator that can be undone, the latest last: images and labels."""
        with self._changed:
            images = [image for image in self._given.get(annotator, []) if self._is_open(image)][-count:]
            return [(image, self._items[image].votes[annotator]) for image in images]

    def purpose(self, image: int) -> str:
        """What an image is labelled for (``Batch.purpose``), empty where it is in no open batch."""
        with self._changed:
            item = self._items.get(image)
            return self._purposes.get(item.number, "") if item else ""

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
            self._closed, self._items, self._held, self._given = True, {}, {}, {}
            self._queue.clear()
            self._notify()

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
                        self._state, self._items, self._unlabelled, self._held = "finished", {}, {}, {}
                        self._notify()
                        return
                    self._took = self._clock() - self._began
                    self._purposes = {each.number: each.purpose for each in (batch, ahead) if each}
                    self._open()
                    while self._unlabelled[batch.number] and not self._closed:
                        self._changed.wait()
                    self._state = "labelling" if any(self._unlabelled.values()) else "working"
                    self.version += 1
        except Exception as error:  # those who wait are told whatever ends this thread
            self.fail(str(error))

    def _notify(self) -> None:
        self.version += 1
        self._changed.notify_all()

    def _open(self) -> None:
        """Hand out the open batches, less what is answered or in hand."""
        batches, before = self.session.batches, self._items
        self._items = {
            image: _Item(batch.number, holders=before[image].holders if image in before else {})
            for batch in batches.batches.values()
            for image in batch.indices.tolist()
        }
        self._unlabelled = {batch.number: len(batch.indices) for batch in batches.batches.values()}
        self._given = {}
        for opinion in batches.opinions():
            item = self._items[opinion.image]
            if opinion.final:
                item.label = opinion.label
                self._unlabelled[item.number] -= 1
            if not opinion.final or self.opinions == 1:
                item.votes[opinion.annotator] = opinion.label
                self._given.setdefault(opinion.annotator, []).append(opinion.image)
        for image, item in self._items.items():
            self._settle(image, item)
        self._held = {name: [i for i in images if i in self._items] for name, images in self._held.items()}
        self._skipped = {(name, image) for name, image in self._skipped if image in self._items}
        self._queue = deque(image for image, item in self._items.items() if item.is_wanted(self.opinions))
        self._state = "labelling"
        self._notify()

    def _keep(self, annotator: str, image: int, item: _Item, label: int) -> None:
        """Have an answer on disk, and the image's label too if that is settled by it."""
        if self.opinions > 1:
            self.session.vote(image, label, annotator=annotator)
            item.votes[annotator] = label
            self._settle(image, item)
        else:
            self._tell(image, item, label, annotator)
            item.votes[annotator] = label

    def _settle(self, image: int, item: _Item) -> None:
        """Tell the session the label that most annotators gave, once there are enough of them and no tie."""
        if item.label is not None or len(item.votes) < self.opinions:
            return
        ranked = Counter(item.votes.values()).most_common(2)
        if len(ranked) == 1 or ranked[0][1] > ranked[1][1]:
            self._tell(image, item, ranked[0][0], ", ".join(item.votes))
        else:
            self._queue.append(image)

    def _tell(self, image: int, item: _Item, label: int, annotator: str) -> None:
        if label == UNKNOWN:
            self.session.tell_unknown([image], annotator=annotator)
        else:
            self.session.tell([image], [label], annotator=annotator)
        item.label = label
        self._unlabelled[item.number] -= 1

    def _is_open(self, image: int) -> bool:
        """Whether an answer to an image can be taken back still."""
        return image in self._items and self._unlabelled[self._items[image].number] > 0

    # ------------------------------------------------------------------------------------------------------
    # Leases

    def _lease_new(self, annotator: str, held: list[int], count: int) -> None:
        """Lease images from the queue until ``held`` has ``count``, skipped ones last."""
        for again in (False, True):
            later = []
            while len(held) < count and self._queue:
                image = self._queue.popleft()
                item = self._items.get(image)
                if item is None or not item.is_wanted(self.opinions):
                    continue
                skipped = (annotator, image) in self._skipped
                if annotator in item.votes or annotator in item.holders or (skipped and not again):
                    later.append(image)
                    continue
                item.holders[annotator] = 0.0
                held.append(image)
                if item.is_wanted(self.opinions):
                    later.append(image)
            self._queue.extendleft(reversed(later))

    def _give_back(self, annotator: str, image: int) -> None:
        self._items[image].holders.pop(annotator, None)
        if image in self._held.get(annotator, []):
            self._held[annotator].remove(image)

    def _lapse(self, now: float) -> None:
        """End the leases of those of whom nothing was heard for too long; looks once a second."""
        if now < self._looked + 1:
            return
        self._looked = now
        for annotator, images in self._held.items():
            for image in [image for image in images if self._items[image].holders.get(annotator, now) < now]:
                self._give_back(annotator, image)
                self._queue.append(image)
                self.version += 1

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
