"""How much memory a net takes, from its shapes alone: no number is drawn or computed."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mcal_jax.errors import McalError
from mcal_jax.training import devices
from mcal_jax.training.programs import split

TRACED = 16
"""Images in the batch by which a net is outlined."""


class OutlineGenerator(np.random.Generator):
    """Stands for a random generator where a net is only outlined: large arrays are zeros that are never stored."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        return jnp.zeros(size or (), jnp.float32)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        return jnp.zeros(size or (), jnp.float32)

    def standard_normal(self, size: Any = None, *args: Any, **kwargs: Any) -> Any:
        return jnp.zeros(size or (), jnp.float32)


class Outline(NamedTuple):
    """How many numbers a net and its training hold."""

    params: int
    optimizer: int
    activation: int
    """Of the largest activation of one image."""


def outline(build: Callable[..., Any], shape: tuple[int, ...], optimizer: optax.GradientTransformation) -> Outline:
    """The outline of the net that ``build(rng=...)`` makes, for images of ``shape`` (h, w, c).

    Raises a JAXTypeError for a net whose weights are computed by NumPy from JAX's arrays.
    """
    activation = 0

    def parts() -> tuple[Any, Any]:
        nonlocal activation
        net = build(rng=OutlineGenerator())
        activation = largest_activation(net, shape)
        _, params, _ = split(net)
        return params, optimizer.init(params)

    params, state = (sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(part)) for part in jax.eval_shape(parts))
    return Outline(params, state, activation)


def check_memory(name: str, needs: Outline, pool_bytes: int, batch: int, dtype: str, advice: str) -> None:
    """Raises McalError if the device can't hold the images, the weights and two activations of a mini-batch.

    Training takes more; how much more depends on XLA, and ``Trainer.rehearse`` finds out.
    """
    capacity = devices.memory()
    weights = 4 * (2 * needs.params + needs.optimizer)  # a gradient is as large as the weights
    required = pool_bytes + weights + 2 * batch * needs.activation * jnp.dtype(dtype).itemsize
    if capacity is not None and required > capacity:
        have = f"{required / 1e9:,.1f} GB of memory at least, and {capacity / 1e9:,.1f} GB are there"
        raise McalError(f"{name} needs {have}: choose {advice}")


def largest_activation(net: Any, shape: tuple[int, ...]) -> int:
    """Numbers in the largest activation of one image of ``shape`` (h, w, c).

    As the net's own method ``largest_activation(height, width)`` says, or as tracing it shows.
    """
    if hasattr(net, "largest_activation"):
        return net.largest_activation(*shape[:2])
    graph, params, stats = split(net)

    def score(params: Any, stats: Any, images: jax.Array) -> Any:
        return graph.merge(params, stats)(images, train=False)

    images = jax.ShapeDtypeStruct((TRACED, *shape), jnp.float32)
    program = jax.make_jaxpr(score)(params, stats, images)
    return max(-(-size // TRACED) for size in (math.prod(shape), *value_sizes(program.jaxpr)))


def value_sizes(program: Any) -> Iterator[int]:
    """How many numbers each value of a traced program holds, those of the programs within it too."""
    for equation in program.eqns:
        yield from (getattr(variable.aval, "size", 0) for variable in equation.outvars)
        for parameter in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from value_sizes(inner)
