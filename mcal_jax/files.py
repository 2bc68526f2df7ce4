"""Files of the user: written whole or not at all, by one process at a time, and never over an input or a record."""

import contextlib
import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from mcal_jax.errors import BeingWritten, McalError


def absolute(path: str | os.PathLike) -> Path:
    """``path`` from the root, "~" expanded where it names a home folder; links are left as they are.

    Raises McalError for a name that no file can have.
    """
    if "\0" in os.fsdecode(path):
        raise McalError(f"no file can have the name {os.fsdecode(path)!r}")
    return Path(os.path.abspath(os.path.expanduser(path)))


def cache_folder() -> Path:
    """Where compiled programs and decoded pictures are kept: mcal_jax in the user's cache folder.

    That is XDG_CACHE_HOME, if it is absolute, or ~/.cache.

    Raises OSError if there is no such folder and none can be made, or if it can't be written to.
    """
    variable = os.environ.get("XDG_CACHE_HOME", "")
    try:
        path = (Path(variable) if os.path.isabs(variable) else Path.home() / ".cache") / "mcal_jax"
    except RuntimeError:
        raise OSError("no home folder: set XDG_CACHE_HOME to a folder for compiled programs and pictures") from None
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        dir=path
    ):  # a folder's permissions say little about a disk that is read-only or full
        pass
    return path


def write_atomically(path: Path, text: str) -> None:
    """Write a UTF-8 file whole or not at all, where a link leads to if ``path`` is one. Raises McalError.

    A device, such as /dev/null, is written to and stays a device.
    """
    write_bytes_atomically(path, text.encode("utf-8", "surrogateescape"))


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """``write_atomically`` for what is not text. Raises McalError."""
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:200]}.{os.getpid()}-{threading.get_ident()}")
    try:
        is_device = target.exists() and not target.is_file()
        target.parent.mkdir(parents=True, exist_ok=True)
        (target if is_device else temporary).write_bytes(content)
        if not is_device:
            os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise McalError(f"can't write {path}: {error.strerror}") from None


class Lock:
    """The right to write a file, held by one process at a time until ``release``, by whichever of its threads, or until
    the process ends, however it ends.

    The lock is on a hidden file beside the one that ``path`` leads to, which is removed on release; one that a killed
    process left is reused. Folders are made as needed. Raises BeingWritten if another process holds the lock, or this
    one does already, and McalError if nothing can be written there.
    """

    _held: ClassVar[set[Path]] = set()

    def __init__(self, path: str | os.PathLike):
        from filelock import FileLock, Timeout

        target = Path(os.path.realpath(path))
        self.path = target.with_name(f".{target.name[:200]}.lock")
        self._lock = FileLock(self.path, thread_local=False)  # any thread may release it
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            if self.path in self._held:
                raise BeingWritten(
                    f"{path} is open in this process: close the run or the session that has it"
                ) from None
            raise BeingWritten(f"{path} is being written by another process") from None
        except OSError as error:
            raise McalError(f"can't write {path}: no lock {self.path.name} beside it: {error.strerror}") from None
        self._held.add(self.path)

    def release(self) -> None:
        """Let another process write the file."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                self.path.unlink()  # while it is held: nobody else can have locked it
            self._lock.release()
            self._held.discard(self.path)


def check_distinct(paths: Mapping[str, str | os.PathLike | None]) -> None:
    """Raises McalError where two of the files are one and the same, through links too; names say what each is for."""
    given = {what: absolute(path) for what, path in paths.items() if path is not None}
    names = list(given)
    for i, one in enumerate(names):
        for other in names[:i]:
            if is_same_file(given[one], given[other]):
                raise McalError(f"{one} and {other} are the same file, {given[one]}: give each a file of its own")


def is_same_file(a: Path, b: Path) -> bool:
    """Whether two paths lead to one file, which need not exist yet."""
    with contextlib.suppress(OSError):
        if os.path.samefile(a, b):
            return True
    return os.path.realpath(a) == os.path.realpath(b)


def check_writable(path: str | os.PathLike, what: str, *beginnings: str) -> None:
    """Raises McalError if the file can't be written, or is there and has none of the ``beginnings`` of what we write
    here.

    An empty file may be written over. Nothing is changed.
    """
    target = Path(os.path.realpath(absolute(path)))
    try:
        if target.is_symlink():
            raise McalError(f"{what}: can't write {path}: the link leads to itself")
        if target.is_dir():
            raise McalError(f"{what}: {path} is a folder; give the name of a file")
        if target.exists() and not target.is_file():
            return  # a device such as /dev/null
        if target.exists() and beginnings:
            with target.open("rb") as file:
                head = file.read(max(map(len, beginnings)))
            if head and not head.decode(errors="replace").startswith(beginnings):
                raise McalError(f"{what}: {path} holds something else and would be lost; give another name")
        folder = target.parent
        while not folder.exists():
            folder = folder.parent
    except OSError as error:
        raise McalError(f"{what}: can't write {path}: {error.strerror}") from None
    if not folder.is_dir():
        raise McalError(f"{what}: can't write {path}: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise McalError(f"{what}: can't write {path}: no permission to write in {folder}, or it is read-only")
    if len(os.fsencode(target.name)) > 255:
        raise McalError(f"{what}: can't write {path}: the name is too long")


def read_bytes(path: str | os.PathLike) -> bytes:
    """The content of a file or a pipe. Raises McalError, also for a device, since some of them never end."""
    path = Path(path)
    try:
        if path.is_char_device() or path.is_block_device():
            raise McalError(f"can't read {path}: it is a device")
        return path.read_bytes()
    except OSError as error:
        raise McalError(f"can't read {path}: {error.strerror}") from None
