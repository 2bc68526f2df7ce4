"""Rows of a large array. Those of an array that is mapped from a file are read, so that they take no more memory."""

import itertools
import os
import weakref
from typing import NamedTuple

import numpy as np

from mcal_jax.errors import McalError


class Part(NamedTuple):
    """Where the rows of an array lie in a file, one after another."""

    descriptor: int
    offset: int
    path: str


class Rows:
    """The rows of ``array`` [n, ...]; threads may share it."""

    def __init__(self, array: np.ndarray):
        self.array = array
        self._part = _part_of_file(array)
        if self._part:
            weakref.finalize(self, os.close, self._part.descriptor)

    def block(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop``, contiguous; the array's own memory where it is in memory. Raises McalError."""
        if self._part is None:
            return np.ascontiguousarray(self.array[start:stop])
        out = np.empty((min(stop, len(self.array)) - start, *self.array.shape[1:]), self.array.dtype)
        _fill(out.reshape(-1).view(np.uint8).data, self._part, start * self.array.strides[0])
        return out

    def take(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Copy the rows at ``indices`` [m] to ``out`` [m, ...]. Raises McalError."""
        if self._part is None:
            np.take(self.array, indices, axis=0, out=out, mode="clip")  # "raise" would copy twice
            return
        begins = np.flatnonzero(np.diff(indices, prepend=indices[:1] - 2) != 1)  # of runs of neighbours
        size, memory = self.array.strides[0], out.reshape(-1).view(np.uint8).data
        runs = itertools.pairwise([*begins.tolist(), len(indices)])
        for row, (at, end) in zip(indices[begins].tolist(), runs, strict=True):
            _fill(memory[at * size : end * size], self._part, row * size)


def _fill(memory: memoryview, part: Part, at: int) -> None:
    """Read what begins ``at`` so many bytes from the begin of ``part``, as much as ``memory`` takes."""
    while memory:
        try:
            count = os.preadv(part.descriptor, [memory], part.offset + at)
        except OSError as error:
            raise McalError(f"can't read {part.path}: {error.strerror}") from None
        if not count:
            raise McalError(f"{part.path} has become shorter since it was opened")
        memory, at = memory[count:], at + count


def _part_of_file(array: np.ndarray) -> Part | None:
    """The part of a file that ``array`` is mapped from; None where it is not, or the file is another by now."""
    mapped, base = None, array
    while isinstance(base, np.ndarray):
        mapped, base = base if isinstance(base, np.memmap) else mapped, base.base  # type: ignore[assignment]
    if mapped is None or not mapped.filename or mapped.mode == "c" or not array.flags.c_contiguous or not array.size:
        return None
    here, there = (values.__array_interface__["data"][0] for values in (array, mapped))
    try:
        part = Part(os.open(mapped.filename, os.O_RDONLY), mapped.offset + here - there, str(mapped.filename))
    except OSError:
        return None
    ends = [(array[at], part.offset + at * array.strides[0]) for at in (0, len(array) - 1)]
    if any(os.pread(part.descriptor, row.nbytes, at) != row.tobytes() for row, at in ends):
        os.close(part.descriptor)
        return None
    return part
