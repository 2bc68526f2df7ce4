"""Leases: which annotator has which image, and until when."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Item:
    """An image of an open batch: how many opinions it needs, who called it what, who has it until when, and its label
    once that is settled."""

    number: int
    needed: int = 1
    votes: dict[str, int] = field(default_factory=dict)
    holders: dict[str, float] = field(default_factory=dict)
    label: int | None = None

    def is_wanted(self) -> bool:
        """Whether one more annotator is to see it."""
        return self.label is None and len(self.votes) + len(self.holders) < self.needed


class Leases:
    """Hands each of ``items`` to as many annotators as it needs, for ``lease`` seconds of ``clock``, and to none whom
    ``accepts`` refuses.

    ``version`` rises when images may have become free. Not safe for several threads at once: a desk has the lock.
    """

    def __init__(self, lease: float, clock: Callable[[], float], accepts: Callable[[str, int], bool]):
        self.lease, self._clock, self._accepts = lease, clock, accepts
        self.items: dict[int, Item] = {}
        self.version = 0
        self._queue: deque[int] = deque()  # images that are wanted, and some that are no more
        self._held: dict[str, list[int]] = {}
        self._skipped: set[tuple[str, int]] = set()
        self._looked = clock()

    def replace(self, items: dict[int, Item]) -> None:
        """Hand out these items from now on; images that are among both stay with whoever holds them."""
        for image, item in items.items():
            if image in self.items:
                item.holders = self.items[image].holders
        self.items = items
        self._held = {name: [i for i in images if i in items] for name, images in self._held.items()}
        self._skipped = {(name, image) for name, image in self._skipped if image in items}
        self._queue = deque(image for image, item in items.items() if item.is_wanted())
        self.version += 1

    def take(self, annotator: str, count: int) -> list[int]:
        """Up to ``count`` images for an annotator: those that they hold already, then new ones. Renews the leases."""
        now = self._clock()
        self._lapse(now)
        held = self._held.setdefault(annotator, [])
        self._lease_new(annotator, held, count)
        for image in held:
            self.items[image].holders[annotator] = now + self.lease
        return held[:count]

    def give(self, annotator: str, image: int) -> None:
        """Let an annotator hold an image, before all others that they hold."""
        self.items[image].holders[annotator] = self._clock() + self.lease
        self._held.setdefault(annotator, []).insert(0, image)
        self.want(image)

    def held(self, annotator: str) -> list[int]:
        """The images that an annotator holds."""
        return list(self._held.get(annotator, []))

    def slip_in(self, annotator: str, image: int, item: Item) -> None:
        """Let an annotator hold an image of no open batch, after all others that they hold."""
        self.items[image] = item
        item.holders[annotator] = self._clock() + self.lease
        self._held.setdefault(annotator, []).append(image)

    def want(self, image: int) -> None:
        """Hand an image out once more, if it is wanted."""
        if self.items[image].is_wanted():
            self._queue.append(image)
            self.version += 1

    def end(self, annotator: str, image: int) -> None:
        """End a lease."""
        self.items[image].holders.pop(annotator, None)
        if image in self._held.get(annotator, []):
            self._held[annotator].remove(image)

    def skip(self, annotator: str, image: int) -> None:
        """End a lease, and hand the image to this annotator only when there is no other for them."""
        self.end(annotator, image)
        self._skipped.add((annotator, image))
        self.want(image)

    def release(self, annotator: str) -> None:
        """End all leases of an annotator; their images come next."""
        for image in self._held.pop(annotator, [])[::-1]:
            self.end(annotator, image)
            self._queue.appendleft(image)
        self.version += 1

    def _lease_new(self, annotator: str, held: list[int], count: int) -> None:
        """Lease images from the queue until ``held`` has ``count``, skipped ones last."""
        for again in (False, True):
            later = []
            while len(held) < count and self._queue:
                image = self._queue.popleft()
                item = self.items.get(image)
                if item is None or not item.is_wanted():
                    continue
                skipped = (annotator, image) in self._skipped
                has_it = annotator in item.votes or annotator in item.holders
                if has_it or (skipped and not again) or not self._accepts(annotator, image):
                    later.append(image)
                    continue
                item.holders[annotator] = 0.0
                held.append(image)
                if item.is_wanted():
                    later.append(image)
            self._queue.extendleft(reversed(later))

    def _lapse(self, now: float) -> None:
        """End the leases of those of whom nothing was heard for too long; looks once a second."""
        if now < self._looked + 1:
            return
        self._looked = now
        for annotator, images in self._held.items():
            for image in [image for image in images if self.items[image].holders[annotator] < now]:
                self.end(annotator, image)
                self.want(image)
