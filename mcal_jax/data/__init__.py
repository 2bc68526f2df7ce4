"""Images: data sets of TFDS by name, arrays of your own, and the set that ships with the package."""

from mcal_jax.data.sources import SHIPPED, Available, Dataset, available, fingerprint, from_arrays, load, prepare

__all__ = ["SHIPPED", "Available", "Dataset", "available", "fingerprint", "from_arrays", "load", "prepare"]
