"""Whether an answer fits its request, checked before it is logged or used."""

import numpy as np

from mcal_jax.algorithm.protocol import (
    Answer,
    Label,
    Labels,
    MachineLabel,
    Measure,
    Measurement,
    Relabel,
    Request,
    SecondLabels,
    Train,
    TrainResult,
    Verification,
    Verify,
)
from mcal_jax.errors import McalError

ANSWERS = {Train: TrainResult, Measure: Measurement, Verify: Verification, Relabel: SecondLabels}
"""The kind of answer to each kind of request; all others are answered by Labels."""


def check_answer(request: Request, answer: Answer) -> None:
    """Raises McalError if an answer is of the wrong kind, labels other images than were in the pool, or not as many as
    asked."""
    wanted = ANSWERS.get(type(request), Labels)
    if not isinstance(answer, wanted):
        raise McalError(f"{type(request).__name__} was answered by {type(answer).__name__}")
    if isinstance(request, Verify) and isinstance(answer, Verification):
        _check_verification(request, answer)
    elif isinstance(answer, Labels | SecondLabels) and isinstance(request, Label | MachineLabel | Relabel):
        _check_labels(request, *answer[:2])
        if isinstance(answer, Labels):
            _check_extras(request, answer)


def _check_verification(request: Verify, answer: Verification) -> None:
    sizes = {len(column) for column in answer[:3]} | ({len(answer.ahead_in_class)} if len(answer.called) else set())
    sizes |= {len(answer.human)} if len(answer.elsewhere) else set()
    inside = not len(answer.ahead) or (answer.ahead.min() >= 0 and answer.ahead.max() <= len(request.pool))
    if sizes != {len(request.sample)} or not inside:
        raise McalError(f"asked about {len(request.sample)} images, got an answer that does not fit them")


def _check_labels(request: Label | MachineLabel | Relabel, indices: np.ndarray, labels: np.ndarray) -> None:
    limits = request.limits if isinstance(request, MachineLabel) else None
    if limits is not None:
        if len(indices) > request.n or (np.bincount(labels, minlength=len(limits)) > np.asarray(limits)).any():
            raise McalError("the classifier labels more images of a class than it may")
    elif len(indices) != request.n or len(labels) != request.n:
        raise McalError(f"asked for {request.n} labels, got {len(indices)} images and {len(labels)} labels")
    if len(np.unique(indices)) != len(labels) or not np.isin(indices, request.pool).all():
        raise McalError("an answer labels images that were not asked for, or one image twice")


def _check_extras(request: Label | MachineLabel | Relabel, answer: Labels) -> None:
    if len(answer.margins) not in (0, len(answer.labels)):
        raise McalError(f"got {len(answer.labels)} labels and {len(answer.margins)} margins")
    test = request.test if isinstance(request, Label) and request.test is not None else np.empty(0, np.int64)
    if not np.isin(answer.retired, test).all() or len(np.unique(answer.retired)) < len(answer.retired):
        raise McalError("an answer retires images that are not in T, or one image twice")
