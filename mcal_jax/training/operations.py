"""The arithmetic of nets that depends on the device: convolutions, and sums over activations.

A net computes by the ``Operations`` of its backend and knows nothing else of the device. ``XLA`` keeps activations as
[batch, height, width, channels], which cuDNN wants. ``MATRIX_PRODUCTS`` keeps them as [channels, height, width, batch]
for CPUs: inside a compiled loop XLA's own convolution is 17 to 100 times slower there than nine large copies and one
matrix product (jax issue 12868). ``mcal_jax.training.cpu`` offers a third, in C++, where a compiler is available. The
kernels are [height, width, in, out] in all of them.
"""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcal_jax.training import sharding

SMALL = 256
"""Pixels of an image up to which a CPU scores it by matrix products, 3x3 convolutions too."""
PARTS, ROWS = 256, 128
"""A GPU sums in at most so many parts, each of at least so many rows."""

Pair = tuple[jax.Array, jax.Array]


@dataclass(frozen=True)
class Operations:
    """Convolutions and sums by XLA, for activations whose axes ``layout`` names: "NHWC" or "CHWN".

    A subclass overrides what its device does better, with the same results up to rounding. Nets hold their operations
    as static structure, so two that are equal share compiled programs.
    """

    layout: str

    def conv(self, x: jax.Array, kernel: jax.Array, stride: int, *, train: bool) -> jax.Array:
        """ "SAME" convolution of ``x`` by ``kernel`` [k, k, in, out] of the same dtype."""
        return xla_conv(x, kernel, stride, self.layout)

    def conv_affine(
        self, x: jax.Array, kernel: jax.Array, scale: jax.Array, shift: jax.Array, *, stride: int, relu: bool
    ) -> jax.Array:
        """``affine(conv(x))`` where images are scored: batch norm's factor and summand of each channel are known."""
        y = self.conv(x, kernel.astype(x.dtype), stride, train=False)
        return self.affine(y, scale, shift, relu=relu)

    def depthwise_conv(self, x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
        """ "SAME" convolution of each channel of ``x`` by its own kernel, ``kernel`` [k, k, C] of the same dtype."""
        numbers, channels = (self.layout, "HWIO", self.layout), kernel.shape[-1]
        return lax.conv_general_dilated(
            x,
            kernel[:, :, None],
            (stride, stride),
            "SAME",
            dimension_numbers=numbers,
            feature_group_count=channels,
        )

    def channel_sums(self, a: jax.Array, b: jax.Array) -> Pair:
        """Sums of a and of a * b over all axes but C, each float32 [C]."""
        a = a.astype(jnp.float32)
        b = a * b.astype(jnp.float32)
        if self.layout[-1] == "C":
            return sums_in_parts(a, b)
        axes = tuple(axis for axis, name in enumerate(self.layout) if name != "C")
        return a.sum(axes), b.sum(axes)

    def affine(self, x: jax.Array, scale: jax.Array, shift: jax.Array, *, relu: bool) -> jax.Array:
        """``x * scale + shift`` with scale and shift [C], then relu if ``relu``; float32 inside, the dtype of x out."""
        y = self.affine_float32(x, scale, shift)
        return (jax.nn.relu(y) if relu else y).astype(x.dtype)

    def affine_float32(self, x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
        """``x * scale + shift`` with scale and shift [C], in float32."""
        return x.astype(jnp.float32) * self.per_channel(scale) + self.per_channel(shift)

    def per_channel(self, values: jax.Array) -> jax.Array:
        """``values`` [C] with axes of length 1 for the others."""
        return values.reshape([-1 if name == "C" else 1 for name in self.layout])


@dataclass(frozen=True)
class MatrixProducts(Operations):
    """Convolutions as matrix products, in the layout CHWN.

    Scoring is not a compiled loop: there a 3x3 convolution of a large image is XLA's, and the smaller ones, whose
    copies stay in the cache, are matrix products.
    """

    layout: str = "CHWN"

    def conv(self, x: jax.Array, kernel: jax.Array, stride: int, *, train: bool) -> jax.Array:
        few_copies = kernel.shape[0] == 1 or x.shape[1] * x.shape[2] <= SMALL
        return matmul_conv(x, kernel, stride) if train or few_copies else super().conv(x, kernel, stride, train=train)

    def depthwise_conv(self, x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
        return shifted_products(x, kernel, stride)


XLA = Operations("NHWC")
MATRIX_PRODUCTS = MatrixProducts()


def output_size(size: int, kernel: int, stride: int) -> tuple[int, tuple[int, int]]:
    """Size of the output and padding (before, after) of "SAME" along one axis, as XLA counts them."""
    out = -(-size // stride)
    pad = max((out - 1) * stride + kernel - size, 0)
    return out, (pad // 2, pad - pad // 2)


def matmul_conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """ "SAME" convolution as one matrix product: x [C, H, W, N], kernel [k, k, C, D] -> [D, H', W', N]."""
    size, _, channels, features = kernel.shape
    x, (rows, columns) = pad_same(x, size, stride)
    shifted = [
        x[:, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
        for i in range(size)
        for j in range(size)
    ]
    patches = jnp.concatenate(shifted).reshape(size * size * channels, -1)
    return (kernel.reshape(-1, features).T @ patches).reshape(features, rows, columns, -1)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def shifted_products(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """ "SAME" convolution of each channel by its own kernel: x [C, H, W, N], kernel [k, k, C] -> [C, H', W', N].

    A loop over the numbers of the kernel: written out, XLA takes minutes to compile them.
    """
    size = len(kernel)
    padded, out = pad_same(x, size, stride)
    weights = kernel.reshape(size * size, -1, 1, 1, 1)

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        return total + weights[i] * window(padded, i // size, i % size, stride, out)

    return lax.fori_loop(0, size * size, add, jnp.zeros((len(x), *out, x.shape[3]), x.dtype))


def shifted_products_forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, Pair]:
    return shifted_products(x, kernel, stride), (x, kernel)


def shifted_products_backward(stride: int, residuals: Pair, gradient: jax.Array) -> Pair:
    x, kernel = residuals
    size = len(kernel)
    padded, out = pad_same(x, size, stride)
    weights = kernel.reshape(size * size, -1, 1, 1, 1)

    def of_kernel(i: jax.Array) -> jax.Array:
        return (window(padded, i // size, i % size, stride, out) * gradient).sum((1, 2, 3))

    by_kernel = lax.map(of_kernel, jnp.arange(size * size)).reshape(kernel.shape)
    # A stride leaves zeros between the numbers of the gradient; around them there are as many as the kernel reaches.
    edges = []
    for whole, short in zip(x.shape[1:3], out, strict=True):
        ahead = size - 1 - output_size(whole, size, stride)[1][0]
        edges.append((ahead, whole + size - 1 - ahead - (short - 1) * stride - 1, stride - 1))
    spread = lax.pad(gradient, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        turned = size * size - 1 - i
        return total + weights[turned] * window(spread, i // size, i % size, 1, x.shape[1:3])

    return lax.fori_loop(0, size * size, add, jnp.zeros_like(x)), by_kernel


shifted_products.defvjp(shifted_products_forward, shifted_products_backward)


def pad_same(x: jax.Array, size: int, stride: int) -> tuple[jax.Array, tuple[int, int]]:
    """x [C, H, W, N] with the zeros around it that "SAME" adds, and the rows and columns of the output."""
    (rows, pad_rows), (columns, pad_columns) = (output_size(n, size, stride) for n in x.shape[1:3])
    return jnp.pad(x, ((0, 0), pad_rows, pad_columns, (0, 0))), (rows, columns)


def window(x: jax.Array, row: jax.Array, column: jax.Array, stride: int, out: tuple[int, ...]) -> jax.Array:
    """Every ``stride``-th row and column of ``x`` from (row, column) on, [C, *out, N]."""
    reach = [(n - 1) * stride + 1 for n in out]
    part = lax.dynamic_slice(x, (0, row, column, 0), (len(x), *reach, x.shape[3]))
    return part[:, ::stride, ::stride]


def xla_conv(x: jax.Array, kernel: jax.Array, stride: int = 1, layout: str = "CHWN") -> jax.Array:
    """ "SAME" convolution by XLA's own: x in any ``layout``, kernel [k, k, C, D]."""
    numbers = (layout, "HWIO", layout)
    return lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=numbers)


def sums_in_parts(a: jax.Array, b: jax.Array) -> Pair:
    """Sums of a and of b over all axes but the last, in two steps, each one kernel for both.

    Left to itself XLA sums 4,096 rows of 256 channels by 2 blocks of a GPU that runs hundreds, which takes as long as
    the convolution.
    """

    zero = np.zeros((), np.float32)

    def reduce_both(pair: Pair, axis: int) -> Pair:
        if sharding.count() > 1:  # of a pair the partitioner would send all parts, and not their sums
            return pair[0].sum(axis), pair[1].sum(axis)
        return lax.reduce(pair, (zero, zero), lambda s, t: (s[0] + t[0], s[1] + t[1]), (axis,))

    channels = a.shape[-1]
    rows = a.size // channels
    parts = math.gcd(rows, 2 ** min(int(math.log2(PARTS)), int(math.log2(max(rows / ROWS, 1)))))
    shape = (parts, -1, channels)
    partial_sums = lax.optimization_barrier(reduce_both((a.reshape(shape), b.reshape(shape)), 1))
    return reduce_both(partial_sums, 0)
