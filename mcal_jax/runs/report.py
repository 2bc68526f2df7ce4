"""What is told in words: decisions as they are made, the end of a run, and what a log knows."""

import csv
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mcal_jax.algorithm import costs
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.outcome import AnnotatorError, Certificate
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
from mcal_jax.errors import McalError
from mcal_jax.files import write_atomically
from mcal_jax.runs.driver import Delivery, replay
from mcal_jax.runs.recorded import PLANNED, RecordedRun
from mcal_jax.runs.runlog import RULES

Emit = Callable[[str], None]


class Reporter:
    """Tells what is done and why, a line a request."""

    def __init__(self, tell: Emit, job: Job):
        self.tell, self.job, self.began = tell, job, time.perf_counter()
        self.plan: Plan | None = None

    def __call__(self, number: int, request: Request, answer: Answer) -> None:
        seconds = time.perf_counter() - self.began
        # In a race every architecture trains by a plan of its own; the leader's buys the labels.
        if request.plan is not None and request.plan is not self.plan and not isinstance(request, Train):
            self.plan = request.plan
            self.tell(f"{seconds:6.0f} s  plan: {plan_line(request.plan, self.job.config)}")
        self.tell(f"{seconds:6.0f} s  {line(request, answer)}")


PURPOSES = {
    "test": "for the test set T",
    "train": "for training (B)",
    "certify": "to certify the rest (V)",
    "residual": "left to people (R)",
}


def line(request: Request, answer: Answer) -> str:
    """What a request got, in a line."""
    match request, answer:
        case Label(n=n, by=by, purpose=purpose), _:
            return f"people label {n:,} images {PURPOSES[purpose]}" + (f", by {by}" if by != "all" else "")
        case Train(architecture=architecture), TrainResult(size=size, n_test=tests, wrong=wrong, seconds=took):
            return (
                f"{architecture} trained on {size:,} in {took:.1f} s: error {len(wrong) / tests:.1%} on T ({tests:,})"
            )
        case MachineLabel(limits=limits), Labels(indices=chosen):
            within = "" if limits is None else ", as far as every class is sure"
            return f"the classifier labels {len(chosen):,} images (S){within}"
        case Relabel(n=n), SecondLabels(differ=differ):
            return f"people label {n:,} images of T once more: {differ.mean():.1%} get another label"
        case Verify(), Verification(wrong=wrong):
            return f"of these the classifier gets {wrong.mean():.1%} wrong"
        case Measure(), Measurement(n=n, errors=errors):
            return f"of the {n:,} images left it gets {errors['margin'][-1] / n:.1%} wrong (by the truth, unused)"
    raise AssertionError(request)


def plan_line(plan: Plan, config: Config) -> str:
    """A plan in a line."""
    machine = f"machine labels {plan.theta:.1%} of the rest" if plan.theta else "people label all the rest"
    aim = f"${plan.cost:,.2f}" if config.budget is None else f"error {plan.error:.2%} for ${plan.cost:,.2f}"
    state = "stable" if plan.stable else "not yet stable"
    return f"|B| {plan.size:,} -> {plan.B_opt:,}, {machine}: {aim} ({state}; stopping now ${plan.cost_now:,.2f})"


STOPS = {
    "pool_exhausted": "people have labelled everything",
    "budget_spent": "the budget does not pay for another training",
    "exploration_tax": "training has used up the exploration tax, and no plan beats people",
    "reached_optimum": "|B| has reached its optimum: another batch costs more than it saves",
    "cost_rose": "the predicted cost rose in a step",
    "constraint_met": "the classifier may label all the rest within epsilon",
    "humans_only": "people label everything",
    "far_enough": "|B| has reached the end of the trajectory",
    "as_recorded": "training ended here when the run was made, though today's rules would go on",
}


