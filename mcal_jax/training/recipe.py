"""How nets are trained: optimizer, learning rate, length, mini-batch and augmentation, as data."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class Recipe(NamedTuple):
    """How a net is trained. Its length is in epochs, so the number of steps is a function of |B|."""

    name: str
    optimizer: optax.GradientTransformation
    """Gradient -> direction, the learning rate left out."""
    learning_rate: float
    schedule: optax.Schedule
    """Factor on the learning rate, as a function of the 200ths of the training done."""
    epochs: float
    """Epochs at |B| = 1,000 ..."""
    power: float
    """... times (1,000 / |B|) to this power at other sizes; 0: the same number at each; negative: more as B grows."""
    batch: int
    label_smoothing: float
    shift: float
    """Random shift by up to this fraction of the height and of the width; edge pixels are repeated."""
    flip: bool
    """Random mirror image."""
    student: "Student | None" = None
    """How a second net learns from this one and from images without labels (``mcal_jax.training.self_training``)."""

    def steps(self, size: int) -> int:
        """Number of mini-batches for |B| = ``size``."""
        epochs = max(1, round(self.epochs * (1000 / size) ** self.power))
        return epochs * math.ceil(size / self.batch)

    def rate(self, step: Any, steps: Any) -> Any:
        """Learning rate of mini-batch number ``step`` (from 0) of ``steps``, float32."""
        progress = jnp.asarray(200 * step, jnp.float32) / jnp.asarray(steps, jnp.float32)
        return self.learning_rate * self.schedule(progress)


class Student(NamedTuple):
    """How a second net is trained: on B, and on the images without labels that the first net is most confident of."""

    recipe: Recipe
    """As many epochs at each size: ``power`` is 0."""
    share: float
    """Of the images without labels."""

    @property
    def passes(self) -> float:
        """How often each image without a label is passed, on average."""
        return self.share * self.recipe.epochs


def decay(weight: float) -> optax.GradientTransformation:
    """L2 on the weights that are matrices or convolutions, added to the gradient."""
    return optax.add_decayed_weights(weight, mask=partial(jax.tree.map, lambda p: p.ndim > 1))


# Section 5: 200 epochs, mini-batch 256, /10 after epochs 80, 120, 160 and 180. The rest is the released
# code's: Adam with a rate of 0.001 per 32 images of the mini-batch, L2 1e-4, shift 10 %, flip; not its
# rotation by 15 degrees, nor its last reduction, by 2.
PAPER = Recipe(
    name="paper",
    optimizer=optax.chain(decay(1e-4), optax.scale_by_adam()),
    learning_rate=0.001 * 256 / 32,
    schedule=optax.piecewise_constant_schedule(1.0, {80: 0.1, 120: 0.1, 160: 0.1, 180: 0.1}),
    epochs=200,
    power=0,
    batch=256,
    label_smoothing=0,
    shift=0.1,
    flip=True,
)

# Chosen on 10,000 held-out training images of Fashion-MNIST (14x14) and CIFAR-10 (16x16) at width 8, one seed a
# variant: as good as "paper" with 600 to 50,000 labels and a sixth to less than half of its work
# (results/bench/recipes.csv). With 24 or 32 epochs, at half to four times the rate, it falls behind; 40 do up to
# 16,000 labels, and 40,000 of CIFAR-10 want 80.
FAST = Recipe(
    name="fast",
    optimizer=optax.chain(decay(5e-4), optax.trace(0.9, nesterov=True)),
    learning_rate=0.2,
    schedule=optax.warmup_cosine_decay_schedule(0.1, 1.0, 40, 200),
    epochs=40,
    power=-1 / 5,
    batch=64,
    label_smoothing=0.1,
    shift=0.1,
    flip=True,
)

# For many runs on a CPU. "short" is as good as "fast" with 600 labels, and with 16,000, and a quarter of the work, has
# 2 points less on Fashion-MNIST and 8 on CIFAR-10; "brief" takes half the work of "short", and less from 3,000 on.
SHORT = FAST._replace(name="short", epochs=24, power=1 / 3, shift=0.05)
BRIEF = SHORT._replace(name="brief", epochs=16, power=1 / 2)

# "fast", and then a second net that learns from images without labels too. Chosen on 10,000 held-out training images of
# CIFAR-10 (16x16) at width 8 with 1,000 labels, one seed. None of these was better by more than the standard error: a
# second round with 0.6 of the images, squares erased at random for the second net, weights that go on from the first's.
SELF_TRAINING = FAST._replace(
    name="self_training", student=Student(FAST._replace(name="student", epochs=8, power=0), share=0.3)
)

# For heads on features. Chosen on 10,000 held-out training images: raw pixels of Fashion-MNIST and 768 features of
# CIFAR-10 (bench/features.py, patches), 500 to 8,000 labels.
LINEAR = Recipe(
    name="linear",
    optimizer=optax.chain(decay(2e-5), optax.scale_by_adam()),
    learning_rate=0.1,
    schedule=optax.warmup_cosine_decay_schedule(0.1, 1.0, 10, 200),
    epochs=40,
    power=1 / 3,
    batch=128,
    label_smoothing=0,
    shift=0,
    flip=False,
)
MLP = LINEAR._replace(name="mlp", optimizer=optax.chain(decay(1e-5), optax.scale_by_adam()), epochs=20)
