"""The nets of the paper as Flax NNX modules: CNN18, ResNet18 and ResNet50, each with a ``width``.

How they compute on a device is left to the operations of their backend; the weights do not depend on it.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mcal_jax.errors import McalError
from mcal_jax.training import batchnorm, devices
from mcal_jax.training.architectures import ARCHITECTURES
from mcal_jax.training.devices import Backend


class Conv(nnx.Module):
    """Convolution without bias, He et al.'s uniform initialisation, stride and square kernel."""

    def __init__(
        self,
        inputs: int,
        features: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        backend: Backend,
        rng: np.random.Generator,
    ):
        # By numpy: the same draw in JAX took longer to compile than the training program.
        bound = (6 / (kernel * kernel * inputs)) ** 0.5
        shape = (kernel, kernel, inputs, features)
        self.kernel = nnx.Param(jnp.asarray(bound * rng.uniform(-1, 1, shape), jnp.float32))
        self.stride, self.ops = stride, backend.ops

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return self.ops.conv(x, self.kernel[...].astype(x.dtype), self.stride, train=train)


class BatchNorm(nnx.Module):
    """Batch normalisation over all axes but C, folded into one multiply-add, in float32.

    The running statistics are means over about the last ``1 / (1 - momentum)`` batches.
    """

    momentum = 0.9

    def __init__(self, features: int, *, backend: Backend):
        self.ops = backend.ops
        self.scale = nnx.Param(jnp.ones(features, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(features, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(features, jnp.float32))
        self.var = nnx.BatchStat(jnp.ones(features, jnp.float32))

    def __call__(self, x: jax.Array, train: bool, relu: bool = False) -> jax.Array:
        if not train:
            return self.ops.affine(x, *self.folded(), relu=relu)
        options = batchnorm.NormOptions(self.ops, relu)
        y, mean, var = batchnorm.normalise(x, self.scale[...], self.bias[...], options)
        for running, batch in ((self.mean, mean), (self.var, var)):
            running[...] = self.momentum * running[...] + (1 - self.momentum) * batch
        return y

    def folded(self) -> tuple[jax.Array, jax.Array]:
        """Factor and summand of each channel where images are scored."""
        return batchnorm.folded(self.scale[...], self.bias[...], self.mean[...], self.var[...])


def conv_norm(conv: Conv, norm: BatchNorm, x: jax.Array, train: bool, relu: bool) -> jax.Array:
    """``norm(conv(x))``, then relu if ``relu``; where images are scored it may be one pass."""
    if train:
        return norm(conv(x, train), train, relu)
    return conv.ops.conv_affine(x, conv.kernel[...], *norm.folded(), stride=conv.stride, relu=relu)


class Block(nnx.Module):
    """Convolutions with batch norm, and around them the skip connection, or none (``skip=False``)."""

    def __init__(
        self,
        inputs: int,
        convs: list[tuple[int, int, int]],
        skip: bool,
        *,
        backend: Backend,
        rng: np.random.Generator,
    ):
        self.convs: nnx.List = nnx.List()
        self.norms: nnx.List = nnx.List()
        features, total_stride = inputs, 1
        for out, kernel, stride in convs:
            self.convs.append(Conv(features, out, kernel, stride, backend=backend, rng=rng))
            self.norms.append(BatchNorm(out, backend=backend))
            features, total_stride = out, total_stride * stride
        self.skip = skip
        self.project: nnx.List = nnx.List()
        if skip and (features != inputs or total_stride != 1):
            conv = Conv(inputs, features, 1, total_stride, backend=backend, rng=rng)
            self.project = nnx.List([conv, BatchNorm(features, backend=backend)])

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        y = x
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True), 1):
            y = conv_norm(conv, norm, y, train, relu=i < len(self.convs) or not self.skip)
        if not self.skip:
            return y
        if self.project:
            conv, norm = self.project
            x = conv_norm(conv, norm, x, train, relu=False)
        return batchnorm.relu(y + x)


def basic(inputs: int, width: int, stride: int) -> list[tuple[int, int, int]]:
    """(features, kernel, stride) of the two convolutions of He et al.'s basic block."""
    return [(width, 3, stride), (width, 3, 1)]


def bottleneck(inputs: int, width: int, stride: int) -> list[tuple[int, int, int]]:
    """(features, kernel, stride) of the three convolutions of He et al.'s bottleneck block."""
    return [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]


