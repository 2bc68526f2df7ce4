"""Recipes by name. Imports no JAX: names are checked without it, and a recipe is loaded when it is first used.

A recipe is a ``mcal_jax.training.recipe.Recipe``. A name is one of these, one that is registered, or
``my_file.py:MY_RECIPE``.
"""

from typing import TYPE_CHECKING

from mcal_jax.registry import Registry

if TYPE_CHECKING:
    from mcal_jax.training.recipe import Recipe

RECIPES: "Registry[Recipe]" = Registry(
    "recipe",
    {
        "paper": "mcal_jax.training.recipe:PAPER",
        "fast": "mcal_jax.training.recipe:FAST",
        "short": "mcal_jax.training.recipe:SHORT",
        "brief": "mcal_jax.training.recipe:BRIEF",
        "self_training": "mcal_jax.training.recipe:SELF_TRAINING",
        "linear": "mcal_jax.training.recipe:LINEAR",
        "mlp": "mcal_jax.training.recipe:MLP",
    },
)
