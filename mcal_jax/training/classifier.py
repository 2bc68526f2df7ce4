"""A trained classifier that comes along: it predicts on images of its own, and is one file."""

import io
import json
import os
import zipfile
import zlib
from collections.abc import Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mcal_jax.errors import McalError
from mcal_jax.files import absolute, read_bytes, write_bytes_atomically
from mcal_jax.training import devices, sharding
from mcal_jax.training.architectures import ARCHITECTURES
from mcal_jax.training.nets import build
from mcal_jax.training.outline import largest_activation
from mcal_jax.training.pool import Normalisation, Pool
from mcal_jax.training.programs import Ensemble, Model, split
from mcal_jax.training.scoring import Member, score_batch, stream
from mcal_jax.training.streaming import Streamed
from mcal_jax.training.trainer import Trainer

FORMAT = "mcal_jax classifier 1"


class Predictions(NamedTuple):
    """What a classifier says of n images."""

    label: np.ndarray
    """Class numbers, int32 [n]."""
    margin: np.ndarray
    """The highest probability less the second, float32 [n]: how confident each label is."""
    class_name: np.ndarray
    """The names of the labels, str [n]."""


class Header(NamedTuple):
    """What is needed to build the net again and to read images as it was trained to."""

    architecture: str
    """A name; one of a file, "my_file.py:MyNet", is read from there again."""
    width: int
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    """Height, width and channels of the images, or the number of features alone."""
    mean: tuple[float, ...]
    """Of each channel or feature over the pool; so is ``std``."""
    std: tuple[float, ...]
    weights: tuple[float, ...] = (1.0,)
    """Of each net whose probabilities are averaged."""
    mirror: bool = False
    """Whether they are averaged over each image and its mirror image too."""


