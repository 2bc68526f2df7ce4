"""The round of a door that is visited now and then: take answers, then hand out what is missing of the open batch."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from mcal_jax.labelling.answers import Row, positions, take
from mcal_jax.labelling.doors import Visit
from mcal_jax.session import Batch


class Answers(NamedTuple):
    """What came back: answers to batch ``number``, what they are called, and a line for each that can't be read."""

    number: int
    name: str
    rows: list[Row]
    refused: list[str]


Reader = Callable[[Batch | None], Iterable[Answers]]
"""Gives all answers that are there, while a batch is open or, with None, at the end."""
HandOut = Callable[[Visit, Batch, Sequence[str]], object]
"""Gives images of a batch, by name, to annotators; returns where they are."""


def go_on(visit: Visit, read: Reader, hand_out: HandOut, put_away: Callable[[Batch | None], None]) -> Batch | None:
    """Take answers for as long as they complete batches, then hand out what is missing of the open one.

    ``put_away`` is called with the batch that is open then, and clears away what belongs to earlier ones. Raises
    McalError.
    """
    names = list(positions(visit.session.dataset))
    batch = visit.session.ask()
    while True:
        mentioned = _collect(visit, batch, read(batch))
        before, batch = batch, visit.session.ask()
        put_away(batch)
        if batch is None:
            return None
        if before is not None and batch.number == before.number:
            break
    missing = [names[i] for i in batch.indices if names[i] not in mentioned]
    if missing:
        where = hand_out(visit, batch, missing)
        visit.emit(f"written: {where}")
    return batch


def _collect(visit: Visit, batch: Batch | None, answers: Iterable[Answers]) -> set[str]:
    """Take answers; returns the images that those to the open batch mention."""
    mentioned: set[str] = set()
    for number, name, rows, unread in answers:
        taken = take(visit.session, number, batch, rows)
        refused = [*unread, *taken.refused]
        if taken.new or refused:
            known = f", {taken.known:,} known before" if taken.known else ""
            count = f", {len(refused):,} refused:" if refused else ""
            visit.emit(f"{name}: {taken.new:,} labels taken{known}{count}")
        for line in refused:
            visit.emit(line)
        if batch is not None and number == batch.number:
            mentioned |= {row.file for row in rows}
    return mentioned