def summary(delivery: Delivery, config: Config, classes: Sequence[str] = ()) -> str:
    """The end of a run as a table: sets, dollars by part, savings, true error, and why it stopped.

    ``classes`` are the names of the classes, where numbers are not to stand for them.
    """
    outcome, bill = delivery.outcome, delivery.outcome.ledger
    sizes = {"|X|": outcome.n, **{f"|{k}|": len(getattr(outcome, k)) for k in "TBSR"}}
    certified = ""
    if sure := outcome.certificate:
        sizes["|V|"] = len(outcome.V)
        certified = f" + V ${bill.certificate:,.2f}"
    if people := outcome.annotator_error:
        certified += f" + second labels ${bill.repeat:,.2f}"
    verdict = f"humans only ${bill.humans_only:,.2f}: savings {bill.savings:.1%}"
    if delivery.true_error is not None:
        verdict += f"; true error {delivery.true_error:.2%}"
    if config.budget is None:
        verdict += f" (epsilon {config.epsilon:.1%})"
    why = STOPS.get(outcome.stop, "a rule of another version")
    rows = [
        " ".join(f"{name:>9}" for name in sizes),
        " ".join(f"{size:>9,}" for size in sizes.values()),
        f"labels of T ${bill.test:,.2f} + B ${bill.train:,.2f} + R ${bill.residual:,.2f}"
        f"{certified} + training ${bill.training:,.2f} + race ${bill.race:,.2f} = ${bill.total:,.2f}",
        verdict,
        f"{outcome.architecture}, {len(outcome.history)} trainings; stopped by {outcome.stop}: {why}",
    ]
    if sure:
        rows.append(
            f"certified: with {sure.confidence:.0%} confidence the machine mislabels at most {sure.bound:.2%} of X"
            f" ({sure.mistakes} mistakes among the {sure.trials:,} images of V where S lies; {sure.method})"
        )
        rows.append(classes_line(sure, config, classes))
        rows += recall_lines(sure, classes)
    if people:
        rows.append(people_line(people, sure, config))
    for c in outcome.race:
        fate = "won" if c.won else "lost"
        rows.append(f"race: {c.architecture} {fate}, training until then ${c.spent:,.2f}, predicted C* ${c.cost:,.2f}")
    return "\n".join(rows)


def classes_line(certificate: Certificate, config: Config, classes: Sequence[str] = ()) -> str:
    """What the certificate says of what the classifier calls each class: the worst of them."""
    if not certificate.by_class:
        return "by class: V shows no image where S lies"
    worst = max(certificate.by_class, key=lambda one: one.bound)
    name, counts = class_name(worst.label, classes), f"{worst.mistakes} of {worst.trials:,} in V"
    if certificate.limits is None:
        return f"by class: the most may be wrong of what the machine calls {name}, {worst.bound:.1%} ({counts})"
    return (
        f"by class: of what the classifier calls {name} it mislabels at most {worst.bound:.2%} ({counts}), of every "
        f"other no more, all with the same confidence (class_epsilon {config.class_epsilon:.1%})"
    )


def recall_lines(certificate: Certificate, classes: Sequence[str] = ()) -> list[str]:
    """What may be lost of each true class: the class with the largest bound, then a warning for each class that V shows
    to be lost, and one for those that V does not show."""
    in_sample = [one for one in certificate.by_true_class if one.trials]
    rows = []
    if in_sample:
        worst = max(in_sample, key=lambda one: one.bound)
        name = class_name(worst.label, classes)
        rows.append(
            f"recall: of all images that humans would call {name} at most {worst.bound:.1%} get another label "
            f"({worst.mistakes} of {worst.trials:,} in V), of every other class in V no more "
            f"({certificate.confidence:.0%} confidence)"
        )
    for one in in_sample:
        if 2 * one.mistakes > one.trials:
            never = "" if one.called else "never predicts it and "
            rows.append(
                f"warning: class {class_name(one.label, classes)} is lost: the classifier {never}mislabels "
                f"{one.mistakes:,} of its {one.trials:,} images in V"
            )
    if absent := [class_name(one.label, classes) for one in certificate.by_true_class if not one.trials]:
        names = ", ".join(absent[:8]) + (", ..." if len(absent) > 8 else "")
        rows.append(f"warning: V holds no image of class {names}: nothing is known of what the machine does to it")
    return rows


def class_name(label: int, classes: Sequence[str]) -> str:
    """A class by its name, where that is known and says more than its number."""
    return classes[label] if label < len(classes) else str(label)


def people_line(people: AnnotatorError, sure: Certificate | None, config: Config) -> str:
    """What the mistakes of people mean for the promise."""
    found = (
        f"{people.differ} of {people.sample:,} images labelled twice differ: people mislabel at most {people.bound:.2%}"
    )
    if not people.counted:
        return f"{found}, no less than epsilon: what is promised is relative to people, not to the truth"
    total = people.bound + (sure.bound if sure else 0)
    return f"{found}; with {config.certify:.0%} confidence at most {total:.2%} of all labels are wrong"


def plan_report(run: RecordedRun) -> str:
    """What a run log knows: the laws, the least cost at each |B|, and what comes next; or, of a run that makes no
    plans, its trainings."""
    log, config = run.log, run.job.config
    rows = [
        f"{log.run.get('data', {}).get('name', 'images')}: {run.job.n:,} images, {run.job.algorithm}, {_state(run)}"
    ]
    if run.plans:
        if log.rules != RULES:
            rows.append(
                f"decisions as recorded, of rules {log.rules}; laws and cost surface as of today's rules, {RULES}"
            )
        rows += [plan_line(run.plans[-1], config), "", *_laws(run.plans[-1], config), "", *_surface(run), ""]
    else:
        rows += [_no_plan(run), "", *_trainings(run), ""]
    return "\n".join([*rows, _next_of(run)])


