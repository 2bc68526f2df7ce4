"""The world of a whole run with a plain PyTorch training loop in the place of the training core."""

import numpy as np
import peers
from peer_torch import Model, Trainer

from mcal_jax.algorithm import acquisition
from mcal_jax.algorithm.protocol import (
    Answer,
    Indices,
    Label,
    Labels,
    MachineLabel,
    Measure,
    Request,
    Train,
    TrainResult,
)
from mcal_jax.data import Dataset


class TorchWorld:
    """What ``worlds.trained.TrainedWorld`` does, by PyTorch: the same recipe, nets and selection functions.

    Labels are the true ones. Only the last model is kept, and all requests are answered live (no ``restore``).
    """

    def __init__(self, dataset: Dataset, *, width: int, recipe: peers.Recipe, seed: int):
        assert dataset.labels is not None
        self.truth = dataset.labels
        self.dataset, self.width, self.recipe, self.seed = dataset, width, recipe, seed
        self.trainers: dict[str, Trainer] = {}
        self.architecture = ""
        self.model: Model | None = None

    def answer(self, request: Request, number: int) -> Answer:
        match request:
            case Label(pool, n, by):
                rng = np.random.default_rng([self.seed, number])
                scores = self.score(pool) if by not in ("random", "all") else None
                view = acquisition.PoolView(len(pool), scores=scores, rng=rng)
                some = np.arange(len(pool)) if by == "all" else acquisition.select(by, n, view)
                chosen = np.sort(pool[some])
                return Labels(chosen, self.truth[chosen])
            case Train(train, test, architecture):
                self.architecture = architecture
                self.model = self.trainer().fit(train, self.truth[train], self.seed + number)
                ranked = self.score(test)
                order = acquisition.rank_confident(ranked)
                wrong = np.flatnonzero(ranked.label[order] != self.truth[test][order])
                return TrainResult(number, len(train), len(test), wrong, self.model.images, self.model.seconds)
            case MachineLabel(pool, n):
                scores = self.score(pool)
                chosen = np.sort(acquisition.rank_confident(scores)[:n])
                return Labels(pool[chosen], scores.label[chosen])
            case Measure():
                raise NotImplementedError("MCAL does not measure")

    def trainer(self) -> Trainer:
        if self.architecture not in self.trainers:
            self.trainers[self.architecture] = Trainer(
                self.dataset.images, len(self.dataset.classes), architecture=self.architecture, width=self.width,
                recipe=self.recipe,
            )  # fmt: skip
        return self.trainers[self.architecture]

    def score(self, indices: Indices) -> acquisition.Scores:
        assert self.model is not None
        return self.trainer().score(self.model, indices)
