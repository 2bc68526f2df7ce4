"""The panel of a desk: what its annotators say of the images of open batches, from the log and as it comes in."""

import copy
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from mcal_jax.annotators.panel import Panel
from mcal_jax.runs.open_batches import GoldAnswer, gold_answers, opinions
from mcal_jax.session import Batch, Session


class Jury:
    """Several annotators of ``session``; ``rules`` are those of ``Panel``. Raises McalError as that does."""

    def __init__(self, session: Session, **rules: Any):
        self.session, self.rules = session, rules
        self.panel = Panel(len(session.dataset.classes), **rules)
        self.batches: dict[int, Batch] = {}

    def open(self, batches: Iterable[Batch], gold: float) -> None:
        """Learn which batches are open; the first time, take in what the log knows, and keep the rules in it."""
        is_first, self.batches = not self.batches, {batch.number: batch for batch in batches}
        if is_first:
            self.session.batches.agree({**self.rules, "gold": gold})
            for opinion in opinions(self.session.log.parts):
                if not opinion.final:
                    self.panel.add(self._key(opinion.number, opinion.image), opinion.annotator, opinion.label)
            for answer in gold_answers(self.session.log.parts):
                self.panel.add_gold(answer.image, answer.annotator, answer.label, answer.truth)

    def votes(self, number: int, image: int) -> dict[str, int]:
        """What was said of an image of a batch, by annotator: a dictionary that grows."""
        return self.panel.votes.setdefault(self._key(number, image), {})

    def vote(self, number: int, image: int, annotator: str, label: int) -> None:
        """Have a vote on disk, and count it."""
        self.session.vote(image, label, annotator=annotator)
        self.panel.add(self._key(number, image), annotator, label)

    def answer_gold(self, answer: GoldAnswer) -> None:
        """Have the answer to a gold question on disk, and count it for the annotator alone."""
        self.session.batches.gold(answer)
        self.panel.add_gold(answer.image, answer.annotator, answer.label, answer.truth)

    def undo_gold(self, image: int, annotator: str) -> None:
        """Take back the answer to a gold question: on disk, and in what is known of the annotator."""
        self.session.batches.undo_gold(image, annotator)
        self.panel.remove_gold(image, annotator)

    def needed(self, number: int, image: int, present: Iterable[str]) -> int:
        """How many opinions an image is to have, see ``Panel.needed``."""
        return self.panel.needed(self._key(number, image), present, self._stands_for(number))

    def accepts(self, number: int, image: int, annotator: str, present: Iterable[str]) -> bool:
        """Whether an annotator's opinion is worth its price; a first one is taken of anybody, if nobody's is."""
        key, stands_for = self._key(number, image), self._stands_for(number)
        if self.panel.is_wanted(key, annotator, stands_for):
            return True
        return not self.panel.votes.get(key) and not any(
            self.panel.is_wanted(key, name, stands_for) for name in present
        )

    def label(self, number: int, image: int) -> int:
        """The label of an image that has all its opinions, where the votes on others do not matter."""
        key = self._key(number, image)
        return self.panel.labels([key])[key]

    def verdict(self, number: int, lock: Any) -> dict[tuple[int, str], list[int]]:
        """The images of a batch that have no label yet, by their label and the names of who voted.

        ``lock`` is held while the votes are copied, but not while crowd-kit computes.
        """
        with lock:
            panel = copy.deepcopy(self.panel)
            keys = {image: self._key(number, image) for image in self.session.batches.left(number).tolist()}
        labels = panel.labels(keys.values())
        together: dict[tuple[int, str], list[int]] = defaultdict(list)
        for image, key in keys.items():
            together[labels[key], ", ".join(sorted(panel.votes[key]))].append(image)
        return together

    def _stands_for(self, number: int) -> float:
        return self.batches[number].stands_for if number in self.batches else 1.0

    def _key(self, number: int, image: int) -> int:
        """The number of an image for the panel: another one where it gets a second, independent label."""
        entries = self.session.log.entries
        if number < len(entries):
            is_second = entries[number].request["kind"] == "repeat"
        else:
            is_second = number in self.batches and self.batches[number].purpose == "relabel"
        return image + is_second * len(self.session.dataset.images)
