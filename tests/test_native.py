"""The C++ convolutions: equal to the matrix product, gradients too, and what happens where they can't be built."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mcal_jax.training import cache, devices
from mcal_jax.training.cpu import compiler, native
from mcal_jax.training.nets import BatchNorm, build
from mcal_jax.training.operations import matmul_conv

NATIVE = devices.with_cpu_operations(native.NativeOperations())


def normal(*shapes):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]


needs_compiler = pytest.mark.skipif(not compiler.available(), reason="no C++ compiler here")


@needs_compiler
@pytest.mark.parametrize(
    ("channels", "features", "height", "width", "batch"),
    [
        (8, 8, 16, 16, 64),
        (8, 4, 28, 28, 16),
        (4, 12, 7, 5, 16),
        (16, 4, 3, 1, 32),
        (12, 4, 1, 9, 32),  # a row of pixels in blocks of unequal length
        (4, 4, 6, 3, 16),
        (64, 64, 2, 2, 48),
        (12, 8, 4, 4, 48),  # the last task has a single vector of images
        (4, 16, 40, 40, 64),  # a gradient in many chunks
        (32, 64, 4, 4, 64),  # input channels in parts
        (8, 8, 1, 1, 16),
        *((4, 4, size, size + 1, 16) for size in range(2, 11)),
    ],
)
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_and_gradients_are_those_of_the_matrix_product(channels, features, height, width, batch, stride):
    shape = (features, -(-height // stride), -(-width // stride), batch)
    x, kernel, cotangent = normal((channels, height, width, batch), (3, 3, channels, features), shape)

    @partial(jax.jit, static_argnums=0)
    def results(conv, x, kernel):
        y, pull = jax.vjp(lambda x, kernel: conv(x, kernel, stride), x, kernel)
        return y, *pull(cotangent)

    both = (results(conv, x, kernel) for conv in (native.conv, matmul_conv))
    for ours, theirs in zip(*both, strict=True):
        scale = float(jnp.abs(theirs).max())
        np.testing.assert_allclose(ours / scale, theirs / scale, atol=3e-6)


@needs_compiler
@pytest.mark.parametrize("channels", [1, 3])
def test_images_have_few_channels_and_need_no_gradient(channels):
    x, kernel = normal((channels, 9, 8, 16), (3, 3, channels, 8))
    assert native.fits(x, kernel, 1)
    ours, theirs = (
        jax.jit(jax.value_and_grad(lambda kernel, conv=conv: (conv(x, kernel) ** 2).sum()))(kernel)
        for conv in (native.conv, matmul_conv)
    )
    assert float(ours[0]) == pytest.approx(float(theirs[0]), rel=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("x", "kernel", "stride"),
    [
        ((8, 4, 4, 24), (3, 3, 8, 8), 1),  # a batch of no multiple of 16
        ((8, 4, 4, 16), (3, 3, 8, 6), 1),
        ((6, 4, 4, 16), (3, 3, 6, 8), 1),  # the gradient of x would have six channels
        ((8, 4, 4, 16), (3, 3, 8, 8), 3),
        ((2, 4, 4, 16), (3, 3, 2, 4), 2),  # a narrow net, not images
        ((8, 4, 4, 16), (1, 1, 8, 8), 1),
    ],
)
def test_what_does_not_fit_is_left_to_the_matrix_product(x, kernel, stride):
    assert native.fits(jnp.zeros((8, 4, 4, 16)), jnp.zeros((3, 3, 8, 8)), 1)
    assert not native.fits(jnp.zeros(x), jnp.zeros(kernel), stride)


@needs_compiler
def test_the_library_itself_refuses_what_does_not_fit():
    for batch, features in ((24, 8), (16, 6)):
        with pytest.raises(Exception, match="do not fit"):
            native.conv(jnp.zeros((8, 4, 4, batch)), jnp.zeros((3, 3, 8, features))).block_until_ready()
    with pytest.raises(Exception, match="does not fit"):
        native.sums(*[jnp.zeros((8, 3, 3, 1))] * 2)[0].block_until_ready()


@needs_compiler
@pytest.mark.parametrize("architecture", ["cnn18", "resnet18", "resnet50"])
def test_a_net_gives_the_same_features_with_and_without_trained_and_scored(architecture):
    (images,) = normal((16, 9, 8, 3))
    results = []
    for backend in (NATIVE, devices.CPU):
        net = build(architecture, classes=5, channels=3, width=4, backend=backend, rng=np.random.default_rng(0))
        results.append((net(images, train=True)[1], net(images)[1]))
    for with_, without in zip(*results, strict=True):
        np.testing.assert_allclose(with_, without, rtol=1e-3, atol=5e-4)  # rounding, after fifty layers


@needs_compiler
@pytest.mark.parametrize("shape", [(3, 5, 4, 16), (8, 28, 28, 64)])
def test_batch_norm_and_its_gradients_are_the_same_with_and_without(shape):
    x, cotangent = normal(shape, shape)
    x = 3 + 2 * x

    def results(uses_native):
        norm = BatchNorm(shape[0], backend=NATIVE if uses_native else devices.CPU)
        definition, params, stats = nnx.split(norm, nnx.Param, nnx.BatchStat)

        def forward(params, x):
            net = nnx.merge(definition, params, stats, copy=True)
            return net(x, train=True), nnx.state(net, nnx.BatchStat)

        y, pull, after = jax.vjp(forward, params, x, has_aux=True)
        return jax.tree.leaves((y, after, pull(cotangent)))

    for ours, theirs in zip(results(True), results(False), strict=True):
        scale = float(jnp.abs(theirs).max())
        np.testing.assert_allclose(ours / scale, theirs / scale, atol=1e-5)


@needs_compiler
def test_seeds_side_by_side_are_convolved_one_by_one():
    x, kernel = normal((2, 4, 3, 3, 16), (2, 3, 3, 4, 4))
    together = jax.jit(jax.vmap(native.conv))(x, kernel)
    for i in range(2):
        np.testing.assert_array_equal(together[i], native.conv(x[i], kernel[i]))


CODE = """
from mcal_jax.training import cpu, devices
print(cpu.operations() is not None, devices.default() != devices.CPU)
"""


def loaded(**environment):
    """What CODE prints in a process of its own, and the lines of its warnings."""
    settings = {**os.environ, "JAX_PLATFORMS": "cpu", **environment}
    settings = {name: value for name, value in settings.items() if value is not None}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=settings)
    return done.stdout.split(), [line for line in done.stderr.splitlines() if "Warning" in line]


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.slow
def test_without_a_compiler_nets_use_the_matrix_product(tmp_path):
    latin = script(tmp_path / "cxx", r"printf 'error: \351t\351'; exit 1")
    refusal = "echo \"error: unrecognized command-line option '-march=native'\" >&2; exit 1"
    foreign = script(tmp_path / "foreign", f'case "$*" in *-march=native*) {refusal};; *) echo g++ 13;; esac')
    cases = {
        "switched off": ({"MCAL_JAX_NATIVE": "0"}, ""),
        "fails": ({"CXX": "/bin/false"}, "can't build"),
        "missing": ({"CXX": "/no/compiler"}, "can't build"),
        "a folder": ({"CXX": str(tmp_path)}, "can't build"),
        "no words": ({"CXX": "'"}, "can't build"),
        "no compiler": ({"CXX": None, "PATH": str(tmp_path)}, "no C++ compiler"),
        "another processor": ({"CXX": foreign}, "unrecognized command-line option '-march=native'"),
        "writes nothing": ({"CXX": "/bin/true"}, "can't build"),
        "complains in Latin-1": ({"CXX": latin}, "can't build"),
    }
    for what, (environment, reason) in cases.items():
        printed, warnings = loaded(XDG_CACHE_HOME=str(tmp_path), **environment)
        assert printed == ["False", "False"], what
        assert len(warnings) == bool(reason), what
        assert reason in "".join(warnings), what
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.parametrize("cache", ["/dev/null", "/proc/no"])
def test_a_cache_folder_that_cannot_be_written_to_is_no_reason_to_stop(cache):
    printed, warnings = loaded(XDG_CACHE_HOME=cache, CXX=None)
    assert printed == ["False", "False"]
    assert len(warnings) <= 1


def test_a_home_that_is_unknown_is_no_reason_to_stop(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # invalid by the standard
    monkeypatch.setattr(cache.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(OSError, match="set XDG_CACHE_HOME"):
        cache.cache_folder()


def test_a_compiler_that_hangs_is_ended_with_what_it_started(tmp_path):
    hangs = script(tmp_path / "cxx", f"sleep 600 & echo $! > {tmp_path}/pid; wait")
    with pytest.raises(subprocess.TimeoutExpired):
        compiler.run([hangs], ["true"], deadline=time.monotonic() + 0.5)
    state = Path("/proc", (tmp_path / "pid").read_text(encoding="utf-8").strip(), "stat")
    until = time.monotonic() + 10  # the kernel takes a moment on a busy machine
    while lives(state) and time.monotonic() < until:
        time.sleep(0.01)
    assert not lives(state)


def lives(state):
    """Whether a process, by its file in /proc, is neither gone nor waiting to be buried."""
    try:
        return state.read_text(encoding="utf-8").split()[2] != "Z"
    except OSError:
        return False


@needs_compiler
@pytest.mark.slow
def test_the_library_is_built_once_and_again_if_it_is_damaged(tmp_path):
    times = []
    for damage in (False, False, True):
        for library in tmp_path.rglob("native-*") if damage else ():
            library.write_bytes(library.read_bytes()[:20_000])
        printed, warnings = loaded(XDG_CACHE_HOME=str(tmp_path))
        assert printed == ["True", "True"]
        assert not warnings
        (built,) = tmp_path.rglob("native-*")
        times.append(built.stat().st_mtime_ns)
    assert times[0] == times[1] < times[2]
