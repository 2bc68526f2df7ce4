"""Driving an algorithm through a world, with a log that is record and checkpoint at once.

One JSON line a request and its answer, appended and flushed to disk. Resuming feeds the log back and goes on
live; a torn last line, the trace of a kill while writing, is dropped. Every line carries a checksum of itself and
of all before it, so no damage goes unnoticed. What a log says of a run is read by ``recorded.py``, without running
anything; ``replay`` checks that a log and today's decision rules agree.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from mcal_jax.algorithm import stopping
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job, algorithm
from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import (
    Answer,
    Indices,
    Label,
    Labels,
    MachineLabel,
    Measure,
    Measurement,
    Relabel,
    Request,
    SecondLabels,
    Train,
    TrainResult,
    Verification,
    Verify,
    World,
)
from mcal_jax.algorithm.stopping import StopRule
from mcal_jax.errors import McalError
from mcal_jax.files import read_bytes
from mcal_jax.runs.codec import (
    answer_from_json,
    answer_json,
    differences,
    first_line,
    outcome_json,
    plan_json,
    request_json,
)

FORMAT = 3
"""Of the file. This version reads no other."""
LOG_BEGINS = '{"mcal_jax_log":'

RULES = 1
"""Version of the decision rules, written into the head of each log: raised by every change that may have the same
answers lead to other requests. Logs of older rules are read, drawn, priced and resumed all the same."""


class Delivery(NamedTuple):
    """A run at its end: the labels delivered, int32 [n], which the machine gave, and their true error.

    ``true_error`` is the share of X that is labelled wrongly, None where the truth is not known.
    """

    outcome: Outcome
    labels: np.ndarray
    by_machine: np.ndarray
    true_error: float | None


Observer = Callable[[int, Request, Answer], None]


class Driver:
    """An algorithm run step by step: ``request`` is what it asks for next, number ``number``; None at its end.

    What ``log`` holds already is fed back first. The decisions in the log stand: how many images were labelled and when
    training ended, even where today's rules, or the rounding of another machine, would decide otherwise. ``strict``:
    that is an error. Raises McalError if the log does not belong to the job, or if an answer does not fit its request.
    """

    def __init__(
        self,
        job: Job,
        world: World,
        log: "RunLog | None" = None,
        observe: Observer | None = None,
        *,
        strict: bool = False,
    ):
        if log and log.job != job:
            raise McalError(f"{log.path}: the log is of another job: {_job_differences(log.job, job)}")
        self.world, self.log, self.observe = world, log, observe
        self.labels, self.by_machine = np.full(job.n, -1, np.int32), np.zeros(job.n, bool)
        self.delivery: Delivery | None = None
        past = log.entries if log else []
        rules = stopping.stop_with(*job.stop_rules)
        self._run = algorithm(job, rules if strict else _stop_as_recorded(past, rules))
        self.number = 0
        self.request: Request | None = next(self._run)
        for entry in past:
            if self.request is None:
                break
            request = self.request if strict else entry.decided(self.request)
            assert log
            answer = entry.recall(request, log)
            world.restore(request, self.number, answer)
            self._go_on(request, answer)

    def answer(self, answer: Answer) -> None:
        """Answer the request, log both, and go on to the next. Raises McalError."""
        assert self.request is not None
        check_answer(self.request, answer)
        if self.log:
            self.log.append(self.number, self.request, answer)
        self._go_on(self.request, answer)

    def _go_on(self, request: Request, answer: Answer) -> None:
        if isinstance(answer, Labels):
            self.labels[answer.indices] = answer.labels
            self.by_machine[answer.indices] = isinstance(request, MachineLabel)
        if self.observe:
            self.observe(self.number, request, answer)
        try:
            self.request, self.number = self._run.send(answer), self.number + 1
        except StopIteration as end:
            self.request = None
            self._finish(end.value)

    def _finish(self, outcome: Outcome) -> None:
        truth = self.world.truth
        error = None if truth is None else float(np.mean(self.labels != truth))
        self.delivery = Delivery(outcome, self.labels, self.by_machine, error)
        if self.log:
            self.log.finish(self.delivery)


def drive(
    job: Job,
    world: World,
    log: "RunLog | None" = None,
    observe: Observer | None = None,
    *,
    strict: bool = False,
) -> Delivery:
    """Run a job to its end in a world; see ``Driver``. What ``log`` holds already is not done again."""
    driver = Driver(job, world, log, observe, strict=strict)
    while driver.request is not None:
        driver.answer(world.answer(driver.request, driver.number))
    assert driver.delivery
    return driver.delivery


def _stop_as_recorded(past: "list[Entry]", rules: StopRule) -> StopRule:
    """``rules``, but training goes on for as long as the log shows that it did, and no longer where it ended."""
    batches = sum(entry.is_label("train") for entry in past)
    ended = any(entry.request.get("kind") == "annotate" or entry.is_label("certify", "residual") for entry in past)

    def stop(n: int, plans: Sequence[Plan], config: Config) -> str | None:
        if len(plans) < batches:
            return None
        return rules(n, plans, config) or ("as_recorded" if ended and len(plans) == batches else None)

    return stop


def _job_differences(recorded: Job, wanted: Job) -> str:
    """Every setting in which two jobs differ, as "config.epsilon = 0.05, now 0.1"."""
    old, new = (flat(job.model_dump(mode="json")) for job in (recorded, wanted))
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return "; ".join(f"{key} = {old.get(key)}, now {new.get(key)}" for key in keys)


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted keys."""
    plain: dict[str, Any] = {}
    for key, value in settings.items():
        plain |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return plain


