"""Pictures decoded once into a file that later processes map into memory, however large the pool is.

A cache is a folder for one source: ``files.jsonl`` has a line for each file, its digest and its header, and
``pixels-KEY.u8`` the pixels, uint8 [n, height, width, channels]. KEY is the digest of the files' contents and of the
rule that scales them, so a changed file is decoded again and a renamed one is not. Both are appended to: a killed
process loses a few seconds of work, and a file under its last name is whole.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcal_jax.data.decode import Header, Rule, read_header, read_pixels
from mcal_jax.errors import McalError
from mcal_jax.files import Lock, write_atomically

_AT_ONCE = 256  # pictures between two checkpoints, at most
_IN_MEMORY = 2**28  # bytes of their pixels, if they are more than one


class Found(NamedTuple):
    """A file: its header, or the ``error`` in a line; ``digest`` of its content where there is a cache."""

    file: str
    header: Header | None
    error: str = ""
    digest: str = ""


class Pixels(NamedTuple):
    """The ``images`` of the files that can be decoded, uint8 [n, height, width, channels], in their order, and why each
    of the others ``failed``."""

    images: np.ndarray
    failed: dict[str, str]


def look(root: Path, files: Sequence[str], cache: Path | None = None) -> list[Found]:
    """What is known of each file before it is decoded. Raises McalError where the cache can't be written."""
    if cache is None:
        return [_found(root, file) for file in files]
    known = _index(cache)
    found, new = [], []
    for file in files:
        stamp = _stamp(root, file)
        line = known.get(file)
        if line is None or line["stamp"] != stamp:
            line = {"file": file, "stamp": stamp, **_facts(root, file)}
            new.append(line)
        if len(new) == _AT_ONCE:
            _append(cache, new)
            new = []
        found.append(Found(file, Header(*line["header"]) if line["header"] else None, line["error"], line["digest"]))
    _append(cache, new)
    return found


def decode(root: Path, found: Sequence[Found], rule: Rule, cache: Path | None = None) -> Pixels:
    """The pixels of the files, in memory or mapped from the cache. Raises McalError where that can't be written."""
    files = [one.file for one in found]
    if cache is None:
        images, written = np.empty((len(files), rule.height, rule.width, rule.channels), np.uint8), 0
        failed: dict[str, str] = {}
        for part, errors in _decoded(root, files, rule):
            images[written : written + len(part)] = part
            written, failed = written + len(part), failed | errors
        return Pixels(images[:written], failed)
    lock = Lock(cache / "pixels")
    try:
        return _from_cache(root, found, rule, cache)
    except OSError as error:
        raise McalError(f"can't write the decoded pictures to {cache}: {error.strerror}") from None
    finally:
        lock.release()


def _from_cache(root: Path, found: Sequence[Found], rule: Rule, cache: Path) -> Pixels:
    content = json.dumps([*rule, *((one.digest, one.file if one.error else "") for one in found)])
    key = hashlib.blake2b(content.encode(), digest_size=12).hexdigest()
    whole, about = cache / f"pixels-{key}.u8", cache / f"pixels-{key}.json"
    if not whole.exists():
        _check_space(len(found), rule, cache)
        _write(root, [one.file for one in found], rule, whole, about)
    for stale in cache.glob("pixels-*"):
        if key not in stale.name:
            stale.unlink(missing_ok=True)
    progress = json.loads(about.read_text(encoding="utf-8"))
    shape = (progress["written"], rule.height, rule.width, rule.channels)
    if whole.stat().st_size != np.prod(shape):
        whole.unlink()  # somebody cut it off: it is decoded again
        return _from_cache(root, found, rule, cache)
    images = np.memmap(whole, np.uint8, "r", shape=shape) if shape[0] else np.empty(shape, np.uint8)
    return Pixels(images, progress["failed"])


