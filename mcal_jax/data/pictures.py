"""Pictures on disk as a pool: a folder of them, or a table that names them.

One rule brings all pictures to the net's size: turned as EXIF says, the shorter side scaled to ``size``, the middle
square cut out. Pictures that have one small size already are left as they are. A pool that is too large for memory is
decoded once into the user's cache folder.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcal_jax.data.cache import decode, look
from mcal_jax.data.dataset import Dataset, from_arrays, one_line_errors
from mcal_jax.data.decode import SUFFIXES, described, rule_for
from mcal_jax.data.tables import as_text, read_text
from mcal_jax.errors import McalError, shown
from mcal_jax.files import cache_folder

FILE_COLUMNS = ("file", "path", "image", "filename", "file_name")
LABEL_COLUMNS = ("label", "class")
LARGE = 2**30
"""Bytes of pixels from which a pool is decoded into the user's cache folder and not into memory."""
_NAMED = 10  # files that can't be read, named one by one
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")


class Listing(NamedTuple):
    """The files of a source, by their names within ``root``, with labels where they are known (None elsewhere)."""

    name: str
    root: Path
    files: list[str]
    labels: list[Any]
    notes: tuple[str, ...] = ()


def from_folder(
    folder: str | os.PathLike,
    *,
    size: int | None = None,
    classes: Sequence[str] | None = None,
    cache: str | os.PathLike | None = None,
    skip_unreadable: bool = False,
) -> Dataset:
    """The pictures of a folder and of the folders in it, in the order of their names.

    If each lies in a folder of its class, those are the labels, else there are none. With ``classes`` only folders of
    these names are classes, and pictures outside them have no label yet. ``size``: pixels a side; by default pictures
    of one size of at most 64 pixels a side keep it, all others get 32. ``cache``: a folder for the decoded pictures,
    which later calls map into memory. Links to folders are not followed, as ``notes`` say; hidden files and folders are
    left out.

    Raises McalError for a folder without pictures, and naming the first file that can't be read; or leaves such files
    out, which ``notes`` name (``skip_unreadable``).
    """
    return _dataset(_listing_of_folder(folder, classes), size, classes, cache, skip_unreadable)


def from_table(
    table: str | os.PathLike,
    *,
    size: int | None = None,
    classes: Sequence[str] | None = None,
    cache: str | os.PathLike | None = None,
    skip_unreadable: bool = False,
) -> Dataset:
    """The pictures that a table (CSV, TSV, Parquet or JSON lines) names, in its order.

    Its column ``file`` (or path, image, filename) holds paths within the table's folder; a column ``label`` (or class),
    if there is one, names of classes as they are written, or else their numbers, empty where a label is not known. The
    rest as in ``from_folder``. Raises McalError.
    """
    return _dataset(_listing_of_table(table, classes), size, classes, cache, skip_unreadable)


def _listing_of_folder(folder: str | os.PathLike, classes: Sequence[str] | None) -> Listing:
    root = Path(os.path.expanduser(folder))
    if not root.is_dir():
        raise McalError(f"no folder '{folder}'")
    with one_line_errors(f"'{folder}' cannot be read"):
        there, links = _below(root)
    files = [path.relative_to(root) for path in there if path.suffix.lower() in SUFFIXES]
    if not files:
        raise McalError(f"no pictures in '{folder}': looked for {', '.join(SUFFIXES)} in it and in the folders below")
    tops = [file.parts[0] if len(file.parts) > 1 else None for file in files]
    if classes is None:
        labels: list[Any] = tops if None not in tops else [None] * len(files)
    else:
        labels = [top if top in set(classes) else None for top in tops]
    others = Counter(path.suffix.lower() or "no ending" for path in there if path.suffix.lower() not in SUFFIXES)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in others.most_common(5))
    notes = [f"'{folder}': {others.total():,} other files are left aside ({kinds})"] if others else []
    if links:
        some = ", ".join(shown(str(link.relative_to(root))) for link in links[:5])
        notes.append(f"'{folder}': {len(links):,} links to folders are not followed, such as {some}")
    return Listing(str(folder), root, [file.as_posix() for file in files], labels, tuple(notes))


def _below(root: Path) -> tuple[list[Path], list[Path]]:
    """The files in a folder and below, and the links to folders, both in order; what is hidden is left
    out. A link that leads nowhere counts as a file, which can't be read. Raises OSError."""

    def fail(error: OSError) -> None:
        raise error

    files, links = [], []
    for folder, inner, names in os.walk(root, onerror=fail):
        inner[:] = [name for name in inner if not name.startswith(".")]
        links += [Path(folder, name) for name in inner if os.path.islink(os.path.join(folder, name))]
        paths = (Path(folder, name) for name in names if not name.startswith("."))
        files += [path for path in paths if path.is_file() or not path.exists()]
    return sorted(files), sorted(links)


