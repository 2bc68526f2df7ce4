"""EfficientNetB0 (Tan and Le, 2019) as a Flax NNX module, for images of any size and any ``width``.

The published net halves the image five times, for 224x224 pixels. Here the first of these steps keep the size where
less than ``LEAST_MAP`` pixels a side would be left: 224x224 ends as 7x7, 64x64 and 32x32 as 4x4.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mcal_jax.training import devices
from mcal_jax.training.devices import Backend
from mcal_jax.training.heads import Dense
from mcal_jax.training.nets import BatchNorm, Conv

STANDARD_WIDTH = 64
"""The ``width`` of the published net, as of ResNet's; its stem has half as many filters."""
LEAST_MAP = 4
"""Pixels a side of the last feature map, at least, unless the image is smaller."""
STEM, HEAD = 32, 1280
"""Filters of the first and of the last convolution."""
DROPOUT = 0.2
"""Share of features that is dropped in training, and of the last block's samples: stochastic depth."""


class Stage(NamedTuple):
    """``blocks`` of one kind, of which the first has the ``stride`` (table 1 of the paper of EfficientNet)."""

    expansion: int
    kernel: int
    stride: int
    features: int
    blocks: int


B0 = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)


def filters(published: int, width: int) -> int:
    """The number of filters at ``width``: a multiple of 8, and not more than a tenth below its share.

    >>> filters(24, 64), filters(24, 32), filters(320, 16), filters(16, 4)
    (24, 16, 80, 8)
    """
    wanted = published * width / STANDARD_WIDTH
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8


class DepthwiseConv(nnx.Module):
    """One kernel for each channel, without bias, He et al.'s uniform initialisation."""

    def __init__(self, features: int, kernel: int, *, backend: Backend, rng: np.random.Generator):
        bound = (6 / (kernel * kernel)) ** 0.5
        self.kernel = nnx.Param(jnp.asarray(bound * rng.uniform(-1, 1, (kernel, kernel, features)), jnp.float32))
        self.ops = backend.ops

    def __call__(self, x: jax.Array, stride: int) -> jax.Array:
        return self.ops.depthwise_conv(x, self.kernel[...].astype(x.dtype), stride)


class SqueezeExcite(nnx.Module):
    """Multiplies each channel by a gate in (0, 1) that depends on the means of all channels (Hu et al., 2018)."""

    def __init__(self, features: int, squeezed: int, *, layout: str, rng: np.random.Generator):
        self.layout = layout
        self.squeeze, self.excite = Dense(features, squeezed, 1.0, rng=rng), Dense(squeezed, features, 1.0, rng=rng)

    def __call__(self, x: jax.Array) -> jax.Array:
        gate = jax.nn.sigmoid(self.excite(jax.nn.silu(self.squeeze(channel_means(x, self.layout)))))
        axes = tuple(self.layout.index(axis) for axis in "HW")
        gate = gate.T if self.layout == "CHWN" else gate
        return x * jnp.expand_dims(gate, axes).astype(x.dtype)


def channel_means(x: jax.Array, layout: str) -> jax.Array:
    """Means over height and width, float32 [n, c]."""
    means = x.astype(jnp.float32).mean((layout.index("H"), layout.index("W")))
    return means.T if layout == "CHWN" else means