def check_line(path: str | Path) -> tuple[str, bool]:
    """Whether a log is whole and whether today's rules decide as it did, in a line, and whether both are so."""
    try:
        run = RecordedRun(path)
        if run.is_finished:
            assert run.delivery
    except McalError as error:
        return f"{error}", False
    state = (
        f"{path}: whole, {'finished' if run.is_finished else f'{len(run.steps)} steps'}, decision rules {run.log.rules}"
    )
    try:
        replay(path)
    except McalError as error:
        return f"{state}; rules {RULES} decide otherwise: {str(error).removeprefix(f'{path}: ')}", False
    return f"{state}; rules {RULES} decide the same", True


def _state(run: RecordedRun) -> str:
    if run.is_finished:
        return f"finished, {run.end['savings']:.1%} saved"
    return f"not finished, {len(run.steps)} steps so far"


def _no_plan(run: RecordedRun) -> str:
    """Why there is no plan."""
    if run.job.algorithm not in PLANNED:
        return f"no plan: {run.job.algorithm} makes none"
    return "no plan yet: no classifier has been trained"


def _trainings(run: RecordedRun) -> list[str]:
    fits = [(name, fit) for name, own in run.fits.items() for fit in own]
    if not fits:
        return ["no trainings"]
    rows = [f"  {'trained':>10} {'|B|':>9} {'error on T':>11} {'cost':>12}"]
    for name, fit in fits:
        cost = costs.training_cost(fit, name, run.job.config)
        rows.append(f"  {name:>10} {fit.size:>9,} {len(fit.wrong) / fit.n_test:>11.1%} {f'${cost:,.2f}':>12}")
    return rows


def _laws(plan: Plan, config: Config) -> list[str]:
    rows = ["laws of the error among the top theta, floor + alpha |B|^-gamma e^(-|B|/k):"]
    for theta, law in list(zip(config.thetas, plan.laws, strict=True))[3::4]:
        alpha = np.exp(law.a) * law.B0**law.gamma
        k = f"k = {law.B0 / law.kappa:,.0f}" if law.kappa > 1e-9 else "no truncation"
        k += f", floor = {law.floor:.2%}" if law.floor > 1e-9 else ""
        rows.append(f"  theta {theta:4.0%}: alpha = {alpha:.3g}, gamma = {law.gamma:.2f}, {k}")
    return rows


def _surface(run: RecordedRun) -> list[str]:
    n, plan, tests = run.job.n, run.plans[-1], len(run.sets["T"])
    surface = plan.surface
    rows = ["cost surface, the best theta at each |B|:", f"  {'|B|':>9} {'theta':>7} {'|S|/|X|':>8} {'dollars':>12}"]
    even = np.linspace(0, len(surface.sizes) - 1, 14).astype(int)
    for i in np.unique([*even, int(np.argmin(surface.least_cost))]):
        size, theta, cost = surface.sizes[i], surface.best_theta[i], surface.least_cost[i]
        mark = "  <- B_opt" if size == plan.B_opt else ""
        machine = theta * (n - tests - size) / n
        rows.append(f"  {size:>9,} {theta:>7.1%} {machine:>8.1%} {cost:>12,.2f}{mark}")
    return rows


def _next_of(run: RecordedRun) -> str:
    """What is asked next, by today's rules."""
    if run.is_finished:
        return "next: nothing, the run is finished"
    try:
        return _next(replay(run.path, strict=False).pending, run.job.config)
    except McalError as error:
        return f"next: can't say: {error}"


def _next(pending: Request | None, config: Config) -> str:
    match pending:
        case Label(n=n, by=by, purpose=purpose):
            how = "" if by == "all" else f", chosen by {by}"
            return f"next: people label {n:,} images for {n * config.label_price:,.2f} dollars ({purpose}{how})"
        case Train(train=train, architecture=architecture):
            return f"next: {architecture} is trained on {len(train):,} labels"
        case MachineLabel(n=n, limits=limits):
            return f"next: the classifier labels {'' if limits is None else 'up to '}{n:,} images"
        case Verify(sample=sample):
            return f"next: the classifier is checked on {len(sample):,} images"
        case Measure(pool=pool):
            return f"next: the classifier is measured on {len(pool):,} images"
        case Relabel(n=n):
            return f"next: people label {n:,} images of T once more for {n * config.label_price:,.2f} dollars"
    return "next: its last line, which mcal resume writes"


LABELS = ("index", "label", "class", "by")
"""Columns of the labels delivered."""
LABELS_BEGIN = ",".join(LABELS)


def write_labels(delivery: Delivery, classes: Sequence[str], path: Path) -> None:
    """The labels delivered, as CSV: index, label, class, and whether people or the machine gave it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LABELS)
    for i, (label, machine) in enumerate(zip(delivery.labels.tolist(), delivery.by_machine.tolist(), strict=True)):
        writer.writerow([i, label, classes[label], "machine" if machine else "people"])
    write_atomically(path, text.getvalue())