def check_answer(request: Request, answer: Answer) -> None:
    """Raises McalError if an answer is of the wrong kind, labels other images than were in the pool, or not as
    many as asked."""
    wanted = {Train: TrainResult, Measure: Measurement, Verify: Verification, Relabel: SecondLabels}.get(
        type(request), Labels
    )
    if not isinstance(answer, wanted):
        raise McalError(f"{type(request).__name__} was answered by {type(answer).__name__}")
    if isinstance(answer, Verification) and isinstance(request, Verify):
        sizes = {len(column) for column in answer[:3]} | ({len(answer.ahead_in_class)} if len(answer.called) else set())
        sizes |= {len(answer.human)} if len(answer.elsewhere) else set()
        inside = not len(answer.ahead) or (answer.ahead.min() >= 0 and answer.ahead.max() <= len(request.pool))
        if sizes != {len(request.sample)} or not inside:
            raise McalError(f"asked about {len(request.sample)} images, got an answer that does not fit them")
    if not isinstance(answer, Labels | SecondLabels) or isinstance(request, Train | Measure | Verify):
        return
    indices, labels = answer[:2]
    if isinstance(answer, Labels) and len(answer.margins) not in (0, len(labels)):
        raise McalError(f"got {len(labels)} labels and {len(answer.margins)} margins")
    limits = request.limits if isinstance(request, MachineLabel) else None
    if limits is not None:
        if len(indices) > request.n or (np.bincount(labels, minlength=len(limits)) > np.asarray(limits)).any():
            raise McalError("the classifier labels more images of a class than it may")
    elif len(indices) != request.n or len(labels) != request.n:
        raise McalError(f"asked for {request.n} labels, got {len(indices)} images and {len(labels)} labels")
    if len(np.unique(indices)) != len(labels) or not np.isin(indices, request.pool).all():
        raise McalError("an answer labels images that were not asked for, or one image twice")


# ---------------------------------------------------------------------------------------------------------
# The file


class Entry(NamedTuple):
    """A line of a log: a request, its answer, and the figures of the plan behind the request, if there was one."""

    request: dict[str, Any]
    answer: dict[str, Any]
    plan: dict[str, Any] | None = None

    def is_label(self, *purposes: str) -> bool:
        return self.request.get("kind") == "label" and self.request.get("purpose") in purposes

    def decided(self, request: Request) -> Request:
        """``request`` for as many labels as were bought, if they were bought for the same purpose."""
        if isinstance(request, Label) and request.purpose in ("train", "certify") and self.is_label(request.purpose):
            n = self.request.get("n")
            return request._replace(n=n) if isinstance(n, int) else request
        return request

    def recall(self, request: Request, log: "RunLog") -> Answer:
        """The answer, if it was given to just this request. Raises McalError otherwise."""
        wanted = request_json(request)
        for key in wanted.keys() | self.request.keys():
            if wanted.get(key) != self.request.get(key):
                raise McalError(
                    f"{log.path}: the log is of another run, or of other decision rules ({log.rules}, here {RULES}): "
                    f"{wanted['kind']} has {key} = {self.request.get(key)}, now {wanted.get(key)} is asked for"
                )
        try:
            answer = answer_from_json(self.answer)
            check_answer(request, answer)
        except McalError as error:
            raise McalError(f"{log.path}: {error}") from None
        return answer


