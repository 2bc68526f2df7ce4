"""Training and scoring: repeatable, one program for every |B|, and it learns."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mcal_jax.algorithm.acquisition import Scores
from mcal_jax.errors import McalError
from mcal_jax.training import cache, nets, programs
from mcal_jax.training import trainer as training
from mcal_jax.training.cache import enable_compilation_cache
from mcal_jax.training.devices import ACCELERATOR, CPU
from mcal_jax.training.kcenter import k_center
from mcal_jax.training.programs import augment, compilations, run_steps
from mcal_jax.training.recipe import decay
from mcal_jax.training.recipes import RECIPES
from mcal_jax.training.scoring import scores_of
from mcal_jax.training.trainer import (
    Trainer,
    minibatches,
)

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


@pytest.fixture(scope="module")
def trainer(small_nets):
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
        _, params, stats = programs.split(trainer.build(rng=np.random.default_rng(0)))
        state = programs.State(params, stats, SHORT.optimizer.init(params))
        targets = trainer.labels[picks].astype(np.int32)
        settings = (*map(np.int32, (0, steps, 9)), np.float32(1), KEY)
        return run_steps(trainer.net, SHORT, state, trainer.pool, picks, targets, *settings)

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
def plain(small_nets):
    """Trains long and without augmentation."""
    images, labels = pool(1000)
    recipe = SHORT._replace(name="plain", epochs=60, shift=0, label_smoothing=0)
    trainer = Trainer(images, 4, architecture="tiny", width=4, recipe=recipe)
    trainer.labels = labels
    return trainer


def test_learns_separable_images(plain):
    training, test = np.arange(500), np.arange(500, 1000)
    model = plain.fit(training, plain.labels[training], KEY)
    assert np.mean(plain.score(model, test).label == plain.labels[test]) > 0.9


def test_learns_in_half_precision_as_on_an_accelerator(plain):
    """The weights stay in float32, and a net trained in bfloat16 scores the same in float32, nearly."""
    training, test = np.arange(500), np.arange(500, 1000)
    half = like(plain, recipe=plain.recipe._replace(name="half", epochs=20), backend=ACCELERATOR)
    model = half.fit(training, plain.labels[training], KEY)
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


def test_a_loss_that_is_finite_at_no_rate_stops_the_training(trainer):
    recipe = SHORT._replace(name="wild", learning_rate=1e38, optimizer=optax.identity())
    wild, done = like(trainer, recipe=recipe, backend=CPU._replace(chunk=3)), []
    tried = r"3 of 8 steps of recipe 'wild' \(learning rates tried: 1e\+38, 2.5e\+37, 6.25e\+36, 1.5625e\+36\)"
    with pytest.raises(McalError, match=f"no longer finite after {tried}"):
        wild.fit(np.arange(100), trainer.labels[:100], KEY, lambda *at: done.append(at))
    assert not done


@pytest.fixture(scope="module")
def steep(trainer):
    """A rate of 40 blows the weights up, a 16th of it trains."""
    recipe = SHORT._replace(name="steep", learning_rate=40.0, epochs=15, optimizer=decay(1.0))
    return like(trainer, recipe=recipe, backend=CPU._replace(chunk=8))


def test_a_loss_that_is_not_finite_is_retried_with_a_smaller_rate_by_the_same_program(trainer, steep):
    before, done = compilations(), []
    with pytest.warns(UserWarning, match=r"'steep' at a learning rate of 40; the net was trained with") as told:
        model = steep.fit(np.arange(100), trainer.labels[:100], KEY, lambda *at: done.append(at))
    assert len(told) == 1
    assert compilations() - before == 1
    assert model.learning_rate in (10, 2.5, 0.625)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(model[:2]))
    steps = steep.recipe.steps(100)
    assert done[-1] == (steps, steps)
    assert steps < model.images / SHORT.batch < 4 * steps  # what was given up is counted as far as it went
    with pytest.warns(UserWarning, match="steep"):
        again = steep.fit(np.arange(100), trainer.labels[:100], KEY)
    assert equal(model[:3], again[:3])
    lower = like(steep, recipe=steep.recipe._replace(learning_rate=model.learning_rate), backend=steep.backend)
    alone = lower.fit(np.arange(100), trainer.labels[:100], KEY)
    assert alone.learning_rate == model.learning_rate
    assert equal(model[:2], alone[:2])


def test_of_nets_trained_side_by_side_those_that_fail_are_trained_alone(trainer, steep):
    keys = [jax.random.key(k) for k in (0, 7)]
    with pytest.warns(UserWarning, match="steep") as told:
        together = steep.fit_many(np.arange(100), trainer.labels[:100], keys)
    assert len(told) == 2
    with pytest.warns(UserWarning, match="steep"):
        alone = [steep.fit(np.arange(100), trainer.labels[:100], key) for key in keys]
    assert all(equal(a[:3], b[:3]) for a, b in zip(together, alone, strict=True))
    assert {model.learning_rate for model in together} <= {10, 2.5, 0.625}


DEFAULTS = {
    "JAX_ENABLE_X64": "1",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_DEBUG_NANS": "1",
    "JAX_DEBUG_INFS": "1",
    "JAX_TRANSFER_GUARD": "disallow",
}
TRAINED = """
import hashlib
import sys
import jax
import numpy as np
from mcal_jax.training.kcenter import k_center
from mcal_jax.training.programs import key_of
from mcal_jax.training.recipes import RECIPES
from mcal_jax.training.trainer import Trainer
labels = np.arange(120) % 4
images = (np.random.default_rng(0).integers(0, 120, (120, 4, 4, 3)) + 30 * labels[:, None, None, None]).astype(np.uint8)
recipe = RECIPES[sys.argv[1]]._replace(epochs=2, power=0, batch=32)
trainer = Trainer(images, 4, architecture="cnn18", width=4, recipe=recipe)
model = trainer.fit(np.arange(60), labels[:60], key_of(3))
features = trainer.features(model, np.arange(120))
scores, chosen = trainer.score(model, np.arange(120)), k_center(features, 20, features[:5])
for leaf in jax.tree.leaves((trainer.pool, model[:2], features, scores, chosen)):
    leaf = np.asarray(leaf)
    print(leaf.dtype, leaf.shape, hashlib.sha256(leaf.tobytes()).hexdigest())
