"""Certificates: exact bounds on the machine's mistakes, from labels bought for that alone.

When the last classifier stands, humans label V, a random sample of U. V took no part in fitting, stopping or
choosing, and represents U as it is by then, which T does not: acquisition has moved the hardest images to B. Walk
through U from the most confident image on. S ends just before the (k + 1)-th mistake of the classifier that V shows,
where k, the acceptance number, is fixed beforehand: the largest number of mistakes in V with which S may have fewer
than epsilon |X|. That S fails only if of the first k + epsilon |X| mistakes in U the sample caught k or fewer, whose
chance is hypergeometric, whatever the ranking. It is fixed-sequence testing (Learn then Test, Angelopoulos et al. 2021)
over every threshold there is: the hypotheses are nested, so their number costs no confidence. |V| may be the smallest
of its acceptance number (``smallest_sample``): then nearly all of the risk is used.

Bounds by class are on two different questions. ``certificate_by_class`` bounds how many of the labels c are wrong.
``recall_bounds`` bounds how many images of c get another label: a class that is never predicted has no wrong labels,
and is lost.

Throughout, ``pool`` is |U \\ V| or |U|, as each function says; ``sample`` is |V|; ``machine`` is |S|; ``risk`` is 1
minus a confidence level.
"""

from bisect import bisect_left

import numpy as np
from scipy.stats import binom, hypergeom

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.limits import clopper_pearson
from mcal_jax.algorithm.outcome import AnnotatorError, Certificate, ClassBound, ClassRecall
from mcal_jax.algorithm.protocol import SecondLabels, Verification

METHOD = "hypergeometric, fixed sequence"

# ---------------------------------------------------------------------------------------------------------
# Exact bounds


def acceptance_number(pool: int, sample: int, max_mistakes: float, risk: float) -> int:
    """The largest k such that S may go on until V shows k mistakes; -1 if there is none.

    ``pool`` is |U|, of which ``sample`` random images are V. S, less V, then has fewer than ``max_mistakes`` mistakes
    with a chance of at least 1 - ``risk``.

    >>> acceptance_number(10**6, 58, 0.05 * 10**6, 0.05), acceptance_number(10**6, 59, 0.05 * 10**6, 0.05)
    (-1, 0)
    """
    safe, unsafe = -1, sample  # with every image of V wrong no k is safe, unless all are
    if _is_safe(sample, pool, sample, max_mistakes, risk):
        return sample
    while unsafe - safe > 1:
        middle = (safe + unsafe) // 2
        safe, unsafe = (middle, unsafe) if _is_safe(middle, pool, sample, max_mistakes, risk) else (safe, middle)
    return safe


def smallest_sample(pool: int, sample: int, max_mistakes: float, risk: float) -> int:
    """The smallest |V| that has the acceptance number of ``sample``; ``sample`` itself where that number is -1.

    Acceptance numbers are whole, so between two of them a larger V does not take S further into the mistakes of V: it
    only shows each of them earlier, at a risk below ``risk``.

    >>> acceptance_number(8247, 600, 500, 0.05), smallest_sample(8247, 600, 500, 0.05)
    (28, 589)
    """
    k = acceptance_number(pool, sample, max_mistakes, risk)
    if k < 0:
        return sample
    sizes = range(k, sample + 1)
    return sizes[bisect_left(sizes, True, key=lambda size: _is_safe(k, pool, size, max_mistakes, risk))]


def _is_safe(k: int, pool: int, sample: int, max_mistakes: float, risk: float) -> bool:
    """Whether S may go on until V shows ``k`` mistakes: a larger ``sample`` makes it safer."""
    limit = max(int(np.ceil(max_mistakes - 1e-9)), 1)  # the least number of mistakes left in S that is too many
    return k + limit > pool or bool(hypergeom.cdf(k, pool, k + limit, sample) <= risk)


def upper_bound_on_mistakes(pool: int, sample: int, mistakes: int, risk: float) -> int:
    """Upper confidence limit on the mistakes among the images of U \\ V, if V showed ``mistakes`` (hypergeometric).

    ``pool`` is |U|. With a chance of at least 1 - ``risk`` there are no more.
    """
    low, high = 0, pool - sample
    while high > low:
        middle = (low + high + 1) // 2
        is_possible = hypergeom.cdf(mistakes, pool, mistakes + middle, sample) > risk
        low, high = (middle, high) if is_possible else (low, middle - 1)
    return low


# ---------------------------------------------------------------------------------------------------------
# The certificate


