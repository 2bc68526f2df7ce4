"""Image data sets as arrays: those of TFDS, your own in a .npz file, and the one that ships with mcal_jax."""

import contextlib
import difflib
import os
import re
import textwrap
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcal_jax.types import McalError

SHIPPED = "fashion_mnist_10k"
_SHIPPED_FOLDER = Path(__file__).parent / "datasets" / SHIPPED / "1.0.0"
_TFDS_NAME = re.compile(r"\w+(/[\w.+-]+)?(:[\d.*]+)?")  # set/configuration:version
_MOST_UNNAMED = 100_000  # classes; a larger label is an identifier, not a class number
_CHUNK = 1000  # images decoded at a time


class Dataset(NamedTuple):
    """A pool X of images; labels are class numbers, positions in ``classes``."""

    name: str
    images: np.ndarray  # uint8 [n, height, width, channels]
    labels: np.ndarray | None  # int32 [n]
    classes: tuple[str, ...]


class Available(NamedTuple):
    """A data set that ``load`` can read without a download; a side is None in ``shape`` where it varies."""

    name: str
    images: int
    shape: tuple[int | None, ...]
    classes: int
    where: Path


def load(
    name: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None = None,
    first: int | None = None,
    per_class: int | None = None,
    downsample: int | None = None,
) -> Dataset:
    """Read a data set into memory.

    ``name`` is one of

    - ``"fashion_mnist_10k"``, which ships with mcal_jax: the 10,000 test images of Fashion-MNIST;
    - an image-classification set of TFDS, prepared before (see ``prepare``), as TFDS writes it:
      ``"cifar10"``, ``"cifar10:3.0.2"``, ``"cifar10_corrupted/fog_1"``. Train and test are pooled, in this
      order, as in the paper. A set without one of the two gives all its splits in their order, except
      unlabelled ones;
    - the path of a ``.npz`` file with the arrays ``images`` and, if known, ``labels`` and ``classes``, as
      described in ``from_arrays``.

    ``data_dir`` is the folder of TFDS, by default its own (``TFDS_DATA_DIR`` or ``~/tensorflow_datasets``).
    ``first`` keeps the first N images, ``per_class`` the first N images of each class in the order of the
    whole; only one of them may be given. ``downsample`` F then replaces each block of F x F pixels by its
    mean, rounded half up.

    Raises McalError where the set is unknown, not prepared, damaged or too small.
    """
    name = os.fspath(name)
    for option, value in (("first", first), ("per_class", per_class), ("downsample", downsample)):
        if value is not None and not (isinstance(value, (int, np.integer)) and value >= 1):
            raise McalError(f"{option} must be a whole number, 1 or more, not {value}")
    if first is not None and per_class is not None:
        raise McalError("give first or per_class, not both")

    if name.lower().endswith(".npz"):
        dataset = _load_npz(name)
        dataset = _take(dataset, slice(_count(name, len(dataset.images), first)))
    else:
        dataset = _load_tfds(name, data_dir, first)
    if per_class is not None:
        dataset = _take(dataset, _first_of_each_class(dataset, per_class))
    if downsample is not None:
        dataset = dataset._replace(images=_downsample(name, dataset.images, downsample))
    return dataset


def from_arrays(
    images: np.ndarray | Sequence,
    labels: np.ndarray | Sequence | None = None,
    classes: Sequence[str] | None = None,
    name: str = "arrays",
) -> Dataset:
    """Check your own arrays and make a Dataset of them; nothing is copied that already has the right form.

    ``images`` is uint8 [n, height, width, channels], or [n, height, width] for grey images. ``labels`` are
    n whole numbers from 0 to k - 1. ``classes`` are k different names, by default "0", "1", ... up to the
    largest label (none where there are no labels either). Raises McalError, with ``name`` in it.
    """
    images = _array(images, f"images of '{name}'")
    if images.dtype != np.uint8:
        raise McalError(f"images of '{name}' are {images.dtype}; they must be uint8, from 0 to 255")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape:
        raise McalError(
            f"images of '{name}' have shape {images.shape}; it must be [n, height, width] or "
            "[n, height, width, channels], with no side 0"
        )
    if images.shape[1] in (1, 3) and images.shape[3] > 4:
        raise McalError(f"images of '{name}' have shape {images.shape}: the channels must come last")

    if classes is not None:
        classes = _array(classes, f"classes of '{name}'").tolist()
        if not isinstance(classes, list) or not all(isinstance(c, str) for c in classes):
            raise McalError(f"classes of '{name}' must be a list of names")
        if repeated := sorted({c for c in classes if classes.count(c) > 1}):
            raise McalError(f"classes of '{name}' name '{repeated[0]}' more than once")

    if labels is not None:
        labels = _array(labels, f"labels of '{name}'")
        if not np.issubdtype(labels.dtype, np.integer):
            raise McalError(f"labels of '{name}' are {labels.dtype}; they must be whole numbers")
        if labels.shape != images.shape[:1]:
            raise McalError(f"labels of '{name}' have shape {labels.shape}, not ({len(images)},)")
        least, largest = int(labels.min()), int(labels.max())
        if classes is None:
            if largest >= _MOST_UNNAMED:
                raise McalError(f"labels of '{name}' go up to {largest}: number the classes from 0 without gaps")
            classes = [str(k) for k in range(largest + 1)]
        if least < 0 or largest >= len(classes):
            wrong = least if least < 0 else largest
            raise McalError(f"labels of '{name}' must be from 0 to {len(classes) - 1}, and one is {wrong}")
        labels = labels.astype(np.int32, copy=False)
    return Dataset(name, images, labels, tuple(classes or ()))


