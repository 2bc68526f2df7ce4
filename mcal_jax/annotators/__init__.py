"""Who labels: an annotator is asked for the labels of some images and answers with them, int32, same length.

``again``: for a second opinion, independent of the first.
"""

from typing import Protocol

import numpy as np

from mcal_jax.types import Indices


class Annotator(Protocol):
    def label(self, indices: Indices, again: bool = False) -> np.ndarray: ...
