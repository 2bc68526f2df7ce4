"""Parameters of notebooks as users and papermill write them: 1e4 for a whole number, ~ in a path, a list as text."""

import os
from pathlib import Path
from typing import Any

import yaml

from mcal_jax.errors import McalError
from mcal_jax.runs import settings


def path(given: str | os.PathLike | None, *default: str) -> Path:
    """The absolute path; where none is given, that of ``default`` under results/."""
    return Path(given).expanduser().absolute() if given else settings.results().joinpath(*default)


def whole(**given: Any) -> Any:
    """Whole numbers, in order, or the only one; None stays None. Raises McalError naming the parameter.

    >>> whole(points="1e4", seed=None)
    [10000, None]
    """
    return _each(given, _whole)


def several(**given: Any) -> Any:
    """Lists, in order, or the only one: each given as a list, as its text, as names with commas between, or as its
    only element. Raises McalError naming the parameter.

    >>> several(thetas="[0.5, 1]", services="amazon, satyam", used=6)
    [[0.5, 1], ['amazon', 'satyam'], [6]]
    """
    return _each(given, _several)


def price(service: str | float) -> str | float:
    """The name of a labelling service, or US dollars per label.

    >>> price("amazon"), price("0.04")
    ('amazon', 0.04)
    """
    return _plain(service)


def _each(given: dict[str, Any], read: Any) -> Any:
    values = [value if value is None else read(name, value) for name, value in given.items()]
    return values[0] if len(values) == 1 else values


def _plain(value: Any) -> Any:
    """The number that a text is, or the value as it is."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                pass
    return value


def _whole(name: str, value: Any) -> int:
    number = _plain(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or number % 1:  # nan % 1 is nan, which is true
        raise McalError(f"{name}: expected a whole number, got {value!r}")
    if number < 0:
        raise McalError(f"{name}: expected 0 or more, got {value!r}")
    return int(number)


def _several(name: str, value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:
            raise McalError(f"{name}: expected a list, got {value!r}") from None
        value = read if isinstance(read, list) else [part.strip() for part in value.split(",")]
    return [_plain(one) for one in (value if isinstance(value, list | tuple) else [value])]
