"""Simulated humans who err: random mistakes in the true labels, and majority votes of several humans."""

import numpy as np

from mcal_jax.algorithm.protocol import Indices
from mcal_jax.errors import McalError


def uniform(rate: float, classes: int) -> np.ndarray:
    """The confusion matrix, float [classes, classes], of a human who errs with probability ``rate``, towards all other
    classes alike. Rows are true classes."""
    matrix = np.full((classes, classes), rate / max(classes - 1, 1))
    np.fill_diagonal(matrix, 1 - rate)
    return matrix


class Noisy:
    """Answers with the majority vote of ``votes`` humans, who err independently by the ``confusion`` matrix. Of tied
    classes, the one that was named first wins.

    ``truth`` int32 [n] are the true class numbers. The label that a human gives an image depends only on ``seed``, the
    human and the image, so a resumed run gets the same labels. Raises McalError if the matrix has another size, or if
    its rows are not probabilities that add up to 1.
    """

    def __init__(self, truth: np.ndarray, classes: int, confusion: np.ndarray, *, votes: int = 1, seed: int = 0):
        confusion = np.asarray(confusion, float)
        if confusion.shape != (classes, classes):
            raise McalError(f"noise: {classes} classes need a matrix of as many rows, got {list(confusion.shape)}")
        if not (confusion >= 0).all() or not np.allclose(confusion.sum(1), 1):
            raise McalError("noise: the rows of a confusion matrix are probabilities, and add up to 1")
        self.truth, self.classes, self.votes, self.seed = truth, classes, votes, seed
        self.cumulative = confusion.cumsum(1)[:, :-1]

    def label(self, indices: Indices, again: bool = False) -> np.ndarray:
        """Class numbers, int32 [len(indices)]; ``again``: by as many other humans."""
        humans = range(self.votes * again, self.votes * (again + 1))
        ballots = np.stack([self.ballot(indices, human) for human in humans])
        count = np.stack([(ballots == label).sum(0) for label in range(self.classes)], 1).astype(float)
        most = count == count.max(1, keepdims=True)
        rank = np.argmax(np.take_along_axis(most, ballots.T, 1), 1)
        return ballots[rank, np.arange(len(indices))].astype(np.int32)

    def ballot(self, indices: Indices, human: int) -> np.ndarray:
        """The class numbers that one human gives, int [len(indices)]."""
        uniforms = np.random.default_rng([self.seed, 77, human]).random(len(self.truth))[indices]
        return (uniforms[:, None] >= self.cumulative[self.truth[indices]]).sum(1)
