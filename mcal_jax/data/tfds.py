"""Image-classification sets of TFDS, read without TensorFlow."""

import contextlib
import os
import re
import shlex
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcal_jax.data.dataset import Dataset, first_of, from_arrays, one_line_errors
from mcal_jax.errors import McalError, nearest

SHIPPED = "fashion_mnist_10k"
_SHIPPED_FOLDER = Path(__file__).parent / "shipped" / SHIPPED / "1.0.0"
_NAME = re.compile(r"(\w+(?:/[\w.+-]+)?(?::[\d.*]+)?)((?:#\w+)*)")  # set/configuration:version#feature
_CHUNK = 1000  # images, decoded at a time


class Available(NamedTuple):
    """A data set on this machine; a side is None in ``shape`` where it varies."""

    name: str
    images: int
    shape: tuple[int | None, ...]
    classes: int
    where: Path
    problem: str | None = None  # why ``load`` cannot read it; images, shape and classes are then empty


class NotPrepared(McalError):
    """TFDS has the data set, this machine does not."""


class UnknownDataset(McalError):
    """No data set has this name."""


def load_tfds(name: str, data_dir: str | os.PathLike | None, first: int | None) -> Dataset:
    """The labelled images of a prepared set, or the first of them; see ``mcal_jax.data.load``. Raises McalError."""
    builder = _builder(name, data_dir)
    image, label = _features(builder, name)
    splits, notes = _splits(builder, name)
    wanted = first_of(name, _size(builder, splits), first)
    images, labels = np.empty(0, np.uint8), np.empty(wanted, np.int32)
    count, unlabelled = 0, Counter[str]()
    with one_line_errors(f"data set '{name}' in {builder.data_path} cannot be read"), _quiet():
        for split, example in _examples(builder, splits, min(wanted, _CHUNK)):
            pixels, number = example[image], example[label]
            if number < 0:
                unlabelled[split] += 1
                continue
            if not count:
                images = np.empty((wanted, *pixels.shape), pixels.dtype)
            if pixels.shape != images.shape[1:]:
                one, other = images.shape[1:], pixels.shape
                raise McalError(f"images of '{name}' must have one size, and have {one} and {other}")
            images[count], labels[count] = pixels, number
            count += 1
            if count == wanted:
                break
    if not count:
        raise McalError(f"data set '{name}' in {builder.data_path} has no labelled images")
    first_of(name, count, first)
    classes = builder.info.features[label]
    names = [classes.int2str(k) for k in range(classes.num_classes)] if classes.num_classes else None
    dataset = from_arrays(images[:count], labels[:count], names, name)
    notes += [f"'{name}': left out {n:,} images of the split {split}, labelled -1" for split, n in unlabelled.items()]
    return dataset._replace(version=builder.info.full_name, notes=(*notes, *dataset.notes))


def prepare(name: str, data_dir: str | os.PathLike | None = None) -> Path:
    """The folder of a data set that is downloaded with TFDS and written in the form that ``load`` reads.

    Needs TensorFlow (``pip install 'mcal-jax[prepare]'``) and the internet, but neither where the set is
    there already. TFDS writes to a folder named ``incomplete.*`` that it renames at the end, so what stops
    halfway is never taken for the set. Raises McalError.
    """
    try:
        folder = _builder(name, data_dir).data_path
    except NotPrepared:
        pass
    else:
        print(f"data set '{name}' is already prepared in {folder}")
        return Path(folder)

    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise McalError(f"preparing data set '{name}' needs TensorFlow: pip install 'mcal-jax[prepare]'") from error
    with one_line_errors(f"data set '{name}' cannot be prepared"):
        import tensorflow_datasets as tfds

        builder = tfds.builder(_parts(name)[0], data_dir=_expand(data_dir), file_format="array_record")
        _features(builder, name)
        # The copies that Google hosts are in another format.
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        builder.download_and_prepare(download_config=config)
        return Path(builder.data_path)


def available(data_dir: str | os.PathLike | None = None) -> list[Available]:
    """The set that ships with mcal_jax, then those prepared in ``data_dir``, also where ``load`` cannot read them.

    Raises McalError if ``data_dir`` is given and is no folder.
    """
    root = _expand(data_dir) or Path(_default_data_dir())
    if not root.is_dir() and data_dir is not None:
        raise McalError(f"no folder '{os.fspath(data_dir)}'")
    folders = _prepared(root)
    data_sets = []
    for name in [SHIPPED, *sorted(folders.keys() - {SHIPPED})]:
        try:
            with one_line_errors(f"data set '{name}' cannot be read"):
                builder = _builder(name, data_dir)
                image, label = _features(builder, name)
                splits, _ = _splits(builder, name)
                features, where = builder.info.features, Path(builder.data_path)
                shape, classes = features[image].shape, features[label].num_classes
                data_sets.append(Available(name, _size(builder, splits), shape, classes or 0, where))
        except McalError as error:
            data_sets.append(Available(name, 0, (), 0, folders[name], str(error)))
    return data_sets


def _prepared(root: Path) -> dict[str, Path]:
    """The folder of each set and configuration below ``root``, by name."""
    files = [*root.glob("*/*/dataset_info.json"), *root.glob("*/*/*/dataset_info.json")]
    folders = {file.parent.parent for file in files}
    return {folder.relative_to(root).as_posix(): folder for folder in folders}


