"""The operations of nets in C++: 3x3 convolutions and batch norm's sums, in the layout CHWN, float32.

1x1 convolutions stay matrix products, for XLA's are as fast as C++ was. How this compares with matrix products
throughout: ``bench/throughput.py --against matmul``.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcal_jax.training.operations import MatrixProducts, Pair

LANES, OUT = 16, 4
"""The batch must be a multiple of the first, the output channels of the second."""


@dataclass(frozen=True)
class NativeOperations(MatrixProducts):
    """C++ where it fits the shapes, matrix products elsewhere.

    Needs the library that ``mcal_jax.training.cpu.compiler.available`` loads.
    """

    def conv(self, x: jax.Array, kernel: jax.Array, stride: int, *, train: bool) -> jax.Array:
        if fits(x, kernel, stride):
            return conv(x, kernel, stride)
        return super().conv(x, kernel, stride, train=train)

    def conv_affine(
        self, x: jax.Array, kernel: jax.Array, scale: jax.Array, shift: jax.Array, *, stride: int, relu: bool
    ) -> jax.Array:
        if fits(x, kernel, stride):
            return conv_bias(x, kernel * scale, shift, stride, relu)
        return super().conv_affine(x, kernel, scale, shift, stride=stride, relu=relu)

    def channel_sums(self, a: jax.Array, b: jax.Array) -> Pair:
        is_float32 = a.dtype == b.dtype == jnp.float32
        return sums(a, b) if is_float32 and a.shape[3] % LANES == 0 else super().channel_sums(a, b)


def fits(x: jax.Array, kernel: jax.Array, stride: int) -> bool:
    """Whether ``conv`` can do it: x [C, H, W, N], kernel [k, k, C, D].

    The gradient by x swaps C and D; images, which have few channels and meet stride 1, need none.
    """
    same = kernel.shape[:2] == (3, 3) and stride in (1, 2) and x.dtype == jnp.float32
    outputs = (kernel.shape[3],) if x.shape[0] < OUT and stride == 1 else kernel.shape[2:]
    return same and x.shape[3] % LANES == 0 and all(d % OUT == 0 for d in outputs)


def call(target: str, shape: tuple[int, ...], *inputs: jax.Array, **settings: Any) -> jax.Array:
    """The float32 array of ``shape`` that the library's function ``target`` computes from ``inputs``."""
    out = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.ffi.ffi_call(target, out, vmap_method="sequential")(*inputs, **settings)


def conv_bias(x: jax.Array, kernel: jax.Array, bias: jax.Array, stride: int, relu: bool = False) -> jax.Array:
    """``conv`` plus bias [D], then relu if ``relu``; it has no gradient."""
    _, height, width, batch = x.shape
    shape = (kernel.shape[3], -(-height // stride), -(-width // stride), batch)
    return call("mcal_jax_conv", shape, x, kernel, bias, stride=np.int64(stride), turned=False, relu=relu)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """ "SAME" convolution, stride 1 or 2: x [C, H, W, N], kernel [3, 3, C, D] -> [D, H', W', N], float32."""
    return conv_bias(x, kernel, jnp.zeros(kernel.shape[3], jnp.float32), stride)


def conv_forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, Pair]:
    return conv(x, kernel, stride), (x, kernel)


def conv_backward(stride: int, residuals: Pair, gradient: jax.Array) -> Pair:
    x, kernel = residuals
    if stride == 1:
        none = jnp.zeros(len(x), jnp.float32)
        of_x = call("mcal_jax_conv", x.shape, gradient, kernel, none, stride=np.int64(1), turned=True, relu=False)
    else:
        of_x = call("mcal_jax_spread", x.shape, gradient, kernel)
    of_kernel = call("mcal_jax_kernel_gradient", kernel.shape, x, gradient, stride=np.int64(stride))
    return of_x, of_kernel


conv.defvjp(conv_forward, conv_backward)


def sums(a: jax.Array, b: jax.Array) -> Pair:
    """Sums of a and of a * b, both [C, H, W, N], over all axes but the first, each [C]; they have no gradient."""
    plain, product = call("mcal_jax_sums", (2, len(a)), a, b)
    return plain, product