def _listing_of_table(table: str | os.PathLike, classes: Sequence[str] | None) -> Listing:
    path = Path(os.path.expanduser(table))
    rows = read_text(path)
    there = {str(name).strip().lower(): name for name in reversed(list(rows))}
    file_column = next((there[name] for name in FILE_COLUMNS if name in there), None)
    if file_column is None:
        raise McalError(f"'{table}' has no column of files: call it 'file'; it has {', '.join(map(str, rows))}")
    if not len(rows):
        raise McalError(f"'{table}' has no rows")
    files = as_text(rows[file_column])
    if unnamed := files.count(""):
        raise McalError(f"'{table}': {unnamed} of {len(rows)} rows name no file")
    paths = [os.path.normpath(path.parent / file) for file in files]
    times = Counter(paths)
    if repeated := {one: file for one, file in zip(paths, files, strict=True) if times[one] > 1}:
        raise McalError(
            f"'{table}' names {len(repeated)} files more than once, such as {next(iter(repeated.values()))}"
        )
    label_column = next((there[name] for name in LABEL_COLUMNS if name in there), None)
    labels = [None] * len(files) if label_column is None else _labels_of(as_text(rows[label_column]), classes)
    return Listing(str(table), path.parent, files, labels)


def _labels_of(texts: list[str], classes: Sequence[str] | None) -> list[Any]:
    """Labels as they are written, None for "": names where all of them are names of ``classes``, else numbers where
    they all look like numbers."""
    known = {text for text in texts if text}
    if known <= set(classes or ()) or not all(map(_NUMBER.fullmatch, known)):
        return [text or None for text in texts]
    return [float(text) if text else None for text in texts]


def _dataset(
    listing: Listing,
    size: int | None,
    classes: Sequence[str] | None,
    cache: str | os.PathLike | None,
    skip_unreadable: bool,
) -> Dataset:
    name, root, where = listing.name, listing.root, None if cache is None else Path(cache)
    found = look(root, listing.files, where)
    errors = {one.file: one.error for one in found if one.error}
    _check(name, errors, len(found), skip_unreadable)
    found = [one for one in found if one.header]
    rule = rule_for([one.header for one in found if one.header], size)
    if where is None and len(found) * rule.height * rule.width * rule.channels > LARGE:
        where = _users_cache(root)
        found = [one for one in look(root, [one.file for one in found], where) if one.header]
    images, failed = decode(root, found, rule, where)
    errors |= failed
    _check(name, errors, len(listing.files), skip_unreadable)
    kept = [one for one in found if one.file not in failed]
    labels = dict(zip(listing.files, listing.labels, strict=True))
    dataset = with_known_labels(name, images, [labels[one.file] for one in kept], classes)
    notes = [*listing.notes, *_skipped(name, errors)]
    if rule.scaled:
        notes.append(f"'{name}': {described([one.header for one in kept if one.header], rule)}")
    return dataset._replace(files=tuple(one.file for one in kept), notes=(*notes, *dataset.notes))


def _check(name: str, errors: Mapping[str, str], n: int, skip: bool) -> None:
    """Raises McalError where files can't be read, unless they are skipped and others can."""
    if errors and not skip:
        raise McalError(next(iter(errors.values())))
    if errors and len(errors) == n:
        raise McalError(f"'{name}': none of {n:,} pictures can be read, for example: {next(iter(errors.values()))}")


def _skipped(name: str, errors: Mapping[str, str]) -> list[str]:
    """A line for each file that can't be read, up to ``_NAMED``, and one for the others."""
    if not errors:
        return []
    lines = [f"  {error}" for error in list(errors.values())[:_NAMED]]
    more = [f"  and {len(errors) - _NAMED:,} more"] if len(errors) > _NAMED else []
    return [f"'{name}': {len(errors):,} pictures can't be read and are left out:", *lines, *more]


def _users_cache(root: Path) -> Path:
    """The cache of a source in the user's cache folder. Raises McalError."""
    try:
        return cache_folder() / f"pictures-{hashlib.sha256(os.path.realpath(root).encode()).hexdigest()[:16]}"
    except OSError as error:
        raise McalError(f"these pictures need a cache on disk: {error.strerror or error}; give cache=FOLDER") from None


def with_known_labels(
    name: str, images: np.ndarray, labels: Sequence[Any], classes: Sequence[str] | None = None
) -> Dataset:
    """A Dataset whose labels are known in part: None where one is not. Raises McalError as ``from_arrays`` does."""
    at = np.array([i for i, label in enumerate(labels) if label is not None], np.int64)
    if len(at) in (0, len(labels)):
        return from_arrays(images, labels if len(at) else None, classes, name)
    part = from_arrays(np.zeros((len(at), 1, 1, 1), np.uint8), [labels[i] for i in at], classes, name)
    assert part.labels is not None
    given = np.full(len(labels), -1, np.int32)
    given[at] = part.labels
    note = f"'{name}': {len(at):,} of {len(labels):,} labels are known; they cost nothing and are never a part of V"
    return from_arrays(images, None, part.classes, name)._replace(given=given, notes=(*part.notes, note))
