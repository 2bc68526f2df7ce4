"""Self-training: it learns from images without labels, never from labels that nobody gave, and it is billed."""

import jax
import numpy as np
import pytest
from conftest import three_kinds

from mcal_jax.algorithm import costs, planner
from mcal_jax.algorithm.config import Config, PerHour, PerImageEpoch
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import Label, Train, TrainResult
from mcal_jax.annotators.ground_truth import GroundTruth
from mcal_jax.errors import McalError
from mcal_jax.runs.codec import answer_from_json, answer_json
from mcal_jax.runs.driver import drive
from mcal_jax.testing import check_world
from mcal_jax.training import self_training
from mcal_jax.training.programs import key_of
from mcal_jax.training.recipe import Student
from mcal_jax.training.recipes import RECIPES
from mcal_jax.training.streaming import Streamed
from mcal_jax.training.trainer import Trainer
from mcal_jax.worlds.simulated import Analytic, SimulatedWorld
from mcal_jax.worlds.trained import TrainedWorld

FIRST = RECIPES["fast"]._replace(batch=32, epochs=3, power=0)
STUDENT = Student(FIRST._replace(name="student", epochs=2), share=0.4)
KEY = key_of(0)
T, B, U = np.arange(50), np.arange(50, 150), np.arange(150, 500)
NAME = "tiny@taught"