def certificate(n: int, pool: int, planned: int, verification: Verification, config: Config) -> Certificate:
    """How many of the most confident images of U \\ V the machine may label, and the bound on their error.

    ``pool`` is |U \\ V|. The error of all ``n`` labels is below epsilon with the confidence asked for, if humans make
    no mistakes; as many images as may all be wrong are allowed in any case. In budget mode S is as ``planned``.
    """
    assert config.certify
    risk = risk_of_all(config)
    if config.budget is not None:
        certified = certificate_of_prefix(n, pool, verification, min(planned, pool), risk)
    else:
        wrong = verification.ahead[verification.wrong]
        machine, at_least = largest_certified_prefix(pool, len(verification.ahead), wrong, config.epsilon * n, risk)
        certified = certificate_of_prefix(n, pool, verification, machine, risk, at_least)
    if config.class_epsilon:
        certified = certificate_by_class(n, certified, verification, config)
    by_true_class = recall_bounds(pool, certified.machine, verification, 1 - config.certify)
    return certified._replace(by_true_class=by_true_class)


def size_to_buy(n: int, pool: int, planned: int, config: Config) -> int:
    """|V| as it is bought where ``planned`` images were planned: by ``config.certificate`` as many, or the fewest of
    the same acceptance number.

    ``pool`` is |U|. A budget or ``class_epsilon`` keep the planned size, for there S does not end by that number alone.
    """
    if config.certificate == "planned" or config.budget is not None or config.class_epsilon:
        return planned
    return smallest_sample(pool, planned, config.epsilon * n, risk_of_all(config))


def risk_of_all(config: Config) -> float:
    """The risk that the bound on all labels takes: half of it where every class, or the mistakes of services, are
    bounded too."""
    assert config.certify
    services_err = config.services is not None and config.services.may_err
    return (1 - config.certify) / (2 if config.class_epsilon or services_err else 1)


def largest_certified_prefix(
    pool: int, sample: int, wrong: np.ndarray, max_mistakes: float, risk: float
) -> tuple[int, int]:
    """How many of the most confident images of U \\ V make fewer than ``max_mistakes`` mistakes, and how many mistakes
    of V the rule has looked at.

    ``pool`` is |U \\ V|; ``wrong`` [mistakes of V] counts the images of U \\ V that stand ahead of each mistake.
    """
    k = acceptance_number(pool + sample, sample, max_mistakes, risk)
    machine = pool if len(wrong) <= k else int(np.sort(wrong)[k]) if k >= 0 else 0
    trivial = min(pool, max(int(np.ceil(max_mistakes - 1e-9)) - 1, 0))
    # Where mistakes of V stand side by side at the end of S, fewer than k lie inside.
    return (trivial, 0) if trivial >= machine else (machine, min(k, len(wrong)))


def certificate_of_prefix(
    n: int, pool: int, verification: Verification, machine: int, risk: float, at_least: int = 0
) -> Certificate:
    """The certificate of an S of the ``machine`` most confident images of U \\ V, which holds ``pool``.

    At least ``at_least`` mistakes of V count in its bound, those that the choice of ``machine`` has looked at.
    """
    sample, wrong = len(verification.ahead), verification.wrong
    inside = _inside(verification, machine, pool)
    mistakes = int((inside & wrong).sum())
    limit = upper_bound_on_mistakes(pool + sample, sample, max(mistakes, at_least), risk) if machine else 0
    classes = np.unique(verification.label[inside])
    by_class = tuple(
        class_bound(int(c), inside & (verification.label == c), wrong, risk / max(len(classes), 1)) for c in classes
    )
    trials, bound = int(inside.sum()), min(limit, machine) / n
    return Certificate(1 - risk, METHOD, sample, trials, mistakes, machine, bound, by_class)


def certificate_by_class(n: int, certified: Certificate, verification: Verification, config: Config) -> Certificate:
    """``certified`` with limits for each class: every class keeps ``class_epsilon`` and all labels epsilon, at once.

    In a class the same walk: of those of U that the classifier calls c, V holds a random sample too. The classes share
    half of the risk evenly (Bonferroni). The limits of the classes add up to one for all labels too. Nothing here
    bounds what is lost of a class, see ``recall_bounds``.
    """
    assert config.class_epsilon
    wrong, called = verification.wrong, verification.called
    risk = risk_of_all(config) / len(called)
    limits, mistakes_of_all, by_class = [], 0, []
    inside = (verification.ahead < certified.machine) | (certified.machine >= called.sum())
    for c, pool in enumerate(called.tolist()):
        of_class = verification.label == c
        sample, total = int(of_class.sum()), pool + int(of_class.sum())
        ahead = verification.ahead_in_class
        limit, at_least = largest_certified_prefix(
            pool, sample, ahead[of_class & wrong], config.class_epsilon * total, risk
        )
        inside &= ~of_class | (ahead < limit) | (limit == pool)
        mistakes = int((inside & of_class & wrong).sum())
        worst = min(upper_bound_on_mistakes(total, sample, max(mistakes, at_least), risk), limit)
        by_class.append(ClassBound(c, int((inside & of_class).sum()), mistakes, worst / max(total, 1)))
        limits.append(limit)
        mistakes_of_all += worst
    return certified._replace(
        confidence=1 - 2 * risk_of_all(config),
        trials=int(inside.sum()),
        mistakes=int((inside & wrong).sum()),
        bound=min(certified.bound, mistakes_of_all / n),
        by_class=tuple(by_class),
        limits=tuple(limits),
    )


