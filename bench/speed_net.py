"""A net made for nothing but to reach 94 % on CIFAR-10 soon, after the speed records of Page (2018) and Jordan (2024).

A frozen convolution whitens patches of 2 x 2 pixels; then three times convolution, pooling, convolution, on 31, 15 and
7 pixels, where ResNet18 works on 32. Identity kernels at the start; biases learn 64 times as fast as weights.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

from mcal_jax.training import devices
from mcal_jax.training.devices import Backend
from mcal_jax.training.nets import BatchNorm, Conv
from mcal_jax.training.operations import XLA
from mcal_jax.training.recipe import Recipe, decay
from mcal_jax.training.trainer import Trainer

PATCH = 2
"""Rows and columns of pixels that are whitened together."""
LOGITS = 1 / 9
"""Factor on the logits."""


def pool(x: jax.Array, size: int) -> jax.Array:
    window = (1, size, size, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


class QuickNorm(BatchNorm):
    momentum = 0.4


class Group(nnx.Module):
    """Convolution, maximum over 2 x 2 pixels, batch norm, GELU, convolution, batch norm, GELU."""

    def __init__(self, inputs: int, features: int, *, backend: Backend, rng: np.random.Generator):
        settings: dict[str, Any] = {"backend": backend, "rng": rng}
        self.convs = nnx.List([Conv(inputs, features, **settings), Conv(features, features, **settings)])
        self.norms = nnx.List([QuickNorm(features, backend=backend) for _ in self.convs])
        for conv in self.convs:
            kernel = np.array(conv.kernel[...]) / 6**0.5  # uniform with a bound of 1 / sqrt(inputs)
            same = np.arange(min(kernel.shape[2:]))
            kernel[:, :, :, same] = 0
            kernel[1, 1, same, same] = 1
            conv.kernel[...] = jnp.asarray(kernel)

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = conv(x, train)
            x = jax.nn.gelu(norm(x if i else pool(x, 2), train))
        return x


class SpeedNet(nnx.Module):
    """``width`` filters in the first group, four times as many in the others; for accelerators' layout only."""

    def __init__(self, *, classes: int, channels: int, width: int, backend: Backend, rng: np.random.Generator):
        self.dtype = backend.dtype
        whitened = 2 * PATCH**2 * channels
        self.whiten = nnx.Param(jnp.zeros((PATCH, PATCH, channels, whitened)))
        self.bias = nnx.Param(jnp.zeros(whitened))
        self.groups: nnx.List = nnx.List()
        for inputs, features in ((whitened, width), (width, 4 * width), (4 * width, 4 * width)):
            self.groups.append(Group(inputs, features, backend=backend, rng=rng))
        bound = 1 / (4 * width) ** 0.5
        self.head = nnx.Param(jnp.asarray(rng.uniform(-bound, bound, (4 * width, classes)), jnp.float32))

    def __call__(self, images: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        x = images.astype(self.dtype)
        numbers = ("NHWC", "HWIO", "NHWC")
        x = lax.conv_general_dilated(x, self.whiten[...].astype(x.dtype), (1, 1), "VALID", dimension_numbers=numbers)
        x = jax.nn.gelu(x + self.bias[...].astype(x.dtype))
        for group in self.groups:
            x = group(x, train)
        features = x.astype(jnp.float32).max((1, 2))
        return features @ self.head[...] * LOGITS, features

    def largest_activation(self, height: int, width: int) -> int:
        return (height - 1) * (width - 1) * self.groups[0].norms[0].bias.shape[0]


def whitening(images: np.ndarray) -> np.ndarray:
    """Kernels [PATCH, PATCH, c, 2 PATCH^2 c] of variance one on ``images`` [n, h, w, c], and their negatives."""
    patches = np.lib.stride_tricks.sliding_window_view(images, (PATCH, PATCH), axis=(1, 2))
    flat = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, PATCH * PATCH * images.shape[3]).astype(np.float32)
    values, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
    kernels = (vectors / np.sqrt(values + 5e-4)).reshape(PATCH, PATCH, images.shape[3], -1)
    return np.concatenate([kernels, -kernels], axis=3)


class SpeedTrainer(Trainer):
    """Sets the whitening kernels by the first 5,000 images."""

    def __init__(self, images: np.ndarray, classes: int, **settings: Any):
        backend = devices.default()._replace(ops=XLA)
        super().__init__(images, classes, architecture=SpeedNet, backend=backend, **settings)
        kernels = whitening(np.asarray((self.pool.images[:5000] - self.pool.mean) / self.pool.std))
        plain = self.build

        def build(rng: np.random.Generator) -> SpeedNet:
            net = plain(rng=rng)
            net.whiten[...] = jnp.asarray(kernels, jnp.float32)
            return net

        self.build = build


def factors(path: Any, update: jax.Array) -> jax.Array:
    """Kernels that whiten and the scales of batch norm stay; the biases of batch norm learn fast."""
    names = [key.key for key in path if hasattr(key, "key")]
    fast = 64.0 if names[-1] == "bias" and len(names) > 1 else 1.0
    return update * (0.0 if names[-1] in ("whiten", "scale") else fast)


RECIPE = Recipe(
    name="speed net",
    optimizer=optax.chain(
        decay(1.33e-3),
        optax.trace(0.85, nesterov=True),
        optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(factors, updates)),
    ),
    learning_rate=1.5,
    schedule=optax.piecewise_interpolate_schedule("linear", 0.2, {46: 5.0, 200: 0.07}),
    epochs=20,
    power=0,
    batch=1024,
    label_smoothing=0.2,
    shift=2 / 32,
    flip=True,
)
