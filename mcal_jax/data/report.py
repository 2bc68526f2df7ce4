"""What a pool holds, in lines, before anything is bought: images, sizes, classes, labels, copies, and what was left
out."""

import hashlib
from collections import defaultdict

import numpy as np

from mcal_jax.data.dataset import Dataset
from mcal_jax.errors import shown

_NAMED = 3  # groups of copies, named one by one
_CLASSES = 12  # classes, named one by one


def image_name(dataset: Dataset, index: int) -> str:
    """The name of an image for a person: that of its file, or one made of its number where it has none."""
    if dataset.files:
        return dataset.files[index]
    return f"{index:0{len(str(len(dataset.images) - 1))}d}.png"


def copies(dataset: Dataset) -> list[list[int]]:
    """Groups of images with exactly the same pixels, at the size that nets see; the first of each comes first."""
    groups = defaultdict(list)
    for index, image in enumerate(dataset.images):
        groups[hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()].append(index)
    return [group for group in groups.values() if len(group) > 1]


def describe(dataset: Dataset) -> list[str]:
    """The lines of the report, the notes of the pool among them."""
    n, *shape = dataset.images.shape
    lines = [
        f"{shown(dataset.name)}: {n:,} images, {_shape(shape)}",
        *_classes(dataset),
        *map(_indented, dataset.notes),
    ]
    if groups := copies(dataset):
        extra = sum(len(group) - 1 for group in groups)
        lines.append(f"  {extra:,} images are exact copies of others, each labelled and billed on its own:")
        for group in groups[:_NAMED]:
            names = [shown(image_name(dataset, index)) for index in group[:4]]
            lines.append(f"    {' = '.join(names)}{' = ...' if len(group) > 4 else ''}")
    return lines


def _shape(shape: list[int]) -> str:
    if len(shape) == 1:
        return f"{shape[0]:,} features each"
    height, width, channels = shape
    kind = {1: "grey", 3: "in colour"}.get(channels, f"{channels} channels")
    return f"{height}x{width} pixels, {kind}"


def _indented(note: str) -> str:
    return f"  {note}"


def _classes(dataset: Dataset) -> list[str]:
    """The classes, with the number of labels that are known of each."""
    if not dataset.classes:
        return ["  classes: not known"]
    known = dataset.labels if dataset.labels is not None else dataset.given
    counts = None if known is None else np.bincount(known[known >= 0], minlength=len(dataset.classes))
    names = [
        f"{shown(name)}{'' if counts is None else f' {counts[k]:,}'}"
        for k, name in enumerate(dataset.classes[:_CLASSES])
    ]
    more = f", and {len(dataset.classes) - _CLASSES} more" if len(dataset.classes) > _CLASSES else ""
    lines = [f"  {len(dataset.classes)} classes: {', '.join(names)}{more}"]
    if dataset.labels is not None:
        lines.append("  all labels are known; they are used for nothing but the true error in the end")
    return lines
