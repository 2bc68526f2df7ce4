"""What each picture of one run shows, in a sentence: its title, computed from the run."""

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.algorithm.plan import Plan
from mcal_jax.plots.text import money, percent


def run_findings(outcome: Outcome, config: Config) -> dict[str, str]:
    """A sentence for each picture of ``outcome``, by the name of the function in ``plots`` that draws it;
    ``surface_first`` and ``surface_last`` are the cost surfaces of the first and the last plan."""
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
    }


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
    """By the law of the middle theta: how much of the error twice the labels take away, at the present |B|."""
    middle = min(range(len(plan.laws)), key=lambda t: abs(config.thetas[t] - 0.5))
    law = plan.laws[middle]
    left = 2.0**-law.gamma
    theta = percent(round(float(config.thetas[middle]), 2))
    return f"Twice the labels take {percent(round(1 - left, 2))} of the error at θ = {theta}, by the power of its law"


def _error(outcome: Outcome, config: Config) -> str:
    fit = outcome.history[-1]
    at = [int(fit.errors(theta)) / max(int(theta * fit.n_test), 1) for theta in (0.5, 1.0)]
    shares = " and ".join(percent(round(share, 3)) for share in at)
    return f"Among the most confident half of T and all of T, {shares} of the predictions are wrong"
