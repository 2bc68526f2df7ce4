"""A table of predictions certified in a folder of its own: begun, gone on with and finished by the same call.

The folder holds the run log, what humans are asked, and in the end labels and datasheet, as that of a labelling job.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcal_jax.algorithm.job import Job
from mcal_jax.certification.certifying import certification_job, expectation, open_session
from mcal_jax.certification.predictions import Predictions, from_table
from mcal_jax.data.decode import SUFFIXES, resolve
from mcal_jax.errors import McalError, shown
from mcal_jax.files import absolute, write_atomically
from mcal_jax.labelling.work import finish, job_folder, remembered, way_of
from mcal_jax.result import Result
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import Emit
from mcal_jax.session import Batch, Session


def certify_table(
    table: str | os.PathLike,
    *,
    classes: Sequence[str] | None = None,
    out: str | os.PathLike | None = None,
    settings: dict[str, Any] | None = None,
    sample: int | None = None,
    seed: int | None = None,
    emit: Emit = print,
    door: str | None = None,
    annotator: str = "",
    url: str | None = None,
    api_key: str | None = None,
    page: Mapping[str, Any] | None = None,
) -> Result | Batch:
    """Begin to certify a table of predictions, or go on: take the labels that came back, and ask for those wanted next.

    Args:
      table: predictions and scores, see ``mcal_jax.certification.predictions.from_table``.
      classes: names of the classes; by default those of the job begun, or all that occur.
      out: the folder of the job; by default the name of the table with ``.mcal``, beside it.
      settings: epsilon, certify (a confidence level), class_epsilon, label_price: what differs from the defaults.
      sample: |V|; by default what is expected to leave humans the least to label.
      seed: of the random sample.
      emit: called with each line about the job.
      door, annotator, url, api_key, page: how items reach humans, see ``mcal_jax.labelling.work.way_of``. All doors but
        csv show pictures: then the items are paths within the table's folder.

    Labels that the table knows are kept as they are, at no cost; a table that knows all of them stands for the humans.
    Returns the batch that humans are to label, or the Result once every item has a label; then ``out`` holds
    ``labels.csv`` and a datasheet. Raises McalError.
    """
    folder = job_folder(table, out)
    log, about = folder / "run.jsonl", remembered(folder / "job.json", door=door, page=page)
    way = way_of(about, annotator, url, api_key, page)
    session = _begin(table, classes, log, about, settings or {}, sample, seed, emit)
    with session:
        write_atomically(folder / "job.json", json.dumps(about) + "\n")
        batch = way.visit(session, absolute(table).parent, folder, emit)
        if batch is not None:
            emit(wanted(session, batch))
            return batch
    return finish(Result(log), folder, emit)


def _begin(
    table: str | os.PathLike, classes: Sequence[str] | None, log: Path, about: dict[str, Any],
    settings: dict[str, Any], sample: int | None, seed: int | None, emit: Emit,
) -> Session:  # fmt: skip
    """The session of a job. Raises McalError."""
    begun = RunLog.read(log) if log.exists() else None
    predictions = from_table(table, classes or (begun.content.get("class_names") if begun else None))
    if about["door"] != "csv":
        _check_pictures(predictions, absolute(table).parent, about["door"])
    job = certification_job(predictions, _settings(begun, settings), sample, begun)
    if begun is None:
        for line in described(predictions, job):
            emit(line)
    seed = begun.run.get("seed", 0) if begun and seed is None else seed or 0
    return open_session(predictions, job, log, seed, emit)


def described(predictions: Predictions, job: Job) -> list[str]:
    """What the table holds, and what is expected, in lines."""
    n, classes = job.n, predictions.classes
    some = ", ".join(map(shown, classes[:12])) + (", ..." if len(classes) > 12 else "")
    lines = [f"{shown(predictions.name)}: {n:,} items, {len(classes)} classes: {some}"]
    if predictions.truth is not None:
        known = int((predictions.truth >= 0).sum())
        use = "" if predictions.is_known else "; they are kept as they are, at no cost"
        lines.append(f"{known:,} labels are known{use}")
    if predictions.are_probabilities:
        expected = expectation(predictions, job.config)
        share = f"{expected.theta:.0%}"
        lines.append(f"if the scores are the chances of being right, the classifier labels about {share} of the items")
    else:
        lines.append("the scores are no probabilities: they rank the items, and nothing is expected of them")
    return lines


def wanted(session: Session, batch: Batch) -> str:
    """What is wanted next, and for how much."""
    job, whole = session.log.job, session.batches.batches[batch.number].indices
    alone = f"humans alone would cost ${job.cost_of(np.arange(job.n)):,.2f}"
    if batch.purpose == "certify":
        what = f"{len(batch):,} labels of a random sample (V)"
    else:
        what = f"{len(batch):,} labels of items that the sample does not certify (R)"
        machine = job.n - len(job.owned) - (job.sample or 0) - len(whole)
        alone = f"the classifier labels {machine:,} of {job.n:,} items; {alone}"
    return f"wanted: {what}, ${batch.cost:,.2f}; batch {batch.number}; {alone}"


def _settings(begun: RunLog | None, given: dict[str, Any]) -> dict[str, Any]:
    """What is given, else as the job began."""
    if begun is None:
        return given
    config = begun.job.config
    names = ("epsilon", "certify", "class_epsilon", *(() if begun.job.label_costs else ("label_price",)))
    return {**{name: getattr(config, name) for name in names}, **given}


def _check_pictures(predictions: Predictions, folder: Path, door: str) -> None:
    """Raises McalError for an item that is no picture in the table's folder."""
    for item in predictions.items:
        if not item.lower().endswith(SUFFIXES) or not resolve(folder, item).is_file():
            where = shown(str(folder))
            raise McalError(f"{shown(item)} is no picture in {where}, and the door {door} shows pictures: use csv")
