"""Label Studio's own forms: the labelling interface, tasks to import, and answers as they are exported or listed.

A task holds a picture, the name of its file and the number of the batch. Pictures are encoded anew as PNG or JPEG, so
nothing of a file but its pixels is handed out.
"""

import base64
import json
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError, model_validator

from mcal_jax.data import Dataset
from mcal_jax.errors import McalError, shown
from mcal_jax.files import read_bytes
from mcal_jax.labelling.answers import Row, positions
from mcal_jax.labelling.browser.pictures import Pictures

IMAGE, CHOICE = "image", "choice"
"""What the picture and the choice among the classes are called in the labelling interface."""
INSTRUCTION = "Choose the class of each picture. Skip means: nobody can tell what it is."


class Read(NamedTuple):
    """Answers that could be read, and a line for each that could not."""

    rows: list[Row]
    refused: list[str]


def labelling_config(classes: Sequence[str]) -> str:
    """The labelling interface, XML: a picture, the name of its file and a choice among the classes.

    Raises McalError for a class that Label Studio would take for something else.
    """
    view = ET.Element("View")
    ET.SubElement(view, "Header", value="$file", size="5")
    ET.SubElement(view, "Image", name=IMAGE, value=f"${IMAGE}")
    choices = ET.SubElement(view, "Choices", name=CHOICE, toName=IMAGE, choice="single", required="true")
    for name in classes:
        if name.startswith("$") or not name.isprintable() or name != name.strip():
            raise McalError(f"Label Studio can't offer the class {shown(name)!r}: give it another name")
        ET.SubElement(choices, "Choice", value=name)
    return ET.tostring(view, encoding="unicode")


# ---------------------------------------------------------------------------------------------------------
# Tasks


def new_task(name: str, number: int, picture: str) -> dict[str, Any]:
    """The ``data`` of a task: a picture by its address, of the image ``name`` of batch ``number``."""
    return {"data": {IMAGE: picture, "file": task_name(name), "batch": number}}


def task_name(name: str) -> str:
    """A file's name as text that can be sent: bytes that are no UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def data_uri(content: bytes, media: str) -> str:
    """A picture as an address that holds it."""
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


def encoded(dataset: Dataset, folder: Path | None, names: Iterable[str]) -> Iterator[tuple[str, bytes, str]]:
    """Name, content and media type of each picture."""
    position = positions(dataset)
    pictures = Pictures(dataset, folder)
    for name in names:
        yield name, *pictures.encoded(position[name])


# ---------------------------------------------------------------------------------------------------------
# Answers


class Form(BaseModel):
    """A form of Label Studio, in which null stands for what is not given."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {key: value for key, value in given.items() if value is not None} if isinstance(given, dict) else given


class Choices(Form):
    """The classes that were chosen; other controls have none."""

    choices: list[str] = []


class Control(Form):
    """What was entered in one control of the interface."""

    type: str = ""
    value: Choices = Choices()


class Person(Form):
    """An annotator, as some exports name them."""

    id: int | None = None
    email: str | None = None


class Annotation(Form):
    """One annotator's answer to a task."""

    id: int = 0
    result: list[Control] = []
    was_cancelled: bool = False
    completed_by: int | Person | None = None
    updated_at: str | None = None


class Data(Form):
    """What ``new_task`` put into a task."""

    file: str
    batch: int


class Task(Form):
    """A task with its answers. ``overlap``: how many annotators are wanted."""

    id: int = 0
    data: Data
    annotations: list[Annotation] = []
    overlap: int = 1


def read_export(path: Path, number: int, dataset: Dataset, annotator: str = "") -> Read:
    """The answers to batch ``number`` in a file that Label Studio exported as JSON. Raises McalError."""
    try:
        tasks = json.loads(read_bytes(path))
    except (ValueError, RecursionError):
        tasks = None
    if not isinstance(tasks, list):
        raise McalError(f"{path}: no list of tasks; export the project as JSON")
    return read_tasks(tasks, number, dataset, {}, annotator, path.name)


def read_tasks(
    tasks: Iterable[Any], number: int, dataset: Dataset, people: Mapping[int, str], annotator: str, where: str
) -> Read:
    """The answers to batch ``number`` in tasks as plain values.

    An image gets the label that most of its annotators chose, once as many as its task wants have answered; where they
    are divided, there is a row for each of them. Annotators are called as ``people`` says, by their numbers.
    """
    name_of = {task_name(name): name for name in positions(dataset)}
    of_file: dict[str, list[Task]] = defaultdict(list)
    refused = []
    for place, raw in enumerate(tasks, 1):
        try:
            task = Task.model_validate(raw)
        except ValidationError as error:
            at = ".".join(map(str, error.errors()[0]["loc"])) or "all of it"
            refused.append(f"refused: {shown(where)}, task {place}: no task of this job: see {shown(at)}")
            continue
        if task.data.batch == number:
            of_file[name_of.get(task.data.file, task.data.file)].append(task)
    rows = [row for file, of in of_file.items() for row in _rows(file, of, people, annotator, where)]
    return Read(rows, refused)


def _rows(file: str, tasks: Sequence[Task], people: Mapping[int, str], annotator: str, where: str) -> list[Row]:
    """The label of an image, one row for each annotator where they are divided, or an empty label."""
    where = f"{where}, task {tasks[0].id}"
    votes: dict[str, str | None] = {}
    answers = [answer for task in tasks for answer in task.annotations]
    for answer in sorted(answers, key=lambda answer: (answer.updated_at or "", answer.id)):
        chosen = [name for control in answer.result if control.type == "choices" for name in control.value.choices]
        if chosen or answer.was_cancelled:
            votes[_name(answer, people, annotator)] = None if answer.was_cancelled else "\n".join(chosen)
    if len(votes) < max(task.overlap for task in tasks):
        return [Row(file, "", "", where)]
    ranked = Counter(votes.values()).most_common(2)
    if len(ranked) == 1 or ranked[0][1] > ranked[1][1]:
        return [Row(file, ranked[0][0], ", ".join(sorted(votes)), where)]
    return [Row(file, label, name, f"{where}, {shown(name)}") for name, label in votes.items()]


def _name(answer: Annotation, people: Mapping[int, str], annotator: str) -> str:
    """What the annotator of an answer is called."""
    who = answer.completed_by
    if isinstance(who, Person):
        if who.email:
            return who.email
        who = who.id
    return annotator if who is None else people.get(who, f"user {who}")
