"""Doors: the ways in which images reach humans and labels come back, by name.

A door is a function that is visited again and again. Each visit takes what has come back, hands out what is wanted
next, and returns the batch that is open then, or None when every image has a label.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mcal_jax.registry import Registry
from mcal_jax.runs.settings import Emit
from mcal_jax.session import Batch, Session


class Visit(NamedTuple):
    """What a door works with.

    ``source`` is the folder that holds the files of the images, None where they are no files. ``out`` is the folder of
    the job, ``annotator`` who labelled where the answers do not say, ``emit`` prints a line.
    """

    session: Session
    source: Path | None
    out: Path
    annotator: str
    emit: Emit


Door = Callable[[Visit], Batch | None]

DOORS: Registry[Door] = Registry(
    "door",
    {
        "csv": "mcal_jax.labelling.files:by_table",
        "folder": "mcal_jax.labelling.files:by_links",
        "copies": "mcal_jax.labelling.files:by_copies",
    },
)


def next_batch(session: Session) -> Batch | None:
    """What humans are to label next, once every label that the source knew already is taken; None at the end."""
    given = session.dataset.given
    while (batch := session.ask()) is not None:
        known = batch.indices[given[batch.indices] >= 0] if given is not None and batch.purpose != "relabel" else []
        if given is None or not len(known):
            return batch
        session.tell(known, given[known].tolist(), annotator=session.dataset.name)
    return None
