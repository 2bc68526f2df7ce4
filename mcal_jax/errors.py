"""Errors that a user sees, each in one line, and the hint at the name that was probably meant."""

import os
from collections.abc import Iterable
from difflib import get_close_matches


class McalError(Exception):
    """A mistake in what the user gave, in one line that names the culprit (command line: exit code 2)."""


class BeingWritten(McalError):
    """Another process, or another part of this one, has the file open for writing."""


class LogClosed(McalError):
    """A run log was to be written after it was closed, or after its run came to the end."""


class LogNotWritten(McalError):
    """The disk did not take what was to be written into a run log."""


class NoRuns(McalError):
    """None of the runs that a figure or table needs is there."""


def at_least(least: int, **given: int | None) -> None:
    """Raises McalError for what is given and no whole number, or a smaller one, by its name."""
    for name, value in given.items():
        if value is None:
            continue
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise McalError(f"{name}: a whole number, {least} or more, not {value!r}")
        if value < least:
            raise McalError(f"{name}: at least {least}, got {value}")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The nearest of the ``known`` names, None where none is near.

    >>> nearest("margins", ["margin", "entropy"])
    'margin'
    """
    return next(iter(get_close_matches(name, list(known), 1)), None)


def suggestion(name: str, known: Iterable[str]) -> str:
    """The nearest of the ``known`` names as a question, or else all of them.

    >>> suggestion("margins", ["margin", "entropy"])
    "did you mean 'margin'?"
    >>> suggestion("nearest", ["margin", "entropy"])
    'known: margin, entropy'
    """
    names = list(known)
    near = nearest(name, names)
    return f"did you mean {near!r}?" if near else f"known: {', '.join(names) or 'none'}"


def as_text(name: str) -> str:
    r"""The name of a file as text that tables and messages can hold: bytes that are not UTF-8 are escaped.

    >>> as_text(os.fsdecode(b"\xff.png"))
    '\\xff.png'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def shown(name: str) -> str:
    """A name of a file or a class as it may stand in a line: control characters and what is no text are escaped.

    >>> shown("a b.png"), shown("two\\nlines.png")
    ('a b.png', "'two\\\\nlines.png'")
    """
    return name if name.isprintable() else ascii(name)
