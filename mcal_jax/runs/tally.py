"""How far a run has come: labels and US dollars so far, and what the last plan expects in all."""

from collections.abc import Callable
from typing import NamedTuple

from mcal_jax.algorithm import costs
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import Answer, Label, Labels, Relabel, Request, SecondLabels, Train, TrainResult
from mcal_jax.runs.driver import Observer


class Progress(NamedTuple):
    """``labelled``: labels that humans gave, of ``images``; ``cost`` so far, in US dollars, training included.

    ``expected`` is about how many labels humans give in all, by the last plan, None before the first;
    ``training`` the share of the present training that is done, None where no net trains.
    """

    images: int
    labelled: int
    expected: int | None
    cost: float
    training: float | None


class Tally:
    """An observer of a run that counts labels and training cost; its ``on_progress``, which calls the one given, is
    for the world that trains."""

    def __init__(self, job: Job, on_progress: Callable[[int, int], None] | None = None):
        self.job, self._on_progress = job, on_progress
        self.tests = self.humans = self.repeats = 0
        self.training_cost = self.label_cost = 0.0
        self.plan: Plan | None = None
        self.training: float | None = None

    def __call__(self, number: int, request: Request, answer: Answer) -> None:
        self.plan = request.plan or self.plan
        if isinstance(request, Label) and isinstance(answer, Labels):
            self.humans += len(answer.indices)
            if request.purpose == "test":
                self.tests += len(answer.indices)
            if request.purpose != "test" or self.job.config.bill_test_set:
                self.label_cost += self.job.cost_of(answer.indices, request.purpose)
        elif isinstance(request, Relabel) and isinstance(answer, SecondLabels):
            self.repeats += request.n
            self.label_cost += self.job.cost_of(answer.indices)
        elif isinstance(request, Train) and isinstance(answer, TrainResult):
            self.training = None
            self.training_cost += costs.training_cost(answer, request.architecture, self.job.config)

    def then(self, observe: Observer) -> Observer:
        """An observer that counts and then calls ``observe``."""

        def both(number: int, request: Request, answer: Answer) -> None:
            self(number, request, answer)
            observe(number, request, answer)

        return both

    def on_progress(self, done: int, steps: int) -> None:
        """Keep how much of a training is done."""
        self.training = done / steps if done < steps else None
        if self._on_progress:
            self._on_progress(done, steps)

    def progress(self, pending: Request | None, answered: int) -> Progress:
        """How far the run is at the request ``pending``, ``answered`` of whose images have labels already."""
        labelled = self.humans + self.repeats + answered
        purpose = pending.purpose if isinstance(pending, Label) else "test"
        return Progress(
            images=self.job.n,
            labelled=labelled,
            expected=self._expected(pending, labelled, answered),
            cost=self.label_cost + answered * costs.price_of(self.job.config, purpose) + self.training_cost,
            training=self.training,
        )

    def _expected(self, pending: Request | None, labelled: int, answered: int) -> int | None:
        if pending is None:
            return labelled
        if isinstance(pending, Label) and pending.purpose == "residual":
            return labelled - answered + pending.n
        plan = pending.plan or self.plan
        if plan is None:
            return None
        rest = self.job.n - self.tests - plan.B_opt
        checked = min(plan.certificate_size, rest)
        residual = (1 - plan.theta) * (rest - checked)
        return max(labelled, round(self.tests + self.repeats + plan.B_opt + checked + residual))