class RunLog:
    """A run log on disk. ``run`` is whatever describes the world (data set, seed, ...) as JSON, ``content`` what the
    images are, as far as that is known, ``made`` where and with which versions it was begun, ``rules`` the version
    of the decision rules, ``parts`` answers of humans as they came in (see ``Session``).

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

    @classmethod
    def create(
        cls,
        path: str | Path,
        job: Job,
        run: dict[str, Any],
        made: dict[str, Any] | None = None,
        content: dict[str, Any] | None = None,
    ) -> "RunLog":
        """A new, empty log, where a link leads to if ``path`` is one; an existing file is an error."""
        path = Path(path)
        target = Path(os.path.realpath(path))
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
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            if target.exists():
                raise McalError(f"{path} exists; resume it, or give another path")
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(sealed)
            os.replace(temporary, target)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise McalError(f"can't write {path}: {error.strerror}") from None
        log._file = _locked(path)
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
        """A log opened to go on; the torn last line is cut off the file."""
        file = _locked(Path(path))  # before reading: another process may be at its last lines
        try:
            log = cls.read(path)
            file.truncate(_complete_lines(log.path)[1])
        except BaseException:
            file.close()
            raise
        log._file = file
        return log

    def append(self, number: int, request: Request, answer: Answer) -> None:
        line = {"number": number, "request": request_json(request), "answer": answer_json(answer)}
        if request.plan:
            line["plan"] = plan_json(request.plan)
        self._write(line)

    def append_part(self, part: dict[str, Any]) -> None:
        """Write a part of an answer: images that humans were asked about, or labels of some of them."""
        self.parts.append(part)
        self._write({"part": part})

    def finish(self, finished: Delivery) -> None:
        """Write the outcome, or check it against the one written before, dollars to the cent."""
        end = end_json(finished)
        if self.end is None:
            self._write({"end": end})
            self.end = end
        if finished.true_error is None:  # a replay does not know the truth
            end["true_error"] = self.end["true_error"]
        if found := differences(self.end, end):
            raise McalError(
                f"{self.path}: the outcome differs from the one recorded, of decision rules {self.rules}, in "
                f"{', '.join(found[:3])}"
            )

    def close(self) -> None:
        if self._file:
            self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        if not self._file:
            return
        if self._file.closed:
            raise McalError(f"{self.path} is closed; open it again")
        sealed, self.checksum = seal(line, self.checksum)
        try:
            self._file.seek(0, os.SEEK_END)
            self._file.write(sealed)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise McalError(f"can't write {self.path}: {error.strerror}; resume it when that is mended") from None


def seal(line: dict[str, Any], before: str) -> tuple[bytes, str]:
    """A line of a log as it is written, and its checksum, which covers the checksum ``before`` it too."""
    checksum = hashlib.blake2b((before + json.dumps(line)).encode(), digest_size=8).hexdigest()
    return json.dumps({**line, "checksum": checksum}).encode() + b"\n", checksum


def end_json(finished: Delivery) -> dict[str, Any]:
    """The end of a run as the last line of its log has it."""
    return outcome_json(finished.outcome, finished.labels, finished.true_error)


def _job(path: Path, head: dict[str, Any]) -> Job:
    """The job of a log's head. Raises McalError for a setting that only a later version can know."""
    try:
        return Job.model_validate(head["job"])
    except ValidationError as error:
        unknown = [e["loc"] for e in error.errors() if e["type"] == "extra_forbidden"]
        if not unknown:
            raise
        made = head.get("made", {}).get("versions", {}).get("mcal-jax", "another version")
        setting = ".".join(map(str, unknown[0]))
        raise McalError(f"{path}: this version has no setting {setting}; the log was made by mcal-jax {made}") from None


class Replayed(NamedTuple):
    """A log fed back: what was asked and answered, and the end, or else the request that comes next."""

    log: RunLog
    steps: list[tuple[Request, Answer]]
    finished: Delivery | None
    pending: Request | None

    @property
    def outcome(self) -> Outcome:
        if self.finished is None:
            raise McalError(f"{self.log.path}: the run is not finished; resume it first")
        return self.finished.outcome

    @property
    def plans(self) -> list[Plan]:
        """Every plan made so far, in order (in a race: those of the architecture that led)."""
        requests = [request for request, _ in self.steps] + ([self.pending] if self.pending else [])
        plans = [request.plan for request in requests if request.plan]
        return [plan for i, plan in enumerate(plans) if i == 0 or plan is not plans[i - 1]]


def replay(path: str | Path, *, strict: bool = True) -> Replayed:
    """Feed a log back to its algorithm: whether today's rules decide the same, without data, humans or JAX.

    Raises McalError if the algorithm now asks for something else than was recorded, or ends otherwise. Not
    ``strict``, the decisions in the log stand as they do where a run is resumed.
    """
    log = RunLog.read(path)
    steps: list[tuple[Request, Answer]] = []

    def keep(number: int, request: Request, answer: Answer) -> None:
        steps.append((request, answer))

    try:
        finished = drive(log.job, _Past(), log, keep, strict=strict)
    except _EndOfLog as end:
        return Replayed(log, steps, None, end.request)
    return Replayed(log, steps, finished._replace(true_error=log.end["true_error"] if log.end else None), None)


class _EndOfLog(Exception):
    def __init__(self, request: Request):
        self.request = request


class _Past:
    """The world of replay: it knows what is in the log, and stops where that ends."""

    truth: np.ndarray | None = None

    def answer(self, request: Request, number: int) -> Answer:
        raise _EndOfLog(request)

    def choose(self, request: Label | Relabel, number: int) -> Indices:
        raise _EndOfLog(request)

    def restore(self, request: Request, number: int, answer: Answer) -> None:
        pass


def _locked(path: Path) -> Any:
    """The file, open for reading and writing by this process alone. Raises McalError."""
    try:
        file = open(path, "r+b")  # noqa: SIM115 - open for as long as the run
    except OSError as error:
        what = "read" if isinstance(error, FileNotFoundError) else "write"
        raise McalError(f"can't {what} {path}: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            raise McalError(f"{path} is being written by another process") from None
        raise McalError(f"can't lock {path}: {error.strerror}") from None
    return file


def _complete_lines(path: Path) -> tuple[list[bytes], int]:
    """The lines that end in a newline, and their length in bytes."""
    data = read_bytes(path)
    length = data.rfind(b"\n") + 1
    return data[:length].splitlines(), length
