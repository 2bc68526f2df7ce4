"""Deterministic training is asked for before JAX starts; which choices are made where."""

import os
import subprocess
import sys

import jax
import pytest

from mcal_jax.training import devices
from mcal_jax.training.cpu import compiler
from mcal_jax.training.cpu.native import NativeOperations

NATIVE = devices.with_cpu_operations(NativeOperations())


def test_a_cpu_computes_in_float32():
    cpu = NATIVE if compiler.available() else devices.CPU
    assert devices.default() == (cpu if jax.default_backend() == "cpu" else devices.ACCELERATOR)
    assert NATIVE.dtype == devices.CPU.dtype == "float32"


def test_equal_backends_share_compiled_programs():
    again = devices.with_cpu_operations(NativeOperations())
    assert hash(again) == hash(NATIVE)
    assert again == NATIVE
    assert len({NATIVE, devices.CPU, devices.ACCELERATOR}) == 3


@pytest.mark.parametrize(
    ("activation", "images"),
    [
        (28 * 28 * 8, 128),
        (28 * 28 * 32, 64),  # unless the net is wide
        (14 * 14 * 4, 1024),
        (4 * 4 * 4, 2048),  # no more: a small pool would be padded
        (224 * 224 * 16, 32),  # and the image large
        (10**9, 16),  # no fewer: the C++ code works on sixteen images
    ],
)
def test_images_scored_at_once_keep_the_largest_activation_in_the_cache(activation, images):
    assert NATIVE.score_batch(activation) == images


@pytest.mark.parametrize("asked", ["cuda", "gpu", "tpu", "banana", ","])
def test_a_device_that_is_not_there_is_told_in_one_line_with_what_to_do(asked):
    code = """
from mcal_jax.training import devices
from mcal_jax.errors import McalError
try:
    print(devices.default())
except McalError as error:
    print(error)
"""
    settings = {**os.environ, "JAX_PLATFORMS": asked}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=settings)
    if "NHWC" in done.stdout:
        pytest.skip(f"this machine has a {asked}")
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"JAX was told to use {asked!r} and can't; unset JAX_PLATFORMS, or set it to cpu")


def test_the_memory_of_the_machine_is_known_here():
    assert 10**8 < devices.memory() < 10**14


def test_deterministic_adds_to_the_flags_of_xla_and_only_before_jax_starts():
    code = """
import os
os.environ["XLA_FLAGS"] = "--xla_cpu_enable_fast_math=false"
import jax
import mcal_jax.training.trainer
from mcal_jax.training.devices import deterministic
from mcal_jax.errors import McalError
deterministic()
print(os.environ["XLA_FLAGS"], jax.numpy.ones(2).sum())
try:
    deterministic()
except McalError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first == "--xla_cpu_enable_fast_math=false --xla_gpu_deterministic_ops=true 2.0"
    assert "JAX has already started" in second
