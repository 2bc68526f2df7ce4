"""The desk: who labels which image of a session, whatever door they come in by.

A desk hands every image to one annotator at a time, takes answers, and has the session train in a thread of its own as
soon as a batch is whole. Answers are on disk before a call returns; leases live in memory alone.
"""

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mcal_jax.algorithm.protocol import UNKNOWN
from mcal_jax.annotators.panel import Panel
from mcal_jax.errors import LogClosed, LogNotWritten, McalError
from mcal_jax.labelling.ballot import Ballot
from mcal_jax.labelling.gold import GoldQuestions, check_rate
from mcal_jax.labelling.jury import Jury
from mcal_jax.labelling.leases import Item, Leases
from mcal_jax.labelling.pace import Pace
from mcal_jax.runs.open_batches import GOLD
from mcal_jax.runs.tally import Progress
from mcal_jax.session import Batch, Session


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


def check_lease(seconds: float) -> None:
    """Raises McalError unless a lease can last so long."""
    if not seconds > 0:
        raise McalError(f"lease: more than 0 seconds, got {seconds}")


def check_settings(*, gold: float = 0.0, lease: float = 180.0, **of_panel: Any) -> None:
    """Raises McalError for settings of a ``Desk`` that make no sense, and without crowd-kit where that is needed."""
    check_lease(lease)
    check_rate(gold)
    Panel(2, **of_panel)


