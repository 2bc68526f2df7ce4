"""Any function of one's own as an annotator: a form, a queue, a colleague, a language model."""

import textwrap
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from mcal_jax.algorithm.protocol import Indices
from mcal_jax.errors import McalError, suggestion


class FromFunction:
    """Answers with what ``function`` returns for an int64 array of indices [n]: n class numbers or names of
    ``classes``, as an array or a list.

    For a second opinion the function is called again with the same indices. What it raises is not caught, except for
    TimeoutError: the run stops, and goes on from its log.
    """

    def __init__(self, function: Callable[[Indices], Any], classes: Sequence[str]):
        self.function, self.classes = function, tuple(classes)
        self._numbers = {name: number for number, name in enumerate(self.classes)}

    def label(self, indices: Indices, again: bool = False) -> np.ndarray:
        """Class numbers [n]. Raises McalError for an image without a label, and for a name that is no class.

        An answer of another shape is returned as it is: ``ask`` refuses it.
        """
        answer = self.function(np.array(indices)) if len(indices) else ()
        if answer is None:
            raise McalError(f"the annotator returned None for {len(indices)} images: it must return their labels")
        labels = np.asarray(answer, dtype=object)
        if labels.shape != indices.shape:
            return labels
        return np.array([self._number(*pair) for pair in zip(labels, indices, strict=True)], np.int64)

    def _number(self, label: Any, index: int) -> int:
        if isinstance(label, Integral):
            return int(label)
        if label is None or (isinstance(label, float) and label != label):  # NaN
            raise McalError(f"the annotator gave image {index} no label: every image that is asked for needs one")
        if isinstance(label, str) and label in self._numbers:
            return self._numbers[label]
        if isinstance(label, str):
            raise McalError(
                f"the annotator labelled image {index} as {label!r}, which is no class; "
                f"{suggestion(label, self.classes)}"
            )
        text = textwrap.shorten(repr(label), 60, placeholder=" ...")
        raise McalError(
            f"the annotator labelled image {index} as {text}: a label is a class number or the name of a class"
        )
