"""The run log: record and checkpoint at once, one JSON line a request and its answer, appended and flushed to disk.

A torn last line, the trace of a kill while writing, is dropped. Every line carries a checksum of itself and of all
before it, so no damage goes unnoticed. ``recorded.py`` reads what a log says of a run without running anything.
"""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from mcal_jax.algorithm.config import LATER, PRICES
from mcal_jax.algorithm.fields import OLD_NAMES
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import Answer, Request
from mcal_jax.errors import LogClosed, LogNotWritten, McalError
from mcal_jax.files import Lock, read_bytes, write_atomically
from mcal_jax.runs.codec import answer_json, differences, first_line, plan_json, request_json

FORMAT = 3
"""Of the file. This version reads no other."""
LOG_BEGINS = '{"mcal_jax_log":'

RULES = 1
"""Version of the decision rules, written into the head of each log: raised by every change that may have the same
answers lead to other requests. Logs of older rules are read, drawn, priced and resumed all the same."""


class Entry(NamedTuple):
    """A line of a log: a request, its answer, and the figures of the plan behind the request, if there was one."""

    request: dict[str, Any]
    answer: dict[str, Any]
    plan: dict[str, Any] | None = None

    def is_label(self, *purposes: str) -> bool:
        """Whether humans were asked for labels, for one of these purposes."""
        return self.request.get("kind") == "label" and self.request.get("purpose") in purposes


class RunLog:
    """A run log on disk. ``run`` is whatever describes the world (data set, seed, ...) as JSON, ``content`` what the
    images are, as far as that is known, ``made`` where and with which versions it was begun, ``rules`` the version
    of the decision rules, ``parts`` answers of humans as they came in (see ``Session``). Several threads may write:
    annotators answer gold questions while a classifier trains.

    Raises McalError if the file can't be read or written, is damaged before its last line, or is of another
    format version.
    """

    def __init__(self, path: str | Path, head: dict[str, Any], job: Job, checksum: str):
        self.path, self.job, self.checksum = Path(path), job, checksum
        self.run: dict[str, Any] = head.get("run", {})
        self.content: dict[str, Any] = head.get("content", {})
        self.made: dict[str, Any] = head.get("made", {})
        self.rules: int = head.get("rules", 1)
        self.entries: list[Entry] = []
        self.parts: list[dict[str, Any]] = []
        self.end: dict[str, Any] | None = None
        self._file: Any = None
        self._lock: Lock | None = None
        self._writer = threading.RLock()  # held from the checksum of a line until the line is in the file
        self._together: int | None = None  # the thread whose lines wait for the disk together
        self._is_waiting = False  # whether there are such lines

    @classmethod
    def create(
        cls,
        path: str | Path,
        job: Job,
        run: dict[str, Any],
        made: dict[str, Any] | None = None,
        content: dict[str, Any] | None = None,
    ) -> "RunLog":
        """A new, empty log, where a link leads to if ``path`` is one. Raises McalError if the file exists, or can't be
        written."""
        head: dict[str, Any] = {
            "mcal_jax_log": FORMAT,
            "rules": RULES,
            "job": job.model_dump(mode="json"),
            "run": run,
            "content": content or {},
            "made": made or {},
        }
        sealed, checksum = seal(head, "")
        log = cls(path, head, job, checksum)
        lock = Lock(log.path)
        try:
            if os.path.exists(log.path):
                raise McalError(f"{path} exists; resume it, or give another path")
            write_atomically(log.path, sealed.decode())
            log._file = _open(log.path)
        except BaseException:
            lock.release()
            raise
        log._lock = lock
        return log

    @classmethod
    def read(cls, path: str | Path) -> "RunLog":
        """A log as it is on disk, less a torn last line."""
        path = Path(path)
        lines, _ = _complete_lines(path)
        try:
            head = json.loads(lines[0])
            version = head["mcal_jax_log"]
            if version != FORMAT:
                raise McalError(f"{path}: run log of format {version}, this version reads {FORMAT}")
            checksum, bodies = "", [head, *map(json.loads, lines[1:])]
            for number, body in enumerate(bodies, 1):
                given = body.pop("checksum")
                if given != (checksum := seal(body, checksum)[1]):
                    raise ValueError(f"line {number} is not as it was written")
            head = _as_begun(head)
            log = cls(path, head, _job(path, head), checksum)
            for body in bodies[1:]:
                if "end" in body:
                    log.end = log.end or body["end"]
                elif "part" in body:
                    log.parts.append(body["part"])
                else:
                    log.entries.append(Entry(body["request"], body["answer"], body.get("plan")))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise McalError(f"{path}: not a run log, or damaged ({first_line(error)})") from None
        return log

    @classmethod
    def resume(cls, path: str | Path) -> "RunLog":
        """A log opened to go on; the torn last line is cut off the file. Raises McalError, also where another process
        writes it."""
        file = _open(Path(path))
        try:
            lock = Lock(path)  # before reading: another process may be at its last lines
        except McalError:
            file.close()
            raise
        try:
            log = cls.read(path)
            file.truncate(_complete_lines(log.path)[1])
        except BaseException:
            file.close()
            lock.release()
            raise
        log._file, log._lock = file, lock
        return log

    def append(self, number: int, request: Request, answer: Answer) -> None:
        """Write a request and its answer, and wait until they are on the disk. Raises McalError."""
        line = {"number": number, "request": request_json(request), "answer": answer_json(answer)}
        if request.plan:
            line["plan"] = plan_json(request.plan)
        self._write(line)

    def append_parts(self, *parts: dict[str, Any]) -> None:
        """Write parts of an answer, all or none: images that humans were asked about, or labels of some of them.
        Raises McalError."""
        with self._writer:
            self._write(*({"part": part} for part in parts))
            self.parts.extend(parts)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Lines that this thread writes within are on the disk at the end, all by one wait for it. Raises McalError."""
        self._together = threading.get_ident()
        try:
            yield
        finally:
            with self._writer:
                self._together = None
                if self._is_waiting and self._file and not self._file.closed:
                    self._is_waiting = False
                    self._sync()

    def finish(self, end: dict[str, Any]) -> None:
        """Write the outcome in figures, or compare it with the one written before. Raises McalError if they differ,
        dollars by a cent."""
        if self.end is None:
            self._write({"end": end})
            self.end = end
        if end["true_error"] is None:  # a replay does not know the truth
            end = {**end, "true_error": self.end["true_error"]}
        if different := differences(self.end, end):
            raise McalError(
                f"{self.path}: the outcome differs from the one recorded, of decision rules {self.rules}, in "
                f"{', '.join(different[:3])}"
            )

    def close(self) -> None:
        """Close the file, and let other processes write it."""
        with self._writer:
            if self._file:
                self._file.close()
            if self._lock:
                self._lock.release()

    def check_open(self) -> None:
        """Raises LogClosed for a log that was opened to be written and is closed."""
        if self._file and self._file.closed:
            raise LogClosed(f"{self.path} is closed; open it again")

    def _write(self, *lines: dict[str, Any]) -> None:
        """Add lines, all or none: where the disk is full, or at Ctrl-C, the same call can be made again later."""
        if not self._file:
            return
        with self._writer:
            self.check_open()
            before, length = self.checksum, self._file.seek(0, os.SEEK_END)
            try:
                self._add(lines)
            except BaseException:
                self.checksum = before
                try:
                    self._file.truncate(length)
                except OSError:
                    self._file.close()  # nothing may be written behind half a line
                raise

    def _add(self, lines: Iterable[dict[str, Any]]) -> None:
        text = b""
        for line in lines:
            sealed, self.checksum = seal(line, self.checksum)
            text += sealed
        left = memoryview(text)
        with self._writing():
            while left:
                left = left[self._file.write(left) :]
        if self._together == threading.get_ident():
            self._is_waiting = True
        else:
            self._sync()
            self._is_waiting = False

    def _sync(self) -> None:
        """Wait until all lines are on the disk. Raises McalError."""
        with self._writing():
            os.fsync(self._file.fileno())

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LogNotWritten(f"can't write {self.path}: {error.strerror}; resume it when that is mended") from None


def seal(line: dict[str, Any], before: str) -> tuple[bytes, str]:
    """A line of a log as it is written, and its checksum, which covers the checksum ``before`` it too."""
    checksum = hashlib.blake2b((before + json.dumps(line)).encode(), digest_size=8).hexdigest()
    return json.dumps({**line, "checksum": checksum}).encode() + b"\n", checksum


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted keys."""
    plain: dict[str, Any] = {}
    for key, value in settings.items():
        plain |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return plain


