"""A pool X as arrays, checked once, and the digests by which it is recognised."""

import contextlib
import hashlib
import json
import math
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mcal_jax.data.features import as_features, is_features
from mcal_jax.errors import McalError
from mcal_jax.rows import Rows

_MANY = 20  # classes: with fewer, numbers that do not occur are taken for classes without images
_HASHED = 2**24  # bytes hashed at a time


class Dataset(NamedTuple):
    """A pool X of images, of features, or of both; labels are class numbers, positions in ``classes``."""

    name: str
    images: np.ndarray  # uint8 [n, height, width, channels]; where there are features alone, these
    labels: np.ndarray | None  # int32 [n]
    classes: tuple[str, ...]
    version: str | None = None  # of a TFDS set, such as "cifar10/3.0.2"; None for your own arrays
    notes: tuple[str, ...] = ()  # what a user should know before labels are bought, a line each
    files: tuple[str, ...] = ()  # names of the picture files, one for each image; empty for arrays
    features: np.ndarray | None = None  # float32 or float16 [n, d], such as embeddings
    given: np.ndarray | None = None  # int32 [n], labels that are known already where only some are; -1 elsewhere

    @property
    def has_images(self) -> bool:
        """Whether there are images, not features alone."""
        return self.images.ndim == 4


def fingerprint(dataset: Dataset) -> dict[str, Any]:
    """The content of a pool, whatever its name: ``shape``, and digests of ``images``, ``features`` (of those that are
    there), ``labels`` and ``classes``.

    Plain values for JSON, equal exactly where the content is equal, on every machine (of pictures stored as JPEG the
    content is the pixels as they were decoded); ``labels`` is None where there are none.
    """
    labels = dataset.labels
    return {
        "shape": list(dataset.images.shape),
        **({"images": _digest(dataset.images)} if dataset.has_images else {}),
        **({} if dataset.features is None else {"features": _digest(dataset.features)}),
        "labels": None if labels is None else _digest(labels.astype("<i4", copy=False)),
        "classes": _digest(np.frombuffer(json.dumps(dataset.classes).encode("ascii"), np.uint8)),
    }


def from_arrays(
    images: np.ndarray | Sequence | None = None,
    labels: np.ndarray | Sequence | None = None,
    classes: Sequence[str] | None = None,
    name: str = "arrays",
    *,
    features: np.ndarray | Sequence | None = None,
) -> Dataset:
    """A Dataset of your own arrays, checked; nothing is copied that already has the right form.

    ``images`` is uint8 [n, height, width, channels], or [n, height, width] for grey images. ``features``, beside images
    or in their place, are floats [n, d], kept as float16 or float32; floats [n, d] as ``images`` are features, too.
    ``labels`` are n
    class numbers from 0 to k - 1, or n class names. ``classes`` are k different names: by default the labels
    themselves where they are names, in alphabetical order, else "0", "1", ... up to the largest label (none
    where there are no labels either). Raises McalError, with ``name`` in it.
    """
    pool = _pool(images, features, name)
    images = pool["images"]
    names = None if classes is None else _class_names(classes, name) or None
    if labels is None:
        return Dataset(name, **pool, labels=None, classes=tuple(names or ()))
    labels = _array(labels, f"labels of '{name}'")
    if labels.shape != (len(images),):
        raise McalError(_labels_of_another_shape(labels.shape, len(images), name))
    if labels.dtype.kind == "U":
        labels, known = _from_names(labels, names, name)
        return Dataset(name, **pool, labels=labels, classes=known)
    labels = _whole_numbers(labels, name)
    notes: tuple[str, ...] = ()
    if names is None:
        names, notes = _numbered_classes(labels, name)
    elif (largest := int(labels.max())) >= len(names):
        from_one = " (if they count from 1: labels - 1)" if labels.min() == 1 and largest == len(names) else ""
        raise McalError(f"labels of '{name}' must be from 0 to {len(names) - 1}, and one is {largest}{from_one}")
    return Dataset(name, **pool, labels=labels.astype(np.int32, copy=False), classes=tuple(names), notes=notes)


