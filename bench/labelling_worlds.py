"""Where peers of MCAL label: worlds that also tell how confident a classifier is of each image.

MCAL's algorithms see no scores. Its peers set thresholds on them, so they may ask ``Score``.
"""

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import softmax

from mcal_jax.algorithm.acquisition import Scores
from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.algorithm.protocol import Indices, Labels, MachineLabel, Request
from mcal_jax.annotators.ground_truth import GroundTruth
from mcal_jax.data import Dataset
from mcal_jax.training.programs import Ensemble
from mcal_jax.worlds.difficulty import DifficultyWorld
from mcal_jax.worlds.trained import TrainedWorld


class Score(NamedTuple):
    """What the classifier of request ``model`` says of the images ``indices``. Nothing is bought."""

    indices: Indices
    model: int


class Scored(NamedTuple):
    """Answer to Score: labels int32 [n], confidence in them float [n], and logits [n, classes]; None where there are
    no classes to tell apart, as in a world that is drawn."""

    label: np.ndarray
    confidence: np.ndarray
    logits: np.ndarray | None


PeerAlgorithm = Generator[Request | Score, Any, Outcome]
"""An algorithm that may ask for scores as well."""


class Delivered(NamedTuple):
    """The outcome, the share of X with a wrong label, and the share of the machine's labels that is wrong."""

    outcome: Outcome
    error: float
    error_of_machine: float


def deliver(algorithm: PeerAlgorithm, world: TrainedWorld | DifficultyWorld) -> Delivered:
    """Run ``algorithm`` to its end in ``world``, whose truth is known."""
    assert world.truth is not None
    labels, by_machine = np.full(len(world.truth), -1, np.int32), np.zeros(len(world.truth), bool)
    request, number = next(algorithm), 0
    while True:
        answer = scored(world, request) if isinstance(request, Score) else world.answer(request, number)
        if isinstance(answer, Labels):
            labels[answer.indices] = answer.labels
            by_machine[answer.indices] = isinstance(request, MachineLabel)
        number += 1
        try:
            request = algorithm.send(answer)
        except StopIteration as end:
            wrong = labels != world.truth
            error_of_machine = float(wrong[by_machine].mean()) if by_machine.any() else 0.0
            return Delivered(end.value, float(wrong.mean()), error_of_machine)


def scored(world: TrainedWorld | DifficultyWorld, request: Score) -> Scored:
    """The answer to Score."""
    if isinstance(world, DifficultyWorld):
        rank, label = (values[request.indices] for values in world.view(request.model))
        return Scored(label, 1 - rank, None)
    scores = world._score(request.model, request.indices)
    return Scored(scores.label, scores.confidence, world._features(request.model, request.indices))


# ---------------------------------------------------------------------------------------------------------
# A classifier that trains in a tenth of a second, so that many seeds of real images can be run


class Ridge(NamedTuple):
    """A fitted ridge regression on one-hot labels: the logits of all images [n, classes], and what training reports."""

    logits: np.ndarray
    images: int
    seconds: float


