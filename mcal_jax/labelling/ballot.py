"""The ballot of a desk: which images of open batches still want an opinion, and what label their opinions make."""

from collections.abc import Iterable, Mapping
from typing import Any

from mcal_jax.algorithm.protocol import UNKNOWN
from mcal_jax.labelling.jury import Jury
from mcal_jax.labelling.leases import Item
from mcal_jax.runs.open_batches import GOLD, UNANSWERED, GoldAnswer
from mcal_jax.session import Session


class Ballot:
    """Opinions on the images of the open batches of ``session``; each image's label goes to it once it is settled.

    ``waiting`` has the images of each open batch that want an opinion. Not safe for several threads: a desk has the
    lock.
    """

    def __init__(self, session: Session, jury: Jury):
        self.session, self.jury = session, jury
        self.waiting: dict[int, set[int]] = {}

    def open(self, before: Mapping[int, Item]) -> tuple[dict[int, Item], dict[str, list[int]]]:
        """The images to hand out, and what each annotator may take back, in the order they answered.

        ``before`` was handed out until now: its gold questions that somebody holds stay.
        """
        batches = self.session.batches
        items = {image: item for image, item in before.items() if item.number == GOLD and item.holders}
        for number, batch in batches.batches.items():
            items |= {i: Item(number, votes=self.jury.votes(number, i)) for i in batch.indices.tolist()}
        self.waiting = {number: set() for number in batches.batches}
        given: dict[str, list[int]] = {}
        for one in batches.said():
            if isinstance(one, GoldAnswer):
                item = items.setdefault(one.image, Item(GOLD, label=one.truth))
                if item.number != GOLD:
                    continue  # it is asked about for a second opinion now
            else:
                item = items[one.image]
                item.label = one.label if one.final else item.label
                if one.final and self.jury.panel.opinions > 1:
                    continue  # its votes are what annotators said
            item.votes[one.annotator] = one.label
            given.setdefault(one.annotator, []).append(one.image)
        return items, given

    def keep(self, annotator: str, image: int, item: Item, label: int, present: Iterable[str]) -> None:
        """Have an answer on disk, and the image's label too if that is settled by it."""
        if item.number == GOLD:
            assert item.label is not None
            self.jury.answer_gold(GoldAnswer(image, label, item.label, annotator))
            item.votes[annotator] = label
        elif self.jury.panel.opinions > 1 or item.votes:
            self.jury.vote(item.number, image, annotator, label)
            self.settle(image, item, present)
        else:
            self._tell([image], label, annotator)
            item.votes[annotator] = label
            item.label = label
            self.waiting[item.number].discard(image)

    def undo(self, annotator: str, image: int, item: Item) -> None:
        """Take back an annotator's answer: on disk, and in what follows from it."""
        if item.number == GOLD:
            self.jury.undo_gold(image, annotator)
        else:
            self.session.undo(image, annotator=annotator)
        item.votes.pop(annotator, None)
        if item.number != GOLD:
            item.label, item.needed = None, max(item.needed, len(item.votes) + 1)
            self.waiting[item.number].add(image)

    def settle(self, image: int, item: Item, present: Iterable[str]) -> None:
        """See whether an image has its opinions, and tell the session its label unless those on others matter too.

        ``present`` are the annotators who could be asked.
        """
        if item.number == GOLD:
            return
        if item.label is None:
            item.needed = self.jury.needed(item.number, image, present)
            if len(item.votes) < item.needed:
                self.waiting[item.number].add(image)
                return
            if not self.jury.panel.is_joint:
                item.label = self.jury.label(item.number, image)
                self._tell([image], item.label, ", ".join(item.votes))
        self.waiting[item.number].discard(image)

    def is_told(self, image: int, item: Item) -> bool:
        """Whether somebody told the session the label of an image that is asked about; it is asked about no more."""
        told = int(self.session.batches.labels[image])
        if item.number == GOLD or item.label is not None or told == UNANSWERED:
            return False
        item.label = told
        self.waiting[item.number].discard(image)
        return True

    def conclude(self, number: int, items: Mapping[int, Item], lock: Any) -> None:
        """Tell the session the labels of a batch that has all its opinions, by what they say together.

        ``lock`` is not held while that is computed.
        """
        verdict = self.jury.verdict(number, lock)
        with lock:
            for (label, annotators), images in verdict.items():
                self._tell(images, label, annotators)
                for image in images:
                    if image in items:
                        items[image].label = label

    def is_open(self, item: Item) -> bool:
        """Whether an answer to an image can be taken back still."""
        return any(self.waiting.values()) if item.number == GOLD else bool(self.waiting.get(item.number))

    def _tell(self, images: list[int], label: int, annotator: str) -> None:
        if label == UNKNOWN:
            self.session.tell_unknown(images, annotator=annotator)
        else:
            self.session.tell(images, [label] * len(images), annotator=annotator)