def prepare(name: str, data_dir: str | os.PathLike | None = None) -> Path:
    """Download a data set with TFDS and write it in the form that ``load`` reads; returns its folder.

    Needs TensorFlow (``pip install 'mcal-jax[prepare]'``) and the internet, but neither where the set is
    there already. TFDS writes to a folder named ``incomplete.*`` that it renames at the end, so what stops
    halfway is never taken for the set. Raises McalError.
    """
    try:
        folder = _builder(name, data_dir).data_path
    except _NotPrepared:
        pass
    else:
        print(f"data set '{name}' is already prepared in {folder}")
        return Path(folder)

    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise McalError(f"preparing data set '{name}' needs TensorFlow: pip install 'mcal-jax[prepare]'") from error
    with _one_line_errors(f"data set '{name}' cannot be prepared"):
        import tensorflow_datasets as tfds

        builder = tfds.builder(name, data_dir=_expand(data_dir), file_format="array_record")
        _features(builder)
        # The copies that Google hosts are in another format.
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        builder.download_and_prepare(download_config=config)
        return Path(builder.data_path)


def available(data_dir: str | os.PathLike | None = None) -> list[Available]:
    """What ``load`` can read here: the set that ships with mcal_jax, then those prepared in ``data_dir``."""
    root = Path(_expand(data_dir) or _default_data_dir())
    folders = [*root.glob("*/*/dataset_info.json"), *root.glob("*/*/*/dataset_info.json")]
    names = {str(file.parent.parent.relative_to(root)) for file in folders}
    found = []
    for name in [SHIPPED, *sorted(names - {SHIPPED})]:
        with contextlib.suppress(McalError), _one_line_errors(name):
            builder = _builder(name, data_dir)
            image, label = _features(builder)
            features = builder.info.features
            shape, classes = features[image].shape, features[label].num_classes
            found.append(Available(name, _size(builder), shape, classes, Path(builder.data_path)))
    return found


class _NotPrepared(McalError):
    """TFDS has the data set, this machine does not."""


def _load_tfds(name: str, data_dir: str | os.PathLike | None, first: int | None) -> Dataset:
    builder = _builder(name, data_dir)
    image, label = _features(builder)
    total = _size(builder)
    if not total:
        raise McalError(f"data set '{name}' in {builder.data_path} has no labelled images")
    left = _count(name, total, first)
    images: list[np.ndarray] = []
    labels: list[int] = []
    sizes: set[tuple[int, ...]] = set()
    with _one_line_errors(f"data set '{name}' in {builder.data_path} cannot be read"), _quiet():
        for split in _splits(builder):
            source = builder.as_data_source(split)
            n = min(left, len(source))
            left -= n
            for start in range(0, n, _CHUNK):
                examples = source.__getitems__(range(start, min(start + _CHUNK, n)))
                sizes |= {example[image].shape for example in examples}
                if len(sizes) > 1:
                    one, other = sorted(sizes)[:2]
                    raise McalError(f"images of '{name}' must have one size, and have {one} and {other}")
                images.append(np.stack([example[image] for example in examples]))
                labels.extend(example[label] for example in examples)
    return from_arrays(np.concatenate(images), labels, _class_names(builder.info.features[label]), name)


def _load_npz(path: str) -> Dataset:
    file = Path(path).expanduser()
    if not file.is_file():
        raise McalError(f"no file '{path}'")
    if not zipfile.is_zipfile(file):
        raise McalError(f"'{path}' is damaged, or no .npz file")
    with _one_line_errors(f"'{path}' cannot be read"), np.load(file, allow_pickle=False) as arrays:
        if "images" not in arrays:
            raise McalError(f"'{path}' has no array 'images', only: {', '.join(arrays) or 'nothing'}")
        images, labels, classes = (arrays.get(key) for key in ("images", "labels", "classes"))
    return from_arrays(images, labels, classes, path)


def _builder(name: str, data_dir: str | os.PathLike | None) -> Any:
    """The read-only TFDS builder of a prepared data set."""
    with _one_line_errors(f"data set '{name}' cannot be read"), _quiet():
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core import read_only_builder, registered

        if not _TFDS_NAME.fullmatch(name):
            raise _not_found(name, data_dir)
        try:
            if name == SHIPPED:
                builder = tfds.builder_from_directory(_SHIPPED_FOLDER)
            else:
                builder = read_only_builder.builder_from_files(name, data_dir=_expand(data_dir))
        except registered.DatasetNotFoundError as error:
            raise _not_found(name, data_dir) from error
    file_format = builder.info.file_format.value
    if file_format != "array_record":
        again = _prepare_command(name, data_dir)
        raise McalError(
            f"data set '{name}' in {builder.data_path} is in the format {file_format}, not array_record; "
            f"delete that folder and prepare it again with: {again}"
        )
    return builder