def first_of(name: str, n: int, first: int | None) -> int:
    """The number of images to take of ``n``. Raises McalError where ``first`` is more."""
    if first is not None and first > n:
        raise McalError(f"the first {first} images of '{name}' were asked for, and it has {n}")
    return n if first is None else first


@contextlib.contextmanager
def one_line_errors(what: str) -> Iterator[None]:
    """Whatever a library raises on bad input becomes one line that begins with ``what``."""
    try:
        yield
    except McalError:
        raise
    except Exception as error:
        why = textwrap.shorten(str(error) or type(error).__name__, 300, placeholder=" ...")
        raise McalError(f"{what}: {why}") from error


def _digest(array: np.ndarray) -> str:
    state = hashlib.blake2b(digest_size=16)
    rows = max(1, _HASHED * len(array) // max(1, array.nbytes))
    source = Rows(array)
    for start in range(0, len(array), rows):
        state.update(source.block(start, start + rows).reshape(-1).data)
    return state.hexdigest()


def _array(values: Any, what: str) -> np.ndarray:
    """``values`` as an array, of str where they are text of any kind. Raises McalError."""
    try:
        array = np.asarray(values)
        if array.dtype == object and array.ndim == 1 and all(isinstance(value, str) for value in array):
            array = array.astype(str)
        elif array.dtype.kind == "S":
            array = np.char.decode(array, "utf-8")
        elif array.dtype.kind == "T":
            array = array.astype(str)
    except UnicodeDecodeError:
        raise McalError(f"{what} are bytes that are not UTF-8; give them as text") from None
    except ValueError:
        raise McalError(f"{what} do not make an array: they differ in shape") from None
    if array.dtype == object:
        odd = next((value for value in array.flat if not isinstance(value, (str, int, float))), "mixed")
        raise McalError(f"{what} are Python objects ({type(odd).__name__} among them), not numbers or names")
    return array


def _pool(images: Any, features: Any, name: str) -> dict[str, Any]:
    """``images`` and ``features`` of a Dataset. Raises McalError."""
    if images is None and features is None:
        raise McalError(f"'{name}' has neither images nor features")
    if images is features or (features is None and is_features(images)):
        images, features = None, images
    if features is None:
        return {"images": _images(images, name), "features": None}
    checked = as_features(features, name)
    if images is None:
        return {"images": checked, "features": checked}
    images = _images(images, name)
    if len(images) != len(checked):
        raise McalError(f"'{name}' has {len(images):,} images and features of {len(checked):,}: give one row an image")
    return {"images": images, "features": checked}


def _images(values: Any, name: str) -> np.ndarray:
    what = f"images of '{name}'"
    images = _array(values, what)
    if images.ndim and not len(images):
        raise McalError(f"'{name}' has no images: their array has shape {images.shape}")
    if images.dtype != np.uint8:
        raise McalError(f"{what} are {images.dtype}{_how_to_uint8(images)}")
    wanted = "[n, height, width] or [n, height, width, channels]"
    if images.ndim == 2 and (side := math.isqrt(images.shape[1])) ** 2 == images.shape[1] > 1:
        raise McalError(
            f"{what} have shape {images.shape}; it must be {wanted}: images.reshape(-1, {side}, {side}), "
            "if each row is a grey image"
        )
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape:
        raise McalError(f"{what} have shape {images.shape}; it must be {wanted}, with no side 0")
    if images.shape[1] <= 4 < min(images.shape[2:]):
        raise McalError(
            f"{what} have shape {images.shape}: the channels must come last: images = np.moveaxis(images, 1, -1)"
        )
    return images


def _how_to_uint8(images: np.ndarray) -> str:
    """The end of a sentence: what values there are, and how they become uint8."""
    must = "they must be uint8, from 0 to 255"
    if images.dtype.kind not in "biuf":
        return f"; {must}, the pixels themselves"
    low, high = float(images.min()), float(images.max())
    if not math.isfinite(high - low):
        return f", some of them not finite; {must}"
    if low >= 0 and high <= 1:
        how = "(images * 255).round()"
    elif low >= 0 and high <= 255:
        how = "images.round()" if images.dtype.kind == "f" else "images"
    else:
        how = "((images - images.min()) * (255 / np.ptp(images))).round()"
    return f", from {low:g} to {high:g}; {must}: images = {how}.astype(np.uint8)"


def _class_names(values: Any, name: str) -> list[str]:
    what = f"classes of '{name}'"
    names = _array(values, what).tolist()
    if not isinstance(names, list) or not all(isinstance(c, str) for c in names):
        raise McalError(f"{what} must be a list of names")
    if repeated := [c for c, times in Counter(names).items() if times > 1]:
        raise McalError(f"{what} name '{repeated[0]}' more than once")
    for k, c in enumerate(names):
        if not c.strip():
            raise McalError(f"{what}: the name of class {k} is empty")
        if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in c):
            raise McalError(f"{what}: the name of class {k}, {c!a}, has a line break or another control character")
    return names


