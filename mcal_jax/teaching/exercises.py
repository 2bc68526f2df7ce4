"""Checks of what the learner writes in the lessons, each with a hint at the usual mistakes; see ``checking``."""

import json
import re
from typing import Any

import numpy as np

from mcal_jax.algorithm.acquisition import ACQUISITIONS, PoolView, Scores, select
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.plan import Plan
from mcal_jax.errors import McalError
from mcal_jax.runs.settings import home
from mcal_jax.teaching.checking import Answer, ask, ask_number, expect, is_equal, report
from mcal_jax.teaching.small_jobs import (
    JOBS,
    NEARLY_FREE_LABELS,
    Error,
    JobNumbers,
    bill,
    least_cost,
    power_law,
    wrong_share,
)

NOTEBOOKS = ("00_read_me_first", "01_power_laws", "02_cost_surfaces", "03_what_to_label", "05_write_it_yourself")
"""Those in which something is to be written."""
FOLDED = re.compile(r"<details><summary>Solution</summary>\s+```python\n(.*?)```", re.DOTALL)


def solutions() -> dict[str, str]:
    """The Python of each folded solution in the notebooks, by the name of the function that it defines."""
    paths = [home() / "notebooks" / f"{name}.ipynb" for name in NOTEBOOKS]
    cells = [cell for path in paths for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    texts = FOLDED.findall("\n".join("".join(cell["source"]) for cell in cells))
    return {re.findall(r"^def (\w+)", text, re.MULTILINE)[0]: text for text in texts}


def answer(own: Answer, solved: bool = False) -> Answer:
    """The learner's ``own`` function or, where ``solved``, the folded solution of the same name.

    The solution sees the names that ``own`` sees. Raises McalError if there is no solution of that name.
    """
    if not solved:
        return own
    name, known = own.__name__, solutions()
    if name not in known:
        raise McalError(f"no solution defines {name!r}; there are {', '.join(known)}")
    scope = dict(own.__globals__)
    exec(compile(known[name], f"solution of {name}", "exec"), scope)
    return scope[name]


@report
def check_total_cost(total_cost: Answer) -> str:
    """Task of lesson 0: whether ``total_cost(T, B, R, C_h, C_t)`` is Eqn 1, from sizes and prices in US dollars."""
    for T, B, R, label_price, training in ((2_500, 8_000, 12_000, 0.04, 90.0), (500, 1_000, 0, 0.003, 7.5)):
        value, right = ask_number(total_cost, T, B, R, label_price, training), label_price * (T + B + R) + training
        hints = [
            (right - label_price * T, "the labels of T are paid for, too"),
            (right - label_price * B, "the labels of B are paid for, too"),
            (right - label_price * R, "the labels of R are paid for, too"),
            (right - training, "training costs C_t: add it"),
            (right + training * (B - 1), "C_t is the cost of all training, not of one image: add it once"),
            (label_price * (T + B + R + training), "C_t is money already: only labels are multiplied by C_h"),
        ]
        job = f"|T| {T:,}, |B| {B:,}, |R| {R:,}, C_h {label_price:g}, C_t {training:g}"
        told = f"{job}: {value:,.2f} US dollars, expected {right:,.2f}"
        expect(value, right, told, hints, "every human label costs C_h, and training costs C_t")
    return "the bill of two jobs"


@report
def check_error_at_twice(error_at_twice: Answer) -> str:
    """Task of lesson 1: whether ``error_at_twice(size, alpha, gamma, k)`` is Eqn 3 at 2 ``size``."""
    for size, alpha, gamma, k in ((1_000, 3.0, 0.4, 15_000.0), (4_000, 2.0, 0.3, 6_000.0)):
        value, twice = ask_number(error_at_twice, size, alpha, gamma, k), 2 * size
        right = alpha * twice**-gamma * np.exp(-twice / k)
        hints = [
            (alpha * size**-gamma * np.exp(-size / k), "that is the error at |B|, not at 2 |B|"),
            (alpha * twice**-gamma, "the last factor of Eqn 3 is missing: np.exp(-size / k) at twice the size"),
            (alpha * twice**-gamma * np.exp(-size / k), "|B| is doubled in the last factor of Eqn 3, too"),
            (alpha * twice**-gamma * np.exp(twice / k), "the exponent of the last factor is negative"),
            (alpha * twice**gamma * np.exp(-twice / k), "the error falls: the exponent is -gamma"),
        ]
        told = f"|B| {size:,}, alpha {alpha:g}, gamma {gamma:g}, k {k:,.0f}: {value:.4g}, expected {right:.4g}"
        expect(value, right, told, hints, "put 2 |B| into Eqn 3 for |B|")
    return "Eqn 3 at twice the size, for two laws"


@report
def check_largest_theta(largest_theta: Answer) -> str:
    """Task of lesson 2: whether ``largest_theta(job, B, error)`` is the largest of ``job.thetas`` that keeps Eqn 2."""
    for job, law in JOBS:
        error = power_law(*law)
        for B in (job.sizes[len(job.sizes) // 2], job.sizes[-8]):
            value, thetas = ask_number(largest_theta, job, B, error), job.thetas
            right = thetas[wrong_share(job, error, B, thetas) < job.epsilon].max()
            hints = [
                (thetas[error(B, thetas) < job.epsilon].max(), "weigh the error by |S| / |X|"),
                (thetas[thetas * error(B, thetas) < job.epsilon].max(), "|S| is theta (|X| - |T| - |B|)"),
                (0, "that is the smallest"),
            ]
            told = f"|B| = {B:,} of {job.n:,}: theta = {value:.0%}, expected {right:.0%}"
            usual = "the largest theta for which |S| / |X| error(B, theta) is below job.epsilon"
            expect(value, right, told, hints, usual)
    return f"the largest theta of {len(JOBS)} jobs, at two sizes of B each"


@report
def check_largest_S(largest_S: Answer) -> str:
    """Task of lesson 3: whether ``largest_S(wrong, bound)`` is the largest |S| with less than ``bound`` wrong."""
    cases = (
        ([0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1], 0.3),
        ([0, 0, 0, 0, 0, 1, 1, 1], 0.2),
        ([1, 0, 0, 0, 0, 0, 1, 1], 0.25),
        ([1, 1, 1, 1], 0.5),
        ([0, 0, 0, 1], 0.5),
    )
    for given, bound in cases:
        wrong = np.array(given, bool)
        value, counts = ask_number(largest_S, wrong, bound), np.arange(1, len(wrong) + 1)
        allowed = np.cumsum(wrong) / counts < bound
        right = max(counts[allowed], default=0)
        hints = [
            (max(right - 1, 0), "a position is not a number of images: the first image has position 0"),
            (int(np.cumprod(allowed).sum()), "the error may fall again later: look for the last |S| allowed"),
            (int((np.cumsum(wrong) / len(wrong) < bound).sum()), "divide the mistakes in S by |S|, not by all images"),
            (int((~wrong).sum()), "S may hold wrong labels, as long as their share is below the bound"),
        ]
        told = f"wrong {''.join(map(str, given))}, bound {bound:g}: |S| = {value:g}, expected {right}"
        expect(value, right, told, hints, "the largest m for which less than the bound of the first m images is wrong")
    return f"the largest S of {len(cases)} rankings"


@report
def check_margin(margin: Answer) -> str:
    """Exercise 1: whether ``margin`` maps probabilities [images, classes] to margins [images] (section 3.3)."""
    given = np.array([[0.1, 0.7, 0.2], [0.25, 0.3, 0.45], [0.05, 0.05, 0.9], [0.4, 0.4, 0.2]])
    ranked, p = np.sort(given, axis=1), given.copy()
    value, right = ask(margin, p), ranked[:, -1] - ranked[:, -2]
    assert np.array_equal(p, given), "margin changes the array that it is given: np.sort(p) copies, p.sort() does not"
    assert np.shape(value) == (4,), f"for 4 images of 3 classes the shape must be (4,), not {np.shape(value)}"
    sorted_columns = np.sort(given, axis=0)
    hints = [
        (given[:, 0] - given[:, 1], "sort each row first: the two highest need not be the first two columns"),
        (sorted_columns[:, -1] - sorted_columns[:, -2], "an image is a row: sort along axis 1, not along axis 0"),
        (ranked[:, -1] - ranked[:, 0], "subtract the second highest probability, not the lowest"),
        (ranked[:, -1], "that is the highest probability alone: subtract the second highest"),
        (-right, "the sign is wrong: the highest minus the second highest"),
    ]
    told = f"margins {np.round(value, 3)}, expected {np.round(right, 3)}"
    expect(value, right, told, hints, "the highest minus the second highest, in each row")
    return "the margin is small where two classes compete"


@report
def check_fit(fit: Answer) -> str:
    """Exercise 2: whether ``fit(sizes, errors)`` finds (alpha, gamma) of Eqn 3 without truncation; both [trainings]."""
    sizes = np.array([250.0, 500.0, 1000.0, 2000.0, 4000.0])
    for alpha, gamma in ((2.0, 0.5), (0.7, 0.25)):
        value = ask(fit, sizes, alpha * sizes**-gamma)
        assert np.shape(value) == (2,), "return two numbers: alpha, gamma"
        hints = [
            ((gamma, alpha), "alpha comes first, then gamma"),
            ((alpha, -gamma), "the line falls with slope -gamma, so gamma is minus the slope"),
            ((np.log(alpha), gamma), "the height of the line at 0 is log alpha: undo the logarithm with np.exp"),
            ((np.exp(np.log10(alpha)), gamma), "np.exp undoes np.log; what undoes np.log10 is 10**"),
        ]
        usual = "take the logarithm of both, sizes and errors: only then is the law a straight line"
        told = f"alpha {value[0]:.3g}, gamma {value[1]:.3g} for {alpha} |B|^-{gamma}"
        expect(value, (alpha, gamma), told, hints, usual)
    return "it finds alpha and gamma of two laws"


@report
def check_search(search: Answer) -> str:
    """Exercise 3: whether ``search(job, error)`` finds the cheapest (|B|, theta) that keeps the bound, and its cost."""
    for job, law in JOBS:
        error = power_law(*law)
        _check_pair(job, error, ask(search, job, error))
    return f"the cheapest allowed pair of {len(JOBS)} jobs"


def _check_pair(job: JobNumbers, error: Error, found: Any) -> None:
    """Raises AssertionError unless ``found``, (|B|, theta, cost), is the cheapest allowed."""
    assert np.shape(found) == (3,), "return three numbers: |B|, theta and the cost of the job"
    size, theta, cost = map(float, found)
    assert job.sizes[0] <= size <= job.sizes[-1], f"|B| = {size:,.0f} is not one of job.sizes: |B| comes first"
    assert 0 <= theta <= 1, f"theta = {theta:g} is no share: it lies between 0 and 1 and is returned second"
    wrong, right, least = wrong_share(job, error, size, theta), bill(job, size, theta), least_cost(job, error)
    pair = f"|B| = {size:,.0f} with theta = {theta:.0%}"
    assert wrong < job.epsilon, (
        f"{pair} breaks the bound: Eqn 2 gives {wrong:.1%}, epsilon is {job.epsilon:.0%}; skip pairs that are not below"
    )
    hints = [
        (right - job.label_price * job.n_test, "the labels of T are paid for, too"),
        (right - job.training_price * size, "training on B costs job.training_price for each image"),
        (right - job.label_price * size, "the labels of B are paid for, too"),
    ]
    told = f"{pair} costs {right:,.2f} US dollars, not {cost:,.2f}"
    expect(cost, right, told, hints, "Eqn 1 adds the labels of T, B and R and the training")
    assert cost <= least * (1 + 1e-6), (
        f"{pair} costs {cost:,.2f} US dollars, and {least:,.2f} is possible: try every pair, keep the cheapest, and"
        f" weigh the error by |S| / |X| before you compare it with epsilon"
    )


STOP_CASES: tuple[tuple[tuple[float, ...], int, float, bool, str], ...] = (
    ((100.0,), 900, 0.05, False, "one plan has none before it to compare with, so it is not stable"),
    ((100.0, 99.0), 900, 0.05, True, "C* moved by 1 % and no larger |B| is cheaper"),
    ((100.0, 99.0), 1000, 0.05, True, "the best |B| is the present one, and C* is stable"),
    ((100.0, 99.0), 5000, 0.05, False, "C* is stable, but a larger |B| is cheaper (line 9)"),
    ((100.0, 50.0), 900, 0.05, False, "C* fell by half, so the plan is not stable (line 19)"),
    ((50.0, 100.0), 900, 0.05, False, "C* rose to twice its value: compare the size of the change, abs(...)"),
    ((100.0, 92.0), 900, 0.05, False, "C* moved by more than 5 %, which is config.stability here"),
    ((100.0, 92.0), 900, 0.1, True, "C* moved by less than 10 %, which is config.stability here"),
    ((100.0, 99.0, 50.0), 900, 0.05, False, "the last two plans count, not the first two"),
    ((100.0, 50.0, 49.0), 900, 0.05, True, "the last two plans count, not the first and the last"),
)
"""C* of the plans, the last B_opt at |B| = 1,000, Delta, whether to stop, and why."""


def plan_of(size: int, B_opt: int, cost: float) -> Plan:
    """A plan of which a stop rule reads |B|, the best |B| and C* in US dollars."""
    return Plan(size, 1.0, (0.0, 1e-3), (), None, B_opt, 0.5, cost, cost, 0.5, 0.04, cost, 100, False, "power")  # type: ignore[arg-type]


@report
def check_stop(rule: Answer) -> str:
    """Exercise 4: whether ``rule(n, plans, config)`` says when to train no more (lines 9 and 19)."""
    for costs, B_opt, stability, right, why in STOP_CASES:
        plans = [plan_of(1000, B_opt, cost) for cost in costs]
        value = ask(rule, 50_000, plans, Config(stability=stability))
        assert isinstance(value, bool | np.bool_), f"{rule.__name__} must return True or False, not {value!r}"
        case = f"C* {' -> '.join(f'{cost:g}' for cost in costs)}, |B| 1,000, best |B| {B_opt:,}"
        assert bool(value) is right, f"{case}: expected {right}, got {bool(value)}: {why}"
    return f"it decides {len(STOP_CASES)} cases as Algorithm 1 does"


def scores_of(probabilities: np.ndarray) -> Scores:
    """The scores of images with these ``probabilities`` [images, classes], for acquisition functions."""
    p = np.sort(probabilities, axis=1)
    entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(axis=1)
    columns = (p[:, -1] - p[:, -2], entropy, p[:, -1])
    return Scores(probabilities.argmax(axis=1).astype(np.int32), *(column.astype(np.float32) for column in columns))


@report
def check_ratio(ratio: Answer) -> str:
    """Exercise 5: whether ``ratio(scores)`` is second highest / highest probability, and registered by its name."""
    given = np.array([[0.8, 0.15, 0.05], [0.4, 0.35, 0.25], [0.5, 0.45, 0.05], [0.6, 0.3, 0.1]])
    value, right = np.asarray(ask(ratio, scores_of(given))), np.array([0.1875, 0.875, 0.9, 0.5])
    assert value.shape == (4,), f"a score for each of 4 images has the shape (4,), not {value.shape}"
    hints = [
        (-right, "humans label the highest scores first: the more doubtful, the higher"),
        (1 / right, "upside down: the second highest is divided by the highest"),
        (1 - right, "that is margin / highest: the second highest is confidence - margin"),
        (np.sort(given, axis=1)[:, -2], "that is the second highest alone: divide it by the highest"),
    ]
    usual = "the second highest probability is confidence - margin; divide it by the confidence"
    told = f"scores {np.round(value, 3)}, expected {np.round(right, 3)}"
    expect(value, right, told, hints, usual)
    name = ratio.__name__
    assert name in ACQUISITIONS, f'not registered: acquisition.ACQUISITIONS.register("{name}", {name})'
    chosen = select(name, 2, PoolView(4, scores=scores_of(given)))
    assert chosen.tolist() == [2, 1], f"{name!r} stands for an older function: run the cell above again"
    return f"Config(acquisition={name!r}) labels by it"


@report
def check_plan(plan: Answer) -> str:
    """Exercise 6: whether ``plan(job, sizes, errors, quality)`` plans a job from a pilot, or leaves it to humans."""
    sizes = np.array([500.0, 1000.0, 2000.0, 4000.0])
    for job, (alpha, gamma, quality) in JOBS[:2]:
        found = ask(plan, job, sizes, alpha * sizes**-gamma, quality)
        _check_pair(job, power_law(alpha, gamma, quality), found)
    job, (alpha, gamma, quality) = NEARLY_FREE_LABELS, JOBS[0][1]
    found = ask(plan, job, sizes, alpha * sizes**-gamma, quality)
    assert np.shape(found) == (3,), "return three numbers: |B|, theta and the cost of the job"
    assert is_equal(found, (0, 0, job.n * job.label_price)), (
        f"labels at {job.label_price:g} US dollars cost less than any training: compare with humans only, "
        f"and return 0, 0.0 and the cost of |X| labels where that is cheaper; got {tuple(map(float, found))}"
    )
    return "it plans two jobs and leaves the third one to humans"
