"""Text reports of a run: the final bill, the contents of a log, and whether today's rules decide as it did."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcal_jax.algorithm import costs
from mcal_jax.algorithm.config import BROKEN_IN_SIMULATIONS, Config
from mcal_jax.algorithm.job import PLANNED
from mcal_jax.algorithm.machine_epsilon import error_in_S
from mcal_jax.algorithm.outcome import AnnotatorError, Certificate, MachineError, Outcome
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import Request
from mcal_jax.algorithm.service_errors import epsilon_left
from mcal_jax.algorithm.services import Services
from mcal_jax.errors import McalError
from mcal_jax.registry import short_name
from mcal_jax.runs.driver import Delivery, replay
from mcal_jax.runs.progress import next_line, plan_line
from mcal_jax.runs.recorded import RecordedRun
from mcal_jax.runs.runlog import RULES

STOPS = {
    "pool_exhausted": "humans have labelled everything",
    "budget_spent": "the budget does not pay for another training",
    "exploration_tax": "training has used up the exploration tax, and no plan costs less than humans only",
    "reached_optimum": "|B| has reached its optimum: another batch costs more than it saves",
    "cost_rose": "the predicted cost rose in a step",
    "constraint_met": "the classifier may label all the rest within epsilon",
    "humans_only": "humans label everything",
    "far_enough": "|B| has reached the end of the trajectory",
    "certified": "the predictions were given, nothing was trained",
    "as_recorded": "training ended here when the run was made, though today's rules would go on",
}
"""Why training ended, by the name of the stop rule."""


def summary(delivery: Delivery, config: Config, classes: Sequence[str] = ()) -> str:
    """The end of a run as a table: sets, US dollars by part, savings, true error, and why training ended.

    ``classes`` are the names of the classes; without them their numbers are shown.
    """
    outcome, certificate = delivery.outcome, delivery.outcome.certificate
    sizes = {"|X|": outcome.n, **{f"|{k}|": len(getattr(outcome, k)) for k in "TBSR"}}
    sizes |= {"|V|": len(outcome.V)} if certificate else {}
    rows = [
        " ".join(f"{name:>9}" for name in sizes),
        " ".join(f"{size:>9,}" for size in sizes.values()),
        _bill(outcome),
        _verdict(delivery, config),
        f"{short_name(outcome.architecture)}, {_trained(outcome)}; stopped by {short_name(outcome.stop)}: "
        f"{STOPS.get(outcome.stop, 'a rule of your own, or of another version')}",
    ]
    if outcome.owned:
        rows.append(f"{outcome.owned:,} labels were known beforehand and are not in the bill")
    rows += machine_lines(outcome, config)
    if not certificate and len(outcome.S) and config.budget is None:
        rows.append(
            f"not certified: in simulations {BROKEN_IN_SIMULATIONS:.0%} of such runs exceeded epsilon; "
            "Config.certified() and --preset certified bound the error"
            if config.is_recommended
            else "not certified: the error may be above epsilon"
        )
    if certificate and len(outcome.S):
        rows.append(
            f"certified: with {certificate.confidence:.0%} confidence the machine mislabels at most "
            f"{certificate.bound:.2%} of X ({certificate.mistakes} mistakes among the {certificate.trials:,} images of "
            f"V where S lies; {certificate.method})"
        )
        rows.append(classes_line(certificate, config, classes))
        rows += recall_lines(certificate, classes)
    if config.services is not None:
        rows.append(services_line(config.services, outcome, config))
    if outcome.annotator_error:
        rows.append(annotators_line(outcome.annotator_error, certificate, config))
    for c in outcome.race:
        fate = "won" if c.won else "lost"
        amounts = f"training until then ${c.spent:,.2f}, predicted C* ${c.cost:,.2f}"
        rows.append(f"race: {short_name(c.architecture)} {fate}, {amounts}")
    return "\n".join(rows)


def _trained(outcome: Outcome) -> str:
    """How many trainings, and what those cost that served the plan alone, and the last, whose classifier labels S."""
    text = f"{len(outcome.history)} trainings"
    if len(outcome.plans) < 2:
        return text
    explored, spent = outcome.plans[-2].spent, outcome.plans[-1].spent
    return f"{text} (exploration ${explored:,.2f}, the last one ${spent - explored:,.2f})"


def machine_lines(outcome: Outcome, config: Config) -> list[str]:
    """The error within S in a line, because Eqn 2 bounds that of X alone; or why humans label what epsilon leaves to
    the machine; none where there is neither."""
    if rejected := outcome.rejected:
        return [
            f"S is left to humans: epsilon lets the machine label {rejected.machine:,} images, but up to "
            f"{rejected.error:.1%} of these labels might be wrong (machine_epsilon {config.machine_epsilon:.1%})"
        ]
    if not (error := outcome.machine_error):
        return []
    return [f"within S: {_machine_error(error)}{_too_much(error, config)}"]


def _machine_error(error: MachineError) -> str:
    if error.estimate is not None:
        return (
            f"about {error.estimate:.1%} of the machine's labels are wrong, at most {error.limit:.1%} with "
            f"{error.confidence:.0%} confidence ({error.mistakes:,} of {error.trials:,} images of T; not a certificate)"
        )
    if error.limit == 1 and not error.trials:
        return "nothing bounds the share of the machine's labels that are wrong"
    return f"at most {error.limit:.1%} of the machine's labels are wrong ({error.confidence:.0%})"


def _too_much(error: MachineError, config: Config) -> str:
    """A word where a budget, which leaves no money for more labels, breaks ``machine_epsilon``."""
    if config.budget is None or config.machine_epsilon is None or error.limit <= config.machine_epsilon:
        return ""
    return f"; above machine_epsilon, {config.machine_epsilon:.1%}, which a budget does not keep"


def _bill(outcome: Outcome) -> str:
    bill = outcome.ledger
    certified = f" + V ${bill.certificate:,.2f}" if outcome.certificate else ""
    certified += f" + second labels ${bill.repeat:,.2f}" if outcome.annotator_error else ""
    return (
        f"labels of T ${bill.test:,.2f} + B ${bill.train:,.2f} + R ${bill.residual:,.2f}"
        f"{certified} + training ${bill.training:,.2f} + race ${bill.race:,.2f} = ${bill.total:,.2f}"
    )


def _verdict(delivery: Delivery, config: Config) -> str:
    bill = delivery.outcome.ledger
    verdict = f"humans only ${bill.humans_only:,.2f}: savings {bill.savings:.1%}"
    if delivery.true_error is not None:
        verdict += f"; true error {delivery.true_error:.2%}"
    return verdict + (f" (epsilon {config.epsilon:.1%})" if config.budget is None else "")


def classes_line(certificate: Certificate, config: Config, classes: Sequence[str] = ()) -> str:
    """The class for whose predictions the certificate has the largest bound, in a line."""
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
    to be lost, and one for those of which V has no image."""
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
        rows.append(f"warning: V holds no image of class {names}: the error of the machine on it is unknown")
    return rows


