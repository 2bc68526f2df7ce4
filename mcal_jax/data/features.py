"""Features in the place of images: embeddings of any model, checked once."""

from typing import Any

import numpy as np

from mcal_jax.errors import McalError

_ROWS = 4096  # looked at at a time


def is_features(values: Any) -> bool:
    """Whether ``values`` are floats [n, d], of NumPy or of another library, which images never are.

    >>> is_features(np.zeros((2, 3))), is_features(np.zeros((2, 4, 4), np.uint8))
    (True, False)
    """
    if not hasattr(values, "shape") or len(values.shape) != 2:
        return False
    return hasattr(values, "tocsr") or np.asarray(values).dtype.kind == "f"


def as_features(values: Any, name: str) -> np.ndarray:
    """``values`` as float32 [n, d]; float16 is kept. Nothing is copied that already has the right form.

    Raises McalError for another shape or type, and for what is not finite as float32, with ``name`` in it.
    """
    what = f"features of '{name}'"
    if hasattr(values, "tocsr"):
        raise McalError(f"{what} are a sparse matrix: features.toarray(), or fewer of them by TruncatedSVD")
    try:
        features = np.asarray(values)
    except ValueError:
        raise McalError(f"{what} do not make an array: they differ in length") from None
    if features.dtype.kind not in "f":
        raise McalError(f"{what} are {features.dtype}; they must be floats: features.astype(np.float32)")
    if features.ndim != 2:
        how = ": features.reshape(len(features), -1)" if features.ndim > 2 else ""
        raise McalError(f"{what} have shape {features.shape}; it must be [n, d]{how}")
    if not features.size:
        raise McalError(f"{what} are empty: their array has shape {features.shape}")
    if features.dtype != np.float16:
        with np.errstate(over="ignore"):  # what overflows is reported below
            features = features.astype(np.float32, copy=False)
    for start in range(0, len(features), _ROWS):
        wrong = np.argwhere(~np.isfinite(features[start : start + _ROWS]))
        if len(wrong):
            row, column = wrong[0]
            value = np.asarray(values)[start + row, column]
            raise McalError(
                f"{what} must be finite, and feature {column} of row {start + row} is {value}: leave such rows out, or "
                "replace such values"
            )
    return features
