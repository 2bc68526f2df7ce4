"""Rankings L(.): labels, T, U and the delivered classifier follow the same mean of probabilities."""

import jax
import numpy as np
import pytest
from conftest import assert_partition, same, three_kinds

from mcal_jax.algorithm.acquisition import Scores, rank_confident
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import Label, MachineLabel, Train, Verify
from mcal_jax.algorithm.rankings import RANKINGS, Ranking, find, most_confident
from mcal_jax.annotators.ground_truth import GroundTruth
from mcal_jax.errors import McalError
from mcal_jax.runs.driver import drive
from mcal_jax.runs.settings import Run
from mcal_jax.training.classifier import Classifier
from mcal_jax.training.pool import look_up
from mcal_jax.training.programs import Ensemble
from mcal_jax.training.recipes import RECIPES
from mcal_jax.worlds.trained import TrainedWorld

TEST, SMALL, LARGE, POOL = np.arange(50), np.arange(50, 100), np.arange(50, 200), np.arange(200, 500)
CONFIG = Config(test_fraction=0.1, seed_fraction=0.03, theta_step=0.25)
pytestmark = pytest.mark.usefixtures("small_nets")


@pytest.fixture(scope="module")
def images():
    return three_kinds(5, 60)


def world_of(images, ranking, **settings):
    return TrainedWorld(images, GroundTruth(images), width=2, recipe="brief", ranking=ranking, **settings)


@pytest.fixture(scope="module")
def averaged(images):
    """A world after trainings number 2 on SMALL and 4 on LARGE, and the requests so far with their answers."""
    world, added = world_of(images, "averaged"), np.setdiff1d(LARGE, SMALL)
    requests = [
        Label(TEST, len(TEST), "all", "test"), Label(SMALL, len(SMALL), "all", "train"), Train(SMALL, TEST, "resnet18"),
        Label(added, len(added), "all", "train"), Train(LARGE, TEST, "resnet18"),
    ]  # fmt: skip
    return world, [(request, world.answer(request, number)) for number, request in enumerate(requests)]


def probabilities(world, number, pixels):
    """By the model of request ``number``, float32 [n, classes]."""
    trainer, model = world.trainers["resnet18"], world.models[number]
    pool = trainer.pool._replace(images=pixels)
    logits, _ = trainer.net.merge(model.params, model.stats)(look_up(pool, np.arange(len(pixels))), train=False)
    return np.asarray(jax.nn.softmax(logits))


def expected(world, indices):
    """The mean that "averaged" stands for, computed image by image."""
    pixels = world.dataset.images[indices]
    both = [(probabilities(world, k, pixels) + probabilities(world, k, pixels[:, :, ::-1])) / 2 for k in (2, 4)]
    return 0.3 * both[0] + 0.7 * both[1]


def margin_of(p):
    return np.diff(np.sort(p, axis=1)[:, -2:], axis=1)[:, 0]


def test_scores_are_those_of_the_mean_over_mirror_images_and_the_last_two_models(averaged):
    world, _ = averaged
    trainer = world.trainers["resnet18"]
    scores, mean = trainer.score(world._ensemble(4), POOL), expected(world, POOL)
    np.testing.assert_array_equal(scores.label, mean.argmax(1))
    np.testing.assert_allclose(scores.margin, margin_of(mean), atol=1e-5)
    np.testing.assert_allclose(scores.confidence, mean.max(1), atol=1e-5)
    plain = trainer.score(world.models[4], POOL)
    assert np.abs(plain.margin - scores.margin).max() > 0.01


def test_t_u_v_and_the_delivered_classifier_follow_one_ranking(averaged, images):
    world, done = averaged
    mean, truth = expected(world, TEST), images.labels
    order = np.argsort(-mean.max(1), kind="stable")
    assert done[4][1].wrong.tolist() == np.flatnonzero(mean.argmax(1)[order] != truth[TEST][order]).tolist()
    given, mean = world.answer(MachineLabel(POOL, 100, 4), 5), expected(world, POOL)
    sure = np.sort(np.argsort(-mean.max(1), kind="stable")[:100])
    assert given.indices.tolist() == POOL[sure].tolist()
    assert given.labels.tolist() == mean.argmax(1)[sure].tolist()
    found = world.classifier(4).predict(images.images[given.indices])
    assert found.label.tolist() == given.labels.tolist()
    np.testing.assert_allclose(found.margin, given.margins, atol=1e-5)
    sample = POOL[:30]
    world.known[sample] = truth[sample]
    checked = world.answer(Verify(sample, POOL[30:], 4), 6)
    highest = mean.max(1)
    assert checked.ahead.tolist() == [(highest[30:] > one).sum() for one in highest[:30]]


