"""What each picture of one run shows, in a sentence, and what its symbols mean: its title and the note below it."""

from typing import NamedTuple

import numpy as np

from mcal_jax.algorithm import powerlaw
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.algorithm.plan import Plan
from mcal_jax.plots.text import money, percent

EPSILON = "ε: the share of wrong labels allowed"


class Headline(NamedTuple):
    """The title of a picture and the small text below it: the arguments of ``plots.headline``."""

    finding: str
    note: str


def run_findings(outcome: Outcome, config: Config, scale: str = "", mistakes: int | None = None) -> dict[str, Headline]:
    """The title and the note of each picture of ``outcome``, by the name of the function in ``plots`` that draws it;
    ``surface_first`` and ``surface_last`` are the cost surfaces of the first and the last plan.

    ``scale`` stands below every note; ``mistakes`` are the machine's wrong labels, None where the truth is not known.
    """
    findings, notes = _findings(outcome, config, mistakes), _notes(outcome, config, mistakes)
    return {
        name: Headline(finding, "\n".join(filter(None, [notes.get(name), scale]))) for name, finding in findings.items()
    }


def _findings(outcome: Outcome, config: Config, mistakes: int | None) -> dict[str, str]:
    plans, history, bill, n = outcome.plans, outcome.history, outcome.ledger, outcome.n
    return {
        "sets": f"The machine labelled {percent(round(len(outcome.S) / n, 3))} of the {n:,} images",
        "ledger": _bill(bill.total, bill.humans_only),
        "surface_first": _surface(plans[:1]),
        "surface_last": _surface(plans),
        "plan_path": _path(plans),
        "cost_against_size": f"The predicted cost of the best plan went from {money(plans[0].cost)} to "
        f"{money(plans[-1].cost)} in {_trainings(len(plans))}",
        "fits": _learning(plans[-1], config),
        "error_by_rank": _error(outcome, config),
        "training_cost": f"{_trainings(len(history)).capitalize()} cost {money(bill.training)}, "
        f"{percent(round(bill.training / bill.total, 3))} of the bill",
        "gallery": _mistakes(len(outcome.S), mistakes),
    }


def _notes(outcome: Outcome, config: Config, mistakes: int | None) -> dict[str, str]:
    """What the symbols, colours and lines mean that the legend of a picture does not explain."""
    surface = "B: training set." if config.theta_of == "all" else "B: training set; T: test set."
    bound = "" if config.budget is not None else f" {EPSILON}."
    stable = f" Stable: C* has moved by less than {percent(config.stability)}."
    certificate = "; V: images whose labels certify the error" if outcome.ledger.certificate else ""
    wrong = " Dark orange: wrong labels, with the true class in brackets." if mistakes else ""
    return {
        "ledger": f"T: test set; B: training set; R: the rest that humans label{certificate}.",
        "surface_first": surface + bound,
        "surface_last": surface + bound,
        "plan_path": r"B: training set; $B_{opt}$: its best size by the plan after a training; "
        f"C*: the cost of the whole job by that plan.{stable if any(plan.stable for plan in outcome.plans) else ''}",
        "cost_against_size": r"B: training set; $B_{opt}$: its best size by a plan. A curve is the cost of the whole "
        "job with the best share of machine labels.",
        "fits": "Points: wrong labels among the most confident share θ of the test set T after each training, with "
        f"95 % intervals. Lines: the laws fitted to them, with bands of two standard errors. B: training set.{bound}",
        "error_by_rank": r"T: test set; B: training set; $S^\theta$: the share θ of which the classifier is most "
        f"confident; ε(·): the share of wrong labels.{_constrained(config)}{bound}",
        "training_cost": "B: training set. The line predicts the cost of the next training.",
        "gallery": f"B: training set; R: the rest that humans label; S: labelled by the machine.{wrong}",
    }


def _constrained(config: Config) -> str:
    """What |S| and |X| mean, where the constraint is on X."""
    return " S, X: the images that the machine labels, and all." if config.constraint == "on_X" else ""


def _mistakes(machine: int, mistakes: int | None) -> str:
    if not machine:
        return "Humans labelled all images"
    if mistakes is None:
        return f"The machine labelled {machine:,} images"
    return f"{mistakes:,} of the machine's {machine:,} labels ({percent(round(mistakes / machine, 3))}) are wrong"


def _bill(total: float, humans: float) -> str:
    if total >= humans:
        return f"The job cost {money(total)}, humans only would cost {money(humans)}: nothing saved"
    saved = percent(round(1 - total / humans, 3))
    return f"The job cost {money(total)}, humans only would cost {money(humans)}: {saved} saved"


def _trainings(count: int) -> str:
    return f"{count} training{'s' * (count != 1)}"


def _surface(plans: "tuple[Plan, ...]") -> str:
    plan, after = plans[-1], f"After {_trainings(len(plans))}"
    if not plan.theta:
        return f"{after} no plan with a machine is cheaper than humans only"
    share = percent(round(plan.theta, 3))
    return f"{after} the best plan trains on {plan.B_opt:,} images and lets the machine label {share} of the rest"


def _path(plans: "tuple[Plan, ...]") -> str:
    first = next((k for k, plan in enumerate(plans, 1) if plan.stable), None)
    when = f"The plan was stable after {_trainings(first)}" if first else "The plan never became stable"
    return f"{when}; training ended at |B| = {plans[-1].size:,}"


def _learning(plan: Plan, config: Config) -> str:
    """By the law of the middle theta: how much of the error twice the present |B| takes away, or all images of X where
    they are fewer."""
    middle = min(range(len(plan.laws)), key=lambda t: abs(config.thetas[t] - 0.5))
    most = int(plan.surface.sizes[-1])
    now, then = powerlaw.predict([plan.laws[middle]], np.array([plan.size, min(2 * plan.size, most)]))[:, 0]
    growth = "Doubling |B|" if 2 * plan.size <= most else f"Raising |B| from {plan.size:,} to {most:,}"
    theta = percent(round(float(config.thetas[middle]), 2))
    return f"{growth} would cut the error at θ = {theta} by {percent(round(1 - then / now, 2))}"


def _error(outcome: Outcome, config: Config) -> str:
    fit = outcome.history[-1]
    at = [int(fit.errors(theta)) / max(int(theta * fit.n_test), 1) for theta in (0.5, 1.0)]
    shares = " and ".join(percent(round(share, 3)) for share in at)
    return f"Among the most confident half of T and all of T, {shares} of the predictions are wrong"
