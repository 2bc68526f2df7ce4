"""How good each annotator of a run was, as far as its log tells."""

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from mcal_jax.annotators.aggregation import Vote, accuracies, has_crowdkit
from mcal_jax.runs.open_batches import GoldAnswer, Opinion, gold_answers, opinions
from mcal_jax.runs.runlog import RunLog

if TYPE_CHECKING:
    import pandas as pd


COLUMNS = ["annotator", "answers", "compared", "agreement", "accuracy", "gold", "gold_right", "cost", "first", "last"]


def annotators(log: RunLog) -> "pd.DataFrame":
    """One row an annotator: annotator, answers, compared, agreement, accuracy, gold, gold_right, cost, first, last.

    ``answers`` are labels and votes, ``compared`` those on images that others voted on too; ``agreement`` is the share
    of these that is the label in the end, ``accuracy`` the diagonal of the confusion matrix by Dawid and Skene, which
    needs crowd-kit; ``gold`` counts gold questions, of which the share ``gold_right`` was answered as known; ``cost``
    is in US dollars, gold questions included, each answer at its price when it was given; ``first`` and ``last`` are
    times (UTC). What is not known is NaN.
    """
    import pandas as pd

    given = _by_annotator(log)
    golden: dict[str, list[GoldAnswer]] = defaultdict(list)
    for answer in gold_answers(log.parts):
        golden[answer.annotator].append(answer)
    final = {(one.number, one.image): one.label for one in opinions(log.parts) if one.final}
    several = _compared(given)
    skill = _skill(given, golden)
    rows, label_price = [], log.job.config.label_price
    for name in dict.fromkeys([*given, *golden]):
        own, gold = given.get(name, []), golden.get(name, [])
        compared = [one for one in own if (one.number, one.image) in several]
        agreed = [final.get((one.number, one.image)) == one.label for one in compared]
        paid: list[Opinion | GoldAnswer] = [*own, *gold]
        prices = [one.panel.get("prices", {}).get(name, one.panel.get("price", label_price)) for one in paid]
        times = pd.to_datetime([round(1000 * one.time) for one in own], unit="ms", utc=True)
        rows.append(
            {
                "annotator": name, "answers": len(own), "compared": len(compared), "agreement": _mean(agreed),
                "accuracy": skill.get(name, np.nan), "gold": len(gold),
                "gold_right": _mean([answer.label == answer.truth for answer in gold]),
                "cost": float(sum(prices)), "first": times.min(), "last": times.max(),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def _by_annotator(log: RunLog) -> dict[str, list[Opinion]]:
    """The votes of each annotator, and the labels that one annotator alone gave."""
    everything = list(opinions(log.parts))
    voted = {(one.number, one.image) for one in everything if not one.final}
    given: dict[str, list[Opinion]] = defaultdict(list)
    for one in everything:
        if not one.final or (one.number, one.image) not in voted:
            given[one.annotator].append(one)
    return given


def _compared(given: dict[str, list[Opinion]]) -> set[tuple[int, int]]:
    """The images, by batch, that more than one annotator called something."""
    once: set[tuple[int, int]] = set()
    twice: set[tuple[int, int]] = set()
    for own in given.values():
        keys = {(one.number, one.image) for one in own}
        twice |= once & keys
        once |= keys
    return twice


def _skill(given: dict[str, list[Opinion]], golden: dict[str, list[GoldAnswer]]) -> dict[str, float]:
    """How often each annotator is right, by Dawid and Skene's model; empty without crowd-kit."""
    if not has_crowdkit():
        return {}
    number_of: dict[tuple[int, int], int] = {}
    votes = [
        Vote(number_of.setdefault((one.number, one.image), len(number_of)), name, one.label)
        for name, own in given.items()
        for one in own
    ]
    gold = [answer for answers in golden.values() for answer in answers]
    votes += [Vote(-1 - answer.image, answer.annotator, answer.label) for answer in gold]
    return accuracies(votes, {-1 - answer.image: answer.truth for answer in gold})


def _mean(values: list[bool]) -> float:
    return float(np.mean(values)) if values else np.nan
