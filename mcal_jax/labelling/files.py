"""The files door: a batch as a table, a folder of pictures or tasks of Label Studio, answered and read back.

A batch is ``batch-0003.csv``, whose column ``label`` is to be filled in, the folder ``batch-0003``, whose pictures are
to be moved from ``unlabelled`` into the folders of their classes, or ``batch-0003.json``, to be imported by Label
Studio and exported as, say, ``batch-0003-done.json``. Whatever begins with ``batch-0003`` is read as answers to that
batch, so it may be copied and shared out among several humans. Nothing that a person may have changed is ever written
over; what belongs to a finished batch moves to ``done``.
"""

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from mcal_jax.data import image_name
from mcal_jax.data.decode import resolve
from mcal_jax.errors import McalError, shown
from mcal_jax.files import write_atomically
from mcal_jax.labelling.answers import Row, read_table, safe_name
from mcal_jax.labelling.doors import Visit
from mcal_jax.labelling.label_studio.tasks import Read, data_uri, encoded, labelling_config, new_task, read_export
from mcal_jax.labelling.pictures import LinkNames, save_picture
from mcal_jax.labelling.visits import Answers, HandOut, go_on
from mcal_jax.session import Batch

UNLABELLED = "unlabelled"
DONE = "done"
LINES = 10
"""Lines of a table of answers for each image of the pool that are read; more is an error."""
_BATCH = re.compile(r"batch-(\d{4,})(?:\D.*)?", re.DOTALL)


def by_table(visit: Visit) -> Batch | None:
    """A visit that hands out tables. Raises McalError."""
    return _go_on(visit, _write_table)


def by_links(visit: Visit) -> Batch | None:
    """A visit that hands out folders of links to the pictures. Raises McalError."""
    _check_folder_names(visit.session.dataset.classes)
    return _go_on(visit, lambda *what: _fill_folder(*what, copies=False))


def by_copies(visit: Visit) -> Batch | None:
    """A visit that hands out folders of copies of the pictures. Raises McalError."""
    _check_folder_names(visit.session.dataset.classes)
    return _go_on(visit, lambda *what: _fill_folder(*what, copies=True))


def by_tasks(visit: Visit) -> Batch | None:
    """A visit that hands out tasks for Label Studio to import, as JSON. Raises McalError."""
    config = labelling_config(visit.session.dataset.classes)
    write_atomically(visit.out / "label-studio.xml", config)
    return _go_on(visit, _write_tasks)


def _go_on(visit: Visit, hand_out: HandOut) -> Batch | None:
    names = LinkNames(visit.session.dataset)
    return go_on(visit, lambda batch: _read(visit, names), hand_out, lambda batch: _put_away(visit.out, batch))


def _read(visit: Visit, names: LinkNames) -> Iterator[Answers]:
    """The answers of all files; one that can't be read is refused in a line."""
    most_lines = LINES * len(visit.session.dataset.images) + LINES
    for number, path in _files_of_batches(visit.out):
        try:
            if path.is_dir():
                read = Read(list(_read_folder(path, visit.annotator, names)), [])
            elif path.suffix.lower() == ".json":
                read = read_export(path, number, visit.session.dataset, visit.annotator)
            else:
                read = Read(read_table(path, visit.annotator, most_lines), [])
        except McalError as error:
            visit.emit(f"refused: {error}")
            continue
        yield Answers(number, shown(path.name), *read)


def _files_of_batches(out: Path) -> list[tuple[int, Path]]:
    """Tables and folders of batches, with their numbers, in order."""
    found = []
    for path in sorted(out.iterdir()):
        match = _BATCH.fullmatch(path.name)
        if match and (path.is_dir() or path.suffix.lower() in (".csv", ".tsv", ".txt", ".json")):
            found.append((int(match[1]), path))
    return found


def _put_away(out: Path, batch: Batch | None) -> None:
    """Move what belongs to finished batches to ``done``. Raises McalError."""
    for number, path in _files_of_batches(out):
        if batch is not None and number >= batch.number:
            continue
        (out / DONE).mkdir(exist_ok=True)
        target, again = out / DONE / path.name, 1
        while target.exists():
            target, again = out / DONE / f"{path.stem}-{again}{path.suffix}", again + 1
        try:
            os.replace(path, target)
        except OSError as error:
            raise McalError(f"can't move {path} to {target}: {error.strerror}") from None


