"""The trained world on small images: real nets, one compilation a run, every acquisition function."""

import numpy as np
import pytest
from conftest import assert_partition, same, three_kinds

from mcal_jax.algorithm.acquisition import ACQUISITIONS
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import Label, MachineLabel, Train
from mcal_jax.annotators.ground_truth import GroundTruth
from mcal_jax.data import from_arrays
from mcal_jax.errors import McalError
from mcal_jax.runs.driver import drive
from mcal_jax.runs.settings import Run
from mcal_jax.training.programs import compilations
from mcal_jax.training.recipes import RECIPES
from mcal_jax.worlds.trained import TrainedWorld

CONFIG = Config(test_fraction=0.1, seed_fraction=0.03, theta_step=0.25)
pytestmark = pytest.mark.usefixtures("small_nets")


@pytest.fixture(scope="module")
def images():
    return three_kinds(10, 80)


def world(images, **settings):
    return TrainedWorld(images, GroundTruth(images), width=2, **settings)


def test_the_training_program_is_compiled_once_per_architecture_over_a_run(images):
    before = compilations()
    job = Job(n=500, config=CONFIG, architectures=("resnet18", "cnn18"))
    done = drive(job, world(images))
    sizes = {fit.size for fit in done.outcome.history}
    assert len(sizes) > 2
    assert compilations() - before <= 2
    again = compilations()
    drive(job, world(images, seed=1))
    assert compilations() == again


@pytest.mark.parametrize("by", ACQUISITIONS)
def test_every_acquisition_function_runs_to_a_partition(images, by):
    done = drive(Job(n=500, config=CONFIG.model_copy(update={"acquisition": by})), world(images))
    assert_partition(done.outcome)
    assert done.true_error is not None
    assert done.true_error < 0.2


def test_humans_label_the_least_certain_and_the_machine_the_most_certain(images):
    asked = world(images)
    test, train, pool = np.arange(50), np.arange(50, 150), np.arange(150, 500)
    for number, chosen in enumerate((test, train)):
        asked.answer(Label(chosen, len(chosen), "all", "train"), number)
    asked.answer(Train(train, test, "resnet18"), 2)
    margin = asked.trainers["resnet18"].score(asked.models[2], pool).margin
    for_humans = asked.answer(Label(pool, 40, "margin", "train", 2), 3).indices
    for_machine = asked.answer(MachineLabel(pool, 40, 2), 4).indices
    assert margin[for_humans - 150].max() <= np.sort(margin)[40]
    assert margin[for_machine - 150].min() >= np.sort(margin)[-41]


def test_a_model_that_is_needed_again_is_trained_again_to_the_same(images):
    test, train, pool = np.arange(50), np.arange(50, 150), np.arange(150, 500)
    requests = [Label(test, 50, "all", "test"), Label(train, 100, "all", "train"), Train(train, test, "resnet18")]
    first, second = world(images), world(images)
    for number, request in enumerate(requests):
        second.restore(request, number, first.answer(request, number))
    assert not second.models
    request = MachineLabel(pool, 100, 2)
    assert same(first.answer(request, 3), second.answer(request, 3))


@pytest.mark.parametrize(("classes", "has"), [(("cat",), "1 class: 'cat';"), ((), "0 classes;")])
def test_fewer_than_two_classes_are_refused_before_a_label_is_bought(images, classes, has):
    few = images._replace(name="mine.npz", classes=classes)
    with pytest.raises(McalError, match=f"^data 'mine.npz' has {has} a classifier needs at least 2$"):
        TrainedWorld(few, GroundTruth(images), width=2).prepare(["resnet18"])


def test_what_cannot_be_trained_is_refused_before_a_label_is_bought(images):
    for settings, name, message in (
        ({"width": 10**6}, "resnet18", "GB of memory at least"),
        ({"width": 2}, "resnet19", "did you mean 'resnet18'"),
        ({"width": 2, "recipe": "fats"}, "resnet18", "did you mean 'fast'"),
    ):
        with pytest.raises(McalError, match=message):
            TrainedWorld(images, None, **settings).prepare([name])


def test_what_is_prepared_is_what_the_run_takes_and_the_images_are_there_once(images):
    ready = world(images)
    ready.prepare(["resnet18", "cnn18"])
    one, other = ready.trainers.values()
    assert one.pool is other.pool
    before = compilations()
    done = drive(Job(n=500, config=CONFIG, architectures=("resnet18", "cnn18")), ready)
    assert compilations() == before
    assert same(
        done.outcome.S, drive(Job(n=500, config=CONFIG, architectures=("resnet18", "cnn18")), world(images)).outcome.S
    )


def test_images_without_labels_are_refused_by_the_ground_truth(images):
    with pytest.raises(McalError, match="has images but no labels"):
        GroundTruth(from_arrays(images.images))


def test_an_architecture_is_trained_by_the_recipe_in_its_name(images):
    """Two recipes of one net: the trainings of each take the epochs of its own, and one pool serves both."""
    both = world(images, recipe="short")
    both.prepare(["resnet18@brief", "resnet18"])
    indices = np.arange(64)
    labels = both.answer(Label(indices, 64, "all", "train"), 0).labels
    assert len(labels) == 64
    trained = {
        name: both.answer(Train(indices, indices, name), i) for i, name in enumerate(["resnet18@brief", "resnet18"], 1)
    }
    for name, recipe in (("resnet18@brief", RECIPES["brief"]), ("resnet18", RECIPES["short"])):
        assert trained[name].images == recipe.steps(64) * recipe.batch
    assert both.trainers["resnet18"].pool is both.trainers["resnet18@brief"].pool


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet18@fest", "unknown recipe 'fest': did you mean 'fast'"),
        ("resnet81@fast", "unknown architecture 'resnet81': did you mean 'resnet18'"),
    ],
)
def test_a_wrong_net_or_recipe_is_named_before_anything_is_bought(images, name, reason):
    with pytest.raises(McalError, match=reason):
        world(images).prepare([name])
    with pytest.raises(McalError, match=reason):
        Run(data={"name": "cifar10"}, architectures=[name])
