"""Annotators, which label images on request, and the check of their answers."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mcal_jax.algorithm.protocol import Indices
from mcal_jax.errors import McalError


class Annotator(Protocol):
    """Whatever labels images: a human behind a form, a simulated one, the labels of a data set."""

    def label(self, indices: Indices, again: bool = False) -> np.ndarray:
        """The class numbers of ``indices`` [n], integers [n]; ``again``: a second opinion, independent of the first.

        Raises TimeoutError if there is no answer in time.
        """
        ...


def ask(annotator: Annotator, indices: Indices, classes: Sequence[str], again: bool = False) -> np.ndarray:
    """The class numbers of ``indices`` [n], int32 [n].

    Raises McalError if there is no answer, not one for each image, or one that is no class. Earlier answers are in the
    run log, and the run goes on from there.
    """
    n = len(indices)
    try:
        labels = annotator.label(indices, again)
    except TimeoutError as error:
        raise McalError(f"the annotator did not label {n} images in time: {str(error) or 'no answer'}") from None
    try:
        answer = np.asarray(labels)
    except ValueError as error:
        raise McalError(f"the annotator's answer for {n} images is no array of labels: {error}") from error
    if answer.shape != indices.shape:
        raise McalError(f"the annotator was asked for {n} labels and gave an answer of shape {list(answer.shape)}")
    if n and not np.issubdtype(answer.dtype, np.integer):
        raise McalError(f"the annotator gave labels of type {answer.dtype}; a label is the number of a class")
    unknown = np.flatnonzero((answer < 0) | (answer >= len(classes)))
    if len(unknown):
        first = unknown[0]
        raise McalError(
            f"the annotator labelled image {indices[first]} as class {answer[first]}; "
            f"the {len(classes)} classes are numbered from 0"
        )
    return answer.astype(np.int32)
