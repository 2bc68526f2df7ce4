"""One label from the votes of several annotators, and how good each of them is: by crowd-kit, and by majority.

Votes are (image, annotator, label) with class numbers, or UNKNOWN for "I can't tell", which counts as one more class.
"""

import contextlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mcal_jax.errors import McalError
from mcal_jax.registry import Registry

if TYPE_CHECKING:
    import pandas as pd


ASSUMED, ASSUMED_WEIGHT = 0.8, 5
"""Accuracy of an annotator of whom nothing is known, and how many answers that assumption counts for."""


class Vote(NamedTuple):
    """What an annotator called an image."""

    image: int
    annotator: str
    label: int


Aggregation = Callable[[list[Vote], Mapping[int, int]], dict[int, int]]
"""Makes one label of all votes on each image; also given labels that are known, by image (gold questions)."""


def majority(votes: list[Vote], known: Mapping[int, int]) -> dict[int, int]:
    """The label that most annotators gave each image; of tied ones, the one that was given first.

    >>> majority([Vote(7, "ada", 2), Vote(7, "bob", 1), Vote(7, "eve", 1)], {})
    {7: 1}
    """
    by_image: dict[int, list[int]] = defaultdict(list)
    for vote in votes:
        by_image[vote.image].append(vote.label)
    return {image: Counter(labels).most_common(1)[0][0] for image, labels in by_image.items()}


def dawid_skene(votes: list[Vote], known: Mapping[int, int]) -> dict[int, int]:
    """The most probable label of each image by the confusion matrices of the annotators (Dawid and Skene 1979).

    Raises McalError without crowd-kit.
    """
    return _labels(_fitted(votes, known).labels_) if votes else {}


def mace(votes: list[Vote], known: Mapping[int, int]) -> dict[int, int]:
    """The most probable label of each image where an annotator either knows it or spams (Hovy et al. 2013).

    It knows nothing of ``known``. Raises McalError without crowd-kit.
    """
    with _quiet():
        return _labels(_crowdkit().MACE(random_state=0).fit_predict(_frame(votes))) if votes else {}


AGGREGATIONS: Registry[Aggregation] = Registry(
    "aggregation", {"majority": majority, "dawid_skene": dawid_skene, "mace": mace}
)


def check_aggregation(name: str) -> str:
    """The name of an aggregation. Raises McalError for an unknown one, and for one that needs crowd-kit without it."""
    AGGREGATIONS.check(name)
    if name in ("dawid_skene", "mace"):
        _crowdkit()
    return name


def accuracies(votes: list[Vote], known: Mapping[int, int]) -> dict[str, float]:
    """How often each annotator is right, as far as votes on the same images and ``known`` labels tell.

    The diagonal of the confusion matrix by Dawid and Skene, weighted by how frequent the classes are. Annotators none
    of whose images has a second vote or a known label are left out: nothing is known of them. Raises McalError without
    crowd-kit.
    """
    compared = comparable(votes, known)
    if not compared:
        return {}
    fit = _fitted(compared, known)
    found = {}
    for annotator in dict.fromkeys(vote.annotator for vote in compared):
        matrix = fit.errors_.loc[annotator]
        found[annotator] = float(
            sum(fit.priors_[label] * matrix.loc[label, label] for label in matrix.index if label in matrix.columns)
        )
    return found


def skills(votes: list[Vote]) -> dict[str, float]:
    """How often each annotator is right, where one number stands for each (crowd-kit's one-coin Dawid and Skene).

    A few votes are enough for it, unlike for the confusion matrices of ``accuracies``. Raises McalError without
    crowd-kit.
    """
    compared = comparable(votes, {})
    if not compared:
        return {}
    with _quiet():
        fit = _crowdkit().OneCoinDawidSkene().fit(_frame(compared))
    return {str(name): float(skill) for name, skill in fit.skills_.items()}


def comparable(votes: Iterable[Vote], known: Mapping[int, int]) -> list[Vote]:
    """The votes on images that have another vote, or a known label."""
    votes = list(votes)
    times = Counter(vote.image for vote in votes)
    return [vote for vote in votes if times[vote.image] > 1 or vote.image in known]


def has_crowdkit() -> bool:
    """Whether crowd-kit can be imported."""
    try:
        _crowdkit()
    except McalError:
        return False
    return True


def _crowdkit() -> Any:
    try:
        from crowdkit import aggregation
    except ImportError:
        raise McalError("dawid_skene and mace need crowd-kit: pip install 'mcal-jax[crowd]'") from None
    return aggregation


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without crowd-kit's warnings, which are about pandas."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _fitted(votes: list[Vote], known: Mapping[int, int]) -> Any:
    import pandas as pd

    answered = [vote for vote in votes if vote.image in known]
    if not answered:
        with _quiet():
            return _crowdkit().DawidSkene().fit(_frame(votes))
    truth = pd.Series({vote.image: known[vote.image] for vote in answered})
    model = _crowdkit().DawidSkene(initial_error_strategy="assign")
    with _quiet():
        return model.fit(_frame(votes), true_labels=truth, initial_error=_first_errors(votes, known))


def _first_errors(votes: list[Vote], known: Mapping[int, int]) -> "pd.DataFrame":
    """Confusion matrices to begin with, by annotator and label, a column for each class: each other class is as likely
    a mistake, and the accuracy is that on known labels, drawn towards ``ASSUMED``.

    Without them the fit begins at majority votes, from which it may not find who of two is the better one.
    """
    import numpy as np
    import pandas as pd

    right, seen = Counter[str](), Counter[str]()
    for vote in votes:
        if vote.image in known:
            seen[vote.annotator] += 1
            right[vote.annotator] += vote.label == known[vote.image]
    names = list(dict.fromkeys(vote.annotator for vote in votes))
    classes = sorted({vote.label for vote in votes} | set(known.values()))
    matrices = []
    for name in names:
        accuracy = (ASSUMED_WEIGHT * ASSUMED + right[name]) / (ASSUMED_WEIGHT + seen[name])
        matrix = np.full((len(classes), len(classes)), (1 - accuracy) / max(len(classes) - 1, 1))
        np.fill_diagonal(matrix, accuracy)
        matrices.append(matrix)
    rows = pd.MultiIndex.from_product([names, classes], names=["worker", "label"])
    return pd.DataFrame(np.concatenate(matrices), rows, classes)


def _frame(votes: list[Vote]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(votes).rename(columns={"image": "task", "annotator": "worker"})


def _labels(series: "pd.Series") -> dict[int, int]:
    return {int(image): int(label) for image, label in series.items()}
