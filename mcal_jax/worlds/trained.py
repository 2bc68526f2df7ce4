"""The real world: labels from an annotator, classifiers trained with JAX."""

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from mcal_jax.algorithm import acquisition, rankings
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
from mcal_jax.algorithm.rankings import most_confident
from mcal_jax.annotators import Annotator, ask
from mcal_jax.data import Dataset
from mcal_jax.errors import McalError
from mcal_jax.registry import short_name
from mcal_jax.training import self_training
from mcal_jax.training.architectures import reads_features, recipe_of
from mcal_jax.training.classifier import Classifier
from mcal_jax.training.kcenter import k_center, would_be_chosen
from mcal_jax.training.programs import Ensemble, Model, key_of
from mcal_jax.training.streaming import AnyPool
from mcal_jax.training.trainer import Trainer
from mcal_jax.worlds.ranking import machine_labels, verification

NEVER = np.iinfo(np.int64).max
"""Later than every request."""


class TrainedWorld:
    """Trains on the images of ``dataset`` and the labels that ``annotator`` gave, or that ``restore`` passes on.

    A model follows from (seed, request number, B), so only the last ones are kept; after a resume the one that is
    asked for is trained again. Several services are annotators by the purpose of a request: test, certify, train and
    residual. ``on_progress(steps done, steps)`` is called while a net trains.
    """

    def __init__(
        self,
        dataset: Dataset,
        annotator: Annotator | Mapping[str, Annotator] | None = None,
        *,
        width: int = 64,
        recipe: str = "fast",
        ranking: str = "margin",
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ):
        self.truth = dataset.labels
        self.dataset, self.annotator = dataset, annotator
        self.width, self.recipe, self.seed, self.on_progress = width, recipe, seed, on_progress
        self.ranking = rankings.find(ranking)
        self.known = np.full(len(dataset.images), -1, np.int32)
        self.asked_at = np.full(len(dataset.images), NEVER)
        self.jobs: dict[int, Train] = {}
        self.trainers: dict[str, Trainer] = {}
        self.models: dict[int, Model] = {}
        self.scored: tuple[tuple[int, tuple[float, ...] | None], Indices, Scores] | None = None

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
            self_training.check(self._trainer_of(name), name)
            self._trainer_of(name).rehearse()

    def answer(self, request: Request, number: int) -> Answer:
        """Do what the request asks. Raises McalError where the annotator, the device or a plug-in fails."""
        match request:
            case Label():
                chosen = self.choose(request, number)
                self._learn(chosen, self._ask(chosen, request.purpose), number)
                return Labels(chosen, self.known[chosen], retired=self.retire(request, chosen))
            case Relabel():
                chosen = self.choose(request, number)
                labels = self._ask(chosen, "test", again=True)
                return SecondLabels(chosen, labels != self.known[chosen])
            case Train(train, test):
                self.jobs[number] = request
                ensemble = self._ensemble(number)
                model, ranked = ensemble.models[0], self._trainer(number).score(ensemble, test)
                order = most_confident(self.ranking, ranked)
                wrong = np.flatnonzero(ranked.label[order] != self.known[test][order])
                work = model.images, model.seconds, model.unlabelled
                return TrainResult(number, len(train), len(test), wrong, *work)
            case MachineLabel(pool, n, model, _, limits):
                scores = self._score_pool(model, pool, self._ensemble(model))
                order = most_confident(self.ranking, scores, n)
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
            self._learn(answer.indices, answer.labels, number)

    def _learn(self, indices: Indices, labels: np.ndarray, number: int) -> None:
        """Humans gave ``labels`` to the images at ``indices`` for request ``number``."""
        self.known[indices], self.asked_at[indices] = labels, number

    def _ask(self, indices: Indices, purpose: str, again: bool = False) -> np.ndarray:
        annotator = self.annotator[purpose] if isinstance(self.annotator, Mapping) else self.annotator
        if annotator is None:
            raise McalError("this world has no annotator: give one, or the labels from outside")
        return ask(annotator, indices, self.dataset.classes, again=again)

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
        scores = self._score_pool(model, both, self._ensemble(model))
        in_sample = np.isin(both, sample, assume_unique=True)
        before = np.setdiff1d(np.flatnonzero(self.known >= 0), sample)
        order, classes = most_confident(self.ranking, scores), len(self.dataset.classes)
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
        if request.by == "kcenter":
            of = (request.test, chosen, self.jobs[request.model].train)
            return request.test[would_be_chosen(*(self._features(request.model, indices) for indices in of))]
        batch = self._score_pool(request.model, chosen)
        test = self._trainer(request.model).score(self._model(request.model), request.test)
        return request.test[acquisition.would_choose(request.by, batch, chosen, test, request.test)]

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
        return Classifier.from_trainer(self._trainer(number), self._ensemble(number), self.dataset.classes)

    def _trainer(self, number: int) -> Trainer:
        return self._trainer_of(self.jobs[number].architecture)

    def _trainer_of(self, name: str) -> Trainer:
        if name not in self.trainers:
            recipe = recipe_of(name, self.recipe)
            self.trainers[name] = Trainer(
                self._inputs(name), len(self.dataset.classes), architecture=name, width=self.width, recipe=recipe
            )
        return self.trainers[name]

    def _inputs(self, name: str) -> np.ndarray | AnyPool:
        """The images or features that an architecture reads, as a pool if there is one. Raises McalError."""
        of_features, data = reads_features(name), self.dataset
        inputs = data.features if of_features else data.images if data.has_images else None
        if inputs is None:
            reads, has = ("features", "images") if of_features else ("images", "features")
            raise McalError(f"{short_name(name)} reads {reads}, and '{data.name}' has {has} alone")
        same = (trainer.pool for other, trainer in self.trainers.items() if reads_features(other) == of_features)
        return next(same, inputs)

    def _model(self, number: int) -> Model:
        """The model of request ``number``, trained again if it is not one of the latest round's."""
        if number not in self.models:
            job = self.jobs[number]
            key = jax.random.fold_in(key_of(self.seed), number)
            kept = self._in_use()
            self.models = {k: m for k, m in self.models.items() if k in kept}
            known, unlabelled = job.train[self.known[job.train] != UNKNOWN], np.flatnonzero(self.asked_at > number)
            data = known, self.known[known], unlabelled
            self.models[number] = self_training.fit(self._trainer(number), *data, key, self.on_progress)
        return self.models[number]

    def _in_use(self) -> set[int]:
        """The models that may be asked for again.

        Those on an older B will not, but for the one before, if it counts; a race keeps one of each architecture.
        """
        size = len(self.jobs[max(self.jobs)].train)
        latest = {k for k, job in self.jobs.items() if len(job.train) == size}
        return latest | {before for k in latest if (before := self._before(k)) is not None}

    def _before(self, number: int) -> int | None:
        """The training before ``number`` of the same architecture on a smaller B, if the ranking counts it."""
        if not self.ranking.previous:
            return None
        job = self.jobs[number]
        earlier = (
            k
            for k, other in self.jobs.items()
            if k < number and other.architecture == job.architecture and len(other.train) < len(job.train)
        )
        return max(earlier, default=None)

    def _ensemble(self, number: int) -> Ensemble:
        """The models whose mean labels and ranks for request ``number``."""
        mirror = self.ranking.mirror and self._trainer(number).mirrors
        before = self._before(number)
        if before is None:
            return Ensemble((self._model(number),), mirror=mirror)
        weight = self.ranking.previous
        models = (self._model(before), self._model(number))
        return Ensemble(models[::-1], (1 - weight, weight), mirror)

    def _features(self, number: int, indices: Indices) -> np.ndarray:
        return self._trainer(number).features(self._model(number), indices)

    def _score_pool(self, number: int, pool: Indices, ensemble: Ensemble | None = None) -> Scores:
        """Scores of ``pool`` by the model of request ``number``, which M(.) selects by, or by an ``ensemble``.

        Those of a larger pool by the same are kept and serve its parts.
        """
        if ensemble is not None and ensemble.is_plain:
            ensemble = None
        scorer = number, ensemble and ensemble.weights
        if self.scored is None or self.scored[0] != scorer or not np.isin(pool, self.scored[1]).all():
            self.scored = scorer, pool, self._trainer(number).score(ensemble or self._model(number), pool)
        at = np.searchsorted(self.scored[1], pool)
        return Scores(*(values[at] for values in self.scored[2]))
