"""Who labels: an annotator is asked for the labels of some images and answers with them, integers, same length.

``again``: for a second opinion, independent of the first. An annotator that does not answer in time raises
TimeoutError; ``ask`` turns that, and any answer that does not fit, into one line.
"""

from collections.abc import Iterable, Sequence
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


def collect(indices: Indices, answers: Iterable[tuple[int, str | int]], classes: Sequence[str]) -> np.ndarray:
    """Labels from answers that come one by one, (image, class by name or number), in any order: int32, as ``indices``.

    The same answer twice is one answer. Raises McalError naming the first image that was not asked for, has two
    different answers or none, or a class that is unknown.
    """
    numbers: dict[str | int, int] = {name: number for number, name in enumerate(classes)}
    numbers |= {number: number for number in range(len(classes))}
    wanted = {int(image): place for place, image in enumerate(indices)}
    labels = np.full(len(indices), -1, np.int32)
    for image, given in answers:
        if image not in wanted:
            raise McalError(f"image {image} was labelled, but not asked for")
        if given not in numbers:
            raise McalError(f"image {image} was labelled {given!r}; the classes are {', '.join(map(str, classes))}")
        place, label = wanted[image], numbers[given]
        if labels[place] not in (-1, label):
            raise McalError(f"image {image} was labelled {classes[labels[place]]!r} and {classes[label]!r}")
        labels[place] = label
    missing = indices[labels < 0]
    if len(missing):
        raise McalError(f"{len(missing)} of {len(indices)} images have no label yet, image {missing[0]} for one")
    return labels