def class_name(label: int, classes: Sequence[str]) -> str:
    """The name of a class, or its number where the name is not known."""
    return classes[label] if label < len(classes) else str(label)


def services_line(services: Services, outcome: Outcome, config: Config) -> str:
    """Who labelled what, and what their errors mean for the bound on the error of all labels, in a line."""
    errors = config.epsilon - epsilon_left(outcome.n, len(outcome.B), config)
    machine = outcome.certificate.bound if outcome.certificate else 0.0
    total = f"with {config.certify:.0%} confidence at most {errors + machine:.2%} of all labels are wrong"
    return f"{services}: by these errors they mislabel at most {errors:.2%} of X; {total}"


def annotators_line(annotators: AnnotatorError, certificate: Certificate | None, config: Config) -> str:
    """What the mistakes of the annotators mean for the bound on the error of the labels, in a line."""
    twice = (
        f"{annotators.differ} of {annotators.sample:,} images labelled twice differ: humans mislabel at most "
        f"{annotators.bound:.2%}"
    )
    if not annotators.counted:
        return f"{twice}, no less than epsilon: the bound is relative to the labels of humans, not to the truth"
    total = annotators.bound + (certificate.bound if certificate else 0)
    return f"{twice}; with {config.certify:.0%} confidence at most {total:.2%} of all labels are wrong"


