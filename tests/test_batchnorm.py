"""Batch norm's own gradient is that of the formula, in each layout, and sums in parts are sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcal_jax.training import batchnorm
from mcal_jax.training.batchnorm import EPSILON, NormOptions
from mcal_jax.training.operations import XLA, Operations, sums_in_parts


def plain(x, gamma, beta, options):
    axes = tuple(axis for axis, name in enumerate(options.ops.layout) if name != "C")
    mean, var = x.mean(axes), x.var(axes)
    mean_, var_, gamma, beta = (options.ops.per_channel(values) for values in (mean, var, gamma, beta))
    y = (x - mean_) / jnp.sqrt(var_ + EPSILON) * gamma + beta
    return jnp.maximum(y, 0) if options.relu else y, mean, var


@pytest.mark.parametrize("layout", ["CHWN", "NHWC"])
@pytest.mark.parametrize("relu", [False, True])
def test_values_and_gradients_are_those_of_the_formula(layout, relu):
    options = NormOptions(Operations(layout), relu=relu)
    keys = jax.random.split(jax.random.key(0), 4)
    shape = [dict(C=5, H=6, W=7, N=32)[name] for name in layout]
    x = 3 + 2 * jax.random.normal(keys[0], shape)
    gamma, beta = 1 + jax.random.normal(keys[1], (2, 5))
    expected, pull = jax.vjp(lambda *given: plain(*given, options), x, gamma, beta)
    found, pull_ours = jax.vjp(lambda *given: batchnorm.normalise(*given, options), x, gamma, beta)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    cotangents = jax.random.normal(keys[2], shape), jnp.zeros(5), jnp.zeros(5)
    for ours, theirs in zip(pull_ours(cotangents), pull(cotangents), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_half_precision_is_in_and_out_and_not_between():
    options = NormOptions(XLA, relu=False)
    x = (100 + jax.random.normal(jax.random.key(0), (64, 8, 8, 3))).astype(jnp.bfloat16)
    (y, mean, var), pull = jax.vjp(lambda x: batchnorm.normalise(x, jnp.ones(3), jnp.zeros(3), options), x)
    assert y.dtype == pull((y, mean, var))[0].dtype == jnp.bfloat16
    exact = np.asarray(x, np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(var, exact.var((0, 1, 2)), rtol=0.01)


def test_a_constant_channel_has_no_gradient_that_is_not_finite():
    options = NormOptions(XLA, relu=True)
    x = jnp.full((4, 2, 2, 3), 7.0)
    (y, _, var), pull = jax.vjp(lambda x: batchnorm.normalise(x, jnp.ones(3), jnp.ones(3), options), x)
    np.testing.assert_allclose(y, 1, atol=1e-2)
    assert (var >= 0).all()
    assert jnp.isfinite(pull((jnp.ones_like(x), jnp.zeros(3), jnp.zeros(3)))[0]).all()


@given(rows=st.integers(1, 3000), channels=st.integers(1, 5))
def test_sums_in_parts_are_sums_whatever_the_number_of_rows(rows, channels):
    rng = np.random.default_rng(rows)
    a, b = rng.integers(-3, 4, (2, rows, 1, 1, channels)).astype(np.float32)  # small integers: exact
    found = sums_in_parts(jnp.asarray(a), jnp.asarray(b))
    for sums, given_ in zip(found, (a, b), strict=True):
        np.testing.assert_array_equal(sums, given_.sum((0, 1, 2)))


def test_many_nets_side_by_side_are_normalised_each_by_itself():
    options = NormOptions(XLA, relu=True)
    x = jax.random.normal(jax.random.key(0), (3, 16, 4, 4, 2))
    gamma, beta = jnp.ones((3, 2)), jnp.zeros((3, 2))

    def loss(x, gamma, beta):
        return (batchnorm.normalise(x, gamma, beta, options)[0] ** 3).sum()

    together = jax.vmap(jax.grad(loss))(x, gamma, beta)
    for i in range(3):
        np.testing.assert_allclose(together[i], jax.grad(loss)(x[i], gamma[i], beta[i]), rtol=1e-4, atol=1e-5)


def test_relu_has_the_gradient_of_relu():
    x = jnp.array([-2.0, -0.0, 0.0, 3.0])
    y, pull = jax.vjp(batchnorm.relu, x)
    np.testing.assert_array_equal(y, [0, 0, 0, 3])
    np.testing.assert_array_equal(pull(jnp.full(4, 5.0))[0], [0, 0, 0, 5])
