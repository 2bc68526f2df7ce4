"""What a classifier of one's own says of each item, checked once, from arrays or from a table."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mcal_jax.algorithm.fields import HIGHEST_PRICE, LOWEST_PRICE
from mcal_jax.algorithm.protocol import UNKNOWN
from mcal_jax.data import Dataset, from_arrays
from mcal_jax.data.pictures import FILE_COLUMNS
from mcal_jax.data.tables import as_text, read_text
from mcal_jax.errors import McalError, shown
from mcal_jax.files import absolute
from mcal_jax.inputs import class_number

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "item": ("item", *FILE_COLUMNS, "id"),
    "prediction": ("prediction", "predicted"),
    "score": ("score", "confidence"),
    "cost": ("cost",),
    "label": ("label",),
}
"""What the columns of a table may be called, whatever their case."""
PROBABILITY = "p_"
"""How the names of columns of probabilities begin, before the name of the class."""
LARGEST_SCORE = 1e9
"""Larger scores, of either sign, can't be kept in a log with four decimals."""


class Predictions(NamedTuple):
    """A classifier's labels of n items, numbers of ``classes``, int32 [n], and ``scores``, float64 [n], the higher the
    surer.

    ``items`` are their names, empty for arrays; ``truth`` int32 [n] the labels that are known already, -1 elsewhere;
    ``costs`` float64 [n] what humans charge for a label of each, in US dollars, None where all cost the same.
    """

    name: str
    labels: np.ndarray
    scores: np.ndarray
    classes: tuple[str, ...]
    items: tuple[str, ...] = ()
    truth: np.ndarray | None = None
    costs: np.ndarray | None = None

    @property
    def is_known(self) -> bool:
        """Whether all labels are known already."""
        return self.truth is not None and bool((self.truth != UNKNOWN).all())

    @property
    def owned(self) -> tuple[int, ...]:
        """The positions of the items whose labels are known where only some are; they cost nothing."""
        return () if self.is_known or self.truth is None else tuple(np.flatnonzero(self.truth != UNKNOWN).tolist())

    @property
    def are_probabilities(self) -> bool:
        """Whether the scores may be the chances that the predictions are right."""
        return bool(self.scores.min() >= 0 and self.scores.max() <= 1)

    @property
    def order(self) -> np.ndarray:
        """By what the predictions are taken, the highest first, float64 [n].

        That is the score. Where items cost differently and scores are probabilities, the expected mistakes for each
        dollar that a prediction saves count, negated: mistakes are what epsilon limits, so those that save most are
        allowed first. The bound holds for any order that is fixed before V is drawn.
        """
        if self.costs is None or not self.are_probabilities:
            return self.scores
        return -(1 - self.scores) / self.costs

    def dataset(self) -> Dataset:
        """The items as a pool, for those who label. Raises McalError for names of classes that can't be."""
        pool = from_arrays(features=self.scores[:, None], classes=self.classes, name=self.name)
        return pool._replace(files=self.items, given=self.truth)


def from_scores(predictions: Any, confidence: Any, classes: Sequence[str] | None) -> Predictions:
    """Predictions, numbers or names of classes [n], and confidences [n], as they are at hand in Python.

    Raises McalError.
    """
    try:
        scores = np.asarray(confidence, float)
    except (TypeError, ValueError):
        raise McalError("confidence: one number for each image is needed") from None
    if scores.ndim != 1 or not (np.abs(scores) <= LARGEST_SCORE).all():
        shape = list(scores.shape)
        raise McalError(f"confidence: one number for each image is needed, got shape {shape}, infinity or NaN")
    given = list(predictions)
    if len(given) != len(scores) or not given:
        raise McalError(f"{len(given)} predictions and {len(scores)} confidences: give one of each for every image")
    if classes is None:
        by_name = any(isinstance(one, str) for one in given)
        numbers = [one for one in given if isinstance(one, int | np.integer)]
        classes = sorted(set(map(str, given))) if by_name else [str(k) for k in range(max(numbers, default=0) + 1)]
    names = tuple(map(str, classes))
    number_of = {name: number for number, name in enumerate(names)}
    labels = [
        number_of[one] if isinstance(one, str) and one in number_of else class_number(one, names) for one in given
    ]
    return Predictions("predictions", np.array(labels, np.int32), scores, names)


# ---------------------------------------------------------------------------------------------------------
# Tables


