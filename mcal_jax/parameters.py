"""Parameters of notebooks as people and papermill write them: 1e4 for a whole number, ~ in a path, a list as text."""

import math
import os
from pathlib import Path
from typing import Any

import yaml

from mcal_jax import settings
from mcal_jax.types import McalError


def folder(out: str | os.PathLike | None, *default: str) -> Path:
    """The absolute path of ``out``, by default that of the folder ``default`` of results/."""
    return Path(out).expanduser().absolute() if out else settings.results().joinpath(*default)


def whole(**given: Any) -> Any:
    """Whole numbers, in order; None stays None. Raises McalError naming the parameter."""
    return _each(given, _whole)


def numbers(**given: Any) -> Any:
    """Numbers, in order; None stays None. Raises McalError naming the parameter."""
    return _each(given, _number)


def several(**given: Any) -> Any:
    """Lists, in order: each given as a list, as its text, as names with commas between, or as the one thing in it."""
    return _each(given, _several)


def price(service: str | float) -> str | float:
    """The name of a labelling service, or the dollars of a label."""
    return _plain(service)


def _each(given: dict[str, Any], read: Any) -> Any:
    found = [value if value is None else read(name, value) for name, value in given.items()]
    return found[0] if len(found) == 1 else found


def _plain(value: Any) -> Any:
    """Text that is a number as that number."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                pass
    return value


def _number(name: str, value: Any) -> float:
    number = _plain(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise McalError(f"{name}: expected a number, got {value!r}")
    return number


def _whole(name: str, value: Any) -> int:
    try:
        number = _number(name, value)
    except McalError:
        number = math.nan
    if number != number // 1:
        raise McalError(f"{name}: expected a whole number, got {value!r}")
    return int(number)


def _several(name: str, value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:
            raise McalError(f"{name}: expected a list, got {value!r}") from None
        value = read if isinstance(read, list) else [part.strip() for part in value.split(",")]
    return [_plain(one) for one in (value if isinstance(value, list | tuple) else [value])]
