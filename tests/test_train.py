"""Training and scoring: repeatable, one program for every |B|, and it learns."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mcal_jax import nets, train
from mcal_jax.acquisition import Scores
from mcal_jax.backends import ACCELERATOR, CPU
from mcal_jax.train import (
    RECIPES,
    Trainer,
    augment,
    compilations,
    enable_compilation_cache,
    minibatches,
    run_steps,
    scores_of,
)
from mcal_jax.types import McalError

SHORT = RECIPES["fast"]._replace(name="short", batch=32, epochs=2, power=0, flip=False)
KEY = jax.random.key(0)


def pool(n, classes=4, seed=0):
    """Images whose class is the quarter that is bright, in noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    images = rng.integers(0, 120, (n, 8, 8, 1), dtype=np.uint8)
    for i, label in enumerate(labels):
        row, column = 4 * (label // 2), 4 * (label % 2)
        images[i, row : row + 4, column : column + 4] += 100
    return images, labels


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """A net of one block, which compiles in a second."""
    nets.ARCHITECTURES["tiny"] = partial(nets.ResNet, nets.basic, (1, 1))
    yield
    del nets.ARCHITECTURES["tiny"]


@pytest.fixture(scope="module")
def trainer(tiny):
    images, labels = pool(600)
    trainer = Trainer(images, 4, architecture="tiny", width=4, recipe=SHORT)
    trainer.labels = labels
    return trainer


def like(trainer, **changes):
    """A trainer of the same images, with changes."""
    settings = dict(architecture="tiny", width=4, recipe=trainer.recipe) | changes
    return Trainer(np.asarray(trainer.pool.images), 4, **settings)


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_same_key_and_labels_give_the_same_weights_and_scores(trainer):
    indices = np.arange(100)
    first = trainer.fit(indices, trainer.labels[indices], KEY)
    shuffled = np.random.default_rng(1).permutation(indices)
    again = trainer.fit(shuffled, trainer.labels[shuffled], KEY)
    assert equal(first[:2], again[:2])
    assert equal(trainer.score(first, np.arange(600)), trainer.score(again, np.arange(600)))
    assert not equal(first.params, trainer.fit(indices, trainer.labels[indices], jax.random.key(1)).params)


def test_one_compilation_serves_every_size_and_the_whole_recipe_of_steps():
    images, labels = pool(300, seed=3)
    before = compilations()
    trainer = Trainer(images[:, :7], 4, architecture="tiny", width=1, recipe=SHORT)
    for n in (50, 100, 237):
        model = trainer.fit(np.arange(n), labels[:n], KEY)
        assert model.images == SHORT.steps(n) * SHORT.batch
    assert compilations() - before == 1


def test_rows_of_padding_are_never_read(trainer):
    rng, steps = np.random.default_rng(0), 3
    picks = rng.integers(0, 600, (CPU.chunk, SHORT.batch)).astype(np.int32)
    garbage = picks.copy()
    garbage[steps:] = 599

    def result(picks):
        _, params, stats = train.nnx.split(
            trainer.build(rng=np.random.default_rng(0)), train.nnx.Param, train.nnx.BatchStat
        )
        state = train.State(params, stats, SHORT.optimizer.init(params))
        targets = trainer.labels[picks].astype(np.int32)
        return run_steps(trainer.net, SHORT, state, trainer.pool, picks, targets, 0, steps, 9, KEY)

    assert equal(result(picks), result(garbage))


def test_training_in_chunks_equals_training_in_one_go(trainer):
    done = []
    whole = trainer.fit(np.arange(100), trainer.labels[:100], KEY)
    chunks = like(trainer, backend=trainer.backend._replace(chunk=3))
    chunked = chunks.fit(np.arange(100), trainer.labels[:100], KEY, lambda *at: done.append(at))
    assert done == [(3, 8), (6, 8), (8, 8)]
    assert equal(whole[:2], chunked[:2])


@pytest.mark.parametrize("backend", [CPU, ACCELERATOR._replace(dtype="float32", chunk=5)], ids=["cpu", "accelerator"])
def test_nets_trained_side_by_side_equal_those_trained_alone(trainer, backend):
    many, keys, done = like(trainer, backend=backend), [jax.random.key(k) for k in (0, 7)], []
    before = compilations()
    many.fit_many(np.arange(50), trainer.labels[:50], keys)
    together = many.fit_many(np.arange(100), trainer.labels[:100], keys, lambda *at: done.append(at))
    assert compilations() - before == 1
    assert done[-1] == (8, 8)
    for key, model in zip(keys, together, strict=True):
        alone = trainer.fit(np.arange(100), trainer.labels[:100], key)
        assert model.images == alone.images
        for ours, theirs in zip(jax.tree.leaves(model[:2]), jax.tree.leaves(alone[:2]), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    with pytest.raises(McalError, match="at least one key"):
        many.fit_many(np.arange(100), trainer.labels[:100], [])


@pytest.fixture(scope="module")
def plain(tiny):
    """Trains long and without augmentation."""
    images, labels = pool(1000)
    recipe = SHORT._replace(name="plain", epochs=60, shift=0, label_smoothing=0)
    trainer = Trainer(images, 4, architecture="tiny", width=4, recipe=recipe)
    trainer.labels = labels
    return trainer


def test_learns_separable_images(plain):
    train, test = np.arange(500), np.arange(500, 1000)
    model = plain.fit(train, plain.labels[train], KEY)
    assert np.mean(plain.score(model, test).label == plain.labels[test]) > 0.9


def test_learns_in_half_precision_as_on_an_accelerator(plain):
    """The weights stay in float32, and a net trained in bfloat16 scores the same in float32, nearly."""
    train, test = np.arange(500), np.arange(500, 1000)
    half = like(plain, recipe=plain.recipe._replace(name="half", epochs=20), backend=ACCELERATOR)
    model = half.fit(train, plain.labels[train], KEY)
    assert {leaf.dtype for leaf in jax.tree.leaves(model[:2])} == {np.dtype("float32")}
    scores, exact = half.score(model, test), plain.score(model, test)
    assert np.mean(scores.label == plain.labels[test]) > 0.9
    assert np.mean(scores.label == exact.label) > 0.98
    gap = np.abs(scores.confidence - exact.confidence)
    assert 0 < gap.mean() < 0.01


def test_memorises_a_few_images_with_random_labels(plain):
    labels = np.random.default_rng(5).integers(0, 4, 20)
    scores = plain.score(plain.fit(np.arange(20), labels, KEY), np.arange(20))
    assert scores.label.tolist() == labels.tolist()


def test_rates_of_the_paper_at_its_epochs():
    recipe = RECIPES["paper"]
    steps = recipe.steps(5000)
    assert steps == 200 * 20
    factors = {0: 1, 79: 1, 80: 0.1, 119: 0.1, 120: 0.01, 160: 0.001, 179: 0.001, 180: 0.0001, 199: 0.0001}
    for epoch, factor in factors.items():
        rate = recipe.rate(epoch * 20, steps)
        np.testing.assert_allclose(rate, recipe.learning_rate * factor, rtol=1e-5)


def test_fast_processes_half_of_the_images_of_paper_and_less():
    for size, times in ((600, 6.7), (5600, 3.6), (50_000, 2.3)):
        fast, paper = (RECIPES[name].steps(size) * RECIPES[name].batch for name in ("fast", "paper"))
        assert paper / fast == pytest.approx(times, rel=0.02)


def test_steps_of_short_grow_more_slowly_than_the_labelled_set():
    sizes = [100, 700, 5600, 50_000]
    steps = [RECIPES["short"].steps(n) for n in sizes]
    assert steps == sorted(steps)
    assert all(b / a < n / m for a, b, m, n in zip(steps, steps[1:], sizes, sizes[1:], strict=False))
    assert RECIPES["short"].steps(5600) * RECIPES["short"].batch * 10 <= RECIPES["paper"].steps(5600) * 256


def test_scores_of_known_logits():
    p = np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]])
    scores = Scores(*scores_of(jnp.log(p)))
    assert scores.label.tolist() == [0, 2]
    np.testing.assert_allclose(scores.margin, [0.5, 0.25], rtol=1e-5)
    np.testing.assert_allclose(scores.confidence, [0.7, 0.5], rtol=1e-5)
    np.testing.assert_allclose(scores.entropy, -(p * np.log(p)).sum(1), rtol=1e-5)


