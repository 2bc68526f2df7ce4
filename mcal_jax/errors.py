"""Errors that a user sees, each in one line, and the hint at the name that was probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches


class McalError(Exception):
    """A mistake in what the user gave, told in one line that names the culprit (command line: exit code 2)."""


class NoRuns(McalError):
    """None of the runs that a figure or table needs is there."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """The nearest of the ``known`` names as a question, or else all of them.

    >>> suggestion("margins", ["margin", "entropy"])
    "did you mean 'margin'?"
    >>> suggestion("nearest", ["margin", "entropy"])
    'known: margin, entropy'
    """
    names = list(known)
    near = get_close_matches(name, names, 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