def _not_found(name: str, data_dir: str | os.PathLike | None) -> McalError:
    import tensorflow_datasets as tfds

    base = name.split("/")[0].split(":")[0]
    known = [SHIPPED, *tfds.list_builders(with_community_datasets=False)]
    if base in known:
        where = str(data_dir or _default_data_dir()).replace(str(Path.home()), "~")
        command = _prepare_command(name, data_dir)
        return _NotPrepared(f"data set '{name}' is not prepared in {where}; prepare it with: {command}")
    nearest = difflib.get_close_matches(base.lower(), known, n=1)
    hint = f"did you mean '{nearest[0]}'?" if nearest else "neither a TFDS set nor the path of a .npz file"
    return McalError(f"unknown data set '{name}': {hint}")


def _prepare_command(name: str, data_dir: str | os.PathLike | None) -> str:
    return f"mcal data prepare {name}" + (f" --data-dir {os.fspath(data_dir)}" if data_dir else "")


def _features(builder: Any) -> tuple[str, str]:
    """Keys of the image and of its class: the only ones, or those that TFDS calls supervised."""
    import tensorflow_datasets as tfds

    features, supervised = builder.info.features, builder.info.supervised_keys or ()
    keys = []
    for kind, what in ((tfds.features.Image, "image"), (tfds.features.ClassLabel, "class label")):
        found = [key for key, feature in features.items() if isinstance(feature, kind)]
        if len(found) > 1:
            found = [key for key in found if key in supervised]
        if len(found) != 1:
            raise McalError(f"data set '{builder.info.full_name}' must have one {what}, and has {len(found)}")
        keys += found
    return keys[0], keys[1]


def _splits(builder: Any) -> list[str]:
    """The splits that make up X, in order."""
    splits = list(builder.info.splits)
    if {"train", "test"} <= set(splits):
        return ["train", "test"]
    return [split for split in splits if not split.startswith(("unsupervised", "unlabel"))]


def _size(builder: Any) -> int:
    return sum(builder.info.splits[split].num_examples for split in _splits(builder))


def _class_names(label: Any) -> list[str]:
    return [label.int2str(k) for k in range(label.num_classes)]


def _count(name: str, n: int, first: int | None) -> int:
    if first is not None and first > n:
        raise McalError(f"the first {first} images of '{name}' were asked for, and it has {n}")
    return n if first is None else first


def _first_of_each_class(dataset: Dataset, per_class: int) -> np.ndarray:
    if dataset.labels is None:
        raise McalError(f"per_class needs labels, and '{dataset.name}' has none")
    chosen = []
    for k, class_name in enumerate(dataset.classes):
        members = np.flatnonzero(dataset.labels == k)
        if len(members) < per_class:
            raise McalError(
                f"{per_class} images of each class of '{dataset.name}' were asked for, "
                f"and class '{class_name}' has {len(members)}"
            )
        chosen.append(members[:per_class])
    return np.sort(np.concatenate(chosen))


def _take(dataset: Dataset, which: slice | np.ndarray) -> Dataset:
    labels = None if dataset.labels is None else dataset.labels[which]
    return dataset._replace(images=dataset.images[which], labels=labels)


def _downsample(name: str, images: np.ndarray, factor: int) -> np.ndarray:
    height, width = images.shape[1:3]
    if height % factor or width % factor:
        raise McalError(f"downsample {factor} does not divide the {height} x {width} pixels of '{name}'")
    total = np.zeros((len(images), height // factor, width // factor, images.shape[3]), np.uint32)
    for row in range(factor):
        for column in range(factor):
            total += images[:, row::factor, column::factor]
    return ((total + factor**2 // 2) // factor**2).astype(np.uint8)


def _array(values: Any, what: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise McalError(f"{what} do not make an array: {error}") from error
    if array.dtype == object:
        raise McalError(f"{what} are Python objects, not numbers or names")
    return array


def _expand(data_dir: str | os.PathLike | None) -> Path | None:
    return None if data_dir is None else Path(data_dir).expanduser()


def _default_data_dir() -> str:
    from tensorflow_datasets.core import constants

    return os.path.expanduser(constants.DATA_DIR)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TFDS warns on reading of what users cannot change, such as a faster library that it would prefer."""
    from absl import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)


@contextlib.contextmanager
def _one_line_errors(what: str) -> Iterator[None]:
    """Whatever a library raises on bad input becomes one line that begins with ``what``."""
    try:
        yield
    except McalError:
        raise
    except Exception as error:
        why = textwrap.shorten(str(error) or type(error).__name__, 300, placeholder=" ...")
        raise McalError(f"{what}: {why}") from error
