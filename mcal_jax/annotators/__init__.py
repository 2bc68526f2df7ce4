"""Who labels: an annotator is asked for the labels of some images and answers with them, integers, same length.

``again``: for a second opinion, independent of the first. An annotator that does not answer in time raises
TimeoutError; ``ask`` turns that, and any answer that does not fit, into one line.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mcal_jax.types import Indices, McalError


class Annotator(Protocol):
    def label(self, indices: Indices, again: bool = False) -> np.ndarray: ...


def ask(annotator: Annotator, indices: Indices, classes: Sequence[str], again: bool = False) -> np.ndarray:
    """The labels of ``indices``, int32. Raises McalError if there is no answer, not one for each image, or one that is
    no class; what was answered before is in the run log, and the run goes on from there."""
    try:
        said = np.asarray(annotator.label(indices, again))
    except TimeoutError as error:
        raise McalError(f"people did not label {len(indices)} images in time: {str(error) or 'no answer'}") from None
    if said.shape != indices.shape:
        raise McalError(f"people were asked for {len(indices)} labels and gave an answer of shape {list(said.shape)}")
    if len(said) and not np.issubdtype(said.dtype, np.integer):
        raise McalError(f"people gave labels of type {said.dtype}; a label is the number of a class")
    unknown = np.flatnonzero((said < 0) | (said >= len(classes)))
    if len(unknown):
        first = unknown[0]
        raise McalError(f"people labelled image {indices[first]} as class {said[first]}; there are {len(classes)}")
    return said.astype(np.int32)
