"""Driving an algorithm through a world, with a log that is record, checkpoint and input of replay at once.

One JSON line a request and its answer, appended and flushed to disk. Resuming feeds the log back and goes on
live; a torn last line, the trace of a kill while writing, is dropped. Every line carries a checksum of itself and
of all before it, so no damage goes unnoticed.
"""

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from mcal_jax import baselines
from mcal_jax.loop import mcal
from mcal_jax.race import race
from mcal_jax.types import (
    Algorithm,
    Annotate,
    Answer,
    Fitted,
    Job,
    Label,
    Labelled,
    McalError,
    Measure,
    Measured,
    Outcome,
    Plan,
    Repeat,
    Repeated,
    Request,
    Train,
    Verified,
    Verify,
)

FORMAT = 3


class World(Protocol):
    """Answers requests. ``truth`` are the true labels, int32 [n], where they are known."""

    truth: np.ndarray | None

    def answer(self, request: Request, number: int) -> Answer:
        """Do what the request asks; ``number`` counts the requests of a run and seeds what is random."""
        ...

    def restore(self, request: Request, number: int, answer: Answer) -> None:
        """Learn of an answer given before the run was interrupted."""
        ...


class Finished(NamedTuple):
    """A run at its end: the labels delivered, int32 [n], which the machine gave, and their true error.

    ``true_error`` is the share of X that is labelled wrongly, None where the truth is not known.
    """

    outcome: Outcome
    labels: np.ndarray
    by_machine: np.ndarray
    true_error: float | None


Observer = Callable[[int, Request, Answer], None]


def algorithm(job: Job) -> Algorithm:
    """The generator that a job describes. Raises McalError for an unknown name or a missing setting."""
    first = job.architectures[0]
    match job.algorithm:
        case "mcal" if len(job.architectures) > 1:
            return race(job.n, job.config, job.architectures)
        case "mcal":
            return mcal(job.n, job.config, first)
        case "humans_only":
            return baselines.humans_only(job.n, job.config)
        case "without_active_learning":
            return baselines.without_active_learning(job.n, job.config, first)
        case "naive_al":
            if job.delta is None:
                raise McalError("delta: naive_al needs its batch, a fraction of |X|")
            return baselines.naive_al(job.n, job.config, first, job.delta)
        case "trajectory":
            if job.delta is None or job.far is None:
                raise McalError("trajectory needs delta, its batch, and far, where it ends: fractions of |X|")
            return baselines.trajectory(job.n, job.config, first, job.delta, job.far, job.compare)
    known = "mcal, naive_al, without_active_learning, humans_only, trajectory"
    raise McalError(f"unknown algorithm {job.algorithm!r}; known: {known}")


def drive(job: Job, world: World, log: "RunLog | None" = None, observe: Observer | None = None) -> Finished:
    """Run a job to its end in a world; what ``log`` holds already is not done again.

    Raises McalError if the log does not belong to the job, or if an answer does not fit its request.
    """
    if log and log.job != job:
        raise McalError(f"{log.path}: the log is of another job: {_differences(log.job, job)}")
    run = algorithm(job)
    past = log.entries if log else []
    labels, by_machine = np.full(job.n, -1, np.int32), np.zeros(job.n, bool)
    request, number = next(run), 0
    while True:
        if log and number < len(past):
            answer = past[number].recall(request, log.path)
            check_answer(request, answer)
            world.restore(request, number, answer)
        else:
            answer = world.answer(request, number)
            check_answer(request, answer)
            if log:
                log.append(number, request, answer)
        if isinstance(answer, Labelled):
            labels[answer.indices] = answer.labels
            by_machine[answer.indices] = isinstance(request, Annotate)
        if observe:
            observe(number, request, answer)
        try:
            request, number = run.send(answer), number + 1
        except StopIteration as end:
            outcome = end.value
            break
    error = None if world.truth is None else float(np.mean(labels != world.truth))
    finished = Finished(outcome, labels, by_machine, error)
    if log:
        log.finish(finished)
    return finished


