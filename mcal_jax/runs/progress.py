"""Text lines of a run in progress: each request with its answer, each plan, and what comes next."""

import time

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.costs import price_of
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import (
    Answer,
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
)
from mcal_jax.registry import short_name
from mcal_jax.runs.settings import Emit


class Reporter:
    """An observer of a run that has a line for each request, and one for each new plan."""

    def __init__(self, emit: Emit, job: Job):
        self.emit, self.job, self.began = emit, job, time.perf_counter()
        self.plan: Plan | None = None

    def __call__(self, number: int, request: Request, answer: Answer) -> None:
        seconds = time.perf_counter() - self.began
        # In a race every architecture trains by a plan of its own; the leader's buys the labels.
        if request.plan is not None and request.plan is not self.plan and not isinstance(request, Train):
            self.plan = request.plan
            self.emit(f"{seconds:6.0f} s  plan: {plan_line(request.plan, self.job.config)}")
        self.emit(f"{seconds:6.0f} s  {line(request, answer)}")


PURPOSES = {
    "test": "for the test set T",
    "train": "for training (B)",
    "certify": "to certify the rest (V)",
    "residual": "left to humans (R)",
}


def line(request: Request, answer: Answer) -> str:
    """A request and its answer in a line."""
    match request, answer:
        case Label(n=n, purpose="owned" | "owned_test" as purpose), _:
            return f"{n:,} labels that are known already join {'B' if purpose == 'owned' else 'T'}, at no cost"
        case Label(n=n, by=by, purpose=purpose), _:
            how = f", chosen by {short_name(by)}" if by != "all" else ""
            return f"humans label {n:,} images {PURPOSES[purpose]}{how}"
        case Train(architecture=architecture), TrainResult(size=size, n_test=tests, wrong=wrong, seconds=took):
            error = (
                f"error {len(wrong) / tests:.1%} on T ({tests:,})" if tests else "nothing of T is left to test it on"
            )
            return f"{short_name(architecture)} trained on {size:,} in {took:.1f} s: {error}"
        case MachineLabel(limits=limits), Labels(indices=chosen):
            within = "" if limits is None else ", no class beyond its certified limit"
            return f"the classifier labels {len(chosen):,} images (S){within}"
        case Relabel(n=n), SecondLabels(differ=differ):
            return f"humans label {n:,} images of T once more: {differ.mean():.1%} get another label"
        case Verify(), Verification(wrong=wrong):
            return f"of these the classifier gets {wrong.mean():.1%} wrong"
        case Measure(), Measurement(n=n, errors=errors):
            return f"of the {n:,} images left it gets {errors['margin'][-1] / n:.1%} wrong (by the truth, unused)"
    raise AssertionError(request)


def plan_line(plan: Plan, config: Config) -> str:
    """A plan in a line."""
    machine = f"machine labels {plan.theta:.1%} of the rest" if plan.theta else "humans label all the rest"
    aim = f"${plan.cost:,.2f}" if config.budget is None else f"error {plan.error:.2%} for ${plan.cost:,.2f}"
    state = "stable" if plan.stable else "not yet stable"
    return f"|B| {plan.size:,} -> {plan.B_opt:,}, {machine}: {aim} ({state}; stopping now ${plan.cost_now:,.2f})"


def next_line(pending: Request | None, config: Config) -> str:
    """The request that comes next in a line; None: the run is at its end, and only its last line is missing."""
    match pending:
        case Label(n=n, purpose="owned" | "owned_test" as purpose):
            return f"next: {n:,} labels that are known already join {'B' if purpose == 'owned' else 'T'}, at no cost"
        case Label(n=n, by=by, purpose=purpose):
            how = "" if by == "all" else f", chosen by {short_name(by)}"
            who = "humans label" if config.services is None else f"{config.services.of(purpose).name} labels"
            return f"next: {who} {n:,} images for {n * price_of(config, purpose):,.2f} US dollars ({purpose}{how})"
        case Train(train=train, architecture=architecture):
            return f"next: {short_name(architecture)} is trained on {len(train):,} labels"
        case MachineLabel(n=n, limits=limits):
            return f"next: the classifier labels {'' if limits is None else 'up to '}{n:,} images"
        case Verify(sample=sample):
            return f"next: the classifier is checked on {len(sample):,} images"
        case Measure(pool=pool):
            return f"next: the classifier is measured on {len(pool):,} images"
        case Relabel(n=n):
            return f"next: humans label {n:,} images of T once more for {n * config.label_price:,.2f} US dollars"
    return "next: its last line, which mcal resume writes"