class ResNet(nnx.Module):
    """He et al. (2016) for small images: a 3x3 stem without pooling, four stages of w, 2w, 4w, 8w filters.

    ``skip=False`` removes the skip connections and nothing else: CNN18 is ResNet18 without them.
    """

    def __init__(
        self,
        block: Callable[[int, int, int], list[tuple[int, int, int]]],
        blocks: tuple[int, ...],
        *,
        classes: int,
        channels: int,
        width: int,
        skip: bool = True,
        backend: Backend | None = None,
        rng: np.random.Generator,
    ):
        backend = backend or devices.default()
        self.layout, self.dtype = backend.layout, backend.dtype
        self.stem = Conv(channels, width, backend=backend, rng=rng)
        self.norm = BatchNorm(width, backend=backend)
        self.blocks: nnx.List = nnx.List()
        features = width
        for stage, n in enumerate(blocks):
            for i in range(n):
                convs = block(features, width * 2**stage, 2 if stage and not i else 1)
                self.blocks.append(Block(features, convs, skip, backend=backend, rng=rng))
                features = convs[-1][0]
        self.head = nnx.Param(jnp.zeros((features, classes), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(classes, jnp.float32))

    def __call__(self, images: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Images [n, h, w, c] -> logits [n, classes] and penultimate features [n, d], float32.

        ``train`` normalises by the batch and updates the running statistics.
        """
        x = images.transpose(["NHWC".index(axis) for axis in self.layout]).astype(self.dtype)
        x = conv_norm(self.stem, self.norm, x, train, relu=True)
        for block in self.blocks:
            x = block(x, train)
        pooled = x.astype(jnp.float32).mean((self.layout.index("H"), self.layout.index("W")))
        features = pooled.T if self.layout == "CHWN" else pooled
        return features @ self.head[...] + self.bias[...], features

    def largest_activation(self, height: int, width: int) -> int:
        """Numbers in the largest activation of one image: the first stage's, for each next one is half as large."""
        return height * width * self.blocks[0].norms[-1].bias.shape[0]


def cnn18(**settings: Any) -> ResNet:
    """ResNet18 without its skip connections; ``settings`` are those of ResNet."""
    return ResNet(basic, (2, 2, 2, 2), skip=False, **settings)


def resnet18(**settings: Any) -> ResNet:
    """He et al.'s ResNet18; ``settings`` are those of ResNet."""
    return ResNet(basic, (2, 2, 2, 2), **settings)


def resnet50(**settings: Any) -> ResNet:
    """He et al.'s ResNet50; ``settings`` are those of ResNet."""
    return ResNet(bottleneck, (3, 4, 6, 3), **settings)


def build(
    architecture: str | Callable[..., Any],
    *,
    classes: int,
    channels: int,
    width: int = 64,
    backend: Backend | None = None,
    rng: np.random.Generator,
) -> Any:
    """A new net with random weights; ``width`` is the number of filters of the first stage (64: standard).

    ``architecture``: a name, or what builds a net (see ``mcal_jax.training.architectures``). ``backend`` (default: by
    the device) is how it computes; the weights do not depend on it.
    Raises McalError for an unknown name, width < 1, classes < 2 or channels < 1, and for what takes other arguments.
    """
    name = name_of(architecture)
    for what, value, least in (("width", width, 1), ("classes", classes, 2), ("channels", channels, 1)):
        if value < least:
            raise McalError(f"{what} of {name} must be at least {least}, not {value}")
    make: Any = ARCHITECTURES[architecture] if isinstance(architecture, str) else architecture
    settings = {"classes": classes, "channels": channels, "width": width, "backend": backend or devices.default()}
    # The metaclass of Flax's modules hides the signature of their constructors.
    constructor = partial(make.__init__, None) if isinstance(make, type) else make  # type: ignore[misc]
    try:
        inspect.signature(constructor).bind(**settings, rng=rng)
    except (TypeError, ValueError) as error:
        arguments = f"it is called with {', '.join(settings)} and rng by name"
        raise McalError(f"architecture {name!r} can't be built: {error}; {arguments}") from None
    return make(**settings, rng=rng)


def name_of(architecture: str | Callable[..., Any]) -> str:
    """The name of an architecture in messages."""
    return architecture if isinstance(architecture, str) else getattr(architecture, "__name__", repr(architecture))