def _differences(recorded: Job, wanted: Job) -> str:
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
    wanted = {Train: Fitted, Measure: Measured, Verify: Verified, Repeat: Repeated}.get(type(request), Labelled)
    if not isinstance(answer, wanted):
        raise McalError(f"{type(request).__name__} was answered by {type(answer).__name__}")
    if isinstance(answer, Verified) and isinstance(request, Verify):
        sizes = {len(column) for column in answer[:3]} | ({len(answer.ahead_in_class)} if len(answer.called) else set())
        inside = not len(answer.ahead) or (answer.ahead.min() >= 0 and answer.ahead.max() <= len(request.pool))
        if sizes != {len(request.sample)} or not inside:
            raise McalError(f"asked about {len(request.sample)} images, got an answer that does not fit them")
    if not isinstance(answer, Labelled | Repeated) or isinstance(request, Train | Measure | Verify):
        return
    indices, said = answer
    limits = request.limits if isinstance(request, Annotate) else None
    if limits is not None:
        if len(indices) > request.n or (np.bincount(said, minlength=len(limits)) > np.asarray(limits)).any():
            raise McalError("the classifier labels more images of a class than it may")
    elif len(indices) != request.n or len(said) != request.n:
        raise McalError(f"asked for {request.n} labels, got {len(indices)} images and {len(said)} labels")
    if len(np.unique(indices)) != len(said) or not np.isin(indices, request.pool).all():
        raise McalError("an answer labels images that were not asked for, or one image twice")


# ---------------------------------------------------------------------------------------------------------
# The file


class Entry(NamedTuple):
    request: dict[str, Any]
    answer: dict[str, Any]

    def recall(self, request: Request, path: Path) -> Answer:
        """The answer, if it was given to just this request. Raises McalError otherwise."""
        wanted = _request_json(request)
        for key in wanted.keys() | self.request.keys():
            if wanted.get(key) != self.request.get(key):
                raise McalError(
                    f"{path}: the log is of another run: {self.request.get('kind')} has {key} = "
                    f"{self.request.get(key)}, now {wanted.get(key)} is asked for"
                )
        return answer_from_json(self.answer)


class RunLog:
    """A run log on disk. ``run`` is whatever describes the world (data set, seed, ...) as JSON, ``made`` where and
    with which versions it was begun.

    Raises McalError if the file can't be read or written, is damaged before its last line, or is of another
    format version.
    """

    def __init__(
        self,
        path: str | Path,
        job: Job,
        run: dict[str, Any],
        entries: list[Entry],
        end: dict | None,
        made: dict[str, Any],
        checksum: str,
    ):
        self.path, self.job, self.run, self.entries, self.end = Path(path), job, run, entries, end
        self.made, self.checksum = made, checksum
        self._file: Any = None

    @classmethod
    def create(cls, path: str | Path, job: Job, run: dict[str, Any], made: dict[str, Any] | None = None) -> "RunLog":
        """A new, empty log; an existing file is an error."""
        path = Path(path)
        head: dict[str, Any] = {
            "mcal_jax_log": FORMAT,
            "job": job.model_dump(mode="json"),
            "run": run,
            "made": made or {},
        }
        sealed, checksum = seal(head, "")
        log = cls(path, job, run, [], None, head["made"], checksum)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            if path.exists():
                raise McalError(f"{path} exists; resume it, or give another path")
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(sealed)
            os.replace(temporary, path)
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
            job, bodies = Job.model_validate(head["job"]), bodies[1:]
            entries = [Entry(b["request"], b["answer"]) for b in bodies if "end" not in b]
            end = next((b["end"] for b in bodies if "end" in b), None)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise McalError(f"{path}: not a run log, or damaged ({_first_line(error)})") from None
        return cls(path, job, head.get("run", {}), entries, end, head.get("made", {}), checksum)

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
        line = {"number": number, "request": _request_json(request), "answer": _answer_json(answer)}
        if request.plan:
            line["plan"] = _plan_json(request.plan)
        self._write(line)

    def finish(self, finished: Finished) -> None:
        """Write the outcome, or check it against the one written before."""
        end = end_json(finished)
        if self.end is None:
            self._write({"end": end})
            self.end = end
        if finished.true_error is None:  # a replay does not know the truth
            end["true_error"] = self.end["true_error"]
        if self.end != end:
            keys = ", ".join(k for k in end if end[k] != self.end.get(k))
            raise McalError(f"{self.path}: the outcome differs from the one recorded in {keys}")

    def close(self) -> None:
        if self._file:
            self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        if not self._file:
            return
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


