"""Simulated humans who err: mistakes at random on top of the true labels, and majorities of several humans."""

import numpy as np

from mcal_jax.algorithm.protocol import Indices
from mcal_jax.errors import McalError


def uniform(rate: float, classes: int) -> np.ndarray:
    """The confusion matrix [classes, classes] of a human who errs with chance ``rate``, in favour of any other
    class alike; rows are true classes."""
    matrix = np.full((classes, classes), rate / max(classes - 1, 1))
    np.fill_diagonal(matrix, 1 - rate)
    return matrix


class Noisy:
    """The most votes of ``votes`` humans, who err independently by the ``confusion`` matrix; a tie goes to the one of
    the tied who was asked first.

    ``truth`` int32 [n] are the true labels. How a human labels an image depends on ``seed``, the human and the
    image alone, so an interrupted run goes on with the same labels. Raises McalError for a matrix of another
    size, or whose rows are no probabilities.
    """

    def __init__(self, truth: np.ndarray, classes: int, confusion: np.ndarray, *, votes: int = 1, seed: int = 0):
        confusion = np.asarray(confusion, float)
        if confusion.shape != (classes, classes):
            raise McalError(f"noise: {classes} classes need a matrix of as many rows, got {list(confusion.shape)}")
        if not (confusion >= 0).all() or not np.allclose(confusion.sum(1), 1):
            raise McalError("noise: the rows of a confusion matrix are probabilities, and add up to 1")
        self.truth, self.classes, self.votes, self.seed = truth, classes, votes, seed
        self.up_to = confusion.cumsum(1)[:, :-1]

    def label(self, indices: Indices, again: bool = False) -> np.ndarray:
        humans = range(self.votes * again, self.votes * (again + 1))
        ballots = np.stack([self.ballot(indices, human) for human in humans])
        count = np.stack([(ballots == label).sum(0) for label in range(self.classes)], 1).astype(float)
        most = count == count.max(1, keepdims=True)
        rank = np.argmax(np.take_along_axis(most, ballots.T, 1), 1)
        return ballots[rank, np.arange(len(indices))].astype(np.int32)

    def ballot(self, indices: Indices, human: int) -> np.ndarray:
        """The labels that one human gives, int [len(indices)]."""
        luck = np.random.default_rng([self.seed, 77, human]).random(len(self.truth))[indices]
        return (luck[:, None] >= self.up_to[self.truth[indices]]).sum(1)