def _parts(name: str) -> tuple[str, set[str]]:
    """The name as TFDS knows it, empty if it is no name, and the features chosen after it."""
    parts = _NAME.fullmatch(name)
    return (parts[1], {*parts[2].split("#")} - {""}) if parts else ("", set())


def _builder(name: str, data_dir: str | os.PathLike | None) -> Any:
    """The read-only TFDS builder of a prepared data set."""
    with one_line_errors(f"data set '{name}' cannot be read"), _quiet():
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core import read_only_builder, registered

        plain, _ = _parts(name)
        if not plain:
            raise _not_found(name, data_dir)
        try:
            if plain == SHIPPED:
                builder = tfds.builder_from_directory(_SHIPPED_FOLDER)
            else:
                builder = read_only_builder.builder_from_files(plain, data_dir=_expand(data_dir))
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

    plain, _ = _parts(name)
    base = re.split("[#/:]", name)[0]
    root = _expand(data_dir) or Path(_default_data_dir())
    where = str(data_dir or root).replace(str(Path.home()), "~")
    prepared = _prepared(root)
    if plain in prepared:
        return McalError(f"data set '{name}' in {prepared[plain]} is incomplete; delete that folder, prepare it again")
    known = [SHIPPED, *tfds.list_builders(with_community_datasets=False)]
    if plain and base in known:
        command = _prepare_command(name, data_dir)
        return NotPrepared(f"data set '{name}' is not prepared in {where}; prepare it with: {command}")
    configurations = [other for other in sorted(prepared) if other.startswith(f"{base}/")]
    near = (
        next(iter(configurations), None) or nearest(name.lower(), [*prepared, *known]) or nearest(base.lower(), known)
    )
    hints = [f"did you mean '{near}'?"] if near else []
    if not root.is_dir() and data_dir is not None:
        hints.append(f"there is no folder '{os.fspath(data_dir)}'")
    hint = " and ".join(hints) or f"not in {where}, no set of TFDS, no path of a .npz file"
    return UnknownDataset(f"unknown data set '{name}': {hint}")


def _prepare_command(name: str, data_dir: str | os.PathLike | None) -> str:
    folder = f" --data-dir {shlex.quote(os.fspath(data_dir))}" if data_dir else ""
    return f"mcal data prepare {_parts(name)[0]}{folder}"


def _features(builder: Any, name: str) -> tuple[str, str]:
    """Keys of the image and of its class: the only ones, those chosen by name, or those that TFDS calls supervised.

    Raises McalError.
    """
    import tensorflow_datasets as tfds

    plain, chosen = _parts(name)
    features, supervised = builder.info.features, set(builder.info.supervised_keys or ())
    keys, known = [], set()
    for kind, what in ((tfds.features.Image, "image"), (tfds.features.ClassLabel, "class label")):
        candidates = sorted(key for key, feature in features.items() if isinstance(feature, kind))
        if not candidates:
            raise McalError(f"data set '{name}' has no {what}, only the features {', '.join(sorted(features))}")
        known |= set(candidates)
        for preferred in (chosen, supervised):
            if len(candidates) > 1:
                candidates = [key for key in candidates if key in preferred] or candidates
        if len(candidates) > 1:
            choices = " or ".join(f"'{plain}#{key}'" for key in candidates)
            raise McalError(f"data set '{name}' has {len(candidates)} {what}s; choose one by its name: {choices}")
        keys += candidates
    if unknown := sorted(chosen - known):
        raise McalError(
            f"data set '{name}' has no image or class label '{unknown[0]}', only {', '.join(sorted(known))}"
        )
    return keys[0], keys[1]


def _splits(builder: Any, name: str) -> tuple[list[str], list[str]]:
    """The splits that make up X, in order, and notes on which they are where that can surprise."""
    sizes = {split: info.num_examples for split, info in builder.info.splits.items() if info.num_examples}
    unlabelled = [split for split in sizes if split.startswith(("unsupervised", "unlabel"))]
    first = [split for split in ("train", "test") if split in sizes]
    others = [split for split in sizes if split not in first and split not in unlabelled]
    notes = [f"'{name}': left out the split {split}, {sizes[split]:,} images without labels" for split in unlabelled]
    if others:
        pooled = " + ".join(f"{split} ({sizes[split]:,} images)" for split in first + others)
        notes.insert(0, f"'{name}': the splits {pooled} are labelled as one pool")
    return first + others, notes


def _examples(builder: Any, splits: list[str], chunk: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each example with its split, decoded ``chunk`` at a time."""
    for split in splits:
        source = builder.as_data_source(split)
        for start in range(0, len(source), chunk):
            for example in source.__getitems__(range(start, min(start + chunk, len(source)))):
                yield split, example


def _size(builder: Any, splits: list[str]) -> int:
    return sum(builder.info.splits[split].num_examples for split in splits)


def _expand(data_dir: str | os.PathLike | None) -> Path | None:
    """An absolute path, in which a later ``expanduser`` finds no ``~``."""
    return None if data_dir is None else Path(os.path.abspath(os.path.expanduser(data_dir)))


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
