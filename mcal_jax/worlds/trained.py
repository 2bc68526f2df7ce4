"""The real world: labels from an annotator, classifiers trained with JAX."""

from collections.abc import Callable, Sequence

import jax
import numpy as np

from mcal_jax.algorithm import acquisition
from mcal_jax.algorithm.acquisition import Scores
from mcal_jax.algorithm.protocol import (
    MEASURES,
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
from mcal_jax.training.programs import Model, key_of
from mcal_jax.training.trainer import Trainer


class TrainedWorld:
    """Trains on the images of ``dataset`` and the labels that ``annotator`` gave.

    Any model can be had again from (seed, request number, B), so none is kept but the last; after a resume the
    one that is asked for is trained anew. ``on_progress(steps done, steps)`` is called while a net trains.
    """

    def __init__(
        self,
        dataset: Dataset,
        annotator: Annotator,
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
        """Builds what training needs and tries it, so that what can't be done here fails before a label is bought.

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
        match request:
            case Label():
                chosen = self._select(request, number)
                self.known[chosen] = ask(self.annotator, chosen, self.dataset.classes)
                return Labels(chosen, self.known[chosen])
            case Relabel(pool, n):
                chosen = np.sort(np.random.default_rng([self.seed, number]).choice(pool, n, replace=False))
                said = ask(self.annotator, chosen, self.dataset.classes, again=True)
                return SecondLabels(chosen, said != self.known[chosen])
            case Train(train, test):
                self.jobs[number] = request
                model = self._model(number)
                ranked = self._score(number, test)
                order = acquisition.rank_confident(ranked)
                wrong = np.flatnonzero(ranked.label[order] != self.known[test][order])
                return TrainResult(number, len(train), len(test), wrong, model.images, model.seconds)
            case MachineLabel(pool, n, model, _, limits):
                scores = self._score_pool(model, pool)
                chosen = acquisition.rank_confident(scores, n)
                chosen = np.sort(acquisition.apply_class_limits(limits, chosen, scores.label))
                return Labels(pool[chosen], scores.label[chosen])
            case Measure(pool, model, by):
                return self._measure(pool, model, by, number)
            case Verify(sample, pool, model):
                return self._verify(sample, pool, model)

    def restore(self, request: Request, number: int, answer: Answer) -> None:
        if isinstance(request, Train):
            self.jobs[number] = request
        elif isinstance(request, Label) and isinstance(answer, Labels):
            self.known[answer.indices] = answer.labels

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
        every = np.union1d(sample, pool)
        scores = self._score_pool(model, every)
        order = acquisition.rank_confident(scores)
        chosen = np.isin(every, sample, assume_unique=True)
        ahead = acquisition.rank_within_class(order, ~chosen, np.zeros(len(every)))
        ahead_in_class = acquisition.rank_within_class(order, ~chosen, scores.label)
        label = scores.label[chosen]
        classes, before = len(self.dataset.classes), np.setdiff1d(np.flatnonzero(self.known >= 0), sample)
        called = np.bincount(scores.label[~chosen], minlength=classes)
        elsewhere = np.bincount(self.known[before], minlength=classes)
        human = self.known[sample]
        return Verification(ahead[chosen], label != human, label, ahead_in_class[chosen], called, human, elsewhere)

    def _select(self, request: Label, number: int) -> Indices:
        pool, n = request.pool, request.n
        return pool if n == len(pool) else np.sort(pool[self._order(pool, n, request.by, request.model, number)])

    def _order(self, pool: Indices, n: int, by: str, model: int | None, number: int) -> np.ndarray:
        """Positions of the ``n`` images of ``pool`` that M(.) = ``by`` wants most, best first."""
        needs = acquisition.check(by).needs
        inputs: dict = {"rng": np.random.default_rng([self.seed, number])}
        if model is not None and needs == "scores":
            inputs["scores"] = self._score_pool(model, pool)
        elif model is not None and needs == "features":
            trainer, trained = self._trainer(model), self._model(model)
            inputs["features"] = trainer.features(trained, pool)
            inputs["labelled_features"] = trainer.features(trained, self.jobs[model].train)
        return acquisition.select(by, n, pool=len(pool), **inputs)

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
            self.models[number] = self._trainer(number).fit(job.train, self.known[job.train], key, self.on_progress)
        return self.models[number]

    def _score(self, number: int, indices: Indices) -> Scores:
        return self._trainer(number).score(self._model(number), indices)

    def _score_pool(self, number: int, pool: Indices) -> Scores:
        """Scores of ``pool``; those of a larger pool by the same model are kept and serve its parts."""
        if self.scored is None or self.scored[0] != number or not np.isin(pool, self.scored[1]).all():
            self.scored = number, pool, self._score(number, pool)
        at = np.searchsorted(self.scored[1], pool)
        return Scores(*(values[at] for values in self.scored[2]))
