"""Self-training: a net that learns from images without labels too, by the labels that a first net gives them.

The first net, trained on B, labels the images that nobody has labelled. Those that it is most confident of join B in
the training of a second net (pseudo-labels: Lee 2013).
"""

import math

import jax
import numpy as np

from mcal_jax.algorithm.acquisition import lowest
from mcal_jax.algorithm.costs import unlabelled_passes
from mcal_jax.algorithm.protocol import trials
from mcal_jax.errors import McalError
from mcal_jax.training.programs import Ensemble, Model
from mcal_jax.training.recipe import Recipe
from mcal_jax.training.trainer import ProgressCallback, Trainer


def check(trainer: Trainer, architecture: str) -> None:
    """Raises McalError where the name of the ``architecture`` does not tell how often the recipe of ``trainer`` passes
    images without labels: that would have no price."""
    recipe, priced = trainer.recipe, unlabelled_passes(architecture)
    passes = recipe.student.passes if recipe.student else 0.0
    if not math.isclose(passes, priced):
        raise McalError(
            f"{architecture}: recipe {recipe.name!r} passes each image without a label {passes:g} times, and is priced "
            f"for {priced:g} times: name the architecture NET@RECIPE, and RECIPE is to be in UNLABELLED_PASSES"
        )


def fit(
    trainer: Trainer,
    indices: np.ndarray,
    labels: np.ndarray,
    unlabelled: np.ndarray,
    key: jax.Array,
    on_progress: ProgressCallback | None = None,
) -> Model:
    """A net trained on the images at ``indices`` [m], labelled ``labels`` [m], and, where the recipe of ``trainer`` has
    a ``student``, a second one taught by it that learns from those at ``unlabelled`` [u] too.

    Without any label, where humans could tell none of B, the net stays as it begins.

    Deterministic, ``on_progress`` and McalError as in ``Trainer.fit``; the images and seconds of both are counted.
    """
    recipe = trainer.recipe
    if not len(indices):
        return trainer.untrained(key)
    if not (chosen := n_chosen(recipe, len(unlabelled))):
        return trainer.fit(indices, labels, key, on_progress)
    assert recipe.student
    before, after = recipe.steps(len(indices)), recipe.student.recipe.steps(len(indices) + chosen)

    def report(start: int) -> ProgressCallback | None:
        return on_progress and (lambda done, _: on_progress(start + done, before + after))

    teacher = trainer.fit(indices, labels, key, report(0))
    return teach(trainer, teacher, indices, labels, unlabelled, key, report(before))


def teach(
    trainer: Trainer,
    teacher: Model,
    indices: np.ndarray,
    labels: np.ndarray,
    unlabelled: np.ndarray,
    key: jax.Array,
    on_progress: ProgressCallback | None = None,
) -> Model:
    """The second net, where the first, ``teacher``, is there already; the other arguments are those of ``fit``."""
    student, chosen = trainer.recipe.student, n_chosen(trainer.recipe, len(unlabelled))
    assert student
    scores = trainer.score(Ensemble((teacher,), mirror=trainer.mirrors), unlabelled)
    confident = lowest(-scores.margin, chosen)
    both = np.concatenate([indices, unlabelled[confident]])
    targets = np.concatenate([labels, scores.label[confident]])
    model = trainer.with_recipe(student.recipe).fit(both, targets, jax.random.fold_in(key, 1), on_progress)
    return model._replace(
        images=teacher.images + model.images,
        seconds=teacher.seconds + model.seconds,
        unlabelled=round(student.recipe.epochs) * chosen,
    )


def n_chosen(recipe: Recipe, unlabelled: int) -> int:
    """How many of so many images without labels the second net learns from; 0 if there is none."""
    return int(trials(recipe.student.share, unlabelled)) if recipe.student else 0
