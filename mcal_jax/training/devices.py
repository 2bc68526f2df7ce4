"""How nets are computed on a kind of device: precision, layout, and how much at once. The weights are the same."""

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax import experimental

from mcal_jax.errors import McalError
from mcal_jax.training import cpu
from mcal_jax.training.operations import MATRIX_PRODUCTS, XLA, Operations


class Backend(NamedTuple):
    """Choices that change the speed and the rounding of a net, not what it is."""

    ops: Operations
    """Convolutions and sums, which set the layout of the activations."""
    dtype: str
    """Of images, activations and kernels in a convolution. Parameters, batch-norm statistics, the state of the
    optimizer, features, logits and the loss are float32 whatever it is."""
    chunk: int
    """Mini-batches per call of the training program: how often progress is reported and Ctrl-C is heard."""
    score_floats: int
    """About how many numbers the largest activation holds when images are scored: so many images at once."""

    @property
    def layout(self) -> str:
        """Axes of the activations: "CHWN" or "NHWC"."""
        return self.ops.layout

    def score_batch(self, activation: int) -> int:
        """Images scored at once, a power of two, of a net whose largest activation has so many numbers an image."""

        def holding(floats: int) -> int:
            return 2 ** max(int(math.log2(floats / activation)), 0)

        # Wide nets want several vectors of images for each preparation of their many weights, memory allowing.
        return min(max(holding(self.score_floats), min(holding(WIDE), 64), 16), 2048)


WIDE = 2**25
"""Numbers in an activation of a wide net, 128 MB, up to which 64 images are scored at once."""
CPU = Backend(MATRIX_PRODUCTS, "float32", chunk=32, score_floats=2**17)
"""A CPU without a C++ compiler."""
SEVERAL_CPUS = CPU._replace(ops=XLA)
"""Simulated devices: neither C++ nor the layout CHWN can be divided among them."""
ACCELERATOR = Backend(XLA, "bfloat16", chunk=256, score_floats=2**28)


def with_cpu_operations(ops: Operations) -> Backend:
    """A CPU's backend with ``ops`` that need no copies of their input.

    What is scored stays in the cache; matrix products want smaller batches, for nine copies of the input must fit.
    """
    return CPU._replace(ops=ops, score_floats=2**20)


def platform() -> str:
    """The kind of device that JAX computes on here, "cpu" or "gpu", say. Raises McalError if there is none."""
    try:
        return jax.default_backend()
    except (RuntimeError, AssertionError) as error:  # a missing CUDA plugin fails an assertion without a word
        asked = getattr(jax.config, "jax_platforms", None) or os.environ.get("JAX_PLATFORM_NAME")
        why = f": {str(error).splitlines()[0]}" if str(error) else ""
        raise McalError(
            f"JAX was told to use {asked!r} and can't; unset JAX_PLATFORMS, or set it to cpu{why}"
        ) from None


def memory() -> int | None:
    """Bytes of memory that a device has in all, of a CPU's machine an equal share; None if that is not known."""
    if platform() != "cpu":
        return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    limits = []
    for file in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container, by version 2 and 1 of cgroups
        path = Path("/sys/fs/cgroup", file)
        if path.is_file() and (text := path.read_text(encoding="utf-8").strip()).isdigit():
            limits.append(int(text))
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits) // jax.local_device_count() if limits else None


@contextmanager
def our_defaults() -> Iterator[None]:
    """Within it, or a function that it decorates, JAX's global defaults are those that the programs are written for.

    Users' JAX_ENABLE_X64 and the like then change neither weights nor labels. Arrays have an explicit dtype all the
    same; this is for defaults that can't be given where they apply, in Optax above all.
    """
    where: Any = jax if hasattr(jax, "enable_x64") else experimental  # before JAX 0.8
    pins: list[Any] = [
        where.enable_x64(False),
        jax.default_matmul_precision(None),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        jax.default_prng_impl("threefry2x32"),
        jax.threefry_partitionable(True),
        jax.debug_nans(False),  # a loss that is not finite is dealt with
        jax.debug_infs(False),  # k-center begins with distances that are
        jax.transfer_guard("allow"),
    ]
    with ExitStack() as stack:
        for pin in pins:
            stack.enter_context(pin)
        yield


def default() -> Backend:
    """The choices for the kind of device that JAX computes on here. Raises McalError if there is none."""
    if platform() != "cpu":
        return ACCELERATOR
    if jax.local_device_count() > 1:
        return SEVERAL_CPUS
    ops = cpu.operations()
    return CPU if ops is None else with_cpu_operations(ops)


def deterministic() -> None:
    """Have a GPU give the same weights bit by bit for the same seed, as a CPU does anyway, at a price in speed.

    The same as ``XLA_FLAGS=--xla_gpu_deterministic_ops=true`` in the environment; worker processes inherit it.
    XLA reads its flags once: raises McalError if JAX has already looked for its devices.
    """
    from jax._src import xla_bridge  # JAX says so nowhere else

    if xla_bridge.backends_are_initialized():
        raise McalError("deterministic: JAX has already started; ask for it before anything is computed")
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
