"""Data sets as arrays: those of TFDS, your own in a .npz file, and the one that ships with mcal_jax."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from mcal_jax.data.dataset import Dataset, fingerprint, first_of, from_arrays, one_line_errors
from mcal_jax.data.pictures import from_folder, from_table
from mcal_jax.data.tables import is_table
from mcal_jax.data.tfds import SHIPPED, Available, UnknownDataset, available, load_tfds, prepare
from mcal_jax.errors import McalError

__all__ = ["SHIPPED", "Available", "Dataset", "available", "fingerprint", "from_arrays", "is_own", "load", "prepare"]

_ARRAYS = ("images", "features", "labels", "classes")
_SAVE = "np.savez('pool.npz', images=images, labels=labels)"
_BEGINNINGS = {
    b"\x93NUMPY": "a single array (.npy)",
    b"\x89HDF": "HDF5",
    b"PAR1": "Parquet",
    b"\x89PNG": "a single picture (PNG)",
    b"\xff\xd8\xff": "a single picture (JPEG)",
    b"\x1f\x8b": "compressed with gzip",
    b"\x80": "a Python pickle",
    b"version https://git-lfs": "only the pointer to a file in Git LFS (git lfs pull brings it)",
}
_DOWNSAMPLED = 250  # images at a time


def load(
    name: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None = None,
    first: int | None = None,
    per_class: int | None = None,
    downsample: int | None = None,
) -> Dataset:
    """A data set, read into memory.

    ``name`` is one of

    - ``"fashion_mnist_10k"``, which ships with mcal_jax: the 10,000 test images of Fashion-MNIST;
    - an image-classification set of TFDS, prepared before (see ``prepare``), as TFDS writes it:
      ``"cifar10"``, ``"cifar10:3.0.2"``, ``"cifar10_corrupted/fog_1"``. Train and test are pooled, in this
      order, as in the paper, then any other splits. Images without a label are left out, as ``notes`` of the
      result say. Where a set has several class labels, choose one: ``"set#feature"``;
    - the path of a ``.npz`` file with the arrays ``images`` or ``features``, or both, and, if known, ``labels`` and
      ``classes``, as described in ``from_arrays``;
    - the path of a folder of pictures, ``"./pictures"``: it begins with ``.``, ``/`` or ``~``, or ends with ``/``;
    - the path of a table of pictures: CSV, TSV, Parquet or JSON lines. See ``mcal_jax.data.pictures`` for both.

    ``data_dir`` is the folder of TFDS, by default its own (``TFDS_DATA_DIR`` or ``~/tensorflow_datasets``).
    ``first`` keeps the first N images, ``per_class`` the first N images of each class in the order of the
    whole; only one of them may be given. ``downsample`` F then replaces each block of F x F pixels by its
    mean, rounded half up.

    Raises McalError where the set is unknown, not prepared, damaged or too small.
    """
    name = os.fsdecode(name)
    if any(ord(character) < 32 for character in name):
        raise McalError(f"unknown data set {name!r}: a name has no line breaks or other control characters")
    first = _positive("first", first)
    per_class = _positive("per_class", per_class)
    downsample = _positive("downsample", downsample)
    if first is not None and per_class is not None:
        raise McalError("give first or per_class, not both")
    dataset = _load_first(name, data_dir, first)
    if per_class is not None:
        dataset = _take(dataset, _first_of_each_class(dataset, per_class))
    if downsample is not None:
        if not dataset.has_images:
            raise McalError(f"downsample is for images, and '{name}' has features alone")
        dataset = dataset._replace(images=_downsample(name, dataset.images, downsample))
    return dataset


def _load_first(name: str, data_dir: str | os.PathLike | None, first: int | None) -> Dataset:
    """The first images of a file, a folder, a table or a set of TFDS; None: all."""
    if is_own(name):
        read = _load_npz if _is_npz(name) else from_table if is_table(name) else _load_folder
        dataset = read(name)
        return _take(dataset, slice(first_of(name, len(dataset.images), first)))
    try:
        return load_tfds(name, data_dir, first)
    except UnknownDataset as error:
        with one_line_errors(f"'{name}' cannot be read"):
            raise McalError(_not_npz(name) if name and _path(name).exists() else str(error)) from None


def _load_folder(name: str) -> Dataset:
    if _is_of_tfds(_path(name)):
        raise McalError(f"'{name}' is a folder of TFDS: give the name of the set, and the folder above as data_dir")
    return from_folder(name)


def _is_of_tfds(folder: Path) -> bool:
    return any(any(folder.glob(f"{depth}dataset_info.json")) for depth in ("", "*/", "*/*/"))


def is_own(name: str) -> bool:
    """Whether a data set is the user's own: a .npz file, a table of pictures, or a folder that is given as a path.

    >>> [is_own(name) for name in ("my.npz", "table.csv", "./", "cifar10", "set/config")]
    [True, True, True, False, False]
    """
    is_path = name.startswith((".", "~", os.sep)) or name.endswith(("/", os.sep))
    return _is_npz(name) or is_table(name) or (is_path and _path(name).is_dir())


def _is_npz(name: str) -> bool:
    return _path(name).name.lower().endswith(".npz")


def _positive(option: str, value: int | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise McalError(f"{option} must be a whole number, 1 or more, not {value}")
    return int(value)


def _path(name: str) -> Path:
    return Path(os.path.expanduser(name))  # leaves ~two.npz alone where no user is called so


def _load_npz(name: str) -> Dataset:
    with one_line_errors(f"'{name}' cannot be read"):
        file = _path(name)
        if not file.exists():
            raise McalError(f"no file '{name}'" + ("" if file.is_absolute() else f" in {Path.cwd()}"))
        if not file.is_file() or not zipfile.is_zipfile(file):
            raise McalError(_not_npz(name))
        with np.load(file, allow_pickle=False) as arrays:
            if "images" not in arrays and "features" not in arrays:
                raise McalError(
                    f"'{name}' has no array 'images' or 'features', only: {_listed(list(arrays))}; save your arrays "
                    "under the names that are read: np.savez(file, images=..., labels=..., classes=...)"
                )
            images, features, labels, classes = (_read(arrays, key, name) for key in _ARRAYS)
            unread = sorted(set(arrays) - set(_ARRAYS))
    dataset = from_arrays(images, labels, classes, name, features=features)
    if unread:
        note = f"'{name}': not read: {_listed(unread)} (only {', '.join(_ARRAYS)} are)"
        dataset = dataset._replace(notes=(note, *dataset.notes))
    return dataset


def _read(arrays: np.lib.npyio.NpzFile, key: str, name: str) -> Any:
    try:
        return arrays.get(key)
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        how = "one array of one size" if key == "images" else f"text or numbers: {key}=np.array({key}, dtype=str)"
        raise McalError(f"{key} of '{name}' are Python objects (dtype=object), not read; save them as {how}") from None


def _not_npz(name: str) -> str:
    """What is there in the place of a .npz file, and what to do."""
    path = _path(name)
    if path.is_dir():
        if _is_of_tfds(path):
            return f"'{name}' is a folder of TFDS: give the name of the set, and the folder above as data_dir"
        return f"'{name}' is a folder; if it holds pictures, give it as a path: './{name}'"
    if not path.is_file():
        return f"'{name}' is not a regular file"
    with path.open("rb") as file:
        beginning = file.read(4096)
    kinds = [kind for magic, kind in _BEGINNINGS.items() if beginning.startswith(magic)]
    if beginning.startswith(b"PK") and not zipfile.is_zipfile(path):
        return f"'{name}' is cut off or damaged: copy it again, or save it again with {_SAVE}"
    if beginning.startswith(b"PK"):
        return f"'{name}' is a zip archive; if np.savez made it, rename it to end in .npz"
    if not beginning:
        what = "empty"
    elif kinds:
        what = kinds[0]
    else:
        what = "text" if b"\0" not in beginning else "of a kind that is not read"
    return f"'{name}' is {what}; what is read is a .npz file: {_SAVE}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(names[:5]) or "nothing") + more


def _first_of_each_class(dataset: Dataset, per_class: int) -> np.ndarray:
    if dataset.labels is None:
        raise McalError(f"per_class needs labels, and '{dataset.name}' has none")
    members = np.bincount(dataset.labels, minlength=len(dataset.classes))
    least = int(members.argmin())
    if members[least] < per_class:
        raise McalError(
            f"{per_class} images of each class of '{dataset.name}' were asked for, "
            f"and class '{dataset.classes[least]}' has {members[least]}"
        )
    by_class = np.argsort(dataset.labels, kind="stable")
    rank = np.arange(len(by_class)) - np.repeat(members.cumsum() - members, members)
    return np.sort(by_class[rank < per_class])


def _take(dataset: Dataset, which: slice | np.ndarray) -> Dataset:
    labels = None if dataset.labels is None else dataset.labels[which]
    files = tuple(np.asarray(dataset.files)[which].tolist()) if dataset.files else ()
    images = dataset.images[which]
    given = None if dataset.given is None else dataset.given[which]
    features = dataset.features
    if features is not None:
        features = features[which] if dataset.has_images else images
    return dataset._replace(images=images, labels=labels, files=files, features=features, given=given)


def _downsample(name: str, images: np.ndarray, factor: int) -> np.ndarray:
    n, height, width, channels = images.shape
    if height % factor or width % factor:
        raise McalError(
            f"downsample {factor} does not divide the {height} x {width} pixels of '{name}': give images whose sides "
            f"are multiples of {factor}, or keep their size (for mcal run: --profile smoke or paper)"
        )
    small = np.empty((n, height // factor, width // factor, channels), np.uint8)
    for start in range(0, n, _DOWNSAMPLED):
        some = images[start : start + _DOWNSAMPLED]
        total = np.zeros((len(some), *small.shape[1:]), np.uint32)
        for row in range(factor):
            for column in range(factor):
                total += some[:, row::factor, column::factor]
        total += factor**2 // 2
        total //= factor**2
        small[start : start + _DOWNSAMPLED] = total
    return small