class Desk:
    """Hands images of ``session`` to annotators, known by name, and takes their answers. May be used from any thread.

    Args:
      opinions: how many annotators label each image; with ``mistake_cost`` the most.
      aggregation: what makes one label of theirs: "majority", of which a tie goes to one more annotator, "dawid_skene"
        or "mace", which weigh annotators by how good they are, once a batch has all its opinions.
      mistake_cost: what a wrong label costs, in US dollars: a second opinion is asked for only where that pays, see
        ``mcal_jax.annotators.second_opinion``.
      prices: US dollars for an answer by annotator; of all others the label price, divided by ``opinions``.
      gold: share of gold questions, images whose label is known, among those that an annotator gets. What they answer
        labels nothing; it is paid, and tells how good they are.
      lease: seconds for which an image is kept for an annotator of whom nothing is heard.
      clock: seconds, for leases and pace.

    Raises McalError for settings that make no sense, and without crowd-kit where that is needed.
    """

    def __init__(
        self,
        session: Session,
        *,
        opinions: int = 1,
        aggregation: str = "majority",
        mistake_cost: float | None = None,
        prices: Mapping[str, float] | None = None,
        gold: float = 0.0,
        lease: float = 180.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        check_lease(lease)
        price = session.log.job.config.label_price / max(opinions, 1)
        rules: dict[str, Any] = dict(aggregation=aggregation, mistake_cost=mistake_cost, prices=dict(prices or {}))
        self.jury = Jury(session, opinions=opinions, price=price, **rules)
        self._ballot, self._gold, self._pace = Ballot(session, self.jury), GoldQuestions(session, gold), Pace(clock)
        self.session, self.opinions, self._clock = session, opinions, clock
        self._lease, self._seen = lease, dict[str, float]()  # when each annotator was last heard of, in that order
        self._leases = Leases(lease, clock, self._accepts)
        self._changed = threading.Condition(threading.RLock())
        self._state, self._message, self._closed = "working", "", False
        self._given: dict[str, list[int]] = {}  # what can be undone
        self._thread = threading.Thread(target=self._work, name="mcal-desk", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------------------------------------------
    # What annotators do

    def take(self, annotator: str, count: int = 1) -> list[int]:
        """Up to ``count`` images for an annotator: those that they hold already, then new ones. Renews their leases."""
        with self._changed:
            self._hear_of(annotator)
            for held in self._leases.held(annotator):
                self._is_told(held)
            before = set(self._leases.held(annotator))
            images = self._leases.take(annotator, count)
            for _ in set(images) - before:
                if (image := self._gold.draw(annotator, self._leases.items)) is not None:
                    self._leases.slip_in(annotator, image, Item(GOLD, label=self._gold.truth[image]))
            return images

    def answer(self, annotator: str, image: int, label: int) -> None:
        """Take an annotator's answer to an image they hold: the number of a class, or UNKNOWN for "I can't tell".

        The same answer given twice is taken once. Raises McalError where the image is not theirs to label.
        """
        classes = len(self.session.dataset.classes)
        if label != UNKNOWN and not 0 <= label < classes:
            raise McalError(f"class {label} of {classes}: classes are numbered from 0")
        with self._changed:
            self._note(annotator)
            item = self._leases.items.get(image)
            if item and item.votes.get(annotator) == label:
                return
            if not item or self._is_told(image) or not (annotator in item.holders or self._is_free(annotator, item)):
                raise McalError(f"image {image} is not yours to label: it has a label, or someone else has it now")
            try:
                self._ballot.keep(annotator, image, item, label, self._seen)
            except LogClosed:  # such as a gold question, answered while the session came to its end
                raise McalError(f"image {image} is not yours to label: the session is at its end, or closed") from None
            except LogNotWritten as error:  # a vote may be on the disk, and the label that follows from it not
                self.fail(str(error))
                raise
            self._leases.end(annotator, image)
            self._leases.want(image)
            self._given.setdefault(annotator, []).append(image)
            if item.number != GOLD:
                self._pace.count()
            if not self._ballot.waiting.get(item.number):
                self._changed.notify_all()

    def skip(self, annotator: str, image: int) -> None:
        """Give an image that an annotator holds to someone else, or to them again when no other is left."""
        with self._changed:
            if image in self._leases.items and annotator in self._leases.items[image].holders:
                self._leases.skip(annotator, image)

    def undo(self, annotator: str, image: int | None = None) -> int:
        """Take back the last answer of an annotator, who holds its image again. Returns the image.

        With an ``image`` only its answer: if that is no longer the last one, nothing is done, so that a call whose
        reply was lost can be sent again. Raises McalError if no answer is left whose batch is still open: on a whole
        one a classifier trains.
        """
        with self._changed:
            if not (last := self._latest(annotator, 1)):
                raise McalError("nothing to undo: only answers of a batch that is still open can be taken back")
            if image not in (None, last[0]):
                return last[0]
            image = last[0]
            self._ballot.undo(annotator, image, self._leases.items[image])
            self._given[annotator].pop()
            self._leases.give(annotator, image)
            return image

    def release(self, annotator: str) -> None:
        """Give back all images that an annotator holds: they pause or leave."""
        with self._changed:
            self._leases.release(annotator)

    def answers(self, annotator: str, count: int = 8) -> list[tuple[int, int]]:
        """The last answers of an annotator that can be undone, the latest last: images and labels."""
        with self._changed:
            images = self._latest(annotator, count)
            return [(image, self._leases.items[image].votes[annotator]) for image in images]

    def purpose(self, image: int) -> str:
        """What an image is labelled for (``Batch.purpose``), empty where it is in no open batch."""
        with self._changed:
            item = self._leases.items.get(image)
            if item is None:
                return ""
            is_gold = item.number == GOLD  # it looks like the others
            number = min(self.jury.batches, default=GOLD) if is_gold else item.number
            return self.jury.batches[number].purpose if number in self.jury.batches else ""

    @property
    def version(self) -> int:
        """Another number whenever images may have become free, or the state is another."""
        return self._leases.version

    def status(self) -> Status:
        """How far the labelling is."""
        with self._changed:
            progress = self.session.progress()
            seconds = self._pace.seconds_left(progress.training) if self._state == "working" else None
            left, pace = sum(map(len, self._ballot.waiting.values())), self._pace.labels_a_second()
            return Status(self._state, left, pace, progress, seconds, self._message)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all images have labels, or the work failed; whether that is so."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._state in ("finished", "failed"), timeout)
            return self._state in ("finished", "failed")

    def close(self) -> None:
        """Hand out no more images. The session stays open; a training that runs goes on to its end."""
        with self._changed:
            self._closed, self._given, self._ballot.waiting = True, {}, {}
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
                self._pace.begin()
                batch = self.session.ask()
                ahead = self.session.ask_ahead()
                with self._changed:
                    if self._closed:
                        return
                    if batch is None:
                        self._state, self._ballot.waiting = "finished", {}
                        self._leases.replace({})
                        self._changed.notify_all()
                        return
                    self._pace.end()
                    self._open([each for each in (batch, ahead) if each])
                    while not self._closed and self._ballot.waiting[batch.number]:
                        self._changed.wait()
                    if self._closed:
                        return
                    self._state = "labelling" if any(self._ballot.waiting.values()) else "working"
                    self._leases.version += 1
                if self.jury.panel.is_joint:
                    self._ballot.conclude(batch.number, self._leases.items, self._changed)
        except Exception as error:  # those who wait are told whatever ends this thread
            self.fail(str(error))

    def _open(self, open_batches: list[Batch]) -> None:
        """Hand out the open batches, less what is answered or in hand."""
        self.jury.open(open_batches, self._gold.rate)
        self._gold.look()
        items, self._given = self._ballot.open(self._leases.items)
        for image, item in items.items():
            self._ballot.settle(image, item, self._seen)
        self._leases.replace(items)
        self._state = "labelling"
        self._changed.notify_all()

    def _latest(self, annotator: str, count: int) -> list[int]:
        """The last images of an annotator that can be taken back; forgets those between them that no longer can."""
        given, latest = self._given.get(annotator, []), list[int]()
        while given and len(latest) < count:
            image = given.pop()
            if self._is_open(image):
                latest.insert(0, image)
        given.extend(latest)
        return latest

    def _is_open(self, image: int) -> bool:
        """Whether an answer to an image can be taken back still."""
        return image in self._leases.items and self._ballot.is_open(self._leases.items[image])

    def _is_free(self, annotator: str, item: Item) -> bool:
        """Whether an annotator whose lease was lost may label an image all the same, because nobody else has it."""
        return annotator not in item.votes and item.is_wanted()

    # ------------------------------------------------------------------------------------------------------
    # Where a price decides on second opinions

    def _hear_of(self, annotator: str) -> None:
        """Note that an annotator is here; images that waited only for annotators who left are settled."""
        self._note(annotator)
        silent_since = self._clock() - self._lease
        have_left = list(itertools.takewhile(lambda name: self._seen[name] < silent_since, self._seen))
        for name in have_left:
            del self._seen[name]
        if have_left and self.jury.panel.has_price:
            for image in [image for images in self._ballot.waiting.values() for image in images]:
                self._settle_again(image)

    def _note(self, annotator: str) -> None:
        """Keep ``_seen`` in the order in which annotators were last heard of."""
        self._seen.pop(annotator, None)
        self._seen[annotator] = self._clock()

    def _is_told(self, image: int) -> bool:
        """Whether the session has the label of an image from elsewhere, such as a call of ``Session.tell``."""
        item = self._leases.items[image]
        if not self._ballot.is_told(image, item):
            return False
        for annotator in list(item.holders):
            self._leases.end(annotator, image)
        self._changed.notify_all()
        return True

    def _accepts(self, annotator: str, image: int) -> bool:
        """Whether an image may be handed to an annotator; one that nobody's opinion is worth asking for is settled."""
        if self._is_told(image):
            return False
        if not self.jury.panel.has_price:
            return True
        accepted = self.jury.accepts(self._leases.items[image].number, image, annotator, self._seen)
        if not accepted:
            self._settle_again(image)
        return accepted

    def _settle_again(self, image: int) -> None:
        item = self._leases.items[image]
        if item.votes and not item.holders:
            self._ballot.settle(image, item, self._seen)
            self._changed.notify_all()
