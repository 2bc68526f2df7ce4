"""Pictures on disk as a pool: a folder of them, or a table that names them.

One rule brings all pictures to the net's size: turned as EXIF says, the shorter side scaled to ``size``, the middle
square cut out. Pictures that have one small size already are left as they are.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcal_jax.data.dataset import Dataset, from_arrays, one_line_errors
from mcal_jax.errors import McalError, suggestion

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
TABLES = (".csv", ".tsv", ".parquet", ".jsonl")
FILE_COLUMNS = ("file", "path", "image", "filename", "file_name")
LABEL_COLUMNS = ("label", "class")
SIZE = 32
"""Pixels a side, where pictures have several sizes or a large one."""
LARGEST_SIZE_KEPT = 64
"""Pixels a side up to which pictures of one size are left as they are."""


def is_table(path: str | os.PathLike) -> bool:
    """Whether a file name is that of a table of pictures."""
    return os.fspath(path).lower().endswith(TABLES)


def from_folder(folder: str | os.PathLike, *, size: int | None = None, classes: Sequence[str] | None = None) -> Dataset:
    """The pictures of a folder and of the folders in it, in the order of their names.

    If each lies in a folder of its class, those are the labels, else there are none. ``size``: pixels a side; by
    default pictures of one size of at most 64 pixels a side keep it, all others get 32. Raises McalError for a folder
    without pictures, and naming the first file that can't be read.
    """
    root = Path(os.path.expanduser(folder))
    if not root.is_dir():
        raise McalError(f"no folder '{folder}'")
    with one_line_errors(f"'{folder}' cannot be read"):
        paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise McalError(f"no pictures in '{folder}': looked for {', '.join(SUFFIXES)} in it and in the folders below")
    files = [path.relative_to(root) for path in paths]
    in_classes = all(len(file.parts) > 1 for file in files)
    labels = [file.parts[0] for file in files] if in_classes else None
    return _dataset(str(folder), root, [file.as_posix() for file in files], labels, size, classes)


def from_table(table: str | os.PathLike, *, size: int | None = None, classes: Sequence[str] | None = None) -> Dataset:
    """The pictures that a table (CSV, TSV, Parquet or JSON lines) names, in its order.

    Its column ``file`` (or path, image, filename) holds paths, relative to the table's folder; a column ``label`` (or
    class), if there is one, names of classes or their numbers. Raises McalError.
    """
    path = Path(os.path.expanduser(table))
    rows = _rows(path)
    file_column = next((column for column in FILE_COLUMNS if column in rows), None)
    if file_column is None:
        raise McalError(f"'{table}' has no column of files: call it 'file'; it has {', '.join(map(str, rows))}")
    if not len(rows):
        raise McalError(f"'{table}' has no rows")
    files = [str(file) for file in rows[file_column]]
    if repeated := rows[file_column][rows[file_column].duplicated()].tolist():
        raise McalError(f"'{table}' names {len(repeated)} files more than once, such as {repeated[0]}")
    label_column = next((column for column in LABEL_COLUMNS if column in rows), None)
    labels: Any = None
    if label_column is not None and rows[label_column].notna().any():
        if missing := int(rows[label_column].isna().sum()):
            raise McalError(f"'{table}': {missing} of {len(rows)} rows have no {label_column}: leave the column out")
        labels = rows[label_column].to_numpy()
    return _dataset(str(table), path.parent, files, labels, size, classes)


def _rows(path: Path) -> Any:
    """The table as a DataFrame. Raises McalError."""
    import pandas as pd

    readers = {".csv": pd.read_csv, ".tsv": lambda p: pd.read_csv(p, sep="\t"), ".parquet": pd.read_parquet}
    readers[".jsonl"] = lambda p: pd.read_json(p, lines=True)
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise McalError(f"'{path}' is no table: {suggestion(suffix, readers)}")
    if not path.is_file():
        raise McalError(f"no file '{path}'")
    with one_line_errors(f"'{path}' cannot be read as a table"):
        return readers[suffix](path)


def _dataset(
    name: str, root: Path, files: list[str], labels: Any, size: int | None, classes: Sequence[str] | None
) -> Dataset:
    if size is not None and size < 4:
        raise McalError(f"size must be at least 4 pixels, got {size}")
    headers = [_header(root / file) for file in files]
    sizes = {header[:2] for header in headers}
    channels = 1 if all(is_grey for *_, is_grey in headers) else 3
    first = next(iter(sizes))
    keep = size is None and len(sizes) == 1 and max(first) <= LARGEST_SIZE_KEPT
    height, width = (first[1], first[0]) if keep else (size or SIZE,) * 2
    images = np.empty((len(files), height, width, channels), np.uint8)
    for i, file in enumerate(files):
        images[i] = _pixels(root / file, channels, None if keep else height)
    dataset = from_arrays(images, labels, classes, name)
    notes = () if keep else (f"'{name}': pictures of {_described(sizes)} scaled to {height}x{width} pixels",)
    return dataset._replace(files=tuple(files), notes=(*notes, *dataset.notes))


def _described(sizes: set[tuple[int, int]]) -> str:
    if len(sizes) == 1:
        return "{}x{} pixels".format(*next(iter(sizes)))
    small, large = min(sizes), max(sizes)
    return f"{len(sizes)} sizes, {small[0]}x{small[1]} to {large[0]}x{large[1]} pixels,"


def _header(path: Path) -> tuple[int, int, bool]:
    """Width and height as EXIF turns them, and whether the picture is grey. Raises McalError."""
    from PIL import Image

    with one_line_errors(f"picture '{path}' cannot be read"), Image.open(path) as picture:
        turned = picture.getexif().get(274, 1) >= 5
        width, height = picture.size[::-1] if turned else picture.size
        return width, height, picture.mode in ("1", "L", "I", "F") or picture.mode.startswith("I;16")


def _pixels(path: Path, channels: int, side: int | None) -> np.ndarray:
    """A picture as uint8 [height, width, channels], ``side`` pixels a side if given. Raises McalError."""
    from PIL import Image, ImageOps

    with one_line_errors(f"picture '{path}' cannot be read"), Image.open(path) as picture:
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):
            levels = np.asarray(upright, float)
            scale = 1 / 257 if upright.mode.startswith("I;16") or levels.max() > 255 else 1
            upright = Image.fromarray(np.clip(levels * scale + 0.5, 0, 255).astype(np.uint8))
        if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
            rgba = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        upright = upright.convert("L" if channels == 1 else "RGB")
        if side is not None:
            upright = ImageOps.fit(upright, (side, side), Image.Resampling.BILINEAR)
        return np.asarray(upright).reshape(upright.height, upright.width, channels)
