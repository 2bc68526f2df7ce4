"""How nets are computed on a kind of device: precision, layout, and how much at once. The weights are the same."""

import math
import os
from typing import NamedTuple

import jax

from mcal_jax import native
from mcal_jax.types import McalError


class Backend(NamedTuple):
    """Choices that change the speed and the rounding of a net, not what it is."""

    layout: str
    """Axes of the activations: "CHWN" (convolutions by matrix product, for a CPU) or "NHWC" (XLA's own)."""
    dtype: str
    """Of images, activations and kernels in a convolution. Parameters, batch-norm statistics, the state of the
    optimizer, features, logits and the loss are float32 whatever it is."""
    chunk: int
    """Mini-batches per call of the training program: how often progress is told and Ctrl-C is heard."""
    score_floats: int
    """About how many numbers the largest activation holds when images are scored: so many images at once."""
    native: bool = False
    """Whether 3x3 convolutions and batch norm in the layout CHWN are those of native.py, where they fit."""

    def in_cc(self) -> bool:
        """Whether the C++ code is wanted and there."""
        return self.native and self.layout == "CHWN" and native.available()

    def score_batch(self, activation: int) -> int:
        """Images scored at once, a power of two, of a net whose largest activation has so many numbers an image."""

        def holding(floats: int) -> int:
            return 2 ** max(int(math.log2(floats / activation)), 0)

        # Wide nets want several vectors of images for each preparation of their many weights, memory allowing.
        return min(max(holding(self.score_floats), min(holding(WIDE), 64), 16), 2048)


WIDE = 2**25
"""Numbers in an activation of a wide net, 128 MB, up to which 64 images are scored at once."""
CPU = Backend("CHWN", "float32", chunk=32, score_floats=2**17)
NATIVE = CPU._replace(native=True, score_floats=2**20)
"""What is scored stays in the cache; matrix products want smaller batches, for nine copies of the input must fit."""
ACCELERATOR = Backend("NHWC", "bfloat16", chunk=256, score_floats=2**28)


def default() -> Backend:
    """The choices for the kind of device that JAX computes on here."""
    if jax.default_backend() != "cpu":
        return ACCELERATOR
    return NATIVE if native.available() else CPU


def deterministic() -> None:
    """Have a GPU give the same weights bit by bit for the same seed, as a CPU does anyway, at a price in speed.

    The same as ``XLA_FLAGS=--xla_gpu_deterministic_ops=true`` in the environment; worker processes inherit it.
    XLA reads its flags once: raises McalError if JAX has already looked for its devices.
    """
    from jax._src import xla_bridge  # JAX says so nowhere else

    if xla_bridge.backends_are_initialized():
        raise McalError("deterministic: JAX has already started; ask for it before anything is computed")
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