class Classifier:
    """A trained net with all that it needs to label images: neither the pool nor any training data.

    Raises McalError if its architecture is unknown, or if the weights are not those of such a net.
    """

    @devices.our_defaults()
    def __init__(self, header: Header, weights: Sequence[np.ndarray]):
        self.header = header
        classes, channels = len(header.classes), header.shape[-1]
        self.backend = devices.default()
        rng = np.random.default_rng(0)
        settings: dict[str, Any] = {"classes": classes, "channels": channels, "width": header.width}
        net = build(header.architecture, **settings, backend=self.backend, rng=rng)
        self._net, *state = split(net)
        self._score_batch = sharding.count() * self.backend.score_batch(largest_activation(net, header.shape))
        self._members = sharding.whole(_restored(state, weights, header))
        by = Normalisation(*(jnp.asarray(values, jnp.float32) for values in (header.mean, header.std)))
        self._normalisation = sharding.whole(by)

    @classmethod
    def from_trainer(cls, trainer: Trainer, model: Model | Ensemble, class_names: Sequence[str]) -> "Classifier":
        """The classifier that ``trainer`` trained as ``model``, or the mean of several.

        Raises McalError for another number of names.
        """
        ensemble = model if isinstance(model, Ensemble) else Ensemble((model,))
        if len(class_names) != trainer.classes:
            raise McalError(f"a classifier of {trainer.classes} classes was given {len(class_names)} names")
        pool = trainer.pool
        header = Header(
            architecture=ARCHITECTURES.name_of(trainer.architecture),
            width=trainer.width,
            classes=tuple(map(str, class_names)),
            shape=tuple(pool.images.shape[1:]),
            mean=tuple(np.asarray(pool.mean).tolist()),
            std=tuple(np.asarray(pool.std).tolist()),
            weights=ensemble.weights,
            mirror=ensemble.mirror,
        )
        states = [(model.params, model.stats) for model in ensemble.models]
        return cls(header, [_plain(leaf) for leaf in jax.tree.leaves(states)])

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their numbers."""
        return self.header.classes

    @devices.our_defaults()
    def predict(self, images: np.ndarray) -> Predictions:
        """Labels of ``images``, uint8 [n, h, w, c] or grey [n, h, w], of the size of the training images; or of
        features, floats [n, d], where it was trained on those.

        They stream through the device in batches. Raises McalError for images of another size or type.
        """
        images = self._checked(np.asarray(images))

        def score(part: Pool, index: np.ndarray) -> Any:
            label, margin, *_ = score_batch(self._net, self._members, part, index, self.header.mirror)
            return label, margin

        if not len(images):
            return Predictions(np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.str_))
        pool = Streamed(images, self._normalisation)
        label, margin = stream(score, pool, np.arange(len(images)), self._score_batch)
        return Predictions(label, margin, np.asarray(self.header.classes)[label])

    def _checked(self, images: np.ndarray) -> np.ndarray:
        shape = self.header.shape
        if len(shape) == 1:
            return _checked_features(images, shape[0])
        if images.ndim == 3 and shape[2] == 1:
            images = images[..., None]
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
            wanted = "x".join(map(str, shape))
            found = f"{images.dtype} [{', '.join(map(str, images.shape))}]"
            raise McalError(f"this classifier takes uint8 images of {wanted}, [n, h, w, c]; it was given {found}")
        return images

    def save(self, path: str | os.PathLike) -> Path:
        """Write the classifier to one file, whole or not at all; returns its path. Raises McalError.

        The file is a NumPy archive: a header in JSON, and the arrays of the net in order.
        """
        header = {"format": FORMAT, "mcal_jax": _version(), **self.header._asdict()}
        states = [(member.params, member.stats) for member in self._members]
        leaves = [_plain(leaf) for leaf in jax.tree.leaves(states)]
        arrays = {f"array_{i}": leaf for i, leaf in enumerate(leaves)}
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, header=np.array(json.dumps(header)), **arrays)
        target = absolute(path)
        write_bytes_atomically(target, content.getvalue())
        return target

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Classifier":
        """The classifier that ``save`` wrote to ``path``.

        Raises McalError for a file that can't be read, that is damaged or something else, and for an architecture
        that is not known here.
        """
        content = read_bytes(absolute(path))
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                header = json.loads(str(archive["header"]))
                weights = [archive[f"array_{i}"] for i in range(len(archive.files) - 1)]
            if header.pop("format") != FORMAT:
                raise ValueError
            del header["mcal_jax"]
            header = {key: tuple(value) if isinstance(value, list) else value for key, value in header.items()}
            described = Header(**header)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise McalError(f"{path} is not a classifier of mcal_jax, or is damaged; save it again") from error
        try:
            return cls(described, weights)
        except McalError as error:
            raise McalError(f"{path}: {error}") from None


def _checked_features(features: np.ndarray, wanted: int) -> np.ndarray:
    """``features`` as float32. Raises McalError for others than finite floats [n, wanted]."""
    if features.dtype.kind != "f" or features.shape[1:] != (wanted,):
        found = f"{features.dtype} [{', '.join(map(str, features.shape))}]"
        raise McalError(f"this classifier takes floats [n, {wanted}], the features; it was given {found}")
    features = features.astype(np.float32, copy=False)
    if not np.isfinite(features).all():
        raise McalError("this classifier takes finite features; NaN or infinity is among them")
    return features


def _plain(leaf: Any) -> np.ndarray:
    """An array of the host; keys of random generators as their data."""
    return np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)


def _restored(state: Any, weights: Sequence[np.ndarray], header: Header) -> tuple[Member, ...]:
    """``state`` of a new net with ``weights`` in the place of its arrays, for each net of ``header``.

    Raises McalError if they do not fit.
    """
    leaves, structure = jax.tree.flatten([state] * len(header.weights))
    plain = [_plain(leaf) for leaf in leaves]
    if [(a.shape, a.dtype) for a in plain] != [(a.shape, a.dtype) for a in weights]:
        raise McalError(f"the weights are not those of the architecture {header.architecture!r} as it is here")
    wrap = partial(jax.random.wrap_key_data, impl="threefry2x32")
    restored = [
        wrap(jnp.asarray(values)) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else jnp.asarray(values)
        for leaf, values in zip(leaves, weights, strict=True)
    ]
    states = jax.tree.unflatten(structure, restored)
    return tuple(
        Member(params, stats, np.float32(weight))
        for (params, stats), weight in zip(states, header.weights, strict=True)
    )


def _version() -> str:
    try:
        return version("mcal-jax")
    except PackageNotFoundError:
        return "unknown"