def _as_begun(head: dict[str, Any]) -> dict[str, Any]:
    """The head of a log in which all settings that it decided by stand, whatever today's defaults are."""
    job, run = head["job"], head.get("run", {})
    config = {**LATER, **{OLD_NAMES.get(key, key): value for key, value in job.get("config", {}).items()}}
    if "config" in run:
        given = {OLD_NAMES.get(key, key): value for key, value in run["config"].items()}
        decided = {key: value for key, value in config.items() if key not in PRICES}
        run = {**run, "config": {**decided, **given}}
    return {**head, "run": run, "job": {**job, "config": config}}


def _job(path: Path, head: dict[str, Any]) -> Job:
    """The job of a log's head.

    Raises McalError for a setting that only a later version can know.
    """
    try:
        return Job.model_validate(head["job"])
    except ValidationError as error:
        unknown = [e["loc"] for e in error.errors() if e["type"] == "extra_forbidden"]
        if not unknown:
            raise
        made = head.get("made", {}).get("versions", {}).get("mcal-jax", "another version")
        setting = ".".join(map(str, unknown[0]))
        raise McalError(f"{path}: this version has no setting {setting}; the log was made by mcal-jax {made}") from None


def _open(path: Path) -> Any:
    """The file, open for reading and writing. Raises McalError."""
    try:
        return open(path, "r+b", buffering=0)
    except OSError as error:
        what = "read" if isinstance(error, FileNotFoundError) else "write"
        raise McalError(f"can't {what} {path}: {error.strerror}") from None


def _complete_lines(path: Path) -> tuple[list[bytes], int]:
    """The lines that end in a newline, and their length in bytes."""
    data = read_bytes(path)
    length = data.rfind(b"\n") + 1
    return data[:length].splitlines(), length