def _labels_of_another_shape(shape: tuple[int, ...], n: int, name: str) -> str:
    message = f"labels of '{name}' have shape {shape}, not ({n},)"
    if len(shape) == 1:
        return f"{message}: one label for each image"
    if shape == (n, 1):
        return f"{message}: labels = labels[:, 0]"
    if len(shape) == 2 and shape[0] == n:
        return f"{message}; if they are one-hot: labels = labels.argmax(1)"
    return message


def _from_names(labels: np.ndarray, names: list[str] | None, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class numbers and names. Raises McalError for a label that is empty or none of ``names``."""
    present, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    for label, count in zip(present.tolist(), counts.tolist(), strict=True):
        if not label.strip():
            raise McalError(f"{count:,} of {len(labels):,} labels of '{name}' are empty; leave those images out")
    if names is None:
        names = _class_names(present, name)
    position = {c: k for k, c in enumerate(names)}
    for label, count in zip(present.tolist(), counts.tolist(), strict=True):
        if label not in position:
            raise McalError(f"{count:,} labels of '{name}' are {label!r}, which is none of its {len(names)} classes")
    renumbered = np.array([position[label] for label in present.tolist()], np.int32)
    return renumbered[numbers.reshape(-1)], tuple(names)


def _whole_numbers(labels: np.ndarray, name: str) -> np.ndarray:
    """The labels, none below 0. Raises McalError."""
    if labels.dtype.kind not in "biuf":
        raise McalError(f"labels of '{name}' are {labels.dtype}; they must be class numbers or class names")
    n = len(labels)
    if labels.dtype.kind == "f":
        wrong = np.flatnonzero(~np.isfinite(labels) | (labels != np.trunc(labels)))
        if len(wrong):
            raise McalError(
                f"{len(wrong):,} of {n:,} labels of '{name}' are no whole numbers, such as {labels[wrong[0]]} of image "
                f"{wrong[0]}; labels are class numbers or class names, and images without a label must be left out"
            )
    if labels.dtype.kind == "b":
        labels = labels.astype(np.int32)
    if negative := np.count_nonzero(labels < 0):
        raise McalError(
            f"{negative:,} of {n:,} labels of '{name}' are below 0, such as {int(labels.min())}: number the classes "
            "from 0, and leave out images without a label (keep = labels >= 0; images[keep], labels[keep])"
        )
    return labels


def _numbered_classes(labels: np.ndarray, name: str) -> tuple[list[str], tuple[str, ...]]:
    """Names "0", "1", ... up to the largest label, and a note if some have no images.

    Raises McalError where most of the numbers would not occur: such labels are identifiers.
    """
    present = [int(label) for label in np.unique(labels)]
    k = present[-1] + 1
    if k > max(_MANY, 2 * len(present)):
        raise McalError(
            f"labels of '{name}' take {len(present)} values ({_some(present)}), so most classes from 0 to {k - 1} have "
            "no images: number them without gaps (labels = np.unique(labels, return_inverse=True)[1]), or give class "
            "names as labels"
        )
    names = [str(number) for number in range(k)]
    if len(present) == k:
        return names, ()
    absent = sorted(set(range(k)) - set(present))
    return names, (f"'{name}': of its {k} classes, numbered from 0, these have no images: {_some(absent)}",)


def _some(numbers: list[int]) -> str:
    """The numbers as text, the first few of many."""
    few = numbers if len(numbers) <= 5 else [*numbers[:3], "...", numbers[-1]]
    return ", ".join(map(str, few))
