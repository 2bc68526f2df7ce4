"""Gold questions: images whose label is known already, shown among the others to learn how good an annotator is."""

import random
from collections import defaultdict
from collections.abc import Container, Iterator

from mcal_jax.algorithm.protocol import UNKNOWN
from mcal_jax.errors import McalError
from mcal_jax.runs.open_batches import gold_answers, opinions
from mcal_jax.session import Session


def check_rate(rate: float) -> float:
    """``rate``. Raises McalError unless it is a share of gold questions."""
    if not 0 <= rate <= 0.5:
        raise McalError(f"gold: a share of the images from 0 to 0.5, got {rate}")
    return rate


class GoldQuestions:
    """Draws gold questions for the annotators of ``session``: about ``rate`` of the images that they get.

    The labels are those that the session's source knows, or else those that other annotators gave to images of batches
    that are complete. Nobody gets a question twice, or one that they helped to answer. Raises McalError for a rate that
    is no share.
    """

    def __init__(self, session: Session, rate: float):
        self.session, self.rate = session, check_rate(rate)
        self.truth: dict[int, int] = {}
        self._order: list[int] = []
        self._turns: dict[str, Iterator[int]] = {}
        self._seen: dict[int, set[str]] = defaultdict(set)
        self._random = random.Random(0)

    def look(self) -> None:
        """Learn which labels are known by now."""
        if not self.rate:
            return
        given = self.session.dataset.given
        if given is not None:
            self.truth = {i: label for i, label in enumerate(given.tolist()) if label != UNKNOWN}
        parts, still_open = self.session.log.parts, self.session.batches.batches
        for opinion in opinions(parts):
            self._seen[opinion.image].update([opinion.annotator, *opinion.annotator.split(", ")])
            if given is None and opinion.final and opinion.number not in still_open and opinion.label != UNKNOWN:
                self.truth[opinion.image] = opinion.label
        for answer in gold_answers(parts):
            self._seen[answer.image].add(answer.annotator)
        self._order, self._turns = self._random.sample(list(self.truth), len(self.truth)), {}

    def draw(self, annotator: str, taken: Container[int]) -> int | None:
        """An image whose label is known, none of those ``taken``, at ``rate``; else None.

        What is taken stays so until the next ``look``.
        """
        if not self.rate or self._random.random() >= self.rate:
            return None
        if annotator not in self._turns:
            self._turns[annotator] = self._from_anywhere()
        free = (image for image in self._turns[annotator] if image not in taken and annotator not in self._seen[image])
        if (image := next(free, None)) is not None:
            self._seen[image].add(annotator)
        return image

    def _from_anywhere(self) -> Iterator[int]:
        """All images whose label is known, each once, in their random order from a random one on."""
        order, first = self._order, self._random.randrange(max(len(self._order), 1))
        return (order[(first + i) % len(order)] for i in range(len(order)))