@pytest.fixture(scope="module", autouse=True)
def taught(small_nets):
    """A recipe of two epochs for the student."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES._entries, "taught", FIRST._replace(name="taught", student=STUDENT))
        patch.setitem(costs.UNLABELLED_PASSES._entries, "taught", 0.8)
        yield


@pytest.fixture(scope="module")
def images():
    return three_kinds(10, 80)


def world(images, **settings):
    return TrainedWorld(images, GroundTruth(images), width=2, **settings)


def trained(images, name=NAME):
    """The weights after T and B are labelled, and the answer."""
    asked = world(images)
    for number, (chosen, purpose) in enumerate(((T, "test"), (B, "train"))):
        asked.answer(Label(chosen, len(chosen), "all", purpose), number)
    fit = asked.answer(Train(B, T, name), 2)
    return asked.models[2].params, fit


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def swapped(images, among):
    """The same images, those at ``among`` in another order: the mean of the pool stays."""
    array = images.images.copy()
    array[among] = array[among[::-1]]
    return images._replace(images=array)


# ---------------------------------------------------------------------------------------------------------
# What it learns from


def test_labels_that_are_not_in_B_change_no_weight(images):
    """The hidden labels of the pool and those of T, which humans gave: all of them are others."""
    labels = images.labels.copy()
    labels[U], labels[T] = (labels[U] + 1) % 3, (labels[T] + 2) % 3
    (weights, fit), (others, wrong) = trained(images), trained(images._replace(labels=labels))
    assert equal(weights, others)
    assert not np.array_equal(wrong.wrong, fit.wrong)


def test_it_learns_from_the_images_of_the_pool_and_not_from_those_of_T(images):
    weights, _ = trained(images)
    assert equal(weights, trained(swapped(images, T))[0])
    assert not equal(weights, trained(swapped(images, U))[0])
    plain, _ = trained(images, "tiny")
    assert equal(plain, trained(swapped(images, U), "tiny")[0])


def test_all_passes_are_counted(images):
    _, fit = trained(images)
    chosen = int(0.4 * len(U))
    assert fit.unlabelled == 2 * chosen
    assert fit.images == (FIRST.steps(len(B)) + STUDENT.recipe.steps(len(B) + chosen)) * 32
    assert trained(images, "tiny")[1].unlabelled == 0


def test_a_run_is_repeated_and_resumed_to_the_same_answers(images):
    """V is labelled after the last training: a classifier that is trained again then must not look at it."""
    config = Config.certified(epsilon=0.3, test_fraction=0.1, seed_fraction=0.1, theta_step=0.25)
    check_world(lambda: world(images), Job(n=500, config=config, architectures=(NAME,)))


def test_a_streamed_pool_gives_the_same_weights_and_progress_rises_to_the_end(images):
    recipe, key, reports = RECIPES["taught"], key_of(3), []
    settings = {"architecture": "tiny", "width": 2, "recipe": recipe}
    data = B, images.labels[B], U, key
    kept = self_training.fit(Trainer(images.images, 3, **settings), *data, lambda *at: reports.append(at))
    assert equal(kept.params, self_training.fit(Trainer(Streamed(images.images), 3, **settings), *data).params)
    done, steps = zip(*reports, strict=True)
    assert list(done) == sorted(done)
    assert set(steps) == {done[-1]}


def test_without_images_to_learn_from_the_first_net_is_the_classifier(images):
    trainer = Trainer(images.images, 3, architecture="tiny", width=2, recipe=RECIPES["taught"])
    data = B, images.labels[B]
    plain = trainer.fit(*data, KEY)
    assert equal(self_training.fit(trainer, *data, U[:2], KEY).params, plain.params)


# ---------------------------------------------------------------------------------------------------------
# What it costs


PRICED = {"dollars": 1e-5}
FIXED, RECIPE = (Config(training_price=PerImageEpoch(**PRICED, epochs=epochs)) for epochs in (200, "recipe"))
HOURLY = Config(training_price=PerHour(dollars=3.6))
FITS = [
    TrainResult(i, size, 50, np.arange(3), 30 * size + passes, (30 * size + passes) / 100, passes)
    for i, (size, passes) in enumerate([(100, 4000), (200, 3800), (400, 3600)])
]


def test_passes_without_labels_are_billed_on_top_of_the_epochs_of_B():
    assert costs.training_cost(FITS[0], "tiny", FIXED) == pytest.approx(1e-5 * (200 * 100 + 4000))
    assert costs.training_cost(FITS[0], "tiny", RECIPE) == pytest.approx(1e-5 * 7000)
    assert costs.training_cost(FITS[0], "tiny", HOURLY) == pytest.approx(0.07)


@pytest.mark.parametrize(("config", "rate"), [(FIXED, 2e-3), (RECIPE, 3e-4), (HOURLY, 3e-4)])
@pytest.mark.parametrize("trainings", [1, 3])
def test_the_next_training_is_expected_to_pass_as_many_again_whatever_B_is(config, rate, trainings):
    found = costs.learned_rate(FITS[:trainings], "tiny", config)
    passes = FITS[trainings - 1].unlabelled
    assert found == pytest.approx((1e-5 * passes, rate), rel=1e-6)


def test_what_the_first_training_will_cost_counts_images_without_labels():
    assert costs.expected_training_cost(100, NAME, FIXED, 350) == pytest.approx(1e-5 * (200 * 100 + 0.8 * 350))
    assert costs.expected_training_cost(100, "tiny", FIXED, 350) == pytest.approx(0.2)


def test_recipes_are_priced_for_the_passes_that_they_make():
    for name, recipe in RECIPES.items():
        assert costs.unlabelled_passes(f"resnet18@{name}") == pytest.approx(
            recipe.student.passes if recipe.student else 0
        )


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_budget_is_kept(share):
    config = Config(training_price=PerImageEpoch(dollars=1e-4, epochs=20))
    name, n = "resnet18@self_training", 2000
    tests, seed = planner.n_test(n, config), planner.n_seed(n, config)
    least = costs.labelling_cost(tests, seed, config)
    least += costs.expected_training_cost(seed, name, config, n - tests - seed)
    budget = least + share * (0.04 * n - least)
    config = config.model_copy(update={"budget": budget})
    done = drive(Job(n=n, config=config, architectures=(name,)), SimulatedWorld(n, Analytic()))
    assert done.outcome.ledger.total <= budget * (1 + 1e-9)
    with pytest.raises(McalError, match="does not pay for T, B_0 and one training"):
        planner.check(n, name, config.model_copy(update={"budget": 0.99 * least}))


@pytest.mark.parametrize(("price", "winner"), [(1e-7, "resnet18@self_training"), (1e-2, "resnet18")])
def test_a_race_is_decided_by_what_its_passes_cost_and_save(price, winner):
    """It errs less on the same labels, and is the cheaper one where training is cheap."""
    config = Config(training_price=PerImageEpoch(dollars=price, epochs="recipe"))
    curves = {"resnet18": Analytic(alpha=3.0), "resnet18@self_training": Analytic(alpha=2.0)}
    job = Job(n=10_000, config=config, architectures=tuple(curves))
    assert drive(job, SimulatedWorld(10_000, curves, epochs=1)).outcome.architecture == winner


def test_the_count_is_kept_in_logs_and_older_logs_are_read():
    plain = answer_json(FITS[0]._replace(unlabelled=0))
    assert "unlabelled" not in plain
    assert answer_from_json(plain).unlabelled == 0
    assert answer_from_json(answer_json(FITS[0])).unlabelled == 4000


# ---------------------------------------------------------------------------------------------------------
# Where it is refused


def test_a_recipe_that_has_no_price_is_refused_before_a_label_is_bought(images):
    why = "'taught' passes each image without a label 0.8 times, and is priced for 0 times: name the architecture"
    with pytest.raises(McalError, match=f"^tiny: recipe {why}"):
        world(images, recipe="taught").prepare(["tiny"])
    world(images).prepare([NAME])
