"""The pictures that people see: decoded and encoded again here, so no file of the source is served as it is."""

import io
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageOps

from mcal_jax.data import Dataset
from mcal_jax.errors import McalError, as_text, shown

LONGEST = 1600
"""Pixels of the longer side, beyond which pictures are scaled down."""
LARGEST = 100_000_000
"""Pixels of a picture file, beyond which the pool's own small image is shown instead."""


class Pictures:
    """Pictures of the images of ``dataset``: those in ``folder``, where it holds them, else the pool's own."""

    def __init__(self, dataset: Dataset, folder: str | Path | None = None):
        self.dataset = dataset
        self.folder = Path(folder).resolve() if folder is not None else _folder_of(dataset)
        self.encoded = lru_cache(256)(self._encoded)

    def name(self, index: int) -> str:
        """What an image is called, as text that can be sent."""
        return as_text(self.dataset.files[index]) if self.dataset.files else f"image {index}"

    def _encoded(self, index: int) -> tuple[bytes, str]:
        """An image as PNG or JPEG, and its media type. Raises McalError for an index outside of the pool."""
        if not 0 <= index < len(self.dataset.images):
            raise McalError(f"image {index} of {len(self.dataset.images):,}")
        picture = self._from_file(index) or self._from_pool(index)
        large = max(picture.size) > 256
        encoded = io.BytesIO()
        picture.save(encoded, "JPEG" if large else "PNG", **({"quality": 88} if large else {}))
        return encoded.getvalue(), "image/jpeg" if large else "image/png"

    def _from_pool(self, index: int) -> Image.Image:
        if not self.dataset.has_images:
            raise McalError(f"{shown(self.name(index))} is no picture that can be shown")
        pixels = self.dataset.images[index]
        return Image.fromarray(pixels[..., 0] if pixels.shape[2] != 3 else pixels)

    def _from_file(self, index: int) -> Image.Image | None:
        """The picture on disk, upright; None where there is none inside of the folder, or it can't be shown."""
        if self.folder is None or not self.dataset.files:
            return None
        path = (self.folder / self.dataset.files[index]).resolve()
        if not path.is_relative_to(self.folder):
            return None
        try:
            with Image.open(path) as file:
                if file.width * file.height > LARGEST:
                    return None
                file.draft("RGB", (LONGEST, LONGEST))
                picture = ImageOps.exif_transpose(file)
                picture.thumbnail((LONGEST, LONGEST))
                if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                    rgba = picture.convert("RGBA")
                    picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
                return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
        except (OSError, ValueError, SyntaxError):
            return None


def _folder_of(dataset: Dataset) -> Path | None:
    """The folder of a pool's pictures, where its name says so."""
    source = Path(dataset.name).expanduser()
    if not dataset.files or not source.exists():
        return None
    return (source if source.is_dir() else source.parent).resolve()