def class_bound(label: int, of_class: np.ndarray, wrong: np.ndarray, risk: float) -> ClassBound:
    """Clopper and Pearson's upper limit on the share of mistakes among what S calls ``label``.

    ``of_class`` and ``wrong`` are bool, [sample]. Exact for a threshold fixed beforehand; that of S is chosen by the
    same sample.
    """
    trials, mistakes = int(of_class.sum()), int((of_class & wrong).sum())
    return ClassBound(label, trials, mistakes, clopper_pearson(mistakes, trials, risk))


def recall_bounds(pool: int, machine: int, verification: Verification, risk: float) -> tuple[ClassRecall, ...]:
    """For each class c, as humans label it, an upper limit on the share of its images in X that get another label; all
    hold at once with a chance of at least 1 - ``risk``, whatever rule chose ``machine``.

    ``pool`` is |U \\ V|. None are returned for logs without ``verification.human``.

    Given how many images of c V holds, t, they are a random sample of the N that U holds. Take those that the
    classifier gets wrong in its order of confidence. For each k there is a fixed number of them so large that the
    first so many images show k mistakes or fewer in V with a chance of at most risk_k; as a share of N it is no larger
    than Clopper and Pearson's limit for k of t, whatever N is. So with a chance of at least 1 - sum risk_k no k fails,
    and then wherever S ends, and by whatever rule, the limit for the k counted up to there holds. risk_k is
    1 / ((k + 1) (k + 2)) of the whole, which sums to it. Half of the risk of c goes there, half to the limit on N; the
    images of c that humans labelled elsewhere, and V's own, are right. The classes share the risk evenly (Bonferroni).

    It is conservative: where ``limits`` keep images of the first ``machine`` from S, they count as labelled by the
    machine here, because a region cut by several limits is no longer an initial stretch of that order.
    """
    sample, classes = len(verification.ahead), len(verification.elsewhere)
    inside = _inside(verification, machine, pool)
    bounds = []
    for c, elsewhere in enumerate(verification.elsewhere.tolist()):
        of_class, share = verification.human == c, risk / classes / 2
        trials, mistakes = int(of_class.sum()), int((of_class & inside & verification.wrong).sum())
        left = upper_bound_on_mistakes(pool + sample, sample, trials, share)  # images of c in U \ V, at most
        rate = clopper_pearson(mistakes, trials, share / ((mistakes + 1) * (mistakes + 2)))
        lost = min(rate * (left + trials) - mistakes, left) if machine else 0.0
        called = int((verification.label == c).sum())
        called += int(verification.called[c]) if c < len(verification.called) else 0
        bounds.append(ClassRecall(c, trials, mistakes, called, lost / max(left + trials + elsewhere, 1)))
    return tuple(bounds)


def _inside(verification: Verification, machine: int, pool: int) -> np.ndarray:
    """Which images of V lie where S does, the ``machine`` most confident of ``pool``; bool [sample]."""
    return verification.ahead < machine if machine < pool else np.ones(len(verification.ahead), bool)


# ---------------------------------------------------------------------------------------------------------
# Mistakes of humans


def bound_annotator_error(n: int, second_labels: SecondLabels, config: Config) -> AnnotatorError:
    """How many of ``n`` labels humans may get wrong, by how often two of them differ.

    Two humans who err independently, each less often than not on any image, differ at least as often as one of them
    errs: with r the chance of a mistake, 2 r (1 - r) >= r where r <= 1/2. A mistake that all humans share stays
    unnoticed. Half of the risk is spent here: a quarter on the rate (Clopper and Pearson), a quarter on the number of
    mistakes that such a rate makes of n labels. The bound is ``counted`` if it leaves something of epsilon, and in
    budget mode, where bounds add up.
    """
    assert config.certify
    risk, sample, differ = 1 - config.certify, len(second_labels.differ), int(second_labels.differ.sum())
    rate = clopper_pearson(differ, sample, risk / 4)
    bound = float(binom.isf(risk / 4, n, rate)) / n
    return AnnotatorError(sample, differ, bound, config.budget is not None or bound < config.epsilon)


def with_annotator_error(config: Config, error: AnnotatorError) -> Config:
    """The configuration for the rest of a run: the machine gets what humans leave of epsilon and of the risk.

    The machine's label is wrong only if it differs from that of a human, or that human is wrong. If nothing is left,
    ``config`` stays, and the certificate is relative to humans. In budget mode the second labels are paid from it.
    """
    if not error.counted:
        return config
    assert config.certify
    certify = 1 - (1 - config.certify) / 2
    if config.budget is not None:
        return config.model_copy(
            update={"certify": certify, "budget": config.budget - config.label_price * error.sample}
        )
    return config.model_copy(update={"certify": certify, "epsilon": config.epsilon - error.bound})
