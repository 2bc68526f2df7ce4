"""Driving an algorithm through a world: live, resumed from a log, or replayed from a log alone.

Resuming feeds the answers of the log back to the algorithm and then goes on live. ``replay`` does so without a world:
it checks that a log and today's decision rules agree.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

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
    Relabel,
    Request,
    World,
)
from mcal_jax.algorithm.stopping import StopRule
from mcal_jax.errors import McalError
from mcal_jax.runs.answers import check_answer
from mcal_jax.runs.codec import answer_from_json, outcome_json, request_json
from mcal_jax.runs.runlog import RULES, Entry, RunLog, flat


class Delivery(NamedTuple):
    """What a finished run delivers.

    ``labels`` int32 [n] are the classes of all images, ``by_machine`` bool [n] says which of them the classifier gave.
    ``true_error`` is the share of X that is labelled wrongly, None where the truth is not known.
    """

    outcome: Outcome
    labels: np.ndarray
    by_machine: np.ndarray
    true_error: float | None


Observer = Callable[[int, Request, Answer], None]
"""Called with the number of each request, the request and its answer."""


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
        log: RunLog | None = None,
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
            request = self.request if strict else _with_recorded_size(self.request, entry)
            assert log
            answer = recall(request, entry, log)
            world.restore(request, self.number, answer)
            self._go_on(request, answer)

    def answer(self, answer: Answer) -> None:
        """Answer the request, log both, and go on to the next. Raises McalError if the answer does not fit.

        Where going on fails or is interrupted, the log is closed: it is ahead of this driver, another one goes on.
        """
        assert self.request is not None
        check_answer(self.request, answer)
        if self.log:
            self.log.append(self.number, self.request, answer)
        try:
            self._go_on(self.request, answer)
        except BaseException:
            if self.log:
                self.log.close()
            raise

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
        true_error = None if truth is None else float(np.mean(self.labels != truth))
        self.delivery = Delivery(outcome, self.labels, self.by_machine, true_error)
        if self.log:
            self.log.finish(end_json(self.delivery))


def drive(
    job: Job,
    world: World,
    log: RunLog | None = None,
    observe: Observer | None = None,
    *,
    strict: bool = False,
) -> Delivery:
    """The delivery of a job that is run to its end in a world, see ``Driver``; what ``log`` holds is not done again.

    Raises McalError.
    """
    driver = Driver(job, world, log, observe, strict=strict)
    while driver.request is not None:
        driver.answer(world.answer(driver.request, driver.number))
    assert driver.delivery
    return driver.delivery


def end_json(delivery: Delivery) -> dict[str, Any]:
    """The end of a run as the last line of its log has it."""
    return outcome_json(delivery.outcome, delivery.labels, delivery.true_error)


def _stop_as_recorded(past: Sequence[Entry], rules: StopRule) -> StopRule:
    """``rules``, but training goes on for as long as the log shows that it did, and no longer where it ended."""
    batches = sum(entry.is_label("train") for entry in past)
    ended = any(entry.request.get("kind") == "annotate" or entry.is_label("certify", "residual") for entry in past)

    def stop(n: int, plans: Sequence[Plan], config: Config) -> str | None:
        if len(plans) < batches:
            return None
        return rules(n, plans, config) or ("as_recorded" if ended and len(plans) == batches else None)

    return stop


def _with_recorded_size(request: Request, entry: Entry) -> Request:
    """``request`` for as many labels as were bought, if they were bought for the same purpose."""
    if isinstance(request, Label) and request.purpose in ("train", "certify") and entry.is_label(request.purpose):
        n = entry.request.get("n")
        return request._replace(n=n) if isinstance(n, int) else request
    return request


def recall(request: Request, entry: Entry, log: RunLog) -> Answer:
    """The answer in a log's line, if it was given to just this request. Raises McalError otherwise."""
    wanted = request_json(request)
    for key in wanted.keys() | entry.request.keys():
        if wanted.get(key) != entry.request.get(key):
            raise McalError(
                f"{log.path}: the log is of another run, or of other decision rules ({log.rules}, here {RULES}): "
                f"{wanted['kind']} has {key} = {entry.request.get(key)}, now {wanted.get(key)} is asked for"
            )
    try:
        answer = answer_from_json(entry.answer)
        check_answer(request, answer)
    except McalError as error:
        raise McalError(f"{log.path}: {error}") from None
    return answer


def _job_differences(recorded: Job, wanted: Job) -> str:
    """Every setting in which two jobs differ, as "config.epsilon = 0.05, now 0.1"."""
    old, new = (flat(job.model_dump(mode="json")) for job in (recorded, wanted))
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return "; ".join(f"{key} = {old.get(key)}, now {new.get(key)}" for key in keys)


# ---------------------------------------------------------------------------------------------------------
# Replay


class Replayed(NamedTuple):
    """A log fed back to its algorithm: the requests and answers, and the delivery, or else the request that comes
    next."""

    log: RunLog
    steps: list[tuple[Request, Answer]]
    delivery: Delivery | None
    pending: Request | None

    @property
    def outcome(self) -> Outcome:
        """How the run ended. Raises McalError if it did not."""
        if self.delivery is None:
            raise McalError(f"{self.log.path}: the run is not finished; resume it first")
        return self.delivery.outcome

    @property
    def plans(self) -> list[Plan]:
        """Every plan made so far, in order (in a race: those of the architecture that led)."""
        requests = [request for request, _ in self.steps] + ([self.pending] if self.pending else [])
        plans = [request.plan for request in requests if request.plan]
        return [plan for i, plan in enumerate(plans) if i == 0 or plan is not plans[i - 1]]


def replay(path: str | Path, *, strict: bool = True) -> Replayed:
    """A log fed back to its algorithm, without data, humans or JAX.

    Raises McalError if the algorithm now asks for something else than was recorded, or ends otherwise. Not
    ``strict``, the decisions in the log stand as they do where a run is resumed.
    """
    log = RunLog.read(path)
    steps: list[tuple[Request, Answer]] = []

    def keep(number: int, request: Request, answer: Answer) -> None:
        steps.append((request, answer))

    try:
        delivery = drive(log.job, RecordedWorld(), log, keep, strict=strict)
    except _EndOfLog as end:
        return Replayed(log, steps, None, end.request)
    return Replayed(log, steps, delivery._replace(true_error=log.end["true_error"] if log.end else None), None)


class _EndOfLog(Exception):
    def __init__(self, request: Request):
        self.request = request


class RecordedWorld:
    """The world of replay: it answers nothing, so that a run stops where its log ends."""

    truth: np.ndarray | None = None

    def answer(self, request: Request, number: int) -> Answer:
        """Ends the replay."""
        raise _EndOfLog(request)

    def choose(self, request: Label | Relabel, number: int) -> Indices:
        """Ends the replay."""
        raise _EndOfLog(request)

    def retire(self, request: Label, chosen: Indices) -> Indices:
        """None: a replay reads them from the log."""
        return np.empty(0, np.int64)

    def restore(self, request: Request, number: int, answer: Answer) -> None:
        """Nothing: there are no classifiers to restore."""
