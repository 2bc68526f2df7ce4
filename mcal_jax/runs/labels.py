"""The labels that a run delivers, as a CSV file."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from mcal_jax.algorithm.protocol import UNKNOWN
from mcal_jax.files import write_atomically
from mcal_jax.runs.driver import Delivery

COLUMNS = ("index", "label", "class", "by")
LABELS_BEGIN = ",".join(COLUMNS)


def class_name(label: int, classes: Sequence[str]) -> str:
    """The name of a class by its number; "" where no human could tell the class."""
    return "" if label == UNKNOWN else classes[label]


def write_labels(delivery: Delivery, classes: Sequence[str], path: Path, files: Sequence[str] = ()) -> None:
    """Write the labels delivered: index, class number, class name, who gave it (human or machine), and the file.

    The class is -1 and its name empty where no human could tell it.

    ``classes`` are the names by class number, ``files`` those of the pictures, if they came from disk. Raises McalError
    if the file can't be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, "file"] if files else COLUMNS)
    for i, (label, machine) in enumerate(zip(delivery.labels.tolist(), delivery.by_machine.tolist(), strict=True)):
        by = "machine" if machine else "human"
        writer.writerow([i, label, class_name(label, classes), by, *files[i : i + 1]])
    write_atomically(path, text.getvalue())
