"""EfficientNetB0 is the published net, on every kind of device and for images of every size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from efficientnet_example import IMAGES, example
from flax import nnx
from jax import lax

from mcal_jax.training.devices import ACCELERATOR, CPU
from mcal_jax.training.efficientnet import filters, kept, kept_strides
from mcal_jax.training.nets import build
from mcal_jax.training.operations import MATRIX_PRODUCTS, XLA, shifted_products

KERAS = np.array(
    [
        [
            0.1559405,
            0.7607796,
            -0.6074912,
            0.3828227,
            -0.3977406,
            0.3760363,
            -0.1924312,
            0.0448859,
            0.201173,
            -0.5090408,
        ],
        [
            0.160295,
            0.7548879,
            -0.6200693,
            0.3870378,
            -0.3876781,
            0.3434317,
            -0.1799099,
            0.034385,
            0.1978495,
            -0.5096432,
        ],
    ]
)
"""Logits of Keras's net with the same weights: bench/efficientnet_reference.py."""


def net_of(width=64, classes=1000, backend=ACCELERATOR):
    return build(
        "efficientnet_b0", classes=classes, channels=3, width=width, backend=backend, rng=np.random.default_rng(0)
    )


def test_it_has_as_many_parameters_as_was_published():
    net = jax.eval_shape(net_of)
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(net, nnx.Param))) == 5_288_548


@pytest.mark.parametrize("backend", [ACCELERATOR, CPU], ids=["XLA", "matrix products"])
def test_its_logits_are_those_of_another_implementation(backend):
    logits, features = jax.jit(example(backend))(IMAGES)
    np.testing.assert_allclose(logits, KERAS, atol=2e-6)
    assert features.shape == (2, 1280)


@pytest.mark.parametrize("size", [(7, 6), (8, 1)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_depthwise_convolution_is_one_convolution_for_each_channel(kernel, stride, size):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (5, *size, 4))
    w = jax.random.normal(keys[1], (kernel, kernel, 5))

    def reference(x, w):
        numbers = ("NHWC", "HWIO", "NHWC")
        one = [
            lax.conv_general_dilated(
                x[c].transpose(2, 0, 1)[..., None], w[:, :, c, None, None], (stride, stride), "SAME",
                dimension_numbers=numbers,
            )
            for c in range(5)
        ]  # fmt: skip
        return jnp.stack([y[..., 0].transpose(1, 2, 0) for y in one])

    expected, pull = jax.vjp(reference, x, w)
    result, pull_ours = jax.vjp(lambda x, w: shifted_products(x, w, stride), x, w)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    by_xla = XLA.depthwise_conv(x.transpose(3, 1, 2, 0), w, stride).transpose(3, 1, 2, 0)
    np.testing.assert_allclose(by_xla, expected, atol=1e-5)
    assert np.array_equal(MATRIX_PRODUCTS.depthwise_conv(x, w, stride), result)
    cotangent = jax.random.normal(keys[2], expected.shape)
    for ours, theirs in zip(pull_ours(cotangent), pull(cotangent), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(("size", "halvings"), [(224, 5), (128, 5), (64, 4), (32, 3), (28, 3), (14, 2), (4, 0), (1, 0)])
def test_small_images_are_halved_less_often(size, halvings):
    published = [2, 1, 2, 2, 2, 1, 2, 1]
    strides = kept_strides(published, size)
    assert [kept for kept, was in zip(strides, published, strict=True) if was == 2] == [1] * (5 - halvings) + [
        2
    ] * halvings
    assert strides.count(1) == 3 + 5 - halvings


def test_features_of_any_size_and_width_have_their_shape():
    for size, width in ((9, 2), (28, 8), (32, 16)):
        logits, features = jax.eval_shape(
            lambda size=size, width=width: net_of(width, 7)(jnp.zeros((3, size, size, 3)))
        )
        assert logits.shape == (3, 7)
        assert features.shape == (3, filters(1280, width))


def test_training_drops_at_random_and_scoring_does_not():
    net = net_of(4, 3)
    net.head[...] = jnp.ones_like(net.head[...])
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))

    @jax.jit
    def step(state):
        model = nnx.merge(definition, state, copy=True)
        logits, _ = model(images, train=True)
        return logits, nnx.state(model)

    definition, state = nnx.split(net)
    first, after = step(state)
    again, _ = step(state)
    second, _ = step(after)
    assert np.array_equal(first, again)  # the state says what is dropped
    assert not np.allclose(first, second)
    assert np.array_equal(*(np.asarray(jax.jit(net)(images)[0]) for _ in range(2)))


def test_what_is_kept_has_a_mean_of_one():
    values = np.asarray(kept(jax.random.key(0), 0.2, (20_000,)))
    assert set(values.tolist()) == {0.0, 1.25}
    assert values.mean() == pytest.approx(1, abs=4 * np.sqrt(0.25 / 20_000))