class RidgeTrainer:
    """Ridge regression on fixed features, with the interface of ``mcal_jax.training.trainer.Trainer``.

    ``features`` float32 [n, d] of all images. The logits of its softmax are SHARPNESS times what it predicts.
    """

    SHARPNESS, PENALTY = 8.0, 0.01

    def __init__(self, features: np.ndarray, classes: int):
        self.inputs, self.classes, self.pool = features, classes, None
        self.fitted: dict[bytes, Ridge] = {}

    def fit(self, indices: np.ndarray, labels: np.ndarray, key: Any = None, on_progress: Any = None) -> Ridge:
        """The regression on the images at ``indices``, labelled ``labels``; the same ones are fitted once."""
        if (same := indices.tobytes()) not in self.fitted:
            began = time.perf_counter()
            x, y = self.inputs[indices], np.eye(self.classes, dtype=np.float32)[labels]
            penalty = self.PENALTY * np.square(x).sum() / x.shape[1]  # a share of the mean eigenvalue
            if len(x) < x.shape[1]:
                gram = x @ x.T + penalty * np.eye(len(x), dtype=np.float32)
                weights = x.T @ cho_solve(cho_factor(gram), y)
            else:
                gram = x.T @ x + penalty * np.eye(x.shape[1], dtype=np.float32)
                weights = cho_solve(cho_factor(gram), x.T @ y)
            logits = self.inputs @ (self.SHARPNESS * weights)
            self.fitted[same] = Ridge(logits, 200 * len(indices), time.perf_counter() - began)
        return self.fitted[same]

    def features(self, model: Ridge | Ensemble, indices: np.ndarray) -> np.ndarray:
        """Logits, float32 [m, classes]: what stands in the place of penultimate features."""
        one = model.models[0] if isinstance(model, Ensemble) else model
        return one.logits[indices]

    def score(self, model: Ridge | Ensemble, indices: np.ndarray) -> Scores:
        """Scores of the images at ``indices`` [m]."""
        p = softmax(self.features(model, indices), axis=1)
        second, first = np.partition(p, -2, axis=1)[:, -2:].T
        entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(1)
        return Scores(p.argmax(1).astype(np.int32), first - second, entropy, first)


def ridge_world(dataset: Dataset, trainer: RidgeTrainer, seed: int) -> TrainedWorld:
    """A world whose only architecture is "ridge"; humans know the truth."""
    world = TrainedWorld(dataset, GroundTruth(dataset), seed=seed)
    world.trainers["ridge"] = trainer  # type: ignore[assignment]
    return world


def patch_features(images: np.ndarray, filters: int = 48, size: int = 6, cells: int = 3) -> np.ndarray:
    """Features of images uint8 [n, h, w, c], float32 [n, 2 * filters * cells^2], that no label has entered.

    Patches of the images, whitened, are the filters; what each sees, positive and negative parts apart, is averaged
    over cells x cells parts of the image (Coates, Lee, Ng 2011, with random patches in place of k-means). Each feature
    has unit variance.
    """
    rng, (n, height, width, channels) = np.random.default_rng(0), images.shape
    at = (rng.integers(0, n, 20_000), rng.integers(0, height - size, 20_000), rng.integers(0, width - size, 20_000))
    patches = np.stack([images[i, y : y + size, x : x + size].ravel() for i, y, x in zip(*at, strict=True)]) / 255.0
    patches = patches[patches.std(1) > np.median(patches.std(1))]  # blank ones are no filters
    patches = patches - patches.mean(1, keepdims=True)
    patches = patches / np.sqrt(patches.var(1, keepdims=True) + 0.01)
    values, vectors = np.linalg.eigh(np.cov(patches.T))
    whiten = vectors / np.sqrt(values + 0.1) @ vectors.T
    chosen = patches[:filters] @ whiten
    kernel = (whiten @ (chosen / np.linalg.norm(chosen, axis=1, keepdims=True)).T).astype(np.float32)
    kernel = (kernel - kernel.mean(0)).reshape(size, size, channels, filters)

    @jax.jit
    def of(batch):
        x = batch.astype(jnp.float32) / 255.0
        seen = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        both = jax.nn.relu(jnp.concatenate([seen, -seen], -1) - 0.1)
        return jax.image.resize(both, (len(both), cells, cells, 2 * filters), "linear").reshape(len(both), -1)

    found = np.concatenate([np.asarray(of(images[i : i + 500])) for i in range(0, n, 500)])
    return (found - found.mean(0)) / (found.std(0) + 1e-6)


def kept_features(dataset: Dataset, folder: Path) -> np.ndarray:
    """``patch_features``, read from ``folder`` if they are there, else left there for other processes."""
    path = folder / f"{dataset.name}-{len(dataset.images)}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, patch_features(dataset.images))
    return np.load(path)
