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
        self._read(start, out)
        return out

    def take(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Copy the rows at ``indices`` [m] to ``out`` [m, ...]. Raises McalError."""
        if self._part is None:
            np.take(self.array, indices, axis=0, out=out, mode="clip")  # "raise" would copy twice
            return
        begins = np.flatnonzero(np.diff(indices, prepend=indices[:1] - 2) != 1)  # of runs of neighbours
        for at, end in itertools.pairwise([*begins.tolist(), len(indices)]):
            self._read(int(indices[at]), out[at:end])

    def _read(self, start: int, out: np.ndarray) -> None:
        """Fill ``out`` with the rows from ``start`` on."""
        assert self._part is not None
        left, at = out.reshape(-1).view(np.uint8).data, self._part.offset + start * self.array.strides[0]
        while left:
            try:
                count = os.preadv(self._part.descriptor, [left], at)
            except OSError as error:
                raise McalError(f"can't read {self._part.path}: {error.strerror}") from None
            if not count:
                raise McalError(f"{self._part.path} has become shorter since it was opened")
            left, at = left[count:], at + count


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
