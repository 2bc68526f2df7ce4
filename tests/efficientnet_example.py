"""An EfficientNetB0 with weights and running statistics that are the same everywhere, and images for it."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mcal_jax.training.devices import ACCELERATOR
from mcal_jax.training.nets import build

IMAGES = np.random.default_rng(1).standard_normal((2, 128, 128, 3)).astype(np.float32)


def example(backend=ACCELERATOR):
    """A net of float32 for ten classes, no weight or statistic of which is trivial."""
    rng = np.random.default_rng(0)
    net = build("efficientnet_b0", classes=10, channels=3, rng=rng, backend=backend._replace(dtype="float32"))
    state = nnx.state(net, (nnx.Param, nnx.BatchStat))

    def filled(path, value):
        name, shape = path[-2].key, value.shape
        if name == "var":
            return jnp.asarray(rng.uniform(0.5, 1.5, shape), jnp.float32)
        if name == "scale":
            return jnp.asarray(rng.uniform(0.8, 1.2, shape), jnp.float32)
        if name in ("mean", "bias"):
            return jnp.asarray(0.1 * rng.standard_normal(shape), jnp.float32)
        return jnp.asarray(0.05 * rng.standard_normal(shape), jnp.float32) if name == "head" else value

    nnx.update(net, jax.tree_util.tree_map_with_path(filled, state))
    return net
