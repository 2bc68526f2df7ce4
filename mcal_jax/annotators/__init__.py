"""Who labels: an annotator is asked for the labels of some images and answers with them, integers, same length.

``again``: for a second opinion, independent of the first. An annotator that does not answer in time raises
TimeoutError; ``ask`` turns that, and any answer that does not fit, into one line.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mcal_jax.algorithm.protocol import Indices
from mcal_jax.errors import McalError


class Annotator(Protocol):
    def label(self, indices: Indices, again: bool = False) -> np.ndarray: ...


def ask(annotator: Annotator, indices: Indices, classes: Sequence[str], again: bool = False) -> np.ndarray:
    """The labels of ``indices``, int32. Raises McalError if there is no answer, not one for each image, or one that is
    no class; what was answered before is in the run log, and the run goes on from there."""
    n = len(indices)
    try:
        answered = annotator.label(indices, again)
    except TimeoutError as error:
        raise McalError(f"the annotator did not label {n} images in time: {str(error) or 'no answer'}") from None
    try:
        answer = np.asarray(answered)
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
