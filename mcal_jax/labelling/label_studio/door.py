"""The door to a running Label Studio: a batch goes there as tasks of a project, annotations come back as labels.

The server is the memory of what was handed out: a picture has a task of the open batch there, or is sent. So a visit
may be killed anywhere. The project is found by a mark in its description; ``label-studio.json`` in the folder of the
job keeps the mark and the address of the server, never the key.
"""

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import SecretStr

from mcal_jax.errors import McalError, shown
from mcal_jax.files import read_bytes, write_atomically
from mcal_jax.labelling.doors import Visit
from mcal_jax.labelling.label_studio.tasks import INSTRUCTION, encoded, labelling_config, new_task, read_tasks
from mcal_jax.labelling.servers import address, secret
from mcal_jax.labelling.visits import Answers, go_on
from mcal_jax.session import Batch

if TYPE_CHECKING:
    from mcal_jax.labelling.label_studio.client import Studio

KEY = "LABEL_STUDIO_API_KEY"
"""The environment variable that holds the key where none is given."""
TOGETHER = 50
"""Pictures in one request. They have at most 1,600 pixels a side, so that is some tens of MB at most."""
MOST_TASKS = 10
"""Tasks for each image of the pool that are read of one batch; more is an error."""


def by_server(visit: Visit) -> Batch | None:
    """A visit to Label Studio: takes the annotations of the open batch, and sends what it has no tasks for.

    Raises McalError, also without the packages of the extra ``label-studio``, and where address or key are missing.
    """
    config = labelling_config(visit.session.dataset.classes)
    url, mark = _place(visit)
    key = _key(visit)
    try:
        from mcal_jax.labelling.label_studio.client import Studio
    except ImportError as error:
        raise McalError(f"this door needs {error.name}: pip install 'mcal-jax[label-studio]'") from None
    with contextlib.closing(Studio(url, key)) as studio:
        project = studio.project(mark)
        if project is None:
            title = f"mcal: {shown(visit.session.dataset.name)}"[:50]
            project = studio.create_project(title, mark, config, INSTRUCTION)
        return go_on(
            visit,
            lambda batch: _read(visit, studio, project, batch),
            lambda visit, batch, names: _send(visit, studio, project, batch, names),
            lambda batch: None,
        )


def _read(visit: Visit, studio: "Studio", project: int, batch: Batch | None) -> Iterator[Answers]:
    """The annotations of the open batch."""
    if batch is not None:
        most = int(MOST_TASKS * len(visit.session.dataset.images))
        tasks = studio.tasks(project, batch.number, most)
        read = read_tasks(tasks, batch.number, visit.session.dataset, studio.people(), visit.annotator, studio.url)
        yield Answers(batch.number, f"{studio.url}, batch {batch.number}", *read)


def _send(visit: Visit, studio: "Studio", project: int, batch: Batch, names: Sequence[str]) -> str:
    """New tasks for images, given by name; returns where annotators find them."""
    for begin in range(0, len(names), TOGETHER):
        pictures = list(encoded(visit.session.dataset, visit.source, names[begin : begin + TOGETHER]))
        places = studio.upload(project, [(content, media) for _, content, media in pictures])
        tasks = [new_task(name, batch.number, at) for (name, *_), at in zip(pictures, places, strict=True)]
        studio.add(project, tasks)
    return f"{studio.url}/projects/{project}"


def _place(visit: Visit) -> tuple[str, str]:
    """The address of the server and the mark of the project, kept from visit to visit. Raises McalError."""
    path = visit.out / "label-studio.json"
    before: dict[str, str] = {}
    if path.exists():
        try:
            before = {name: str(json.loads(read_bytes(path))[name]) for name in ("url", "mark")}
        except (ValueError, KeyError, TypeError):
            before = {"url": "", "mark": ""}
        if not re.fullmatch(r"mcal-[0-9a-f]{16}", before["mark"]):
            raise McalError(f"{path}: damaged; delete it, give --url again, and the batch goes to a new project")
    url = visit.server.url or before.get("url")
    if not url:
        raise McalError("the door label-studio needs the address of a server: give --url http://127.0.0.1:8080")
    place = {"url": address(url), "mark": before.get("mark") or f"mcal-{secrets.token_hex(8)}"}
    if place != before:
        write_atomically(path, json.dumps(place) + "\n")
    return place["url"], place["mark"]


def _key(visit: Visit) -> SecretStr:
    """The key, as given or from the environment. Raises McalError."""
    if visit.server.key is not None:
        return visit.server.key
    if not os.environ.get(KEY):
        raise McalError(f"the door label-studio needs a key: set {KEY} to an access token of Label Studio")
    return secret(os.environ[KEY])
