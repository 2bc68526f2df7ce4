"""A head on features as an author outside the package writes one: plain Flax, features [b, d]."""

import jax
from flax import nnx


class OutsiderHead(nnx.Module):
    """A hidden layer of ``width`` units."""

    reads = "features"
    recipe = "mlp"

    def __init__(self, *, classes, channels, width, backend, rng):
        rngs = nnx.Rngs(int(rng.integers(2**31)))
        self.hidden, self.head = nnx.Linear(channels, width, rngs=rngs), nnx.Linear(width, classes, rngs=rngs)

    def __call__(self, features, train):
        hidden = jax.nn.relu(self.hidden(features))
        return self.head(hidden), hidden
