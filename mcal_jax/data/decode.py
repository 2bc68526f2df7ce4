"""One picture file as pixels, within bounds: what its header says first, then the pixels by one rule.

Files come from strangers. Only the formats below are parsed, a picture may not unpack to more than ``MOST_PIXELS``, and
SVG, which is a program, is refused.
"""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcal_jax.data.dataset import one_line_errors
from mcal_jax.errors import McalError, shown

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
SIZE = 32
"""Pixels a side, where pictures have several sizes or a large one."""
LARGEST_SIZE_KEPT = 64
"""Pixels a side up to which pictures of one size are left as they are."""
MOST_PIXELS = 89_478_485
"""Pixels of one picture, Pillow's own limit: 256 MiB of RGB. A larger one is refused before it is unpacked."""


class Header(NamedTuple):
    """Width and height as EXIF turns them, and whether the picture is grey."""

    width: int
    height: int
    is_grey: bool


class Rule(NamedTuple):
    """How every picture is brought to one size: ``scaled`` to height x width, or left as it is.

    Scaled: turned as EXIF says, the shorter side scaled, the middle cut out.
    """

    height: int
    width: int
    channels: int
    scaled: bool


def rule_for(headers: Sequence[Header], size: int | None) -> Rule:
    """The rule for these pictures; ``size``: pixels a side. Raises McalError for a size below 4."""
    if size is not None and size < 4:
        raise McalError(f"size must be at least 4 pixels, got {size}")
    sizes = {(header.width, header.height) for header in headers}
    channels = 1 if all(header.is_grey for header in headers) else 3
    width, height = next(iter(sizes))
    if size is None and len(sizes) == 1 and max(width, height) <= LARGEST_SIZE_KEPT:
        return Rule(height, width, channels, scaled=False)
    return Rule(size or SIZE, size or SIZE, channels, scaled=True)


def described(headers: Sequence[Header], rule: Rule) -> str:
    """The sizes of the pictures, and what the rule makes of them."""
    sizes = sorted({(header.width, header.height) for header in headers})
    small, large = sizes[0], sizes[-1]
    found = f"{small[0]}x{small[1]} pixels"
    if len(sizes) > 1:
        found = f"{len(sizes)} sizes, {found.removesuffix(' pixels')} to {large[0]}x{large[1]} pixels,"
    return f"pictures of {found} scaled to {rule.height}x{rule.width} pixels (shorter side scaled, middle cut out)"


def resolve(root: Path, file: str) -> Path:
    """The path of a file of a source. Raises McalError for one that leads out of the source, by ``..`` or by a link."""
    path = root / file
    if "\0" in file or not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise McalError(f"picture '{shown(file)}' cannot be read: it leads out of '{root}'")
    if path.exists() and not path.is_file():
        raise McalError(f"picture '{shown(str(path))}' cannot be read: it is no file")
    return path


def read_header(root: Path, file: str) -> Header:
    """What a picture's header says. Raises McalError, also for a picture that is too large to unpack."""
    from PIL import Image

    Image.init()  # or formats that are named, but not loaded yet, are unknown
    path = resolve(root, file)
    if path.suffix.lower() in (".svg", ".svgz"):
        raise McalError(f"picture '{shown(str(path))}' cannot be read: SVG is refused; save it as PNG")
    with one_line_errors(f"picture '{shown(str(path))}' cannot be read"), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            if not 0 < width * height <= MOST_PIXELS:
                raise McalError(f"{width}x{height} pixels; at most {MOST_PIXELS:,} are unpacked")
            # Pillow decodes a whole PNG to look for EXIF data that may stand behind the pixels.
            has_exif = picture.format != "PNG" or {"exif", "Raw profile type exif"} & picture.info.keys()
            if has_exif and picture.getexif().get(274, 1) >= 5:
                width, height = height, width
            return Header(width, height, picture.mode in ("1", "L", "I", "F") or picture.mode.startswith("I;16"))


def read_pixels(root: Path, file: str, rule: Rule) -> np.ndarray:
    """A picture as uint8 [height, width, channels]. Raises McalError."""
    from PIL import Image, ImageOps

    Image.init()
    path = resolve(root, file)
    with one_line_errors(f"picture '{shown(str(path))}' cannot be read"), Image.open(path, formats=FORMATS) as picture:
        picture.load()
        upright = _flat(ImageOps.exif_transpose(picture), rule.channels)
        if rule.scaled:
            upright = ImageOps.fit(upright, (rule.width, rule.height), Image.Resampling.BILINEAR)
        pixels = np.asarray(upright).reshape(upright.height, upright.width, rule.channels)
        if pixels.shape[:2] != (rule.height, rule.width):
            raise McalError(f"{upright.width}x{upright.height} pixels, and its header says otherwise")
        return pixels


def _flat(picture: Any, channels: int) -> Any:
    """A picture of any mode in 8 bits, grey or RGB, on white where it is transparent."""
    from PIL import Image

    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        levels = np.nan_to_num(np.asarray(picture, float))
        scale: float = 1 / 257 if picture.mode.startswith("I;16") or levels.max() > 255 else 1
        if picture.mode == "F" and levels.max() <= 1:
            scale = 255
        picture = Image.fromarray(np.clip(levels * scale + 0.5, 0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return picture.convert("L" if channels == 1 else "RGB")
