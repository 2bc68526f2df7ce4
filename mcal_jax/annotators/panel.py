"""A panel: annotators who label the same images. Whose opinion is still wanted, and what all say together."""

from collections import Counter
from collections.abc import Iterable, Mapping

from mcal_jax.algorithm.protocol import UNKNOWN
from mcal_jax.annotators.aggregation import (
    AGGREGATIONS,
    ASSUMED,
    ASSUMED_WEIGHT,
    Vote,
    check_aggregation,
    comparable,
    skills,
)
from mcal_jax.annotators.second_opinion import belief, pays
from mcal_jax.errors import McalError

FIRST_COMPARED = 20
"""Answers of an annotator that are compared with others' before the price decides."""
ENOUGH_GOLD = 10
"""Gold questions of an annotator, from which on they alone say how good the annotator is."""
REFIT = 1.5
"""Accuracies are estimated again when there are so many times more votes."""


class Panel:
    """What annotators, known by name, called each image, and what follows from it.

    Args:
      classes: how many.
      opinions: how many annotators label each image; with ``mistake_cost`` the most.
      aggregation: "majority", of which a tie goes to one more annotator, "dawid_skene" or "mace".
      price: US dollars for an answer; ``prices`` by annotator, where they differ.
      mistake_cost: what a wrong label costs in US dollars. If it is given, one more opinion is asked for only where it
        pays (``mcal_jax.annotators.second_opinion``), and the label is the likeliest by the accuracies of those who
        voted; ``aggregation`` has no say.

    Raises McalError for settings that make no sense, and where crowd-kit is needed and missing.
    """

    def __init__(
        self,
        classes: int,
        *,
        opinions: int = 1,
        aggregation: str = "majority",
        price: float = 0.04,
        prices: Mapping[str, float] | None = None,
        mistake_cost: float | None = None,
    ):
        self.classes, self.opinions, self.mistake_cost = classes, opinions, mistake_cost
        self.price, self.prices = price, dict(prices or {})
        if opinions < 1:
            raise McalError(f"opinions: at least 1, got {opinions}")
        if mistake_cost is not None and not mistake_cost > 0:
            raise McalError(f"mistake_cost: more than 0 US dollars, got {mistake_cost}")
        if mistake_cost is not None and opinions < 2:
            raise McalError("mistake_cost: it decides on second opinions, so give opinions, the most, at least 2")
        for name, dollars in self.prices.items():
            if not dollars >= 0:
                raise McalError(f"prices: {name} has {dollars}; US dollars, at least 0, are needed")
        self.aggregation = check_aggregation("dawid_skene" if mistake_cost is not None else aggregation)
        self.votes: dict[int, dict[str, int]] = {}
        self.gold: dict[str, dict[int, tuple[int, int]]] = {}
        self._skills: dict[str, float] = {}
        self._compared: Counter[str] = Counter()
        self._fitted_at = 0

    @property
    def is_joint(self) -> bool:
        """Whether labels follow from the votes on all images, and so are settled for a whole batch at once."""
        return self.aggregation != "majority"

    @property
    def has_price(self) -> bool:
        """Whether a price decides on second opinions."""
        return self.mistake_cost is not None

    def add(self, image: int, annotator: str, label: int) -> None:
        """Take a vote: the number of a class, or UNKNOWN."""
        self.votes.setdefault(image, {})[annotator] = label
        self._count(image)

    def remove(self, image: int, annotator: str) -> None:
        """Take a vote back."""
        self.votes.get(image, {}).pop(annotator, None)

    def add_gold(self, image: int, annotator: str, label: int, truth: int) -> None:
        """Take an answer to a question whose answer is known: it counts for the annotator's accuracy alone."""
        self.gold.setdefault(annotator, {})[image] = (label, truth)

    def remove_gold(self, image: int, annotator: str) -> None:
        """Take back an answer to a question whose answer is known."""
        self.gold.get(annotator, {}).pop(image, None)

    def price_of(self, annotator: str) -> float:
        """US dollars for an answer."""
        return self.prices.get(annotator, self.price)

    def accuracy(self, annotator: str) -> float:
        """How often an annotator is right, by estimate, drawn towards ``ASSUMED`` while little is known.

        By gold questions, once ``ENOUGH_GOLD`` are answered: votes alone may not tell who of two is the better one.
        """
        gold = self.gold.get(annotator, {}).values()
        if len(gold) >= ENOUGH_GOLD:
            seen, right = len(gold), float(sum(label == truth for label, truth in gold))
        else:
            seen = self._compared[annotator] if annotator in self._skills else 0
            right = seen * self._skills.get(annotator, ASSUMED)
        return (ASSUMED_WEIGHT * ASSUMED + right) / (ASSUMED_WEIGHT + seen)

    def is_known(self, annotator: str) -> bool:
        """Whether enough answers of an annotator were compared with others' or with known ones."""
        return self._compared[annotator] >= FIRST_COMPARED or len(self.gold.get(annotator, {})) >= ENOUGH_GOLD

    def needed(self, image: int, present: Iterable[str] = (), stands_for: float = 1.0) -> int:
        """How many opinions the image is to have; with a price, one more than now if that pays of one who is present.

        ``stands_for``: of how many images it is a sample, see ``is_wanted``.
        """
        votes = self.votes.get(image, {})
        if not self.has_price:
            is_tied = not self.is_joint and len(votes) >= self.opinions and _is_tied(votes)
            return len(votes) + 1 if is_tied else self.opinions
        others = [name for name in present if name not in votes]
        more = not votes or any(self.is_wanted(image, name, stands_for) for name in others)
        return len(votes) + 1 if more else len(votes)

    def is_wanted(self, image: int, annotator: str, stands_for: float = 1.0) -> bool:
        """Whether an annotator's opinion on an image pays; without a price it always does.

        A wrong label of T or V, samples of ``stands_for`` images an image, may also count as a mistake of the
        classifier, and so leave about that many images to humans, for the price of a label each.
        """
        votes = self.votes.get(image, {})
        if annotator in votes:
            return False
        if self.mistake_cost is None:
            return True
        if len(votes) >= self.opinions:
            return False
        if not all(self.is_known(name) for name in (annotator, *votes)):
            return True  # nobody knows yet what the opinion is worth
        cost = self.mistake_cost + (stands_for > 1) * stands_for * self.price
        return pays(self.belief(votes), self.accuracy(annotator), self.price_of(annotator), cost)

    def belief(self, votes: Mapping[str, int]):
        """The probability of each class after votes by annotator, float [classes]."""
        return belief(votes, {name: self.accuracy(name) for name in votes}, self.classes)

    def labels(self, images: Iterable[int]) -> dict[int, int]:
        """One label for each of the images, all of which have votes."""
        wanted = list(images)
        if self.has_price:
            self._estimate()
            return {image: self._likeliest(self.votes[image]) for image in wanted}
        every = AGGREGATIONS[self.aggregation](*self._evidence(None if self.is_joint else wanted))
        return {image: every[image] for image in wanted}

    def _likeliest(self, votes: Mapping[str, int]) -> int:
        return UNKNOWN if set(votes.values()) == {UNKNOWN} else int(self.belief(votes).argmax())

    def _count(self, image: int) -> None:
        """Count answers that can be compared with others', and estimate accuracies now and then."""
        votes = self.votes[image]
        if not self.has_price or len(votes) < 2:
            return
        self._compared.update(votes if len(votes) == 2 else list(votes)[-1:])
        if self._compared.total() >= max(REFIT * self._fitted_at, FIRST_COMPARED):
            self._estimate()

    def _estimate(self) -> None:
        votes = [vote for vote in self._evidence()[0] if vote.image >= 0]
        self._skills = skills(votes)
        self._compared = Counter(vote.annotator for vote in comparable(votes, {}))
        self._fitted_at = self._compared.total()

    def _evidence(self, images: list[int] | None = None) -> tuple[list[Vote], dict[int, int]]:
        """All votes, or those on ``images``, and the labels that gold questions know. These have numbers of their own,
        below those of images, for what an annotator says to them is no vote on the image."""
        votes = [Vote(i, *vote) for i in (self.votes if images is None else images) for vote in self.votes[i].items()]
        known: dict[int, int] = {}
        for name, answers in self.gold.items():
            for image, (label, truth) in answers.items():
                votes.append(Vote(-1 - image, name, label))
                known[-1 - image] = truth
        return votes, known


def _is_tied(votes: Mapping[str, int]) -> bool:
    ranked = Counter(votes.values()).most_common(2)
    return len(ranked) > 1 and ranked[0][1] == ranked[1][1]
