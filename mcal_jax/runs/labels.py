"""The labels that a run delivers, as a CSV file."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from mcal_jax.files import write_atomically
from mcal_jax.runs.driver import Delivery

COLUMNS = ("index", "label", "class", "source")
LABELS_BEGIN = ",".join(COLUMNS)
LABELS_BEGAN = "index,label,class,by"
"""How files of labels began before version 0.2."""


def write_labels(delivery: Delivery, classes: Sequence[str], path: Path, files: Sequence[str] = ()) -> None:
    """Write the labels delivered: index, class number, class name, its source, human or machine, and the file.

    ``classes`` are the names by class number, ``files`` those of the pictures, if they came from disk. Raises McalError
    if the file can't be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, "file"] if files else COLUMNS)
    for i, (label, machine) in enumerate(zip(delivery.labels.tolist(), delivery.by_machine.tolist(), strict=True)):
        writer.writerow([i, label, classes[label], "machine" if machine else "human", *files[i : i + 1]])
    write_atomically(path, text.getvalue())