class Replayed(NamedTuple):
    """A log fed back: what was asked and answered, and the end, or else the request that comes next."""

    log: RunLog
    steps: list[tuple[Request, Answer]]
    finished: Finished | None
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


def replay(path: str | Path) -> Replayed:
    """Feed a log back to its algorithm: the same decisions without data, people or JAX.

    Raises McalError if the algorithm now asks for something else than was recorded.
    """
    log = RunLog.read(path)
    world = _Past(log)
    steps: list[tuple[Request, Answer]] = []
    try:
        finished = drive(log.job, world, log, lambda number, request, answer: steps.append((request, answer)))
    except _EndOfLog as end:
        return Replayed(log, steps, None, end.request)
    return Replayed(log, steps, finished._replace(true_error=log.end["true_error"] if log.end else None), None)


class _EndOfLog(Exception):
    def __init__(self, request: Request):
        self.request = request


class _Past:
    """The world of replay: it knows what is in the log, and stops where that ends."""

    def __init__(self, log: RunLog):
        self.truth: np.ndarray | None = None

    def answer(self, request: Request, number: int) -> Answer:
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
    try:
        data = path.read_bytes()
    except OSError as error:
        raise McalError(f"can't read {path}: {error.strerror}") from None
    length = data.rfind(b"\n") + 1
    return data[:length].splitlines(), length


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


# ---------------------------------------------------------------------------------------------------------
# JSON. Sorted indices are stored as differences, and all arrays compressed: 55,000 machine labels take 30 kB.

_STANDARD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_VOWELLESS = b"0123456789BCDFGHJKLMNPQRSTVWXZbcdfghjklmnpqrstvwxz-_,;:!#$%&()*+"  # can't spell words by chance
_ENCODE = bytes.maketrans(_STANDARD, _VOWELLESS)
_DECODE = bytes.maketrans(_VOWELLESS, _STANDARD)


def _pack(array: np.ndarray, differences: bool = False) -> dict[str, Any]:
    values = np.diff(array, prepend=0) if differences else array
    lowest, highest = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    kind = next(k for k in ("i1", "i2", "i4", "i8") if np.iinfo(k).min <= lowest and highest <= np.iinfo(k).max)
    packed = base64.b64encode(zlib.compress(values.astype(f"<{kind}").tobytes(), 9)).translate(_ENCODE)
    return {"n": len(array), "differences": differences, "type": kind, "zlib": packed.decode()}


def _unpack(packed: dict[str, Any], dtype: type) -> np.ndarray:
    compressed = base64.b64decode(packed["zlib"].encode().translate(_DECODE), validate=True)
    if packed["type"] not in ("i1", "i2", "i4", "i8"):
        raise ValueError(f"array of type {packed['type']!r}")
    values = np.frombuffer(zlib.decompress(compressed), f"<{packed['type']}").astype(np.int64)
    if len(values) != packed["n"]:
        raise ValueError("array of the wrong length")
    return (values.cumsum() if packed["differences"] else values).astype(dtype)


def _digest(array: np.ndarray) -> str:
    return hashlib.blake2b(array.astype("<i8").tobytes(), digest_size=8).hexdigest()