class InvertedBottleneck(nnx.Module):
    """MBConv: expand by a 1x1 convolution, filter each channel, gate, project; a skip connection where shapes allow."""

    def __init__(
        self, inputs: int, features: int, stage: Stage, stride: int, *, backend: Backend, rng: np.random.Generator
    ):
        inner = inputs * stage.expansion
        convs: dict[str, Any] = {"backend": backend, "rng": rng}
        self.expand: nnx.List = nnx.List()
        if stage.expansion > 1:
            self.expand = nnx.List([Conv(inputs, inner, 1, **convs), BatchNorm(inner, backend=backend)])
        self.filter, self.filter_norm = DepthwiseConv(inner, stage.kernel, **convs), BatchNorm(inner, backend=backend)
        self.gate = SqueezeExcite(inner, max(inputs // 4, 1), layout=backend.layout, rng=rng)
        self.project, self.norm = Conv(inner, features, 1, **convs), BatchNorm(features, backend=backend)
        self.is_residual = stride == 1 and inputs == features

    def __call__(self, x: jax.Array, stride: int, keep: jax.Array | None) -> jax.Array:
        """``keep`` multiplies what is added to ``x``, one number an image, in training; None in scoring."""
        train, y = keep is not None, x
        if self.expand:
            conv, norm = self.expand
            y = jax.nn.silu(norm(conv(y, train), train))
        y = self.gate(jax.nn.silu(self.filter_norm(self.filter(y, stride), train)))
        y = self.norm(self.project(y, train), train)
        if not self.is_residual:
            return y
        return x + (y if keep is None else y * keep.astype(y.dtype))


class EfficientNet(nnx.Module):
    """The baseline EfficientNet for ``stages``. In training it draws what is dropped from a key in its own state."""

    def __init__(
        self,
        stages: tuple[Stage, ...] = B0,
        *,
        classes: int,
        channels: int,
        width: int = STANDARD_WIDTH,
        backend: Backend | None = None,
        rng: np.random.Generator,
    ):
        backend = backend or devices.default()
        convs: dict[str, Any] = {"backend": backend, "rng": rng}
        self.layout, self.dtype = backend.layout, backend.dtype
        features = filters(STEM, width)
        self.stem, self.stem_norm = Conv(channels, features, **convs), BatchNorm(features, backend=backend)
        strides = []
        self.blocks: nnx.List = nnx.List()
        for stage in stages:
            out = filters(stage.features, width)
            for stride in [stage.stride] + [1] * (stage.blocks - 1):
                self.blocks.append(InvertedBottleneck(features, out, stage, stride, **convs))
                strides.append(stride)
                features = out
        self.strides = (2, *strides)
        last = filters(HEAD, width)
        self.top, self.top_norm = Conv(features, last, 1, **convs), BatchNorm(last, backend=backend)
        self.head = nnx.Param(jnp.zeros((last, classes), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(classes, jnp.float32))
        self.key = nnx.BatchStat(jnp.asarray(rng.integers(2**32, size=2, dtype=np.uint32)))

    def __call__(self, images: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Images [n, h, w, c] -> logits [n, classes] and penultimate features [n, d], float32."""
        stem, *strides = kept_strides(self.strides, min(images.shape[1:3]))
        x = images.transpose(["NHWC".index(axis) for axis in self.layout]).astype(self.dtype)
        # The stride of the stem depends on the size of the images.
        x = self.stem.ops.conv(x, self.stem.kernel[...].astype(x.dtype), stem, train=train)
        x = jax.nn.silu(self.stem_norm(x, train))
        key = self._next_key() if train else None
        for i, (block, stride) in enumerate(zip(self.blocks, strides, strict=True)):
            keep = None
            if key is not None:
                shape = [len(images) if axis == "N" else 1 for axis in self.layout]
                keep = kept(jax.random.fold_in(key, i), DROPOUT * i / len(self.blocks), tuple(shape))
            x = block(x, stride, keep)
        x = jax.nn.silu(self.top_norm(self.top(x, train), train))
        features = channel_means(x, self.layout)
        seen = features if key is None else features * kept(key, DROPOUT, features.shape)
        return seen @ self.head[...] + self.bias[...], features

    def _next_key(self) -> jax.Array:
        """A key for this step; the state moves on to the next."""
        state, step = jax.random.split(jax.random.wrap_key_data(self.key[...], impl="threefry2x32"))
        self.key[...] = jax.random.key_data(state)
        return step

    def largest_activation(self, height: int, width: int) -> int:
        """Numbers in the largest activation of one image."""
        stem, *strides = kept_strides(self.strides, min(height, width))
        pixels, largest = (height // stem) * (width // stem), 0
        for block, stride in zip(self.blocks, strides, strict=True):
            largest = max(largest, pixels * block.filter.kernel.shape[-1])
            pixels //= stride**2
        return largest


def kept_strides(strides: Sequence[int], size: int) -> list[int]:
    """``strides`` with the first steps of 2 left out, so that ``size`` pixels end as LEAST_MAP or more.

    >>> kept_strides([2, 1, 2, 2], 224), kept_strides([2, 1, 2, 2], 15)
    ([2, 1, 2, 2], [1, 1, 2, 2])
    """
    halvings = 0
    while halvings < strides.count(2) and -(-size // 2 ** (halvings + 1)) >= LEAST_MAP:
        halvings += 1
    left_out = strides.count(2) - halvings
    kept = []
    for stride in strides:
        is_left_out = stride == 2 and left_out > 0
        left_out -= is_left_out
        kept.append(1 if is_left_out else stride)
    return kept


def kept(key: jax.Array, dropped: float, shape: tuple[int, ...]) -> jax.Array:
    """1 / (1 - dropped) with chance 1 - dropped, else 0; float32."""
    return jax.random.bernoulli(key, 1 - dropped, shape).astype(jnp.float32) / (1 - dropped)


def efficientnet_b0(**settings: Any) -> EfficientNet:
    """EfficientNetB0; ``settings`` are those of EfficientNet."""
    return EfficientNet(B0, **settings)
