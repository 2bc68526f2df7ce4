"""The labels of a data set in the place of a human's: for experiments."""

import numpy as np

from mcal_jax.algorithm.protocol import Indices
from mcal_jax.data import Dataset
from mcal_jax.errors import McalError


class GroundTruth:
    """Answers with the labels of ``dataset``. Raises McalError if it has none."""

    def __init__(self, dataset: Dataset):
        if dataset.labels is None:
            raise McalError(f"'{dataset.name}' has images but no labels, and the ground-truth annotator needs them")
        self.labels = dataset.labels

    def label(self, indices: Indices, again: bool = False) -> np.ndarray:
        """The true class numbers, int32 [n]."""
        return self.labels[indices]
