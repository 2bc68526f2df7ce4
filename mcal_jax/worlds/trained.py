"""The real world: labels from an annotator, classifiers trained with JAX."""

from collections.abc import Callable, Sequence

import jax
import numpy as np

from mcal_jax.algorithm import acquisition
from mcal_jax.algorithm.acquisition import PoolView, Scores
from mcal_jax.algorithm.protocol import (
    MEASURES,
    UNKNOWN,
    Answer,
    Indices,
    Label,
    Labels,
    MachineLabel,
    Measure,
    Measurement,
    Relabel,
    Request,
    SecondLabels,
    Train,
    TrainResult,
    Verification,
    Verify,
)
from mcal_jax.annotators import Annotator, ask
from mcal_jax.data import Dataset
from mcal_jax.errors import McalError
from mcal_jax.training.classifier import Classifier
from mcal_jax.training.kcenter import k_center
from mcal_jax.training.programs import Model, key_of
from mcal_jax.training.trainer import Trainer
from mcal_jax.worlds.ranking import machine_labels, verification


class TrainedWorld:
    """Trains on the images of ``dataset`` and the labels that ``annotator`` gave, or that ``restore`` passes on.

    A model follows from (seed, request number, B), so only the last ones are kept; after a resume the one that is
    asked for is trained again. ``on_progress(steps done, steps)`` is called while a net trains.
    """

    def __init__(
        self,
        dataset: Dataset,
        annotator: Annotator | None = None,
        *,
        width: int = 64,
        recipe: str = "fast",
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ):
        self.truth = dataset.labels
        self.dataset, self.annotator = dataset, annotator
        self.width, self.recipe, self.seed, self.on_progress = width, recipe, seed, on_progress
        self.known = np.full(len(dataset.images), -1, np.int32)
        self.jobs: dict[int, Train] = {}
        self.trainers: dict[str, Trainer] = {}
        self.models: dict[int, Model] = {}
        self.scored: tuple[int, Indices, Scores] | None = None

    def prepare(self, architectures: Sequence[str]) -> None:
        """Builds a trainer for each architecture and tries it, so that a run that can't work fails before a label is
        bought.

        Raises McalError: for fewer than two classes, an unknown architecture or recipe, images of a wrong type, a
        device that is not there, and a net that takes too much memory.
        """
        if len(classes := self.dataset.classes) < 2:
            names = f": {classes[0]!r}" if classes else ""
            have = f"{len(classes)} class{'' if classes else 'es'}"
            raise McalError(f"data {self.dataset.name!r} has {have}{names}; a classifier needs at least 2")
        for name in architectures:
            self._trainer_of(name).rehearse()

    def answer(self, request: Request, number: int) -> Answer:
        """Do what the request asks. Raises McalError where the annotator, the device or a plug-in fails."""
        match request:
            case Label():
                chosen = self.choose(request, number)
                self.known[chosen] = self._ask(chosen)
                return Labels(chosen, self.known[chosen], retired=self.retire(request, chosen))
            case Relabel():
                chosen = self.choose(request, number)
                labels = self._ask(chosen, again=True)
                return SecondLabels(chosen, labels != self.known[chosen])
            case Train(train, test):
                self.jobs[number] = request
                model = self._model(number)
                ranked = self._score(number, test)
                order = acquisition.rank_confident(ranked)
                wrong = np.flatnonzero(ranked.label[order] != self.known[test][order])
                return TrainResult(number, len(train), len(test), wrong, model.images, model.seconds)
            case MachineLabel(pool, n, model, _, limits):
                scores = self._score_pool(model, pool)
                order = acquisition.rank_confident(scores, n)
                return machine_labels(pool, scores.label, scores.margin, order, limits)
            case Measure(pool, model, by):
                return self._measure(pool, model, by, number)
            case Verify(sample, pool, model):
                return self._verify(sample, pool, model)

    def restore(self, request: Request, number: int, answer: Answer) -> None:
        """Learn of an answer given before the run was interrupted; nothing is trained for it."""
        if isinstance(request, Train):
            self.jobs[number] = request
        elif isinstance(request, Label) and isinstance(answer, Labels):
            self.known[answer.indices] = answer.labels

    def _ask(self, indices: Indices, again: bool = False) -> np.ndarray:
        if self.annotator is None:
            raise McalError("this world has no annotator: give one, or the labels from outside")
        return ask(self.annotator, indices, self.dataset.classes, again=again)

    def _measure(self, pool: Indices, model: int, by: tuple[str, ...], number: int) -> Measurement:
        if self.truth is None:
            raise McalError("a classifier can't be measured where the true labels are not known")
        scores = self._score_pool(model, pool)
        wrong = scores.label != self.truth[pool]
        cuts = np.arange(MEASURES + 1) * len(pool) // MEASURES
        errors, margins = {}, {}
        for name in by:
            order = self._order(pool, len(pool), name, model, number)[::-1]
            errors[name] = np.concatenate([[0], np.cumsum(wrong[order])])[cuts]
            summed = np.concatenate([[0], np.cumsum(scores.margin[order], dtype=float)])[cuts]
            with np.errstate(invalid="ignore"):
                margins[name] = np.diff(summed) / np.diff(cuts)
        return Measurement(len(pool), errors, margins)

    def _verify(self, sample: Indices, pool: Indices, model: int) -> Verification:
        both = np.union1d(sample, pool)
        scores = self._score_pool(model, both)
        in_sample = np.isin(both, sample, assume_unique=True)
        before = np.setdiff1d(np.flatnonzero(self.known >= 0), sample)
        order, classes = acquisition.rank_confident(scores), len(self.dataset.classes)
        return verification(order, scores.label, in_sample, self.known[sample], self.known[before], classes)

    def choose(self, request: Label | Relabel, number: int) -> Indices:
        """The images that humans are asked to label for ``request``, sorted."""
        pool, n = request.pool, request.n
        if isinstance(request, Relabel):
            return np.sort(np.random.default_rng([self.seed, number]).choice(pool, n, replace=False))
        return pool if n == len(pool) else np.sort(pool[self._order(pool, n, request.by, request.model, number)])

    def retire(self, request: Label, chosen: Indices) -> Indices:
        """The images of ``request.test`` that M(.) would have chosen too, sorted."""
        if request.test is None or request.model is None or request.n == len(request.pool):
            return np.empty(0, np.int64)
        batch, test = self._score_pool(request.model, chosen), self._score(request.model, request.test)
        return request.test[acquisition.would_choose(request.by, batch, test)]

    def _order(self, pool: Indices, n: int, by: str, model: int | None, number: int) -> np.ndarray:
        """Positions of the ``n`` images of ``pool`` that M(.) = ``by`` wants most, best first."""
        rng = np.random.default_rng([self.seed, number])
        if model is None:
            return acquisition.select(by, n, PoolView(len(pool), rng=rng))
        view = PoolView(
            len(pool),
            scores=lambda: self._score_pool(model, pool),
            features=lambda: self._features(model, pool),
            labelled_features=lambda: self._features(model, self.jobs[model].train),
            rng=rng,
            k_center=k_center,
        )
        return acquisition.select(by, n, view)

    def classifier(self, number: int) -> Classifier:
        """The classifier of request ``number``, trained again if it is not one of the latest round's."""
        return Classifier.from_trainer(self._trainer(number), self._model(number), self.dataset.classes)

    def _trainer(self, number: int) -> Trainer:
        return self._trainer_of(self.jobs[number].architecture)

    def _trainer_of(self, name: str) -> Trainer:
        if name not in self.trainers:
            images = next((trainer.pool for trainer in self.trainers.values()), self.dataset.images)
            self.trainers[name] = Trainer(
                images, len(self.dataset.classes), architecture=name, width=self.width, recipe=self.recipe
            )
        return self.trainers[name]

    def _model(self, number: int) -> Model:
        """The model of request ``number``, trained again if it is not one of the latest round's."""
        if number not in self.models:
            job = self.jobs[number]
            key = jax.random.fold_in(key_of(self.seed), number)
            # Models on an older B will not be asked for again; a race keeps one of each architecture.
            self.models = {k: m for k, m in self.models.items() if len(self.jobs[k].train) == len(job.train)}
            known = job.train[self.known[job.train] != UNKNOWN]
            self.models[number] = self._trainer(number).fit(known, self.known[known], key, self.on_progress)
        return self.models[number]

    def _score(self, number: int, indices: Indices) -> Scores:
        return self._trainer(number).score(self._model(number), indices)

    def _features(self, number: int, indices: Indices) -> np.ndarray:
        return self._trainer(number).features(self._model(number), indices)

    def _score_pool(self, number: int, pool: Indices) -> Scores:
        """Scores of ``pool``; those of a larger pool by the same model are kept and serve its parts."""
        if self.scored is None or self.scored[0] != number or not np.isin(pool, self.scored[1]).all():
            self.scored = number, pool, self._score(number, pool)
        at = np.searchsorted(self.scored[1], pool)
        return Scores(*(values[at] for values in self.scored[2]))
