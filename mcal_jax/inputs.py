"""What a user may give: images, classes, annotators and acquisition functions of any kind, made into ours."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcal_jax import data
from mcal_jax.algorithm.acquisition import ACQUISITIONS
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.costs import head_prices
from mcal_jax.algorithm.protocol import Indices
from mcal_jax.algorithm.training_price import PerImageEpoch
from mcal_jax.annotators import Annotator
from mcal_jax.annotators.function import FromFunction
from mcal_jax.data import Dataset
from mcal_jax.errors import McalError, suggestion

Images = np.ndarray | Sequence | Dataset | str | os.PathLike
"""Arrays of images or of features, a Dataset, a folder, a table of paths, a .npz file, or the name of a TFDS set."""


def with_defaults(config: Config, acquisition: Any, dataset: Dataset, architectures: Sequence[str]) -> Config:
    """``config`` with another acquisition function, if one is given.

    ``linear`` and ``mlp`` have the price of their work where ``config`` was given none. Raises McalError for an unknown
    name.
    """
    changes: dict[str, Any] = {}
    if acquisition is not None:
        changes["acquisition"] = ACQUISITIONS.check(ACQUISITIONS.name_of(acquisition))
    if dataset.features is not None and "training_price" not in config.model_fields_set:
        heads, others = head_prices(dataset.features.shape[1], len(dataset.classes)), PerImageEpoch().dollars
        if set(heads) & set(architectures):
            prices = {name: heads.get(name, others) for name in architectures}
            changes["training_price"] = PerImageEpoch(dollars=prices)
    return config.model_copy(update=changes) if changes else config


def as_annotator(annotate: Annotator | Callable[[Indices], Any], classes: Sequence[str]) -> Annotator:
    """An annotator; a function becomes one."""
    return annotate if hasattr(annotate, "label") else FromFunction(annotate, classes)


def class_number(label: Any, classes: Sequence[str]) -> int:
    """The number of a class given by number or by name. Raises McalError."""
    if isinstance(label, str):
        if label not in classes:
            raise McalError(f"unknown class {label!r}: {suggestion(label, classes)}")
        return list(classes).index(label)
    if isinstance(label, bool | np.bool_) or not isinstance(label, int | np.integer):
        raise McalError(f"a label is the number or the name of a class, got {label!r}")
    if not 0 <= label < len(classes):
        raise McalError(f"class {label} of {len(classes)}: classes are numbered from 0")
    return int(label)


def class_numbers(labels: Iterable[Any], n: int, classes: Sequence[str]) -> np.ndarray:
    """The numbers of ``n`` classes given by number or by name, int32 [n]. Raises McalError."""
    given = list(labels)
    if len(given) != n:
        raise McalError(f"{len(given)} labels for {n} images")
    return np.array([class_number(label, classes) for label in given], np.int32)


def as_dataset(images: Images, classes: Sequence[str] | None = None, features: Any = None) -> Dataset:
    """A pool from whatever a user has; ``features`` [n, d] stand beside images. Raises McalError."""
    if isinstance(images, Dataset):
        dataset = _with_classes(images, classes)
    elif isinstance(images, str | os.PathLike):
        if Path(images).is_dir():
            dataset = data.from_folder(images, classes=classes)
        else:
            dataset = data.from_table(images, classes=classes) if data.is_table(images) else data.load(images)
        dataset = _with_classes(dataset, classes)
    else:
        dataset = data.from_arrays(images, None, classes, "arrays")
    if features is not None:
        if not dataset.has_images:
            raise McalError(f"'{dataset.name}' has features already: give images, and features beside them")
        beside = data.from_arrays(dataset.images, name=dataset.name, features=features)
        dataset = dataset._replace(features=beside.features)
    if len(dataset.classes) < 2:
        have = f"{len(dataset.classes)} class{'es' * (len(dataset.classes) != 1)}"
        raise McalError(f"'{dataset.name}' has {have}: give the names of at least 2, classes=[...]")
    return dataset


def _with_classes(dataset: Dataset, classes: Sequence[str] | None) -> Dataset:
    """``dataset`` with other names for its classes.

    Raises McalError for its own names in another order, by which its labels would mean something else, and for fewer
    than its labels name.
    """
    if classes is None or tuple(classes) == dataset.classes:
        return dataset
    if set(map(str, classes)) == set(dataset.classes):
        own = ", ".join(dataset.classes[:5])
        raise McalError(f"classes: '{dataset.name}' numbers these classes in another order, which begins {own}")
    named = data.from_arrays(dataset.images, dataset.labels, classes, dataset.name, features=dataset.features)
    return dataset._replace(classes=named.classes)
