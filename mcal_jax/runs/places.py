"""Where a worker writes the log of a run: at its place, or where it can't see that, in a folder of its own."""

import contextlib
import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from mcal_jax.errors import BeingWritten, McalError
from mcal_jax.files import Lock, cache_folder, read_bytes, write_bytes_atomically

T = TypeVar("T")
POLL = 1.0  # seconds between two looks at a log that another worker writes


class Place(NamedTuple):
    """The place of a log, as a worker is told.

    ``probe`` is a file that exists in the folder of the log, or in what looks like it on another machine, does not;
    None: the worker is on this machine. For the latter case ``own`` is a name for the worker's folder, and ``begun``
    what there is of the log.
    """

    log: Path
    probe: Path | None = None
    own: str = ""
    begun: bytes = b""

    def here(self) -> Path:
        """Where this process writes the log. Raises McalError if it can't."""
        if self.probe is None or self.probe.exists():
            return self.log
        try:
            path = cache_folder() / "logs" / self.own
        except OSError as error:
            raise McalError(f"no folder for logs on this worker: {error}") from None
        if self.begun:
            when_free(path, lambda: self._begin(path))
        return path

    def _begin(self, path: Path) -> None:
        """Go on from the longer of what was sent and what is there, of an attempt that was interrupted."""
        if not path.exists() or path.stat().st_size < len(self.begun):
            store(path, self.begun)


def place(path: Path, probe: Path | None, again: bool) -> Place:
    """Where the log that belongs at ``path`` is written; with ``again`` beside the one that it will replace.

    Raises McalError for a log that can't be read.
    """
    log = path.with_name(f"{path.name}.new") if again else path
    if probe is None:
        return Place(log)
    # Of two reruns, the second must not find what the first one left in a worker's folder.
    replaced = hashlib.blake2b(_read(path) if again else b"", digest_size=6).hexdigest()
    return Place(log, probe, f"{path.stem}-{replaced}{path.suffix}", _read(log))


def _read(path: Path) -> bytes:
    return read_bytes(path) if path.exists() else b""


@contextlib.contextmanager
def probing(folder: Path) -> Iterator[Path]:
    """A file in ``folder`` that no other folder has, removed at the end. Raises McalError if none can be written."""
    for stale in folder.glob(".probe-*.lock"):
        with contextlib.suppress(McalError):  # of a process that is at work
            Lock(folder / stale.name[1:-5]).release()
    lock = Lock(folder / f"probe-{uuid.uuid4().hex}")
    try:
        yield lock.path
    finally:
        lock.release()


def store(path: Path, log: bytes) -> None:
    """Write a log that a worker sent. Raises McalError, also where another process writes it."""
    lock = Lock(path)
    try:
        write_bytes_atomically(path, log)
    finally:
        lock.release()


def when_free(path: Path, write: Callable[[], T]) -> T:
    """The value of ``write``, called once no other worker writes the log at ``path``.

    A worker that the scheduler gave up may still be at work: no log is written by two, and what the other one
    finishes need not be done again.
    """
    while True:
        try:
            Lock(path).release()  # before ``write`` prepares anything
            return write()
        except BeingWritten:
            time.sleep(POLL)