def _check_space(n: int, rule: Rule, cache: Path) -> None:
    """Raises McalError where the pixels of ``n`` pictures do not fit on the disk."""
    need, free = n * rule.height * rule.width * rule.channels, shutil.disk_usage(cache).free
    if need > free:
        raise McalError(
            f"{n:,} pictures of {rule.width}x{rule.height} pixels take {need / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB "
            f"are free in {cache}: choose a smaller size"
        )


def _write(root: Path, files: Sequence[str], rule: Rule, whole: Path, about: Path) -> None:
    """Decode into ``whole``, from where a killed process stopped."""
    draft = whole.with_suffix(".part")
    progress: dict[str, Any] = {"read": 0, "written": 0, "failed": {}}
    if draft.exists() and about.exists():
        progress = json.loads(about.read_text(encoding="utf-8"))
    row = rule.height * rule.width * rule.channels
    with open(draft, "ab") as out:
        out.truncate(progress["written"] * row)
        for part, errors in _decoded(root, files[progress["read"] :], rule):
            out.write(part.tobytes())
            out.flush()
            os.fsync(out.fileno())
            progress["read"] += len(part) + len(errors)
            progress["written"] += len(part)
            progress["failed"] |= errors
            write_atomically(about, json.dumps(progress))
    write_atomically(about, json.dumps(progress))
    os.replace(draft, whole)


def _decoded(root: Path, files: Sequence[str], rule: Rule) -> Iterator[tuple[np.ndarray, dict[str, str]]]:
    """The pixels of the next files and the errors of those among them that can't be decoded, again and again."""

    def one(file: str) -> np.ndarray | str:
        try:
            return read_pixels(root, file, rule)
        except McalError as error:
            return str(error)

    at_once = max(1, min(_AT_ONCE, _IN_MEMORY // (rule.height * rule.width * rule.channels)))
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as threads:
        for start in range(0, len(files), at_once):
            some = files[start : start + at_once]
            results = list(threads.map(one, some))
            good = [result for result in results if isinstance(result, np.ndarray)]
            pixels = np.stack(good) if good else np.empty((0, rule.height, rule.width, rule.channels), np.uint8)
            yield pixels, {f: r for f, r in zip(some, results, strict=True) if isinstance(r, str)}


# ---------------------------------------------------------------------------------------------------------
# The index of files


def _found(root: Path, file: str) -> Found:
    try:
        return Found(file, read_header(root, file))
    except McalError as error:
        return Found(file, None, str(error))


def _facts(root: Path, file: str) -> dict[str, Any]:
    found = _found(root, file)
    digest = "" if found.header is None else hashlib.blake2b((root / file).read_bytes(), digest_size=16).hexdigest()
    return {"header": found.header, "error": found.error, "digest": digest}


def _stamp(root: Path, file: str) -> list[int]:
    """What changes when a file does."""
    try:
        stat = (root / file).stat()
        return [stat.st_size, stat.st_mtime_ns]
    except (OSError, ValueError):
        return []


def _index(cache: Path) -> dict[str, dict[str, Any]]:
    """The lines about files by their name; torn or damaged ones are dropped, and those files are looked at again."""
    known = {}
    try:
        lines = (cache / "files.jsonl").read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise McalError(f"can't read {cache / 'files.jsonl'}: {error.strerror}") from None
    for line in lines:
        with contextlib.suppress(ValueError, AttributeError, TypeError):
            about = json.loads(line)
            if about.keys() == {"file", "stamp", "header", "error", "digest"}:
                known[about["file"]] = about
    return known


def _append(cache: Path, lines: Sequence[dict[str, Any]]) -> None:
    if not lines:
        return
    path = cache / "files.jsonl"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as out:
            if out.tell():
                out.seek(-1, os.SEEK_END)
                if out.read(1) != b"\n":
                    out.write(b"\n")  # after a torn line
            out.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    except OSError as error:
        raise McalError(f"can't write {path}: {error.strerror}") from None