def from_table(table: str | os.PathLike, classes: Sequence[str] | None = None) -> Predictions:
    """The predictions in a table: CSV, TSV, Parquet or JSON lines, UTF-8.

    Columns, by name: ``item`` (or file, path, id, ...), ``prediction``, ``score`` (or confidence); ``cost`` and
    ``label`` if there are any, a label empty where it is not known. Columns ``p_cat``, ``p_dog``, ... are probabilities
    of classes: they stand in for a prediction, a score or both that have no column. ``classes``: by default all that
    occur. Raises McalError that names the column or the item.
    """
    path = absolute(table)
    frame = read_text(path)
    columns = _columns(frame, table)
    if not len(frame):
        raise McalError(f"'{table}' has no rows")
    items = as_text(frame[columns["item"]])
    _check_items(items, table)
    where = Where(str(table), items)
    likely, scores = _of_probabilities(frame, where)
    predicted = as_text(frame[columns["prediction"]]) if "prediction" in columns else likely
    known = as_text(frame[columns["label"]]) if "label" in columns else [""] * len(items)
    names = _classes(classes, [*set(predicted), *set(known), *set(likely)], table)
    costs = _numbers(frame, columns["cost"], where, LOWEST_PRICE, HIGHEST_PRICE) if "cost" in columns else None
    if "score" in columns:
        scores = _numbers(frame, columns["score"], where, -LARGEST_SCORE, LARGEST_SCORE)
    truth = _class_numbers(known, names, where, "label")
    labels = _class_numbers(predicted, names, where, "prediction")
    if (labels == UNKNOWN).any():
        raise McalError(f"{where.of(int(np.argmax(labels == UNKNOWN)))}: no prediction")
    given = truth if (truth != UNKNOWN).any() else None
    return Predictions(path.name, labels, scores, names, tuple(items), given, costs)


class Where(NamedTuple):
    """A table and its items, for messages."""

    table: str
    items: list[str]

    def of(self, row: int) -> str:
        """The table and the item of a row."""
        return f"'{self.table}', item {shown(self.items[row])!r}"


def _columns(frame: "pd.DataFrame", table: str | os.PathLike) -> dict[str, str]:
    """The names that the columns have in this table, by ``COLUMNS``. Raises McalError for one that is missing."""
    there = {str(name).strip().lower(): name for name in reversed(list(frame))}
    columns = {
        column: there[found]
        for column, names in COLUMNS.items()
        if (found := next((name for name in names if name in there), None)) is not None
    }
    has_probabilities = any(str(name).startswith(PROBABILITY) for name in frame)
    for column in ("item",) if has_probabilities else ("item", "prediction", "score"):
        if column not in columns:
            has = ", ".join(map(shown, map(str, frame))) or "none"
            raise McalError(f"'{table}' has no column '{column}'; its columns are {has}")
    return columns


def _check_items(items: list[str], table: str | os.PathLike) -> None:
    if "" in items:
        raise McalError(f"'{table}': row {items.index('') + 1} names no item")
    item, times = Counter(items).most_common(1)[0]
    if times > 1:
        raise McalError(f"'{table}': item {shown(item)!r} is there more than once")


def _of_probabilities(frame: "pd.DataFrame", where: Where) -> tuple[list[str], np.ndarray]:
    """The most probable class of each item and its probability, by the columns of probabilities; none without them."""
    columns = [name for name in frame if str(name).startswith(PROBABILITY)]
    if not columns:
        return [], np.empty(0)
    chances = np.stack([_numbers(frame, name, where, 0, 1) for name in columns], 1)
    names = [str(name).removeprefix(PROBABILITY) for name in columns]
    return [names[k] for k in chances.argmax(1)], chances.max(1)


def _numbers(frame: "pd.DataFrame", column: str, where: Where, lowest: float, highest: float) -> np.ndarray:
    """The numbers of a column, float64 [n]. Raises McalError for an item that has none, or one out of bounds."""
    import pandas as pd

    numbers = pd.to_numeric(frame[column], errors="coerce").to_numpy(float, na_value=np.nan)
    wrong = ~((numbers >= lowest) & (numbers <= highest))  # NaN too
    if wrong.any():
        row = int(np.argmax(wrong))
        text = as_text(frame[column].iloc[[row]])[0]
        raise McalError(
            f"{where.of(row)}: {column} is {shown(text)!r}: a number from {lowest:g} to {highest:g} is needed"
        )
    return numbers


def _classes(given: Sequence[str] | None, occurring: list[str], table: str | os.PathLike) -> tuple[str, ...]:
    """The names of the classes. Raises McalError for fewer than two."""
    names = sorted({name for name in occurring if name}) if given is None else list(given)
    if given is None and all(name.isdecimal() for name in names):
        names.sort(key=int)
    if len(names) < 2:
        raise McalError(f"'{table}' has {len(names)} class{'es' * (len(names) != 1)}: give the names of at least 2")
    return tuple(names)


def _class_numbers(labels: list[str], classes: tuple[str, ...], where: Where, column: str) -> np.ndarray:
    """Numbers of classes, int32 [n], UNKNOWN for "". Raises McalError for a name that is no class."""
    numbers = {"": UNKNOWN, **{name: number for number, name in enumerate(classes)}}
    for row, label in enumerate(labels):
        if label not in numbers:
            try:
                class_number(label, classes)
            except McalError as error:
                raise McalError(f"{where.of(row)}: {column}: {error}") from None
    return np.array([numbers[label] for label in labels], np.int32)
