"""Streamed pools give the weights, scores and runs of pools in memory, and take little of it."""

import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import same, three_kinds

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.annotators.ground_truth import GroundTruth
from mcal_jax.errors import McalError
from mcal_jax.runs.driver import drive
from mcal_jax.training import devices, pool, streaming
from mcal_jax.training.classifier import Classifier
from mcal_jax.training.pool import placement
from mcal_jax.training.programs import compilations, key_of
from mcal_jax.training.recipes import RECIPES
from mcal_jax.training.streaming import Streamed, any_pool, serve
from mcal_jax.training.trainer import Trainer
from mcal_jax.worlds.trained import TrainedWorld

RECIPE = RECIPES["fast"]._replace(name="short", batch=16, epochs=3, power=0)
N = 300
pytestmark = pytest.mark.usefixtures("small_nets")


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of 70 images of 8x8x1, and so chunks of 4 mini-batches."""
    monkeypatch.setattr(streaming, "PART", 70 * 64)


def on_disk(array, folder):
    np.save(folder / "images.npy", array)
    return np.load(folder / "images.npy", mmap_mode="r")


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize("of_features", [False, True])
def test_weights_and_scores_are_those_of_a_pool_in_memory(tmp_path, small_parts, of_features):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, N)
    images = (rng.integers(0, 80, (N, 8, 8, 1)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    if of_features:
        images = images.reshape(N, 64).astype(np.float16)
    build = partial(Trainer, classes=3, architecture="linear" if of_features else "tiny", width=4, recipe=RECIPE)
    whole, streamed = build(images), build(Streamed(on_disk(images, tmp_path)))
    assert (whole.chunk > 4) == (whole.chunk != streamed.chunk)
    chosen, order = rng.permutation(N)[:100], rng.permutation(N)
    before = compilations()
    models = [trainer.fit(chosen, labels[chosen], key_of(3)) for trainer in (whole, streamed)]
    assert compilations() == before + 2
    assert equal(models[0][:2], models[1][:2])
    for at in (order, order[:1], order[:0], np.arange(N)):
        found = [t.score_with_features(m, at) for t, m in zip((whole, streamed), models, strict=True)]
        assert equal(*found)
    if of_features:  # which compile quickly
        many = [trainer.fit_many(chosen, labels[chosen], [key_of(3), key_of(4)]) for trainer in (whole, streamed)]
        assert equal([m[:2] for m in many[0]], [m[:2] for m in many[1]])
    kept = [Classifier.from_trainer(whole, models[0], "abc").predict(x) for x in (images, streamed.pool.images)]
    assert equal(kept[0], kept[1])
    with pytest.raises(McalError, match=f"{N} are not all within 0 to {N - 1}"):
        streamed.fit(np.array([0, N]), np.array([0, 0]), key_of(0))


def test_a_run_on_a_streamed_pool_decides_and_labels_alike(tmp_path, monkeypatch):
    images = three_kinds(10, 80)
    job = Job(n=500, architectures=("tiny",), config=Config(test_fraction=0.1, theta_step=0.25, acquisition="kcenter"))
    outcomes = []
    for dataset in (images, images._replace(images=on_disk(images.images, tmp_path))):
        world = TrainedWorld(dataset, GroundTruth(images), width=4, recipe="brief")
        outcomes.append(drive(job, world))
        monkeypatch.setattr("mcal_jax.training.streaming.placement", lambda images: "streamed")
    assert isinstance(world.trainers["tiny"].pool, Streamed)
    assert same(outcomes[0].labels, outcomes[1].labels)
    assert same(outcomes[0].outcome.S, outcomes[1].outcome.S)
    assert outcomes[0].outcome.ledger == outcomes[1].outcome.ledger


@pytest.mark.parametrize(
    ("memory", "count", "place"),
    [(None, 1, "whole"), (200, 1, "whole"), (199, 1, "streamed"), (100, 2, "divided"), (99, 2, "streamed")],
)
def test_where_a_pool_goes_follows_from_its_size_and_the_memory(monkeypatch, memory, count, place):
    monkeypatch.setattr(devices, "memory", lambda: memory)
    monkeypatch.setattr(pool.sharding, "count", lambda: count)
    images = np.zeros((100, 1, 1, 1), np.uint8)
    assert placement(images) == place
    if place == "streamed":
        assert isinstance(any_pool(images), Streamed)


def test_what_is_wanted_next_is_read_by_a_thread_that_ends(small_parts):
    streamed = Streamed(np.arange(200, dtype=np.uint8).reshape(200, 1, 1, 1))
    taken = []

    def wanted():
        for start in (0, 50, 100):
            taken.append(start)
            yield np.arange(start, start + 50)

    before = threading.active_count()
    served = serve(streamed, wanted())
    part, positions = next(served)
    assert len(taken) > 1
    assert np.asarray(part.images)[positions, 0, 0, 0].tolist() == list(range(50))
    served.close()
    assert threading.active_count() == before


def test_a_file_that_is_cut_off_ends_a_scoring_in_a_line(tmp_path):
    images = on_disk(np.zeros((200, 4, 4, 1), np.uint8), tmp_path)
    trainer = Trainer(Streamed(images), 2, architecture="tiny", width=4, recipe=RECIPE)
    model = trainer.fit(np.arange(10), np.arange(10) % 2, key_of(0))
    with open(tmp_path / "images.npy", "r+b") as file:
        file.truncate(1000)
    with pytest.raises(McalError, match="has become shorter"):
        trainer.score(model, np.arange(200))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of the process")
def test_memory_does_not_grow_with_the_pool(tmp_path):
    """A file of zeros that takes no room on the disk stands for many images."""
    code = """
import re, sys
from pathlib import Path
import numpy as np
from mcal_jax.training.programs import key_of
from mcal_jax.training.recipes import RECIPES
from mcal_jax.training import streaming
from mcal_jax.training.streaming import Streamed
from mcal_jax.training.trainer import Trainer
streaming.PART = 2**22
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
def work(n):
    features = np.memmap(sys.argv[1], np.float16, "r+", shape=(n, 512))
    recipe = RECIPES["linear"]._replace(epochs=1, power=0)
    trainer = Trainer(Streamed(features), 2, architecture="linear", recipe=recipe)
    model = trainer.fit(np.arange(n // 2), np.arange(n // 2) % 2, key_of(0))
    assert np.ptp(trainer.score(model, np.arange(n)).margin) == 0
np.memmap(sys.argv[1], np.float16, "w+", shape=(400_000, 512))
work(60_000)
before = peak()
work(400_000)
print(peak() - before)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "features")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40e6 < 400_000 * 512 * 2 / 10
