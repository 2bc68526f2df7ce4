"""Architectures by name. Imports no JAX: names are checked without it, and a net is loaded when it is first built.

An architecture is called as ``architecture(classes=, channels=, width=, backend=, rng=)`` and returns a net:

- ``classes`` and ``channels`` are those of the labels and the images; ``width`` (``--width``, 64 by default) scales the
  net, as the number of filters of its first stage, say; it may be ignored;
- ``rng`` is a ``numpy.random.Generator`` and the only source of the weights: the same state of it gives the same
  weights. Flax's layers take ``rngs=nnx.Rngs(int(rng.integers(2**31)))``;
- ``backend`` (``mcal_jax.training.devices.Backend``) says the precision and the layout that suit the device; it may be
  ignored, too. ``mcal_jax.training.nets.Conv`` and ``BatchNorm`` compute by it, much faster on a CPU than Flax's own.

The net is a ``flax.nnx.Module``, called as ``net(images, train=True)`` in training and ``net(images, train=False)`` in
scoring. ``images`` are float32 [b, h, w, c] of mean 0 and variance 1 over the pool. It returns

- the logits, float32 [b, classes], and
- the features before the last layer, float32 [b, d], by which k-center chooses and other heads may be fitted.

Its ``nnx.Param`` are trained; the rest of its state, such as running statistics, is what a training step with
``train=True`` leaves. Scores of an image must not depend on the others in its batch. A method
``largest_activation(height, width)``, the numbers in the largest activation of one image, is optional: it sets how many
images are scored at once, and without it the net is traced.

An architecture with an attribute ``reads = "features"`` is a head. Its net is called with features, float32 [b, d], of
mean 0 and variance 1 over the pool, in the place of images; ``channels`` is d. With an attribute ``recipe``, a Recipe
or the name of one, it is trained by that whatever the run's is. ``mcal_jax.training.heads`` has two.

``NET@RECIPE`` is the architecture NET trained by RECIPE whatever the run's recipe is: ``resnet18@short``. Recipes are
raced so: ``resnet18@brief,resnet18@fast``.

``mcal_jax.training.conformance.check_architecture(MyNet)`` tests all this. A name is ``my_file.py:MyNet`` or
``package.module:MyNet``, or one that is registered: ``ARCHITECTURES.register("my_net", MyNet)``. The prices of training
by default cover the architectures of this file only: give another one a ``training_price``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcal_jax.algorithm.costs import split_recipe
from mcal_jax.registry import Registry
from mcal_jax.training.recipes import RECIPES

Architecture = Callable[..., Any]
"""(classes=, channels=, width=, backend=, rng=) -> net."""


@dataclass(frozen=True)
class WithRecipe:
    """``net`` trained by the recipe of that name, whatever the run's is."""

    net: Architecture
    recipe: str

    @property
    def reads(self) -> str:
        """ "images" or "features"."""
        return getattr(self.net, "reads", "images")

    def __call__(self, **settings: Any) -> Any:
        return self.net(**settings)


class Architectures(Registry[Architecture]):
    """Architectures by name, and by ``NET@RECIPE``."""

    def check(self, name: str) -> str:
        """``name``, if there are such a net and such a recipe. Raises McalError."""
        net, recipe = split_recipe(name)
        super().check(net)
        if recipe:
            RECIPES.check(recipe)
        return name

    def __getitem__(self, name: str) -> Architecture:
        net, recipe = split_recipe(name)
        found = super().__getitem__(net)
        return WithRecipe(found, RECIPES.check(recipe)) if recipe else found


ARCHITECTURES = Architectures(
    "architecture",
    {
        "cnn18": "mcal_jax.training.nets:cnn18",
        "resnet18": "mcal_jax.training.nets:resnet18",
        "resnet50": "mcal_jax.training.nets:resnet50",
        "efficientnet_b0": "mcal_jax.training.efficientnet:efficientnet_b0",
        "linear": "mcal_jax.training.heads:Linear",
        "mlp": "mcal_jax.training.heads:Mlp",
    },
)


def reads_features(architecture: str | Architecture) -> bool:
    """Whether an architecture reads features, not images; one in a file is loaded for that. Raises McalError."""
    found: Any = ARCHITECTURES[architecture] if isinstance(architecture, str) else architecture
    return getattr(found, "reads", "images") == "features"


def recipe_of(name: str, recipe: Any) -> Any:
    """The recipe of an architecture: its own, or else ``recipe``. Raises McalError for an unknown name."""
    return getattr(ARCHITECTURES[name], "recipe", recipe)
