"""How sure the delivered labels are: exact bounds on the machine's mistakes, from labels bought for that alone.

When the last classifier stands, people label V, a random sample of U. V took no part in fitting, stopping or
choosing, and knows U as it is by then, which T does not: acquisition has moved the hardest images to B. Walk through U
from the most confident image on. S ends just before the (k + 1)-th mistake of the classifier that V shows, where k is
fixed beforehand: the most that V may show if S is to have fewer than epsilon |X| mistakes. That S fails only if of the
first k + epsilon |X| mistakes in U the sample caught k or fewer, whose chance is hypergeometric, whatever the
ranking. It is fixed-sequence testing (Learn then Test, Angelopoulos et al. 2021) over every threshold there is: the
hypotheses are nested, so nothing is paid for their number.

What is bounded by class that way is how many of the labels c are wrong. How many images of c get another label is a
different question, which ``recall`` answers: a class that is never predicted has no wrong labels, and is lost.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import beta, binom, hypergeom

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.outcome import AnnotatorError, Certificate, ClassBound, ClassRecall
from mcal_jax.algorithm.protocol import SecondLabels, Verification

SAMPLES = 48
"""How many sizes of V are weighed."""
LUCK = ndtri((np.arange(12) + 0.5) / 12)
"""Over which the outcome of V is averaged, in standard deviations."""


def acceptance_number(pool: int, sample: int, most: float, risk: float) -> int:
    """The largest k such that S may go on until ``sample`` random images of ``pool`` show k mistakes; -1 if none.

    S, less V, then has fewer than ``most`` mistakes with a chance of at least 1 - ``risk``.
    """
    limit = max(int(np.ceil(most - 1e-9)), 1)  # mistakes left in S that are too many

    def safe(k: int) -> bool:
        return k + limit > pool or hypergeom.cdf(k, pool, k + limit, sample) <= risk

    low, high = -1, sample  # safe, not safe; with every image of V wrong nothing is
    if safe(sample):
        return sample
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if safe(middle) else (low, middle)
    return low


def most_mistakes(pool: int, sample: int, seen: int, risk: float) -> int:
    """Upper confidence limit on the mistakes among ``pool`` images less the sample, if it showed ``seen``: with a
    chance of at least 1 - ``risk`` there are no more (exact, hypergeometric)."""
    low, high = 0, pool - sample  # possible; and more than all that is left is not
    while high > low:
        middle = (low + high + 1) // 2
        possible = hypergeom.cdf(seen, pool, seen + middle, sample) > risk
        low, high = (middle, high) if possible else (low, middle - 1)
    return low


def certificate(n: int, pool: int, planned: int, seen: Verification, config: Config) -> Certificate:
    """How many of the most confident images of U \\ V the machine may label, and what that promises.

    ``pool`` is |U \\ V|. The error of all n labels is below epsilon with the confidence asked for, people making no
    mistakes; so few that all may be wrong are allowed in any case. In budget mode S is what was ``planned``.
    """
    assert config.certify
    risk = risk_of_all(config)
    if config.budget is not None:
        sure = bounded(n, pool, seen, min(planned, pool), risk)
    else:
        machine, at_least = largest_certified_prefix(
            pool, len(seen.ahead), seen.ahead[seen.wrong], config.epsilon * n, risk
        )
        sure = bounded(n, pool, seen, machine, risk, at_least)
    if config.class_epsilon:
        sure = within_classes(n, sure, seen, config)
    return sure._replace(by_true_class=recall(pool, sure.machine, seen, 1 - config.certify))


def risk_of_all(config: Config) -> float:
    """The risk that the bound on all labels takes: half of it where every class is bounded too."""
    assert config.certify
    return (1 - config.certify) / (2 if config.class_epsilon else 1)


def largest_certified_prefix(pool: int, sample: int, wrong: np.ndarray, most: float, risk: float) -> tuple[int, int]:
    """How many of ``pool`` images, the surest first, make fewer than ``most`` mistakes, and how many mistakes of the
    sample the rule has looked at; ``wrong`` are how many images stand ahead of each of these."""
    k = acceptance_number(pool + sample, sample, most, risk)
    machine = pool if len(wrong) <= k else int(np.sort(wrong)[k]) if k >= 0 else 0
    trivial = min(pool, max(int(np.ceil(most - 1e-9)) - 1, 0))
    # Where mistakes of V stand side by side at the end of S, fewer than k lie inside.
    return (trivial, 0) if trivial >= machine else (machine, min(k, len(wrong)))


def within_classes(n: int, sure: Certificate, seen: Verification, config: Config) -> Certificate:
    """``sure`` with limits for each class, so that every class keeps ``class_epsilon`` and all labels epsilon, at once.

    In a class the same walk: of those of U that the classifier calls c, V holds a random sample too. The classes share
    half of the risk evenly (Bonferroni). What the classes may get wrong together bounds all labels too. Nothing here
    bounds what is lost of a class, see ``recall``.
    """
    assert config.class_epsilon
    risk, most = risk_of_all(config) / len(seen.called), config.class_epsilon
    limits, mistaken, by_class = [], 0, []
    inside = (seen.ahead < sure.machine) | (sure.machine >= seen.called.sum())
    for c, pool in enumerate(seen.called.tolist()):
        of = seen.label == c
        sample, total = int(of.sum()), pool + int(of.sum())
        limit, at_least = largest_certified_prefix(
            pool, sample, seen.ahead_in_class[of & seen.wrong], most * total, risk
        )
        inside &= ~of | (seen.ahead_in_class < limit) | (limit == pool)
        mistakes = int((inside & of & seen.wrong).sum())
        worst = min(most_mistakes(total, sample, max(mistakes, at_least), risk), limit)
        by_class.append(ClassBound(c, int((inside & of).sum()), mistakes, worst / max(total, 1)))
        limits.append(limit)
        mistaken += worst
    trials, mistakes = int(inside.sum()), int((inside & seen.wrong).sum())
    sure = sure._replace(trials=trials, mistakes=mistakes, by_class=tuple(by_class), limits=tuple(limits))
    return sure._replace(confidence=1 - 2 * risk_of_all(config), bound=min(sure.bound, mistaken / n))


def bounded(n: int, pool: int, seen: Verification, machine: int, risk: float, at_least: int = 0) -> Certificate:
    """The certificate of an S of the ``machine`` most confident images of U \\ V; at least so many mistakes of V count
    in its bound."""
    sample, total = len(seen.ahead), pool + len(seen.ahead)
    inside = seen.ahead < machine if machine < pool else np.ones(sample, bool)
    mistakes = int((inside & seen.wrong).sum())
    most = min(most_mistakes(total, sample, max(mistakes, at_least), risk), machine) if machine else 0
    classes = np.unique(seen.label[inside])
    by_class = tuple(
        class_bound(int(c), inside & (seen.label == c), seen.wrong, risk / max(len(classes), 1)) for c in classes
    )
    return Certificate(
        1 - risk, "hypergeometric, fixed sequence", sample, int(inside.sum()), mistakes, machine, most / n, by_class
    )


def recall(pool: int, machine: int, seen: Verification, risk: float) -> tuple[ClassRecall, ...]:
    """For each class c, as people label it, an upper limit on the share of its images in X that get another label; all
    hold at once with a chance of at least 1 - ``risk``, whatever rule chose ``machine``. None for logs without
    ``seen.human``.

    Given how many images of c V holds, t, they are a random sample of the N that U holds. Take those that the
    classifier gets wrong in its order of confidence. For each k there is a fixed number of them so large that the
    first so many images show k mistakes or fewer in V with a chance of at most risk_k; as a share of N it is no larger
    than Clopper and Pearson's limit for k of t, whatever N is. So with a chance of at least 1 - sum risk_k no k fails,
    and then wherever S ends, and by whatever rule, the limit for the k seen up to there holds. risk_k is
    1 / ((k + 1) (k + 2)) of the whole, which sums to it. Half of the risk of c goes there, half to the limit on N; the
    images of c that people labelled elsewhere, and V's own, are right. The classes share the risk evenly (Bonferroni).

    It is conservative: where ``limits`` keep images of the first ``machine`` from S, they count as labelled by the
    machine here, because a region cut by several limits is no longer an initial stretch of that order.
    """
    sample, classes = len(seen.ahead), len(seen.elsewhere)
    inside = seen.ahead < machine if machine < pool else np.ones(sample, bool)
    found = []
    for c, elsewhere in enumerate(seen.elsewhere.tolist()):
        of, share = seen.human == c, risk / classes / 2
        trials, mistakes = int(of.sum()), int((of & inside & seen.wrong).sum())
        left = most_mistakes(pool + sample, sample, trials, share)  # images of c in U \ V, at most
        rate = clopper_pearson(mistakes, trials, share / ((mistakes + 1) * (mistakes + 2)))
        lost = min(rate * (left + trials) - mistakes, left) if machine else 0.0
        called = int((seen.label == c).sum()) + (int(seen.called[c]) if c < len(seen.called) else 0)
        found.append(ClassRecall(c, trials, mistakes, called, lost / max(left + trials + elsewhere, 1)))
    return tuple(found)


def clopper_pearson(mistakes: int, trials: int, risk: float) -> float:
    """Exact upper confidence limit on the chance of a mistake, which showed in ``mistakes`` of ``trials``."""
    return 1.0 if mistakes == trials else float(beta.ppf(1 - risk, mistakes + 1, trials - mistakes))


def bound_annotator_error(n: int, again: SecondLabels, config: Config) -> tuple[AnnotatorError, Config]:
    """How many of ``n`` labels people may get wrong, by how often two of them differ, and what that leaves.

    Two people who err independently, each less often than not on any image, differ at least as often as one of them
    errs: with r the chance of a mistake, 2 r (1 - r) >= r where r <= 1/2. What all people get wrong alike stays
    unseen. Half of the risk is spent here: a quarter on the rate (Clopper and Pearson), a quarter on the number of
    mistakes that such a rate makes of n labels. The machine gets what of epsilon and of the risk is left: its label is
    wrong only if it differs from what a person would say, or that person is wrong. If nothing is left, ``config``
    stays, and its promise is relative to people. In budget mode the bounds add up.
    """
    assert config.certify
    risk, sample, differ = 1 - config.certify, len(again.differ), int(again.differ.sum())
    rate = clopper_pearson(differ, sample, risk / 4)
    bound = float(binom.isf(risk / 4, n, rate)) / n
    changes: dict[str, float] = {}
    if config.budget is not None:
        changes = {"certify": 1 - risk / 2, "budget": config.budget - config.label_price * sample}
    elif bound < config.epsilon:
        changes = {"certify": 1 - risk / 2, "epsilon": config.epsilon - bound}
    return AnnotatorError(sample, differ, bound, bool(changes)), config.model_copy(update=changes)


def class_bound(label: int, of: np.ndarray, wrong: np.ndarray, risk: float) -> ClassBound:
    """Clopper and Pearson's upper limit on the share of mistakes among what S calls ``label``.

    Exact for a threshold fixed beforehand; that of S is chosen by the same sample.
    """
    trials, mistakes = int(of.sum()), int((of & wrong).sum())
    return ClassBound(label, trials, mistakes, clopper_pearson(mistakes, trials, risk))


# ---------------------------------------------------------------------------------------------------------
# Planning V


def expected(pool: int, sample: np.ndarray, most: float, risk: float) -> np.ndarray:
    """The share of U at which S is expected to end: so many are mistakes ahead of it, those found by V included.

    The score test's normal approximation of ``acceptance_number`` / ``sample``; [sample].
    """
    left = np.maximum(1 - sample / pool, 1 / pool)
    rate = np.minimum(most / (pool * left), 1.0)
    sd = np.sqrt(rate * (1 - rate) / (sample * left))
    return np.maximum(rate + ndtri(risk) * sd, 0)


class Check(NamedTuple):
    """A size of V, and the share of U that the machine may then label."""

    sample: int
    theta: float


def best_check(
    n: int, pool: int, thetas: np.ndarray, wrong: np.ndarray, epsilon: float, risk: float, log_sd: float = 0.0
) -> Check:
    """The |V| that is expected to leave people least to label, V itself included.

    ``pool`` is |U|; ``wrong`` [thetas] the share of U that is in its top fraction theta and wrong, as the planner
    expects it, with ``log_sd`` the standard deviation of its logarithm. A larger V costs labels and lets S go nearer
    to epsilon, and with less luck: what S may gain ends at all of U, what it may lose does not.
    """
    if not pool:
        return Check(0, 0.0)
    sizes = sample_sizes(pool)
    share = expected(pool, sizes, epsilon * n, risk)
    sd = np.sqrt(1 / (share * sizes + 1) + log_sd**2)  # of where the mistake of V comes that ends S
    reached = share[:, None] * np.exp(sd[:, None] * LUCK - sd[:, None] ** 2 / 2)
    rising = np.maximum.accumulate(np.concatenate([[0.0], wrong]))
    knots = rising + 1e-12 * np.arange(len(rising))  # where it is flat, the largest theta
    theta = np.interp(reached, knots, np.concatenate([[0.0], thetas]))
    theta = np.maximum(theta, min(epsilon * n / pool, 1.0)).mean(axis=1)  # so few may all be wrong
    machine = (pool - sizes) * theta
    best = int(np.argmax(machine))
    return Check(int(sizes[best]), float(machine[best]) / pool)


def check_in_budget(pool: int, theta: float, thetas: np.ndarray, wrong: np.ndarray, risk: float) -> tuple[int, float]:
    """The |V| that promises the least error where a budget fixes |S| at ``theta`` |U|, and that promise, a share of
    U. Its labels are taken from those of R; without any, all of S may be wrong."""
    machine = int(theta * pool)
    sizes = sample_sizes(pool)
    sizes = sizes[sizes <= pool - machine]
    if not machine or not len(sizes):
        return 0, machine / max(pool, 1)
    at = machine / (pool - sizes)
    rate = np.interp(at, np.concatenate([[0.0], thetas]), np.concatenate([[0.0], wrong]))
    # Poisson's upper limit, so that no mistakes expected are not none promised.
    seen = rate * sizes
    most = (seen - ndtri(risk) * np.sqrt(seen + 1) + 1) / sizes
    best = int(np.argmin(most))
    return int(sizes[best]), min(float(most[best]), machine / pool)


def sample_sizes(pool: int) -> np.ndarray:
    """The sizes of V that are weighed, from 20 to half of ``pool``; none for no pool."""
    if not pool:
        return np.empty(0, int)
    return np.unique(np.geomspace(min(20, pool), max(pool // 2, 1), SAMPLES).astype(int))
