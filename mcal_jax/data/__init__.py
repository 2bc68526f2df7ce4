"""Images: data sets of TFDS by name, arrays of your own, and the set that ships with the package."""

from mcal_jax.data.pictures import from_folder, from_table
from mcal_jax.data.report import describe, image_name
from mcal_jax.data.sources import (
    SHIPPED,
    Available,
    Dataset,
    available,
    fingerprint,
    from_arrays,
    is_own,
    load,
    prepare,
)
from mcal_jax.data.tables import is_table

__all__ = [
    "SHIPPED",
    "Available",
    "Dataset",
    "available",
    "describe",
    "fingerprint",
    "from_arrays",
    "from_folder",
    "from_table",
    "image_name",
    "is_own",
    "is_table",
    "load",
    "prepare",
]
