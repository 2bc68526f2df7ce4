"""A run as its log states it: requests, answers, decisions and bill, whatever today's rules would decide.

Nothing is decided again. The images that each request was about follow from the answers before it, and their digests
are compared with the recorded ones. A log keeps the decisions of a plan in figures; its laws and its cost surface are
computed from the same counts and prices, and the recorded figures stand where today's rules would say otherwise.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mcal_jax.algorithm import certificate, planner
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import PLANNED, Job
from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import (
    OWNED,
    Answer,
    Indices,
    Label,
    Labels,
    MachineLabel,
    Measure,
    Relabel,
    Request,
    SecondLabels,
    Train,
    TrainResult,
    Verify,
    remove,
)
from mcal_jax.errors import McalError
from mcal_jax.runs.answers import check_answer
from mcal_jax.runs.codec import (
    PLAN_KEYS,
    answer_from_json,
    differences,
    digest,
    outcome_from_json,
    plan_json,
    request_json,
)
from mcal_jax.runs.driver import Delivery
from mcal_jax.runs.runlog import Entry, RunLog


class RecordedRun:
    """A run log, read. Raises McalError if the log is damaged; ``outcome`` and ``delivery`` do so too while the run is
    not finished."""

    def __init__(self, path: str | Path):
        self.log = RunLog.read(path)
        self.steps: list[tuple[Request, Answer]] = []
        self.sets: dict[str, Indices] = {name: np.empty(0, np.int64) for name in "TBSRV"}
        left = np.arange(self.job.n)
        counted = np.empty(0, np.int64)  # the images of T that errors are counted on
        for number, entry in enumerate(self.log.entries, 2):
            try:
                request = rebuilt(entry, left, self.sets, counted, self.job)
                answer = answer_from_json(entry.answer)
                check_answer(request, answer)
            except McalError as error:
                raise McalError(f"{self.path}: line {number}: {error}") from None
            self.steps.append((request, answer))
            if isinstance(answer, Labels):
                name = set_of(request)
                self.sets[name] = np.union1d(self.sets[name], answer.indices)
                left = remove(left, answer.indices)
                counted = remove(self.sets["T"] if name == "T" else counted, answer.retired)

    @property
    def path(self) -> Path:
        """The log."""
        return self.log.path

    @property
    def job(self) -> Job:
        """What the algorithm was asked to do."""
        return self.log.job

    @property
    def is_finished(self) -> bool:
        """Whether the log has its last line, the outcome."""
        return self.log.end is not None

    @property
    def end(self) -> dict[str, Any]:
        """The outcome in figures."""
        if self.log.end is None:
            raise McalError(f"{self.path}: the run is not finished; resume it first")
        return self.log.end

    @property
    def fits(self) -> dict[str, list[TrainResult]]:
        """The trainings of each architecture, in order."""
        fits: dict[str, list[TrainResult]] = {name: [] for name in self.job.architectures}
        for request, answer in self.steps:
            if isinstance(request, Train) and isinstance(answer, TrainResult):
                fits.setdefault(request.architecture, []).append(answer)
        return fits

    @property
    def leader(self) -> str:
        """The architecture whose classifier was last asked to choose or to label images."""
        trained = {answer.model: name for name, fits in self.fits.items() for answer in fits}
        models = [getattr(request, "model", None) for request, _ in reversed(self.steps)]
        return next((trained[model] for model in models if model in trained), self.job.architectures[0])

    @cached_property
    def plans(self) -> list[Plan]:
        """Every plan made for the architecture that leads, in order; none by an algorithm that makes none."""
        return self._plans_of(self._winner)

    @cached_property
    def last_plan(self) -> Plan | None:
        """The last of ``plans``, None where there is none. If the log has its figures, no other laws are fitted."""
        history, figures = self.fits.get(self._winner, []), self._figures(self._winner)
        if self.job.algorithm not in PLANNED or not history:
            return None
        if history[-1].model not in figures:
            return self.plans[-1]
        owned = self.job.known
        # What depends on the plan before it, whether it is stable and the next batch, is among the figures.
        plan = planner.search(self.job.n, history, self._winner, None, self._planning_config(), owned=owned)
        return as_recorded(plan, figures[history[-1].model])

    @property
    def _winner(self) -> str:
        return self.log.end["architecture"] if self.log.end else self.leader

    @cached_property
    def outcome(self) -> Outcome:
        """How the run ended."""
        return self._outcome(tuple(self.plans))

    @cached_property
    def delivery(self) -> Delivery:
        """What the run delivers. Raises McalError if the labels in the log are not those that its end states."""
        return self.delivery_without_plans._replace(outcome=self.outcome)

    @cached_property
    def delivery_without_plans(self) -> Delivery:
        """``delivery``, but without the plans of its outcome: no laws are fitted, which would take seconds."""
        labels, by_machine = np.full(self.job.n, -1, np.int32), np.zeros(self.job.n, bool)
        for request, answer in self.steps:
            if isinstance(answer, Labels):
                labels[answer.indices] = answer.labels
                by_machine[answer.indices] = isinstance(request, MachineLabel)
        if digest(labels) != self.end.get("labels"):
            raise McalError(f"{self.path}: the labels in the log are not those that its last line states")
        return Delivery(self._outcome(()), labels, by_machine, self.end.get("true_error"))

    def _outcome(self, plans: tuple[Plan, ...]) -> Outcome:
        history = tuple(self.fits.get(self.end.get("architecture", ""), ()))
        try:
            return outcome_from_json(self.end, self.sets, plans, history)
        except McalError as error:
            raise McalError(f"{self.path}: {error}") from None

    def _plans_of(self, architecture: str) -> list[Plan]:
        if self.job.algorithm not in PLANNED:
            return []
        config, history, figures = self._planning_config(), self.fits.get(architecture, []), self._figures(architecture)
        plans: list[Plan] = []
        owned = self.job.known
        for k, fit in enumerate(history):
            previous = plans[-1] if plans else None
            plan = planner.search(self.job.n, history[: k + 1], architecture, previous, config, owned=owned)
            plans.append(as_recorded(plan, figures.get(fit.model)))
        return plans

    def _planning_config(self) -> Config:
        """The configuration that plans were made by: without what human errors take of epsilon."""
        config = self.job.config
        second_labels = next((answer for _, answer in self.steps if isinstance(answer, SecondLabels)), None)
        if second_labels is None:
            return config
        error = certificate.bound_annotator_error(self.job.n, second_labels, config)
        return certificate.with_annotator_error(config, error)

    def _figures(self, architecture: str) -> dict[int, dict[str, Any]]:
        """The recorded figures of the plans made after each training of an architecture, by its model."""
        figures: dict[int, dict[str, Any]] = {}
        model = None
        for (request, answer), entry in zip(self.steps, self.log.entries, strict=True):
            own = isinstance(request, Train) and request.architecture == architecture
            if entry.plan and model is not None and (own or getattr(request, "model", None) == model):
                figures.setdefault(model, entry.plan)
            if own and isinstance(answer, TrainResult):
                model = answer.model
        return figures


def as_recorded(plan: Plan, figures: dict[str, Any] | None) -> Plan:
    """``plan`` with the decisions that the log states, where they differ by more than rounding."""
    if not figures or not differences(figures, plan_json(plan)):
        return plan
    return plan._replace(**{key: figures[key] for key in PLAN_KEYS if key in figures})


SET_OF = {"owned": "B", "owned_test": "T", "test": "T", "train": "B", "residual": "R", "certify": "V"}
"""The set that labels of each purpose go to."""


def set_of(request: Request) -> str:
    """The set that the images labelled for a request go to."""
    if isinstance(request, MachineLabel):
        return "S"
    assert isinstance(request, Label)
    return {"owned": "B", "owned_test": "T", "test": "T", "train": "B", "residual": "R", "certify": "V"}[
        request.purpose
    ]


def rebuilt(entry: Entry, left: Indices, sets: dict[str, Indices], counted: Indices, job: Job) -> Request:
    """The request of a line in the log of ``job``: ``left`` are the images without a label, ``sets`` those with one.

    ``counted`` are the images of T that errors are counted on.

    Raises McalError if the line is about other images, or is no request.
    """
    data = entry.request
    try:
        request = _request(data, left, sets, counted, job)
        is_same = request_json(request) == data
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise McalError(f"no request ({error!r})") from None
    if not is_same:
        raise McalError("the request is about other images than those that the answers before it leave")
    return request


def _request(data: dict[str, Any], left: Indices, sets: dict[str, Indices], counted: Indices, job: Job) -> Request:
    match data["kind"]:
        case "label" if data["purpose"] in OWNED:
            known = job.owned if data["purpose"] == "owned" else job.owned_test
            return Label(np.array(known, np.int64), data["n"], data["by"], data["purpose"])
        case "label" if data["purpose"] in ("test", "train", "certify", "residual"):
            test = counted if "test" in data else None
            return Label(left, data["n"], data["by"], data["purpose"], data["model"], None, test)
        case "train":
            return Train(sets["B"], counted, data["architecture"])
        case "annotate":
            limits = tuple(data["limits"]) if "limits" in data else None
            return MachineLabel(left, data["n"], data["model"], None, limits)
        case "verify":
            return Verify(sets["V"], left, data["model"])
        case "repeat":
            return Relabel(sets["T"], data["n"])
        case "measure":
            return Measure(left, data["model"], tuple(data["by"]))
    raise ValueError(data["kind"])