def _request_json(request: Request) -> dict[str, Any]:
    match request:
        case Label(pool, n, by, purpose, model):
            of = {"of": len(pool), "pool": _digest(pool)}
            return {"kind": "label", "purpose": purpose, "n": n, "by": by, **of, "model": model}
        case Train(train, test, architecture):
            sets = {"train": _digest(train), "test": _digest(test)}
            return {"kind": "train", "architecture": architecture, "size": len(train), **sets}
        case Annotate(pool, n, model, _, limits):
            of = {"of": len(pool), "pool": _digest(pool), "model": model}
            return {"kind": "annotate", "n": n, **of, **({} if limits is None else {"limits": list(limits)})}
        case Verify(sample, pool, model):
            of = {"sample": _digest(sample), "of": len(pool), "pool": _digest(pool)}
            return {"kind": "verify", "n": len(sample), **of, "model": model}
        case Repeat(pool, n):
            return {"kind": "repeat", "n": n, "of": len(pool), "pool": _digest(pool)}
        case Measure(pool, model, by):
            return {"kind": "measure", "of": len(pool), "pool": _digest(pool), "model": model, "by": list(by)}


def _answer_json(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Labelled):
        return {"indices": _pack(answer.indices, differences=True), "labels": _pack(answer.labels)}
    if isinstance(answer, Repeated):
        return {"indices": _pack(answer.indices, differences=True), "differ": _pack(answer.differ)}
    if isinstance(answer, Verified):
        return {name: _pack(column) for name, column in answer._asdict().items()}
    if isinstance(answer, Measured):
        errors = {by: _pack(counts, differences=True) for by, counts in answer.errors.items()}
        margins = {by: np.round(values, 4).tolist() for by, values in answer.margins.items()}
        return {"n": answer.n, "errors": errors, "margins": margins}
    return {**answer._asdict(), "wrong": _pack(answer.wrong, differences=True)}


def answer_from_json(data: dict[str, Any]) -> Answer:
    try:
        if "differ" in data:
            return Repeated(_unpack(data["indices"], np.int64), _unpack(data["differ"], np.bool_))
        if "indices" in data:
            return Labelled(_unpack(data["indices"], np.int64), _unpack(data["labels"], np.int32))
        if "ahead" in data:
            kinds = {"wrong": np.bool_, "label": np.int32}
            return Verified(**{name: _unpack(data[name], kinds.get(name, np.int64)) for name in data})
        if "errors" in data:
            errors = {by: _unpack(counts, np.int64) for by, counts in data["errors"].items()}
            return Measured(data["n"], errors, {by: np.array(v) for by, v in data["margins"].items()})
        return Fitted(**{**data, "wrong": _unpack(data["wrong"], np.int64)})
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise McalError(f"damaged answer in the run log ({_first_line(error)})") from None


def _plan_json(plan: Plan) -> dict[str, Any]:
    keys = ("size", "spent", "B_opt", "theta", "cost", "cost_now", "error", "delta", "stable", "form")
    return {key: getattr(plan, key) for key in keys}


def end_json(finished: Finished) -> dict[str, Any]:
    """The outcome in figures: sizes, dollars by part, and a digest of the labels delivered."""
    outcome = finished.outcome
    bill = outcome.ledger
    dollars = {**bill._asdict(), "total": bill.total}
    sure = outcome.certificate
    certified: dict[str, Any] = {}
    if sure is None:
        del dollars["certificate"]
    else:
        classes = [one._asdict() for one in sure.by_class]
        told = {**sure._asdict(), "by_class": classes}
        if (limits := told.pop("limits")) is not None:
            told["limits"] = list(limits)
        certified = {"V": len(outcome.V), "certificate": told}
    if outcome.people is None:
        del dollars["repeat"]
    else:
        certified["people"] = outcome.people._asdict()
    return {
        **{name: len(getattr(outcome, name)) for name in "TBSR"},
        **certified,
        "X": outcome.n,
        "theta": outcome.theta,
        "architecture": outcome.architecture,
        "stop": outcome.stop,
        "dollars": dollars,
        "savings": bill.savings,
        "race": [contestant._asdict() for contestant in outcome.race],
        "true_error": finished.true_error,
        "labels": _digest(finished.labels),
    }