def test_scores_follow_the_order_asked_for(trainer):
    model = trainer.fit(np.arange(50), trainer.labels[:50], KEY)
    order = np.random.default_rng(0).permutation(600)
    whole, some = trainer.score(model, order), trainer.score(model, order[:3])
    for a, b in zip(whole, some, strict=True):
        np.testing.assert_allclose(a[:3], b, atol=1e-6)
    assert len(trainer.score(model, np.array([], int)).label) == 0
    features = trainer.features(model, order)
    assert features.shape == (600, 8)
    assert features.dtype == np.float32


def test_minibatches_hold_every_image_once_per_epoch():
    stream = minibatches(10, 4, np.random.default_rng(0))
    drawn = np.concatenate([next(stream) for _ in range(15)])
    assert all(sorted(epoch) == list(range(10)) for epoch in drawn.reshape(6, 10))


def test_augmentation_shifts_within_its_reach_and_mirrors():
    image = jnp.zeros((1, 20, 20, 1)).at[0, 10, 10].set(1)
    images = augment(jnp.repeat(image, 400, 0), RECIPES["fast"]._replace(shift=0.1, flip=True), KEY)
    at = np.argwhere(np.asarray(images[..., 0]))
    assert len(at) == 400
    assert set(at[:, 1]) == {8, 9, 10, 11, 12}
    assert set(at[:, 2]) == {7, 8, 9, 10, 11, 12}  # mirrored about 9.5
    still = augment(image, RECIPES["fast"]._replace(shift=0, flip=False), KEY)
    assert np.array_equal(still, image)


