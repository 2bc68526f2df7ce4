"""Pictures for humans: the names of links to them, and arrays written as PNG."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from mcal_jax.data import Dataset
from mcal_jax.files import write_bytes_atomically
from mcal_jax.labelling.answers import positions


class LinkNames:
    """Names of links to the images of a pool, all in one folder: ``link_of`` an image, ``name_of`` a link.

    The link to cats/a.png is called cats--a.png. Where two images would share a link, also on a disk that knows no
    capitals, or where the name would be too long, a digest of the image's name is part of it.
    """

    def __init__(self, dataset: Dataset):
        self.link_of: dict[str, str] = {}
        self.name_of: dict[str, str] = {}
        used: set[str] = set()
        for name in positions(dataset):
            link = name.replace("/", "--")
            if link.startswith(".") or link.casefold() in used or len(os.fsencode(link)) > 200:
                stem, ending = os.path.splitext(link)
                digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
                link = f"{stem[:50].lstrip('.')}--{digest}{ending[:10]}"
            used.add(link.casefold())
            self.link_of[name], self.name_of[link] = link, name


def picture_of(image: np.ndarray) -> Any:
    """An image, uint8 [height, width, channels], as a Pillow image; of other numbers of channels than 1 and 3, their
    mean."""
    from PIL import Image

    channels = image.shape[-1]
    plain = image if channels in (1, 3) else image.mean(-1, keepdims=True).round().astype(np.uint8)
    return Image.fromarray(plain[..., 0] if plain.shape[-1] == 1 else plain)


def save_picture(image: np.ndarray, path: Path) -> None:
    """Write an image as PNG, if it is not there yet. Raises McalError."""
    if not path.exists():
        write_bytes_atomically(path, png(image))


def png(image: np.ndarray) -> bytes:
    """An image as the content of a PNG file."""
    file = io.BytesIO()
    picture_of(image).save(file, "png")
    return file.getvalue()