def test_m_selects_by_the_latest_model_alone(averaged, images):
    world, _ = averaged
    margin = world.trainers["resnet18"].score(world.models[4], POOL).margin
    chosen = world.choose(Label(POOL, 50, "margin", "train", 4), 7)
    assert margin[chosen - POOL[0]].max() <= np.sort(margin)[50]


def test_a_saved_classifier_of_several_models_predicts_the_same(averaged, images, tmp_path):
    classifier = averaged[0].classifier(4)
    again = Classifier.load(classifier.save(tmp_path / "two.npz"))
    assert again.header.weights == (0.7, 0.3)
    assert again.header.mirror
    assert same(again.predict(images.images), classifier.predict(images.images))


def test_after_a_resume_both_models_are_trained_again_to_the_same(averaged, images):
    world, done = averaged
    second = world_of(images, "averaged")
    for number, (request, answer) in enumerate(done):
        second.restore(request, number, answer)
    assert not second.models
    request = MachineLabel(POOL, 100, 4)
    assert same(second.answer(request, 5), world.answer(request, 5))
    assert set(second.models) == {2, 4}


def test_only_the_models_that_count_are_kept(averaged, images):
    world, done = averaged
    assert set(world.models) == {2, 4}
    alone = world_of(images, "mirror")
    for number, (request, _) in enumerate(done):
        alone.answer(request, number)
    assert set(alone.models) == {4}


def test_mirror_images_do_not_count_where_the_recipe_does_not_train_on_them(images, monkeypatch):
    monkeypatch.setitem(RECIPES._entries, "upright", RECIPES["brief"]._replace(name="upright", flip=False))
    one = TrainedWorld(images, GroundTruth(images), width=2, recipe="upright", ranking="mirror")
    for number, request in enumerate([Label(LARGE, len(LARGE), "all", "train"), Train(LARGE, TEST, "resnet18")]):
        one.answer(request, number) if number == 0 else one.jobs.update({number: request})
    assert one._ensemble(1).is_plain
    trainer, model = one.trainers["resnet18"], one.models[1]
    mirrored = Ensemble((model,), mirror=True)
    assert not same(trainer.score(mirrored, POOL), trainer.score(model, POOL))


def test_the_paper_ranks_as_rank_confident_does():
    margin = np.random.default_rng(0).random(1000).round(2).astype(np.float32)
    scores = Scores(np.zeros(1000, np.int32), margin, margin, margin)
    assert most_confident(find("margin"), scores).tolist() == rank_confident(scores).tolist()
    assert Config.paper().ranking == Config.authors_code().ranking == "margin"


def test_a_run_with_an_average_and_an_ageing_test_set_ends_in_a_partition(images):
    config = CONFIG.model_copy(update={"ranking": "averaged", "age_test_set": True})
    done = drive(Job(n=500, config=config), world_of(images, "averaged"))
    assert_partition(done.outcome)
    assert done.true_error < 0.3


def least_entropy(scores):
    """Least entropy of the probabilities."""
    return -scores.entropy


def test_a_ranking_of_ones_own_is_a_function_or_a_ranking():
    scores = Scores(np.zeros(3, np.int32), *[np.array(v, np.float32) for v in ([0, 1, 2], [3, 1, 2], [0, 0, 0])])
    name = Config(ranking=least_entropy).ranking
    assert name == "least_entropy"
    assert find(name).description == "Least entropy of the probabilities."
    assert most_confident(find(name), scores).tolist() == [1, 2, 0]


def test_what_is_no_ranking_is_refused_in_one_line():
    with pytest.raises(McalError, match="ranking 'margins': did you mean 'margin'"):
        Config(ranking="margins")
    with pytest.raises(McalError, match="unknown ranking 'margins'"):
        Run(config={"ranking": "margins"})
    three = Scores(*[np.zeros(3, np.float32)] * 4)
    with pytest.raises(McalError, match=r"ranking 'odd' returned float64 \[2\], not one number for each of 3 images"):
        most_confident(Ranking("odd", lambda scores: np.zeros(2)), three)
    with pytest.raises(McalError, match="ranking 'odd' fails: ZeroDivisionError"):
        most_confident(Ranking("odd", lambda scores: 1 // 0), three)
    RANKINGS.register("heavy", Ranking("heavy", least_entropy, previous=1.0))
    with pytest.raises(McalError, match="ranking 'heavy': "):
        find("heavy")
    RANKINGS._entries.pop("heavy")


def test_a_run_that_ranks_as_before_keeps_its_id():
    assert Run(config={"ranking": "margin"}).id == "6ff311447c3d", "as when it was the default"
    assert Run(config={"ranking": "averaged"}).id == Run().id != "6ff311447c3d"
