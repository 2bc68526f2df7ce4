"""The nets are those of the paper, and the convolution is a convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from mcal_jax.errors import McalError
from mcal_jax.training.architectures import ARCHITECTURES, reads_features
from mcal_jax.training.devices import ACCELERATOR, CPU
from mcal_jax.training.nets import BatchNorm, ResNet, basic, build
from mcal_jax.training.operations import matmul_conv, xla_conv


def count(name, **kwargs):
    net = build(name, rng=np.random.default_rng(0), **kwargs)
    return sum(p.size for p in jax.tree.leaves(nnx.state(net, nnx.Param)))


def test_parameter_counts_are_the_known_ones():
    assert count("resnet18", classes=10, channels=3) == 11_173_962
    assert count("resnet50", classes=10, channels=3) == 23_520_842
    # ResNet18 less its three projections: 1x1 convolutions with batch norm.
    projections = sum(w * 2 * w + 2 * 2 * w for w in (64, 128, 256))
    assert count("cnn18", classes=10, channels=3) == 11_173_962 - projections


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
def test_both_convolutions_agree_with_lax(kernel, stride):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (3, 7, 6, 4))
    w = jax.random.normal(keys[1], (kernel, kernel, 3, 6))

    def reference(x, w):
        images, numbers = x.transpose(3, 1, 2, 0), ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(images, w, (stride, stride), "SAME", dimension_numbers=numbers)
        return y.transpose(3, 1, 2, 0)

    expected, pull = jax.vjp(reference, x, w)
    cotangent = jax.random.normal(keys[2], expected.shape)
    for conv in (matmul_conv, xla_conv):
        result, pull_ours = jax.vjp(lambda x, w, conv=conv: conv(x, w, stride), x, w)
        np.testing.assert_allclose(result, expected, atol=1e-5)
        for ours, theirs in zip(pull_ours(cotangent), pull(cotangent), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("skip", [False, True])
def test_skip_flag_is_the_skip_connection(skip):
    """With all convolutions of the blocks at zero, only a skip connection lets the image through."""
    net = ResNet(basic, (1, 1), classes=2, channels=1, width=2, skip=skip, rng=np.random.default_rng(0))
    for block in net.blocks:
        for conv in block.convs:
            conv.kernel[...] = jnp.zeros_like(conv.kernel[...])
    _, features = jax.jit(net)(jax.random.normal(jax.random.key(1), (4, 4, 4, 1)))
    assert bool(jnp.any(features != 0)) == skip


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if not reads_features(name)])
def test_shapes_of_logits_and_features(name):
    def forward():
        return build(name, classes=7, channels=3, width=2, rng=np.random.default_rng(0))(jnp.zeros((5, 9, 8, 3)))

    logits, features = jax.eval_shape(forward)
    assert logits.shape == (5, 7)
    assert features.shape == (5, {"resnet50": 64, "efficientnet_b0": 40}.get(name, 16))
    assert logits.dtype == features.dtype == jnp.float32


def test_both_layouts_give_equal_logits_gradients_and_statistics():
    images = jax.random.normal(jax.random.key(0), (6, 9, 8, 3))
    cotangent = jax.random.normal(jax.random.key(1), (6, 5))

    def results(backend):
        rng = np.random.default_rng(0)
        net = ResNet(basic, (1, 1), classes=5, channels=3, width=4, backend=backend, rng=rng)
        net.head[...] = jax.random.normal(jax.random.key(2), net.head.shape)  # or no gradient gets below it
        graph, params, stats = nnx.split(net, nnx.Param, nnx.BatchStat)

        def loss(params):
            model = nnx.merge(graph, params, stats, copy=True)
            logits, _ = model(images, train=True)
            return (logits * cotangent).sum(), (logits, model(images), nnx.state(model, nnx.BatchStat))

        return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)

    ours, theirs = results(CPU), results(ACCELERATOR._replace(dtype="float32"))
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_batch_norm_normalises_and_remembers():
    norm = BatchNorm(2, backend=CPU)
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (2, 5, 5, 64))
    y = norm(x, train=True)
    np.testing.assert_allclose(y.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((1, 2, 3)), 1, atol=1e-3)
    for _ in range(80):
        norm(x, train=True)
    np.testing.assert_allclose(norm(x, train=False), y, atol=1e-2)


def test_what_is_refused():
    with pytest.raises(McalError, match=r"'resnet81'.*'resnet18'"):
        build("resnet81", classes=10, channels=3, rng=np.random.default_rng(0))
    with pytest.raises(McalError, match=r"width of resnet18.*not 0"):
        build("resnet18", classes=10, channels=3, width=0, rng=np.random.default_rng(0))
