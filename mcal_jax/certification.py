"""Certifying a classifier of one's own: predictions and confidences in, labels with a bound on their error out."""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcal_jax.algorithm.certify_predictions import suggested_sample
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.annotators import Annotator
from mcal_jax.errors import McalError
from mcal_jax.files import absolute
from mcal_jax.inputs import as_annotator, class_number
from mcal_jax.result import Result
from mcal_jax.runs.codec import digest
from mcal_jax.runs.driver import drive
from mcal_jax.runs.provenance import provenance
from mcal_jax.runs.runlog import RunLog
from mcal_jax.worlds.predictions import PredictionsWorld

CURVE = 100
"""Points at which the classifier's expected mistakes are weighed to choose |V|."""


def certify(
    predictions: Sequence[Any] | np.ndarray,
    confidence: Sequence[float] | np.ndarray,
    *,
    annotate: Annotator | Callable[[np.ndarray], Any],
    epsilon: float = 0.05,
    level: float = 0.95,
    classes: Sequence[str] | None = None,
    class_epsilon: float | None = None,
    label_price: float = 0.04,
    sample: int | None = None,
    seed: int = 0,
    log: str | os.PathLike | None = None,
) -> Result:
    """The labels of n images, of which fewer than ``epsilon`` are wrong with confidence ``level``.

    Humans, asked by ``annotate``, label a random sample (V); of the other images the classifier's ``predictions`` are
    taken as far as that certifies, in the order of its ``confidence``; humans label the rest. The bound is exact for
    any classifier, an LLM say, and any scores; see ``mcal_jax.algorithm.certificate``.

    Args:
      predictions: the classifier's label of each image, numbers or names of classes [n].
      confidence: how sure it is of each, float [n], the higher the surer; probabilities help to choose ``sample``.
      annotate: an annotator, or a function from positions, int64 [m], to labels [m].
      classes: names of the classes; by default those that occur.
      class_epsilon: bound on the share of wrong labels among what the classifier calls each class.
      sample: |V|; by default what is expected to leave humans the least to label.
      log: a run log that an interrupted call goes on from.

    Raises McalError for predictions and confidences that do not fit, before a label is bought.

    >>> truth = np.arange(2000) % 3
    >>> predictions = np.where(np.arange(2000) < 1900, truth, 0)  # the last hundred may be wrong
    >>> result = certify(predictions, -np.arange(2000), annotate=lambda at: truth[at], epsilon=0.05)
    >>> bool((result.labels != truth).mean() < 0.05), bool(result.bill.savings > 0.5)
    (True, True)
    """
    scores = _scores(confidence)
    names, labels = _named(predictions, classes)
    if labels.shape != scores.shape or not len(labels):
        raise McalError(f"{len(labels)} predictions and {len(scores)} confidences: give one of each for every image")
    config = Config(
        epsilon=epsilon, certify=level, class_epsilon=class_epsilon, label_price=label_price, certificate="trimmed"
    )
    job = Job(
        algorithm="certify_predictions",
        n=len(labels),
        architectures=("predictions",),
        config=config,
        sample=sample or suggested_sample(len(labels), _expected_mistakes(scores, epsilon), config),
    )
    about = {"shape": [len(labels)], "predictions": digest(labels), "confidence": digest(np.argsort(scores))}
    world = PredictionsWorld(labels, scores, names, as_annotator(annotate, names), seed=seed)
    folder = None if log else tempfile.TemporaryDirectory(prefix="mcal-")
    path = absolute(log) if log else Path(folder.name, "run.jsonl")  # type: ignore[union-attr]
    opened = _open(path, job, seed, {**about, "class_names": list(names)})
    try:
        drive(job, world, opened)
    finally:
        opened.close()
    return Result(path, folder=folder)


def _open(path: Path, job: Job, seed: int, content: dict[str, Any]) -> RunLog:
    """The log, new or as it is. Raises McalError if it is about other predictions."""
    run = {"data": {"name": "predictions"}, "seed": seed}
    if not path.exists():
        return RunLog.create(path, job, run, provenance(), content)
    begun = RunLog.read(path)
    if (begun.content, begun.run) != (content, run):
        raise McalError(f"{path} is the log of other predictions, confidences, classes or another seed")
    return RunLog.resume(path)


def _scores(confidence: Any) -> np.ndarray:
    """The confidences, float64 [n]. Raises McalError."""
    try:
        scores = np.asarray(confidence, float)
    except (TypeError, ValueError):
        raise McalError("confidence: one number for each image is needed") from None
    if scores.ndim != 1 or np.isnan(scores).any():
        raise McalError(f"confidence: one number for each image is needed, got shape {list(scores.shape)} or NaN")
    return scores


def _named(predictions: Any, classes: Sequence[str] | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the classes, and the predictions by number, int32 [n]. Raises McalError."""
    given = list(predictions)
    if classes is None:
        by_name = any(isinstance(one, str) for one in given)
        classes = sorted(set(map(str, given))) if by_name else [str(k) for k in range(int(max(given, default=-1)) + 1)]
    names = tuple(map(str, classes))
    numbers = {name: number for number, name in enumerate(names)}
    return names, np.array(
        [numbers.get(one, -1) if one in numbers else class_number(one, names) for one in given], np.int32
    )


def _expected_mistakes(scores: np.ndarray, epsilon: float) -> np.ndarray:
    """The expected share of X that is among the most confident i / CURVE images and wrong, [CURVE].

    Confidences between 0 and 1 are taken for probabilities; of others an error of twice ``epsilon`` is assumed, most
    of it at the end of the ranking.
    """
    ends = np.arange(1, CURVE + 1) / CURVE
    if scores.min() < 0 or scores.max() > 1:
        return 2 * epsilon * ends**3
    wrong = np.cumsum(1 - np.sort(scores)[::-1]) / len(scores)
    return wrong[np.maximum((ends * len(scores)).astype(int) - 1, 0)]
