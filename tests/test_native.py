"""The C++ convolutions: equal to the matrix product, gradients too, and what happens where they can't be built."""

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mcal_jax import backends, native
from mcal_jax.nets import BatchNorm, build, matmul_conv


def normal(*shapes):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]


needs_compiler = pytest.mark.skipif(not native.available(), reason="no C++ compiler here")


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
    for backend in (backends.NATIVE, backends.CPU):
        net = build(architecture, classes=5, channels=3, width=4, backend=backend, rng=np.random.default_rng(0))
        results.append((net(images, train=True)[1], net(images)[1]))
    for with_, without in zip(*results, strict=True):
        np.testing.assert_allclose(with_, without, rtol=1e-3, atol=5e-4)  # rounding, after fifty layers


@needs_compiler
@pytest.mark.parametrize("shape", [(3, 5, 4, 16), (8, 28, 28, 64)])
def test_batch_norm_and_its_gradients_are_the_same_with_and_without(shape):
    x, cotangent = normal(shape, shape)
    x = 3 + 2 * x

    def results(in_cc):
        norm = BatchNorm(shape[0], backend=backends.NATIVE if in_cc else backends.CPU)
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


CODE = "from mcal_jax import backends, native; print(native.available(), backends.default().native)"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"MCAL_JAX_NATIVE": "0"}, ""),
        ({"CXX": "/bin/false"}, "can't build"),
        ({"CXX": "/no/compiler"}, "can't build"),
    ],
)
def test_without_a_compiler_nets_use_the_matrix_product(environment, said, tmp_path):
    settings = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu", **environment}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=settings)
    assert done.stdout.split() == ["False", "False"]
    assert said in done.stderr
    assert not list(tmp_path.rglob("*.so"))


@needs_compiler
def test_the_library_is_built_once(tmp_path):
    settings = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    times = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=settings)
        assert done.stdout.split() == ["True", "True"]
        (library,) = tmp_path.rglob("native-*")
        times.append(library.stat().st_mtime_ns)
    assert times[0] == times[1]
