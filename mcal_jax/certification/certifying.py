"""The session in which humans label what a certificate of given predictions needs, and ``certify``, which drives it."""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcal_jax.algorithm.certify_predictions import suggested_sample
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.sample_size import SampleSize
from mcal_jax.annotators import Annotator
from mcal_jax.certification.predictions import Predictions, from_scores, from_table
from mcal_jax.errors import McalError, at_least
from mcal_jax.files import absolute
from mcal_jax.result import Result
from mcal_jax.runs.codec import digest
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import Emit, configured
from mcal_jax.session import Session
from mcal_jax.worlds.predictions import PredictionsWorld

CURVE = 100
"""Points at which the classifier's expected mistakes are weighed to choose |V|."""


def certify(
    predictions: Sequence[Any] | np.ndarray | str | os.PathLike,
    confidence: Sequence[float] | np.ndarray | None = None,
    *,
    annotate: Annotator | Callable[[np.ndarray], Any] | None = None,
    epsilon: float = 0.05,
    level: float = 0.95,
    classes: Sequence[str] | None = None,
    class_epsilon: float | None = None,
    label_price: float | None = None,
    sample: int | None = None,
    seed: int = 0,
    log: str | os.PathLike | None = None,
) -> Result:
    """The labels of n items, of which fewer than ``epsilon`` are wrong with confidence ``level``.

    Humans, asked by ``annotate``, label a random sample (V); of the other items the classifier's ``predictions`` are
    taken as far as that certifies, in the order of its ``confidence``; humans label the rest. The bound is exact for
    any classifier, an LLM say, and any scores; see ``mcal_jax.algorithm.certificate``.

    Args:
      predictions: the classifier's label of each item, numbers or names of classes [n]; or a table of predictions and
        scores, see ``mcal_jax.certification.predictions.from_table``.
      confidence: how sure it is of each, float [n], the higher the surer; probabilities help to choose ``sample``.
      annotate: an annotator, or a function from positions, int64 [m], to labels [m]. A table that knows all labels
        needs none.
      classes: names of the classes; by default those that occur.
      class_epsilon: bound on the share of wrong labels among what the classifier calls each class.
      label_price: US dollars; by default 0.04, or what the table's column ``cost`` says of each item.
      sample: |V|; by default what is expected to leave humans the least to label.
      log: a run log that an interrupted call goes on from.

    Raises McalError for predictions and confidences that do not fit, before a label is bought.

    >>> truth = np.arange(2000) % 3
    >>> predictions = np.where(np.arange(2000) < 1900, truth, 0)  # the last hundred may be wrong
    >>> result = certify(predictions, -np.arange(2000), annotate=lambda at: truth[at], epsilon=0.05)
    >>> bool((result.labels != truth).mean() < 0.05), bool(result.bill.savings > 0.5)
    (True, True)
    """
    if isinstance(predictions, str | os.PathLike):
        if confidence is not None:
            raise McalError("confidence: the table has the scores; leave it out")
        given = from_table(predictions, classes)
    else:
        given = from_scores(predictions, confidence, classes)
    settings = dict(epsilon=epsilon, certify=level, class_epsilon=class_epsilon, label_price=label_price)
    folder = None if log else tempfile.TemporaryDirectory(prefix="mcal-")
    path = absolute(log) if log else Path(folder.name, "run.jsonl")  # type: ignore[union-attr]
    job = certification_job(given, settings, sample, RunLog.read(path) if path.exists() else None)
    with open_session(given, job, path, seed) as session:
        if annotate is not None:
            session.run(annotate)
        elif (batch := session.ask()) is not None:
            raise McalError(f"annotate: {len(batch):,} items have no label yet; say who labels them")
    return Result(path, folder=folder)


def certification_job(
    predictions: Predictions, settings: dict[str, Any], sample: int | None = None, begun: RunLog | None = None
) -> Job:
    """What is to be done: certify ``predictions`` by ``settings``, fields of ``Config``; None stands for a default.

    Where a job was ``begun``, its ``sample`` is the default, and labels that a table got since then are answers, which
    are billed. Raises McalError.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    costs = predictions.costs
    if costs is not None:
        if "label_price" in given:
            raise McalError(f"price: {predictions.name} has a column of costs; leave one of them out")
        given["label_price"] = float(costs.mean())
    config = configured("recommended", **{"certify": 0.95, "certificate": "trimmed", **given})
    n, owned = len(predictions.labels), begun.job.owned if begun else predictions.owned
    sample = begun.job.sample if sample is None and begun else sample
    if sample is not None and not 1 <= sample <= n - len(owned):
        raise McalError(f"sample: 1 to {n - len(owned)} items can be labelled to certify the others, got {sample}")
    return Job(
        algorithm="certify_predictions",
        n=n,
        architectures=("predictions",),
        config=config,
        sample=sample or expectation(predictions, config).sample,
        label_costs=None if costs is None else tuple(costs.tolist()),
        owned=owned,
    )


def expectation(predictions: Predictions, config: Config) -> SampleSize:
    """|V| and the share of the items without a label that the classifier is then expected to label, if its scores are
    right."""
    order = np.argsort(-predictions.order, kind="stable")
    order = order[~np.isin(order, predictions.owned)]
    wrong = _expected_mistakes(predictions, order, config.epsilon)
    return suggested_sample(len(predictions.labels), len(order), wrong, config)


def open_session(
    predictions: Predictions, job: Job, log: Path, seed: int = 0, emit: Emit = lambda line: None
) -> Session:
    """A session in which humans label what ``job`` asks for; it goes on from the ``log`` if it is there.

    Raises McalError if that is the log of other predictions, and for a negative seed.
    """
    at_least(0, seed=seed)
    seed = int(seed)  # of NumPy, perhaps
    content = _content(predictions)
    if log.exists():
        begun = RunLog.read(log)
        if (begun.content, begun.run.get("seed")) != (content, seed):
            raise McalError(f"{log} is the log of other predictions, confidences, classes or another seed")
    truth = predictions.truth if predictions.is_known else None
    world = PredictionsWorld(predictions.labels, predictions.order, predictions.classes, seed=seed, truth=truth)
    run = {"data": {"name": predictions.name}, "seed": seed}
    return Session.over(world, job, predictions.dataset(), log, run=run, content=content, emit=emit)


def _content(predictions: Predictions) -> dict[str, Any]:
    """What a log says of the predictions it is about."""
    return {
        "shape": [len(predictions.labels)],
        "predictions": digest(predictions.labels),
        "confidence": digest(np.argsort(predictions.order, kind="stable")),
        "class_names": list(predictions.classes),
        **({"files": list(predictions.items)} if predictions.items else {}),
    }


def _expected_mistakes(predictions: Predictions, order: np.ndarray, epsilon: float) -> np.ndarray:
    """The expected share of ``order`` that is among its first i / CURVE items and wrong, [CURVE].

    Scores between 0 and 1 are taken for probabilities; of others an error of twice ``epsilon`` is assumed, most of it
    at the end of the ranking.
    """
    ends = np.arange(1, CURVE + 1) / CURVE
    if not predictions.are_probabilities:
        return 2 * epsilon * ends**3
    wrong = np.cumsum(1 - predictions.scores[order]) / len(order)
    return wrong[np.maximum((ends * len(order)).astype(int) - 1, 0)]
