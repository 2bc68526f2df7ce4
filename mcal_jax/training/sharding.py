"""Several devices: what each of them holds whole, and what is divided among them.

All devices of this machine make a mesh of one axis, ``batch``. Parameters are whole on each device and mini-batches are
divided, so JAX's partitioner sums gradients, and the sums of batch norm, over all devices: a net is trained and scored
as by one device, up to rounding. On one device nothing here does anything.
"""

from functools import cache
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"
T = TypeVar("T")


@cache
def mesh() -> Mesh | None:
    """The devices of this machine that JAX may use, as one axis; None where there is one alone."""
    devices = jax.local_devices()
    return Mesh(np.array(devices), (AXIS,)) if len(devices) > 1 else None


def count() -> int:
    """How many devices train and score."""
    return jax.local_device_count()


def divided(x: jax.Array) -> jax.Array:
    """``x`` [batch, ...] within a program, a part on each device; where they do not divide it, parts are filled up."""
    return _constrained(x, PartitionSpec(AXIS))


def whole(tree: T) -> T:
    """``tree``, within a program or outside, whole on each device."""
    return jax.tree.map(lambda leaf: _constrained(leaf, PartitionSpec()), tree)


def _constrained(x: Any, spec: PartitionSpec) -> Any:
    among = mesh()
    return x if among is None else jax.lax.with_sharding_constraint(x, NamedSharding(among, spec))


def joined(parts: list[jax.Array]) -> jax.Array:
    """One array, divided along its first axis, of the equal ``parts`` that the devices hold, in their order."""
    shape = (sum(map(len, parts)), *parts[0].shape[1:])
    among = mesh()
    assert among is not None
    return jax.make_array_from_single_device_arrays(shape, NamedSharding(among, PartitionSpec(AXIS)), parts)


def settled(tree: T) -> T:
    """``tree``; of several CPU devices, which are simulated, when it is computed.

    They share the threads of one process, and two programs at once may wait for each other for ever.
    """
    return jax.block_until_ready(tree) if count() > 1 and jax.default_backend() == "cpu" else tree