"""


@pytest.mark.parametrize(("native", "recipe"), [("1", "short"), pytest.param("0", "paper", marks=pytest.mark.slow)])
def test_global_defaults_of_jax_change_neither_weights_nor_labels(native, recipe):
    plain = {name: value for name, value in os.environ.items() if name not in DEFAULTS}
    printed = []
    for environment in ({}, DEFAULTS):
        command, settings = [sys.executable, "-c", TRAINED, recipe], {"MCAL_JAX_NATIVE": native, **environment}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**plain, **settings})
        printed.append(done.stdout)
    assert printed[0].count("\n") > 60
    assert printed[0] == printed[1]


def test_a_key_is_that_of_jax_and_large_seeds_differ():
    for seed in (0, 5, 2**31, 2**32 - 1):
        assert jax.random.key_data(programs.key_of(seed)).tolist() == jax.random.key_data(jax.random.key(seed)).tolist()
    seeds = (1, 2**32 + 1, 2**63 + 1)
    assert len({tuple(jax.random.key_data(programs.key_of(seed)).tolist()) for seed in seeds}) == 3


def arrays(program):
    """The type of every value in a program, those of its parts too."""
    for equation in program.eqns:
        yield from (variable.aval for variable in equation.outvars)
        for parameter in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")):
            if hasattr(inner := getattr(parameter, "jaxpr", parameter), "eqns"):
                yield from arrays(inner)


@pytest.mark.parametrize("backend", [CPU, ACCELERATOR], ids=["cpu", "accelerator"])
def test_no_part_of_a_net_is_wider_than_it_says_where_jax_is_wider(backend):
    """Also without ``our_defaults``, for nets serve others too."""
    where = jax if hasattr(jax, "enable_x64") else jax.experimental
    with where.enable_x64(True):
        net = nets.build("tiny", classes=4, channels=3, width=4, backend=backend, rng=np.random.default_rng(0))
        graph, params, stats = programs.split(net)

        def loss(params, images, index):
            model = graph.merge(params, stats)
            images = augment(images[index], RECIPES["fast"], KEY)
            logits, _ = model(images, train=True)
            return sum(part.sum() for part in scores_of(logits)[1:])

        images, index = np.zeros((8, 6, 6, 3), np.float32), np.zeros(16, np.int32)
        program = jax.make_jaxpr(jax.value_and_grad(loss))(params, images, index)
        wide = [value for value in arrays(program.jaxpr) if str(value.dtype) in ("float64", "int64") and value.shape]
        found = len(list(arrays(program.jaxpr)))
    assert found > 200
    assert not wide


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
    with pytest.raises(McalError, match=r"^resnet18 of width 100000 .* GB of memory at least, .* a smaller width"):
        Trainer(images, 2, width=100_000)


def test_images_that_the_machine_cannot_hold_are_refused_before_they_are_copied(monkeypatch):
    monkeypatch.setattr(training.devices, "memory", lambda: 10**6)
    monkeypatch.setattr(training, "any_pool", lambda images: pytest.fail("the images were copied"))
    with pytest.raises(McalError, match=r"tiny of width 1 on images of 100x100x1 needs .* and 0.0 GB are there"):
        Trainer(np.zeros((200, 100, 100, 1), np.uint8), 2, architecture="tiny", width=1)


def test_a_rehearsal_compiles_what_training_runs_and_tells_what_fails(trainer, monkeypatch):
    images, labels = pool(90, seed=4)
    one = Trainer(images[:, :5], 4, architecture="tiny", width=3, recipe=SHORT)
    before = compilations()
    one.rehearse()
    assert compilations() - before == 1
    model = one.fit(np.arange(80), labels[:80], KEY)
    assert compilations() - before == 1
    fresh = Trainer(one.pool, 4, architecture="tiny", width=3, recipe=SHORT)
    assert fresh.pool is one.pool
    assert equal(model[:2], fresh.fit(np.arange(80), labels[:80], KEY)[:2])

    def full(*given):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory\nand a list of buffers")

    monkeypatch.setattr(training, "run_steps", full)
    with pytest.raises(
        McalError, match=r"^tiny of width 3 on images of 5x8x1 can't .* out of memory\): choose [^\n]*$"
    ):
        one.rehearse()


@pytest.mark.parametrize(
    ("n", "height", "width", "channels", "classes"),
    [(4, 1, 1, 1, 2), (5, 2, 2, 2, 3), (200, 3, 5, 5, 1000), (9, 1, 1, 4, 2), (30, 2, 1, 3, 30)],
)
def test_tiny_pools_are_trained_and_scored(n, height, width, channels, classes):
    rng = np.random.default_rng(channels)
    images = rng.integers(0, 256, (n, height, width, channels), np.uint8)
    trainer = Trainer(images, classes, architecture="tiny", width=4, recipe=SHORT)
    model = trainer.fit(np.array([n - 1]), np.array([classes - 1]), KEY)
    scores, features = trainer.score(model, np.arange(n)), trainer.features(model, np.arange(n))
    assert scores.label[-1] == classes - 1
    assert all(np.isfinite(values).all() for values in (*scores, features))
    assert np.unique(k_center(features, n)).size == n


def test_compilation_cache_goes_where_the_user_caches(tmp_path, monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
        assert enable_compilation_cache() is None
        assert jax.config.jax_compilation_cache_dir == before
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        here = enable_compilation_cache()
        assert here.parent == tmp_path / "mcal_jax"
        monkeypatch.setattr(cache, "processor", lambda: "another")
        assert enable_compilation_cache() not in (here, None)
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