def _new_file(out: Path, batch: Batch, ending: str) -> Path:
    """A name for a file of a batch that is not there yet."""
    path, again = out / f"batch-{batch.number:04d}{ending}", 1
    while path.exists():
        path, again = out / f"batch-{batch.number:04d}-rest-{again}{ending}", again + 1
    return path


# ---------------------------------------------------------------------------------------------------------
# Tables and tasks


def _write_tasks(visit: Visit, batch: Batch, names: Sequence[str]) -> Path:
    """A new file of tasks, which hold their pictures."""
    path = _new_file(visit.out, batch, ".json")
    pictures = encoded(visit.session.dataset, visit.source, names)
    tasks = [new_task(name, batch.number, data_uri(content, media)) for name, content, media in pictures]
    write_atomically(path, json.dumps(tasks, indent=1) + "\n")
    return path


def _write_table(visit: Visit, batch: Batch, names: Sequence[str]) -> Path:
    """A new table with an empty label for each image."""
    path = _new_file(visit.out, batch, ".csv")
    if not visit.session.dataset.files:
        _save_pictures(visit, names, visit.out / "pictures")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "label", "annotator"])
    writer.writerows([safe_name(name), "", visit.annotator] for name in names)
    write_atomically(path, text.getvalue())
    return path


def _save_pictures(visit: Visit, names: Sequence[str], folder: Path) -> None:
    dataset = visit.session.dataset
    position = {image_name(dataset, i): i for i in range(len(dataset.images))}
    for name in names:
        save_picture(dataset.images[position[name]], folder / name)


# ---------------------------------------------------------------------------------------------------------
# Folders


def _check_folder_names(classes: Sequence[str]) -> None:
    """Raises McalError for classes that can't each have a folder of their name."""
    taken = {UNLABELLED}
    for name in classes:
        if "/" in name or "\\" in name or name.startswith(".") or len(name.encode()) > 200:
            raise McalError(f"no folder can be called {shown(name)!r}: use the door csv")
        if name.casefold() in taken:
            raise McalError(f"no folder of its own for the class {shown(name)!r}: use the door csv")
        taken.add(name.casefold())


def _fill_folder(visit: Visit, batch: Batch, names: Sequence[str], *, copies: bool) -> Path:
    """The batch's folder, with a folder for each class, and the images in ``unlabelled``."""
    folder, links = visit.out / f"batch-{batch.number:04d}", LinkNames(visit.session.dataset)
    dataset = visit.session.dataset
    try:
        for name in (*dataset.classes, UNLABELLED):
            (folder / name).mkdir(parents=True, exist_ok=True)
        if visit.source is None:
            _save_pictures(visit, names, folder / UNLABELLED)
            return folder / UNLABELLED
        for name in names:
            _link(resolve(visit.source, name), folder / UNLABELLED / links.link_of[name], copies)
    except OSError as error:
        raise McalError(f"can't write {folder}: {error.strerror}") from None
    return folder / UNLABELLED


def _link(source: Path, link: Path, copies: bool) -> None:
    """A link to a picture, or a copy of it, also where links can't be made."""
    if not copies:
        try:
            os.symlink(source.absolute(), link)
            return
        except FileExistsError:
            return
        except OSError:
            pass  # no links on this disk
    draft = link.with_name(f".{link.name[:100]}.draft")
    shutil.copyfile(source, draft)
    os.replace(draft, link)


def _read_folder(folder: Path, annotator: str, names: LinkNames) -> Iterator[Row]:
    """A row for each picture: its class is the folder that it lies in; in ``unlabelled`` it has none yet."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if len(parts) < 2 or any(part.startswith(".") for part in parts) or (path.is_dir() and not path.is_symlink()):
            continue
        if path.name in ("Thumbs.db", "desktop.ini"):
            continue
        label = "" if parts[0] == UNLABELLED else parts[0]
        yield Row(names.name_of.get(path.name, path.name), label, annotator, "/".join((folder.name, *parts[:-1])))
