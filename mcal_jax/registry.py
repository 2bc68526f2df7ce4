"""Strategies by name: those of the package, those that a user registers, and those in a file of the user's own.

Architectures, acquisition functions, stop rules, objectives and labelling services are looked up here, so that a name
in a YAML file, on the command line or in a run log is enough to find one. ``my_file.py:name`` and
``package.module:name`` are names too: they need no registration and are found again by another process.
"""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from mcal_jax.errors import McalError, suggestion

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """The strategies of one ``kind`` by name. An entry may be a string, "module:name", that is loaded when first used.

    >>> colours = Registry("colour", {"red": 1})
    >>> colours.register("blue", 2)
    'blue'
    >>> colours["blue"]
    2
    >>> colours["bleu"]
    Traceback (most recent call last):
    mcal_jax.errors.McalError: unknown colour 'bleu': did you mean 'blue'?
    """

    def __init__(self, kind: str, entries: Mapping[str, T | str]):
        self.kind = kind
        self._entries: dict[str, T | str] = dict(entries)
        self._own = frozenset(entries)

    def register(self, name: str, entry: T) -> str:
        """Have ``name`` stand for ``entry`` in this process, in the place of one registered before; returns the name.

        Raises McalError if a strategy of the package has that name.
        """
        if name in self._own and self._entries[name] is not entry:
            raise McalError(f"there is another {self.kind} {name!r}; choose another name")
        if ":" in name:
            raise McalError(f"{self.kind} {name!r}: a name with a colon stands for a file or a module")
        self._entries[name] = entry
        return name

    def name_of(self, strategy: "str | T") -> str:
        """The name of ``strategy``: of an object that has none yet, its own (``__name__``), which is registered."""
        if isinstance(strategy, str):
            return strategy
        for name, entry in self._entries.items():
            if entry is strategy:
                return name
        return self.register(getattr(strategy, "__name__", type(strategy).__name__), strategy)

    def check(self, name: str) -> str:
        """``name``, if there is such a strategy; those in files are not loaded for that. Raises McalError."""
        if name not in self._entries and ":" not in name:
            raise McalError(f"unknown {self.kind} {name!r}: {suggestion(name, self._entries)}")
        return name

    def __getitem__(self, name: str) -> T:
        entry = self._entries.get(self.check(name), name)
        if isinstance(entry, str):
            entry = load(entry, self.kind)
            if name in self._entries:
                self._entries[name] = entry
        return entry

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def short_name(name: str) -> str:
    """The name of a strategy for text and pictures: without the file or module that it is in.

    >>> short_name("/home/ada/my_net.py:MyNet"), short_name("resnet18")
    ('MyNet', 'resnet18')
    """
    return name.rpartition(":")[2]


def load(name: str, kind: str = "object") -> Any:
    """What ``my_file.py:name`` or ``package.module:name`` stands for. Raises McalError."""
    where, _, attribute = name.rpartition(":")
    module = _module_of_file(Path(where), kind) if where.endswith(".py") else _module(where, kind)
    found = getattr(module, attribute, None)
    if found is None:
        public = [key for key in vars(module) if not key.startswith("_")]
        raise McalError(f"{kind} {name!r}: {where} has no {attribute!r}; {suggestion(attribute, public)}")
    return found


def _module(name: str, kind: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise McalError(f"{kind}: can't import {name!r}: {_line(error)}") from error


def _module_of_file(path: Path, kind: str) -> ModuleType:
    """A file as a module, read once by each process."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise McalError(f"{kind}: can't read {path}: {error.strerror}") from None
    digest = hashlib.blake2b(str(path.resolve()).encode() + content, digest_size=8).hexdigest()
    name = f"{path.stem}_{digest}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            # Not by the loader, whose bytecode is stale where a file changes twice in a second.
            exec(compile(content, path, "exec", dont_inherit=True), vars(module))
        except BaseException as error:
            del sys.modules[name]
            if not isinstance(error, Exception):
                raise
            raise McalError(f"{kind}: {path} fails: {_line(error)}") from error
    return sys.modules[name]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
