"""Leases: which annotator has which image, and until when."""

import itertools
from collections.abc import Callable, Iterable, Iterator
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


class Line:
    """Images in the order in which they are handed out; every annotator sees each entry once.

    An entry that nobody wants by ``is_wanted`` when it is first of all is seen by no one: an image that is wanted again
    is appended again.
    """

    def __init__(self, images: Iterable[int], is_wanted: Callable[[int], bool]):
        self._images, self._is_wanted = list(images), is_wanted
        self._first = 0
        self._next: dict[str, int] = {}

    def append(self, image: int) -> None:
        """Add an entry, the last."""
        self._images.append(image)

    def unseen(self, annotator: str) -> Iterator[int]:
        """The entries that an annotator has not seen yet."""
        while True:
            while self._first < len(self._images) and not self._is_wanted(self._images[self._first]):
                self._first += 1
            at = max(self._next.get(annotator, 0), self._first)
            if at >= len(self._images):
                return
            self._next[annotator] = at + 1
            yield self._images[at]


class Leases:
    """Hands each of ``items`` to as many annotators as it needs, for ``lease`` seconds of ``clock``, and to none whom
    ``accepts`` refuses.

    ``version`` rises when images may have become free. Not safe for several threads at once: a desk has the lock.
    """

    def __init__(self, lease: float, clock: Callable[[], float], accepts: Callable[[str, int], bool]):
        self.lease, self._clock, self._accepts = lease, clock, accepts
        self.items: dict[int, Item] = {}
        self.version = 0
        self._released, self._queue = self._line(), self._line()
        self._held: dict[str, list[int]] = {}
        self._aside: dict[str, dict[int, None]] = {}  # by annotator: skipped, or refused to them, in this order
        self._looked = clock()

    def replace(self, items: dict[int, Item]) -> None:
        """Hand out these items from now on; images that are among both stay with whoever holds them."""
        for image, item in items.items():
            if image in self.items:
                item.holders = self.items[image].holders
        self.items = items
        self._held = {name: [i for i in images if i in items] for name, images in self._held.items()}
        self._aside = {name: {i: None for i in images if i in items} for name, images in self._aside.items()}
        self._released, self._queue = self._line(), self._line(items)
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
        self._aside.setdefault(annotator, {})[image] = None
        self.want(image)

    def release(self, annotator: str) -> None:
        """End all leases of an annotator; their images come next."""
        for image in self._held.pop(annotator, []):
            self.end(annotator, image)
            self._released.append(image)
        self.version += 1

    def _lease_new(self, annotator: str, held: list[int], count: int) -> None:
        """Lease images until ``held`` has ``count``."""
        offered = self._offered(annotator)
        while len(held) < count and (image := next(offered, None)) is not None:
            item = self.items[image]
            if annotator in item.votes or annotator in item.holders or not item.is_wanted():
                continue
            if self._accepts(annotator, image):
                item.holders[annotator] = 0.0
                held.append(image)
            else:
                self._aside[annotator][image] = None

    def _offered(self, annotator: str) -> Iterator[int]:
        """Images for an annotator: those given back, those new to them, and again and again those set aside."""
        aside = self._aside.setdefault(annotator, {})
        new = itertools.chain(self._released.unseen(annotator), self._queue.unseen(annotator))
        yield from (image for image in new if image not in aside)
        yield from list(aside)

    def _line(self, images: Iterable[int] = ()) -> Line:
        return Line(images, lambda image: self.items[image].is_wanted())

    def _lapse(self, now: float) -> None:
        """End the leases of those of whom nothing was heard for too long; looks once a second."""
        if now < self._looked + 1:
            return
        self._looked = now
        for annotator, images in self._held.items():
            for image in [image for image in images if self.items[image].holders[annotator] < now]:
                self.end(annotator, image)
                self.want(image)