def test_a_loss_that_is_not_finite_stops_the_training(trainer):
    recipe = SHORT._replace(name="wild", learning_rate=1e38, optimizer=optax.identity())
    wild, done = like(trainer, recipe=recipe, backend=CPU._replace(chunk=3)), []
    with pytest.raises(McalError, match=r"no longer finite after 3 of 8 steps.*'wild', learning rate 1e\+38"):
        wild.fit(np.arange(100), trainer.labels[:100], KEY, lambda *at: done.append(at))
    assert not done


@pytest.mark.parametrize(
    ("indices", "labels", "message"),
    [
        ([0, 600], [0, 0], "0 to 600 .* 0 to 599"),
        ([3, 3], [0, 0], "3 is given twice"),
        ([0, 1], [0, 4], "labels 0 to 4 .* 0 to 3"),
        ([0, 1], [0], r"\[2\] and \[1\]"),
        ([], [], r"\[0\] and \[0\]"),
    ],
)
def test_training_sets_that_are_refused(trainer, indices, labels, message):
    with pytest.raises(McalError, match=message):
        trainer.fit(np.array(indices, int), np.array(labels, int), KEY)


def test_trainers_that_are_refused():
    images = np.zeros((5, 8, 8, 1), np.uint8)
    with pytest.raises(McalError, match=r"'fats'.*'fast'"):
        Trainer(images, 2, recipe="fats")
    with pytest.raises(McalError, match=r"'resnet19'.*'resnet18'"):
        Trainer(images, 2, architecture="resnet19")
    with pytest.raises(McalError, match=r"width .* not 0"):
        Trainer(images, 2, width=0)
    with pytest.raises(McalError, match=r"float64 \[5, 8\]"):
        Trainer(np.zeros((5, 8)), 2)


def test_compilation_cache_goes_where_the_user_caches(tmp_path, monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert enable_compilation_cache() == tmp_path / "mcal_jax"
        assert enable_compilation_cache(tmp_path / "own") == tmp_path / "own"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_a_training_of_another_length_compiles_nothing():
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 1), np.uint8)
    trainer = Trainer(images, 2, width=2, recipe=RECIPES["short"]._replace(name="one", epochs=1, power=0, batch=16))
    trainer.fit(np.arange(40), np.arange(40) % 2, jax.random.key(0))
    before = compilations()
    trainer.recipe = trainer.recipe._replace(name="two", epochs=2)
    trainer.fit(np.arange(40), np.arange(40) % 2, jax.random.key(0))
    assert compilations() == before