# ---------------------------------------------------------------------------------------------------------
# The contents of a log


def plan_report(run: RecordedRun) -> str:
    """The contents of a run log: the laws, the least cost at each |B|, and what comes next; or, of a run that makes no
    plans, its trainings."""
    log, config = run.log, run.job.config
    rows = [
        f"{log.run.get('data', {}).get('name', 'images')}: {run.job.n:,} images, {run.job.algorithm}, {_state(run)}"
    ]
    pending, next_step = _next_step(run)
    single = len(run.job.architectures) == 1  # in a race the request that comes next may be another architecture's
    plan = pending.plan if pending and pending.plan and single else run.last_plan
    if plan:
        if log.rules != RULES:
            rows.append(
                f"decisions as recorded, of rules {log.rules}; laws and cost surface as of today's rules, {RULES}"
            )
        rows += [plan_line(plan, config), "", *_laws(plan, config), "", *_surface(run, plan), ""]
    else:
        rows += [_no_plan(run), "", *_trainings(run), ""]
    if run.is_finished:
        rows += machine_lines(run.delivery_without_plans.outcome, config)
    return "\n".join([*rows, next_step])


def check_line(path: str | Path) -> tuple[str, bool]:
    """Whether a log is whole and whether today's rules decide as it did, in a line, and whether both are so."""
    try:
        run = RecordedRun(path)
        if run.is_finished:
            assert run.delivery_without_plans
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
        error = f"{len(fit.wrong) / fit.n_test:.1%}" if fit.n_test else "untested"
        rows.append(f"  {short_name(name):>10} {fit.size:>9,} {error:>11} {f'${cost:,.2f}':>12}")
    return rows


def _laws(plan: Plan, config: Config) -> list[str]:
    rows = ["laws of the error among the top theta, floor + alpha |B|^-gamma e^(-|B|/k):"]
    for theta, law in list(zip(config.thetas, plan.laws, strict=True))[3::4]:
        alpha = np.exp(law.a) * law.B0**law.gamma
        k = f"k = {law.B0 / law.kappa:,.0f}" if law.kappa > 1e-9 else "no truncation"
        k += f", floor = {law.floor:.2%}" if law.floor > 1e-9 else ""
        rows.append(f"  theta {theta:4.0%}: alpha = {alpha:.3g}, gamma = {law.gamma:.2f}, {k}")
    return rows


def _surface(run: RecordedRun, plan: Plan) -> list[str]:
    n, tests = run.job.n, len(run.sets["T"])
    surface = plan.surface
    columns = f"  {'|B|':>9} {'theta':>7} {'|S|/|X|':>8} {'wrong in S':>10} {'cost, US$':>12}"
    rows = ["cost surface, the best theta at each |B|, and what the constraint takes for the error within S:", columns]
    even = np.linspace(0, len(surface.sizes) - 1, 14).astype(int)
    for i in np.unique([*even, int(np.argmin(surface.least_cost))]):
        size, theta, cost = surface.sizes[i], surface.best_theta[i], surface.least_cost[i]
        mark = "  <- B_opt" if size == plan.B_opt else ""
        rest = n - tests - size
        within = error_in_S(surface.error[i], n, rest, surface.thetas, run.job.config)
        wrong = f"{np.interp(theta, surface.thetas, within):.1%}" if theta * rest >= 1 else ""
        rows.append(f"  {size:>9,} {theta:>7.1%} {theta * rest / n:>8.1%} {wrong:>10} {cost:>12,.2f}{mark}")
    return rows


def _next_step(run: RecordedRun) -> tuple[Request | None, str]:
    """The request that comes next by today's rules, if there is one, and a line about it."""
    if run.is_finished:
        return None, "next: nothing, the run is finished"
    try:
        pending = replay(run.path, strict=False).pending
    except McalError as error:
        return None, f"next: can't say: {error}"
    return pending, next_line(pending, run.job.config)
