"""mcal_jax: label a whole data set at the least total cost, by people and by a classifier together."""

__version__ = "0.2.0"
