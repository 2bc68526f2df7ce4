"""Doors: the ways in which images reach humans and labels come back, by name.

A door is a function that is visited again and again. Each visit takes what has come back, hands out what is wanted
next, and returns the batch that is open then, or None when every image has a label.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mcal_jax.labelling.servers import Server
from mcal_jax.registry import Registry
from mcal_jax.runs.settings import Emit
from mcal_jax.session import Batch, Session


class Visit(NamedTuple):
    """What a door works with.

    ``source`` is the folder that holds the files of the images, None where they are no files. ``out`` is the folder of
    the job, ``annotator`` who labelled where the answers do not say, ``emit`` prints a line, ``server`` is where
    annotators are, for a door that reaches them through one, ``page`` what ``mcal_jax.serve`` is given.
    """

    session: Session
    source: Path | None
    out: Path
    annotator: str
    emit: Emit
    server: Server = Server()
    page: Mapping[str, Any] = {}


Door = Callable[[Visit], Batch | None]

DOORS: Registry[Door] = Registry(
    "door",
    {
        "csv": "mcal_jax.labelling.files:by_table",
        "folder": "mcal_jax.labelling.files:by_links",
        "copies": "mcal_jax.labelling.files:by_copies",
        "browser": "mcal_jax.labelling.browser:by_page",
        "label-studio": "mcal_jax.labelling.label_studio.door:by_server",
        "label-studio-files": "mcal_jax.labelling.files:by_tasks",
    },
)
