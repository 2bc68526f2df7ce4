"""The pool's mean and standard deviation are exact, and to make one takes little memory beyond it."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcal_jax import data
from mcal_jax.training import pool
from mcal_jax.training.pool import pool_of


def check(images):
    found = pool_of(images)
    assert np.array_equal(found.images, images)
    assert found.images.dtype == np.uint8
    assert found.mean.dtype == found.std.dtype == np.float32
    mean, std = images.mean((0, 1, 2)), np.maximum(images.std((0, 1, 2)), 1)
    np.testing.assert_array_equal(found.mean, mean.astype(np.float32))
    np.testing.assert_array_equal(found.std, std.astype(np.float32))


def test_statistics_of_the_shipped_images_are_those_of_numpy():
    check(data.load(data.SHIPPED).images)


@settings(max_examples=20)
@given(st.tuples(st.integers(1, 40), st.integers(1, 5), st.integers(1, 5), st.integers(1, 6)), st.integers(0, 255))
def test_statistics_are_those_of_numpy_whatever_the_shape_and_the_chunk(shape, least):
    images = np.random.default_rng(least).integers(least, 256, shape, np.uint8)
    whole = pool_of(images)
    chunk, pool.CHUNK = pool.CHUNK, 50
    try:
        check(images)
        check(images[::2, :, ::-1])  # not contiguous
        assert all(np.array_equal(a, b) for a, b in zip(whole, pool_of(images), strict=True))
    finally:
        pool.CHUNK = chunk


def test_images_that_are_changed_later_stay_in_the_pool_as_they_were():
    images = np.full((5000, 32, 32, 1), 7, np.uint8)
    found = pool_of(images)
    images[:] = 9
    assert (np.asarray(found.images) == 7).all()


@pytest.mark.skipif(
    jax.default_backend() != "cpu" or not Path("/proc/self/status").exists(), reason="reads the memory of the process"
)
def test_a_trainer_takes_the_pool_and_a_chunk():
    """The images are one that is repeated, which takes no memory, so all that is added is the trainer's."""
    code = """
import re
from pathlib import Path
import numpy as np
from mcal_jax.training.trainer import Trainer
def peak():  # not ru_maxrss, which begins with what the parent has
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
def images(n):
    return np.broadcast_to(np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8), (n, 224, 224, 3))
Trainer(images(30), 2, width=4)  # chunks as large as later
before = peak()
trainer = Trainer(images(1000), 2, width=4)
print((peak() - before) / trainer.pool.images.nbytes)
another = Trainer(trainer.pool, 2, width=4, architecture="cnn18")
print((peak() - before) / trainer.pool.images.nbytes, another.pool is trainer.pool)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second, shared = done.stdout.split()
    assert 0.9 < float(first) <= float(second) < 1.3
    assert shared == "True"
