"""Classifiers on features: ``linear``, multinomial logistic regression, and ``mlp``, with one hidden layer.

Both read features, float32 [b, d], in the place of images, and have a recipe of their own; ``width`` is ignored.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mcal_jax.algorithm.costs import HIDDEN

NEARLY_0 = 0.01
"""Standard deviation of the first weights of a last layer."""


class Dense(nnx.Module):
    """x W / sqrt(inputs) + b: divided so that one learning rate and one decay suit any number of inputs."""

    def __init__(self, inputs: int, outputs: int, scale: float, *, rng: np.random.Generator):
        self.kernel = nnx.Param(jnp.asarray(scale * rng.standard_normal((inputs, outputs)), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(outputs, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        return x @ (self.kernel[...] / self.kernel.shape[0] ** 0.5) + self.bias[...]


class Linear(nnx.Module):
    """Multinomial logistic regression; k-center chooses by the features themselves."""

    reads = "features"
    recipe = "linear"

    def __init__(self, *, classes: int, channels: int, width: int, backend: Any = None, rng: np.random.Generator):
        self.head = Dense(channels, classes, NEARLY_0, rng=rng)

    def __call__(self, features: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        return self.head(features), features


class Mlp(nnx.Module):
    """A hidden layer of HIDDEN units with ReLU, by which k-center chooses, and a linear one."""

    reads = "features"
    recipe = "mlp"

    def __init__(self, *, classes: int, channels: int, width: int, backend: Any = None, rng: np.random.Generator):
        self.hidden = Dense(channels, HIDDEN, 2**0.5, rng=rng)
        self.head = Dense(HIDDEN, classes, NEARLY_0, rng=rng)

    def __call__(self, features: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        hidden = jax.nn.relu(self.hidden(features))
        return self.head(hidden), hidden
