"""Answers as they come back from humans: each row is taken, known already, or refused in one line."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mcal_jax.algorithm.protocol import UNKNOWN
from mcal_jax.data import Dataset, image_name
from mcal_jax.errors import McalError, shown, suggestion
from mcal_jax.files import read_bytes
from mcal_jax.runs.codec import unpack
from mcal_jax.runs.open_batches import UNANSWERED
from mcal_jax.session import Batch, Session

CANT_TELL = "?"
"""The label of an image whose class nobody can tell; an empty one says nothing yet."""
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


class Row(NamedTuple):
    """An answer: a file's name, a label as it was written, who gave it, and where it stands.

    An empty label says nothing yet; None: nobody can tell, in whatever way the door has for that.
    """

    file: str
    label: str | None
    annotator: str
    where: str


class Taken(NamedTuple):
    """How many labels were taken, how many rows were known already, and a line for each row that was refused."""

    new: int
    known: int
    refused: list[str]


def safe_name(name: str) -> str:
    """A file's name for a table: a spreadsheet takes none for a formula. ``plain_name`` undoes it."""
    return f"./{name}" if name.startswith(FORMULAS) else name


def plain_name(name: str) -> str:
    """The name that ``safe_name`` was given, less what leads to no other folder.

    >>> plain_name(safe_name("=1.png")), plain_name("a/b.png"), plain_name("././a.png")
    ('=1.png', 'a/b.png', 'a.png')
    """
    return re.sub(r"^(\./)+", "", name)


def positions(dataset: Dataset) -> dict[str, int]:
    """The number of each image of a pool by its plain name. Raises McalError where two images have the same one."""
    names = [plain_name(image_name(dataset, i)) for i in range(len(dataset.images))]
    numbers = {name: i for i, name in enumerate(names)}
    if len(numbers) < len(names):
        twice = next(name for i, name in enumerate(names) if numbers[name] != i)
        raise McalError(f"'{dataset.name}' has two images called {shown(twice)}: answers could not tell them apart")
    return numbers


def read_table(path: Path, annotator: str, most: int) -> list[Row]:
    """The rows of a CSV file as spreadsheets save it: any of comma, semicolon and tab, UTF-8 or UTF-16.

    Columns are found by name: file, label and, if there is one, annotator. Raises McalError for a file that is no table
    or lacks a column, and for one of more than ``most`` lines.
    """
    text = _text(read_bytes(path), path)
    if (count := text.count("\n")) > most:
        raise McalError(f"{path}: {count:,} lines, and a table of answers to this pool has {most:,} at most")
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        lines = list(enumerate(reader, 1))
    except csv.Error as error:
        raise McalError(f"{path}: not a table: {error}") from None
    columns = [name.strip().lower() for name in lines[0][1]] if lines else []
    for name in ("file", "label"):
        if columns.count(name) != 1:
            raise McalError(f"{path}: it needs one column {name!r}; its columns are {', '.join(columns) or 'none'}")
    rows = []
    for number, cells in lines[1:]:
        of = dict(zip(columns, cells, strict=False))
        if not any(cell.strip() for cell in cells):
            continue
        where, who = f"{path.name}, row {number}", of.get("annotator", "").strip()
        rows.append(Row(plain_name(of.get("file", "")), of.get("label", "").strip(), who or annotator, where))
    return rows


def _text(content: bytes, path: Path) -> str:
    """The content of a table as text. Raises McalError."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    if b"\0" in content:
        raise McalError(f"{path}: no text; save the table as CSV")
    return content.decode("utf-8-sig", "surrogateescape")


def take(session: Session, number: int, batch: Batch | None, rows: Iterable[Row]) -> Taken:
    """Tell the session the rows about its batch ``number``; ``batch`` is what is left of the one that is open.

    A row is refused that names no image of the pool, no class, or an image that is not asked for, and one that
    contradicts a label taken before, or another row. All others are taken.
    """
    position = positions(session.dataset)
    earlier = _labels_of_batch(session, number)
    wanted = set(batch.indices.tolist()) if batch is not None and batch.number == number else set()
    new: dict[int, tuple[int, Row]] = {}
    contradicted: set[int] = set()
    known, refused = 0, []
    for row in rows:
        if row.label == "":
            continue
        try:
            index, label = _index(row, position), _class(row.label, session.dataset.classes)
            before = new[index][0] if index in new else int(earlier[index])
            if before not in (UNANSWERED, label):
                if index in new:
                    contradicted.add(index)
                name = CANT_TELL if before == UNKNOWN else shown(session.dataset.classes[before])
                raise McalError(f"has the label {name!r} already")
            if before == label:
                known += 1
            elif index in wanted:
                new[index] = label, row
            else:
                raise McalError("is not asked for")
        except McalError as error:
            refused.append(f"refused: {row.where}: {shown(row.file)}: {error}")
    for index in contradicted:  # neither of two answers is taken
        row = new.pop(index)[1]
        refused.append(f"refused: {row.where}: {shown(row.file)}: another row has another label")
    for annotator, indices in _by_annotator(new):
        unknown = [index for index in indices if new[index][0] == UNKNOWN]
        labels = {index: new[index][0] for index in indices if index not in unknown}
        session.tell(labels, labels.values(), annotator=annotator)
        session.tell_unknown(unknown, annotator=annotator)
    return Taken(len(new), known, refused)


def _by_annotator(new: dict[int, tuple[int, Row]]) -> Iterator[tuple[str, list[int]]]:
    groups: dict[str, list[int]] = {}
    for index, (_, row) in new.items():
        groups.setdefault(row.annotator, []).append(index)
    yield from groups.items()


def _labels_of_batch(session: Session, number: int) -> np.ndarray:
    """The labels that are taken of a batch, int32 [n], UNANSWERED elsewhere."""
    labels = np.full(len(session.labels), UNANSWERED, np.int32)
    for part in session.log.parts:
        if part["number"] != number:
            continue
        if "labels" in part:
            labels[unpack(part["indices"], np.int64)] = unpack(part["labels"], np.int32)
        elif "undone" in part:
            labels[part["undone"]] = UNANSWERED
    return labels


def _index(row: Row, position: dict[str, int]) -> int:
    if row.file not in position:
        raise McalError("no such image in this pool")
    return position[row.file]


def _class(label: str | None, classes: tuple[str, ...]) -> int:
    """The number of a class by its name, whatever its case where that is clear; UNKNOWN for None and CANT_TELL.

    Raises McalError.
    """
    if label is None or (label == CANT_TELL and label not in classes):
        return UNKNOWN
    if label in classes:
        return classes.index(label)
    near = [k for k, name in enumerate(classes) if name.strip().casefold() == label.casefold()]
    if len(near) != 1:
        raise McalError(f"unknown class {shown(label)!r}: {suggestion(label, classes)}")
    return near[0]
