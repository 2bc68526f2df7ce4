"""What flows between an algorithm and a world: requests and answers.

An algorithm yields requests and receives answers. It sees indices into X, counts and seconds, never an image; labels
pass through it unread. Sizes are numbers of images.
"""

from typing import Literal, NamedTuple, Protocol

import numpy as np

from mcal_jax.algorithm.plan import Plan

Indices = np.ndarray
"""Sorted, unique int64 positions in X."""

OWNED = ("owned_test", "owned")
"""Purposes of requests for labels that are known before the run: for T and for B."""

UNKNOWN = -1
"""The label of an image of which no human could tell the class. No classifier trains on it, and none can be right."""


class Label(NamedTuple):
    """Humans label ``n`` images of ``pool``, chosen by ``by``: an acquisition function M(.), or "all" of them.

    With a purpose of ``OWNED`` they did so before the run: the labels cost nothing and join B, or T.
    ``model`` is the number of the Train request whose classifier chooses, ``plan`` the plan behind the request.
    ``test`` are images of T: the answer tells which of them ``by`` would have chosen too (``retired``).
    """

    pool: Indices
    n: int
    by: str
    purpose: Literal["test", "train", "certify", "residual", "owned", "owned_test"]
    model: int | None = None
    plan: Plan | None = None
    test: Indices | None = None


class Train(NamedTuple):
    """Train ``architecture`` from scratch on the labels of ``train`` and test it on ``test``."""

    train: Indices
    test: Indices
    architecture: str
    plan: Plan | None = None


class MachineLabel(NamedTuple):
    """The classifier labels the ``n`` images of ``pool`` that it is most confident of, by L(.).

    If ``limits`` are given, it labels no more than the ``limits[c]`` most confident of those that it calls class c,
    and so fewer than ``n``.
    """

    pool: Indices
    n: int
    model: int
    plan: Plan | None = None
    limits: tuple[int, ...] | None = None


class Measure(NamedTuple):
    """An experiment asks how a classifier does on ``pool``, by the truth, ranked by each M(.) of ``by``.

    Nothing is bought. No algorithm that decides anything may ask this: the answer is only recorded.
    """

    pool: Indices
    model: int
    by: tuple[str, ...] = ("margin",)
    plan: Plan | None = None


class Verify(NamedTuple):
    """How the classifier does on ``sample``, which humans have labelled, ranked among ``pool`` by L(.).

    Nothing is bought.
    """

    sample: Indices
    pool: Indices
    model: int
    plan: Plan | None = None


class Relabel(NamedTuple):
    """Humans label ``n`` images of ``pool``, chosen at random, once more, without knowing the first labels."""

    pool: Indices
    n: int
    plan: Plan | None = None


Request = Label | Train | MachineLabel | Measure | Verify | Relabel


class Labels(NamedTuple):
    """Answer to Label and to MachineLabel: the images labelled (sorted) and their labels, int32, same length.

    ``margins``, float32, are the classifier's for its own labels: how sure it is of each. Humans give none, and logs of
    the first versions have none. ``retired`` are the images of the request's ``test`` that M(.) would have chosen too.
    """

    indices: Indices
    labels: np.ndarray
    margins: np.ndarray = np.empty(0, np.float32)
    retired: Indices = np.empty(0, np.int64)


class TrainResult(NamedTuple):
    """Answer to Train: how the classifier does on the test set T.

    ``wrong`` are the positions of its mistakes when T is sorted by L(.), most confident first, so the errors
    among the top fraction theta of T are the positions below ``theta * n_test``. Of the ``images`` processed,
    ``unlabelled`` have no label of humans: a recipe may learn from those too.
    """

    model: int
    size: int
    n_test: int
    wrong: np.ndarray
    images: int
    seconds: float
    unlabelled: int = 0

    def errors(self, theta: np.ndarray | float) -> np.ndarray:
        """Number of mistakes among the top fraction ``theta`` of T."""
        return np.searchsorted(self.wrong, trials(theta, self.n_test))


class Measurement(NamedTuple):
    """Answer to Measure: the ``n`` images of the pool in the order of each M(.), the least wanted first.

    ``errors`` [MEASURES + 1] counts the classifier's mistakes among the first i / MEASURES of them; ``margins``
    [MEASURES] are mean margins between one count and the next (nan where there is no image).
    """

    n: int
    errors: dict[str, np.ndarray]
    margins: dict[str, np.ndarray]

    def eps(self, theta: np.ndarray | float) -> np.ndarray:
        """Share of mistakes among the top fraction ``theta`` by L(.), between counts linear in the mistakes."""
        at = np.asarray(theta, float)
        wrong = np.interp(at * MEASURES, np.arange(MEASURES + 1), self.errors["margin"])
        return wrong / np.maximum(at * self.n, 1e-9)


MEASURES = 200
"""Points at which a pool is measured."""


class Verification(NamedTuple):
    """Answer to Verify, for each image of the sample: how many of the pool the classifier is more confident of
    (``ahead``), whether it is ``wrong``, its ``label``, int32, and how many of the pool that it gives the same label
    it is more confident of (``ahead_in_class``); all [sample]. ``called`` [classes] counts the pool by label.

    ``human`` [sample] are the labels that humans gave, int32; ``elsewhere`` [classes] counts by label what they
    labelled before, T and B. The first logs lack the last two or four.
    """

    ahead: np.ndarray
    wrong: np.ndarray
    label: np.ndarray
    ahead_in_class: np.ndarray = np.empty(0, np.int64)
    called: np.ndarray = np.empty(0, np.int64)
    human: np.ndarray = np.empty(0, np.int32)
    elsewhere: np.ndarray = np.empty(0, np.int64)


class SecondLabels(NamedTuple):
    """Answer to Relabel: the images labelled again (sorted), and whether the second label ``differ``s from the first,
    bool; same length."""

    indices: Indices
    differ: np.ndarray


Answer = Labels | TrainResult | Measurement | Verification | SecondLabels


class World(Protocol):
    """Answers requests. ``mcal_jax.testing.check_world`` checks one."""

    @property
    def truth(self) -> np.ndarray | None:
        """The true labels, int32 [n], where they are known."""
        ...

    def answer(self, request: Request, number: int) -> Answer:
        """Do what the request asks; ``number`` counts the requests of a run and seeds what is random."""
        ...

    def choose(self, request: Label | Relabel, number: int) -> Indices:
        """The images that humans are to label for ``request``, sorted; the same each time it is asked."""
        ...

    def retire(self, request: Label, chosen: Indices) -> Indices:
        """Those of ``request.test``, sorted, that M(.) would have chosen as it chose ``chosen``."""
        ...

    def restore(self, request: Request, number: int, answer: Answer) -> None:
        """Learn of an answer that was given elsewhere: before the run was interrupted, or by humans."""
        ...


def trials(theta: np.ndarray | float, n: np.ndarray | int) -> np.ndarray:
    """floor(theta n), safe against 0.29 * 100 = 28.999...: how many images the top fraction ``theta`` holds."""
    return np.floor(np.asarray(theta) * n + 1e-9).astype(int)


def remove(pool: Indices, taken: Indices) -> Indices:
    """pool \\ taken, sorted."""
    return np.setdiff1d(pool, taken, assume_unique=True)
