"""An architecture as an author outside the package writes one: plain Flax, images [b, h, w, c]."""

import jax
import jax.numpy as jnp
from flax import nnx


class OutsiderNet(nnx.Module):
    """A convolution with batch norm, the mean over pixels, and a linear head."""

    def __init__(self, *, classes, channels, width, backend, rng):
        rngs = nnx.Rngs(int(rng.integers(2**31)))
        self.conv = nnx.Conv(channels, width, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, classes, rngs=rngs)

    def __call__(self, images, train):
        x = jax.nn.relu(self.norm(self.conv(images), use_running_average=not train))
        features = x.mean((1, 2))
        return self.head(features), features


class HalfPrecision(OutsiderNet):
    def __call__(self, images, train):
        return tuple(x.astype(jnp.bfloat16) for x in super().__call__(images, train))


class LogitsAlone(OutsiderNet):
    def __call__(self, images, train):
        return super().__call__(images, train)[0]


class NineLogits(OutsiderNet):
    def __init__(self, *, classes, **settings):
        super().__init__(classes=9, **settings)


class FlatFeatures(OutsiderNet):
    def __call__(self, images, train):
        logits, _ = super().__call__(images, train)
        return logits, logits.sum(1)


class BatchStatistics(OutsiderNet):
    def __call__(self, images, train):
        return super().__call__(images, True)


class FixedSeed(OutsiderNet):
    def __init__(self, *, rng, **settings):
        import numpy as np

        super().__init__(rng=np.random.default_rng(7), **settings)


class GreyAlone(OutsiderNet):
    def __init__(self, *, channels, **settings):
        super().__init__(channels=1, **settings)


class Exploding(OutsiderNet):
    def __call__(self, images, train):
        logits, features = super().__call__(images, train)
        return jnp.log(logits - logits.max(1, keepdims=True) - 1), features


class NoBackend(OutsiderNet):
    def __init__(self, *, classes, channels, width, rng):
        super().__init__(classes=classes, channels=channels, width=width, backend=None, rng=rng)
