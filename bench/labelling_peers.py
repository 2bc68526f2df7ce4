"""Other ways to have a pool labelled by humans and a machine, as algorithms over the requests of MCAL.

Each was written from its paper or manual, named in its docstring with what it guarantees and what it leaves open. All
pay for what they buy by Eqn 1, with MCAL's prices: validation labels as T, training labels as B, what humans label in
the end as R, and every training. What is left when a peer stops is labelled by humans, as MCAL's R is.
"""

import itertools
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import numpy as np
from labelling_worlds import PeerAlgorithm, Score, Scored
from scipy.special import softmax

from mcal_jax.algorithm import costs
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.algorithm.protocol import Indices, Label, MachineLabel, Train, TrainResult, remove

NONE = np.arange(0)


class Round(NamedTuple):
    """What a rule for thresholds sees: the classifier on the validation images V and on the pool U.

    ``wrong`` bool [V]; ``usable`` bool [V]: which images of V may set thresholds; ``last``: no training follows;
    ``left`` is the number of images of U, ``n`` that of X.
    """

    V: Scored
    wrong: np.ndarray
    usable: np.ndarray
    U: Scored
    last: bool
    n: int


Thresholds = Callable[[Round], np.ndarray]
"""Confidence from which on the machine labels an image, by class that it predicts; inf: none. [classes] or [1]."""
Learn = Callable[[Round], Round]
"""Puts a learned confidence in the place of the classifier's own."""


class Budget(NamedTuple):
    """Labels that a threshold method may buy: ``training`` in all, the first batch ``seed`` of them, a share, the
    others in ``batches`` equal batches; and ``validation``."""

    training: int
    validation: int
    seed: float = 0.4
    batches: int = 4

    def sizes(self) -> list[int]:
        """Sizes of the batches; they add up to ``training``."""
        first = max(round(self.seed * self.training), 1)
        cuts = np.round(np.linspace(first, self.training, self.batches + 1)).astype(int)
        return [first, *np.diff(cuts).tolist()]


def threshold_labelling(
    n: int,
    config: Config,
    architecture: str,
    sizes: Iterable[int],
    validation: int,
    thresholds: Thresholds,
    *,
    learn: Learn = lambda seen: seen,
    keep_validation: bool = False,
    rounds_in_all: int | None = None,
) -> PeerAlgorithm:
    """Train on a batch, label by machine what is above a threshold, and so on: the loop of ``tbal`` and its kin.

    Images of V above the threshold leave V as those of U leave U, unless ``keep_validation``: what is left of V is then
    a sample of what is left of U, before acquisition.
    """
    X = np.arange(n)
    T = yield Label(X, validation, "random", "test")
    V, human, U = T.indices, T.labels, remove(X, T.indices)
    B, S, history = NONE, NONE, []
    for number, size in enumerate(sizes, 1):
        by, model = (config.acquisition, history[-1].model) if history else ("random", None)
        b = (yield Label(U, min(size, len(U)), by, "train", model)).indices
        B, U = np.union1d(B, b), remove(U, b)
        history.append((yield Train(B, T.indices, architecture)))
        if not len(U):
            break
        if not len(V):
            continue
        on_V, on_U = (yield Score(V, history[-1].model)), (yield Score(U, history[-1].model))
        is_last = number == rounds_in_all
        seen = learn(Round(on_V, on_V.label != human, np.ones(len(V), bool), on_U, is_last, n))
        at = thresholds(seen)
        chosen = U[above(seen.U, at)]
        if len(chosen):
            yield MachineLabel(chosen, len(chosen), history[-1].model)
        S, U = np.union1d(S, chosen), remove(U, chosen)
        if not keep_validation:
            left = ~above(seen.V, at)
            V, human = V[left], human[left]
        if not len(U):
            break
    return (yield from humans_label_the_rest(n, config, architecture, T.indices, B, S, U, tuple(history)))


def humans_label_the_rest(
    n: int,
    config: Config,
    architecture: str,
    T: Indices,
    B: Indices,
    S: Indices,
    U: Indices,
    history: tuple[TrainResult, ...],
) -> PeerAlgorithm:
    """The end of every peer: R, and the bill."""
    if len(U):
        yield Label(U, len(U), "all", "residual")
    bill = costs.ledger(n, len(T), len(B), len(U), costs.total_training_cost(history, architecture, config), config)
    return Outcome(n, T, B, S, U, len(S) / max(len(S) + len(U), 1), architecture, "peer", bill, (), history)


def above(scored: Scored, thresholds: np.ndarray) -> np.ndarray:
    """Which images reach the threshold of the class that is predicted, or the only one."""
    return scored.confidence >= (thresholds[scored.label] if len(thresholds) > 1 else thresholds[0])


# ---------------------------------------------------------------------------------------------------------
# Threshold-based auto-labelling

FEWEST = 10
"""Validation images that must lie above a threshold (the released code)."""


def tbal(n: int, config: Config, architecture: str, budget: Budget, **settings) -> PeerAlgorithm:
    """Threshold-based auto-labelling (Vishwakarma, Lin, Sala, Vinayak: Promises and pitfalls of threshold-based
    auto-labeling, NeurIPS 2023, algorithm 1).

    After each batch, for each class that is predicted, the lowest threshold at which the error of V above it, plus C_1
    standard deviations sqrt(e (1 - e)), is at most epsilon; C_1 = 0.25. It aims at the error *within S*, for which
    the paper proves a bound with constants that its procedure does not compute: what is used is no confidence bound.
    How many labels to buy is left to the user (``budget``). The paper's batches are smaller and its trainings free.
    """
    rule = settings.pop("thresholds", None) or partial(thresholds_on_S, epsilon=config.epsilon)
    sizes = budget.sizes()
    return threshold_labelling(
        n, config, architecture, sizes, budget.validation, rule, rounds_in_all=len(sizes), **settings
    )


def tbal_on_X(n: int, config: Config, architecture: str, budget: Budget) -> PeerAlgorithm:
    """``tbal`` with Eqn 2 in the place of its own aim: one threshold, after the last training, such that the estimated
    number of the machine's mistakes is at most epsilon |X|. Not in the paper; it puts all methods on one aim."""
    return tbal(n, config, architecture, budget, thresholds=partial(threshold_on_X, epsilon=config.epsilon))


def thresholds_on_S(seen: Round, epsilon: float, c_1: float = 0.25, by_class: bool = True) -> np.ndarray:
    """The lowest thresholds at which the upper estimate of the error above them is at most ``epsilon``."""
    classes = 1 + int(max(seen.V.label.max(), seen.U.label.max())) if by_class and seen.U.logits is not None else 1
    found = np.full(classes, np.inf)
    for c in range(classes):
        mine = seen.usable & ((seen.V.label == c) | (classes == 1))
        found[c] = lowest(*upper_estimates(seen.V.confidence[mine], seen.wrong[mine], c_1), epsilon)
    return found


def threshold_on_X(seen: Round, epsilon: float, c_1: float = 0.25) -> np.ndarray:
    """The lowest threshold at which the upper estimate of the error above it, times the images above it, is at most
    ``epsilon`` |X|; none before the last round."""
    if not seen.last:
        return np.array([np.inf])
    at, upper = upper_estimates(seen.V.confidence[seen.usable], seen.wrong[seen.usable], c_1)
    machine = len(seen.U.confidence) - np.searchsorted(np.sort(seen.U.confidence), at)
    return np.array([lowest(at, upper * machine / seen.n, epsilon)])


def upper_estimates(confidence: np.ndarray, wrong: np.ndarray, c_1: float) -> tuple[np.ndarray, np.ndarray]:
    """Each confidence at which a threshold can lie, falling, and the error above it plus ``c_1`` standard deviations;
    without those that have FEWEST images above them or fewer."""
    order = np.argsort(-confidence, kind="stable")
    error = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    upper = error + c_1 * np.sqrt(error * (1 - error))
    return confidence[order][FEWEST:], upper[FEWEST:]


def lowest(at: np.ndarray, upper: np.ndarray, allowed: float) -> float:
    """The least of the thresholds ``at`` whose ``upper`` is at most ``allowed``; inf if there is none."""
    good = at[upper <= allowed]
    return float(good.min()) if len(good) else np.inf


def ground_truth(n: int, config: Config, architecture: str) -> PeerAlgorithm:
    """Amazon SageMaker Ground Truth's automated labelling, as its manual describes it ("Automate data labeling").

    A random tenth of X, a fifth if there are fewer than 5,000 objects, validates. Then, 1,000 labels at a time: train,
    find the one confidence that corresponds to an accuracy of 95 % on the validation set, label all above it by
    machine, and have humans label those of lowest confidence, until everything is labelled. No bound is stated, and no
    standard error. The manual says neither how large the first training set is (here one batch) nor whether validation
    images are used up (here not). Its own charges (an object's price, the machine's too) are replaced by MCAL's.
    """
    validation = n // 10 if n >= 5000 else n // 5
    rule = partial(thresholds_on_S, epsilon=config.epsilon, c_1=0.0, by_class=False)
    sizes = itertools.repeat(1000)
    return threshold_labelling(n, config, architecture, sizes, validation, rule, keep_validation=True)


# ---------------------------------------------------------------------------------------------------------
# A classifier and a budget from MCAL, another rule for S


def pac_labels(n: int, config: Config, architecture: str, bought: Outcome, seed: int) -> PeerAlgorithm:
    """Probably approximately correct labels (Candes, Ilyas, Zrnic 2025, algorithm 1, zero-one loss, pi = 1).

    As many images as MCAL bought for T and V are drawn from U with replacement and labelled by humans. For each
    threshold, a betting confidence bound (Waudby-Smith and Ramdas) on the share of U that is above it and wrong;
    the threshold ends where the bound exceeds epsilon. It guarantees the error of X with confidence 95 %, given a
    classifier. Where that comes from and how many labels to draw is left to the user: both are MCAL's here.
    """
    B = bought.B
    U = remove(np.arange(n), B)
    draws = np.random.default_rng([seed, 1]).choice(len(U), len(bought.T) + len(bought.V))
    yield Label(B, len(B), "all", "train")
    unique = np.unique(draws)
    T = yield Label(U[unique], len(unique), "all", "certify")
    fit = yield Train(B, T.indices, architecture)
    on_U = yield Score(U, fit.model)
    wrong = on_U.label[unique] != T.labels
    drawn_wrong = wrong[np.searchsorted(unique, draws)]
    share = config.epsilon * n / len(U)
    at = pac_threshold(on_U.confidence, draws, drawn_wrong, share, 0.05)
    chosen = remove(U[on_U.confidence > at], T.indices)
    if len(chosen):
        yield MachineLabel(chosen, len(chosen), fit.model)
    rest = remove(remove(U, T.indices), chosen)
    return (yield from humans_label_the_rest(n, config, architecture, T.indices, B, chosen, rest, bought.history))


def pac_threshold(
    confidence: np.ndarray, draws: np.ndarray, wrong: np.ndarray, epsilon: float, risk: float
) -> np.ndarray:
    """The confidence above which the machine may label, of ``confidence`` [U].

    ``draws`` [m] are positions in U, drawn with replacement; ``wrong`` bool [m]. The bound rises as the threshold
    falls, so it is bisected.
    """
    levels = -np.sort(-confidence)
    low, high = 0, len(levels)  # with the threshold levels[i] the machine labels what is surer than that
    while high - low > 1:
        middle = (low + high) // 2
        at = levels[middle] if middle < len(levels) else -np.inf
        if betting_excludes(wrong & (confidence[draws] > at), epsilon, risk):
            low = middle
        else:
            high = middle
    whole = betting_excludes(wrong, epsilon, risk)
    return np.float64(-np.inf) if whole else levels[low]


def betting_excludes(losses: np.ndarray, mean: float, risk: float) -> bool:
    """Whether a bettor against "the mean of ``losses`` is at least ``mean``" becomes 1 / ``risk`` times as rich
    (Waudby-Smith and Ramdas 2024, hedged to one side): an upper confidence bound on the mean is below ``mean``."""
    x, t = losses.astype(float), np.arange(1, len(losses) + 1)
    mu = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mu) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    stake = np.minimum(np.sqrt(2 * np.log(1 / risk) / (len(x) * before)), 0.75 / (1 - mean))
    return bool(np.cumsum(np.log1p(-stake * (x - mean))).max() >= np.log(1 / risk))


def confident_labels(n: int, config: Config, architecture: str, bought: Outcome) -> PeerAlgorithm:
    """The thresholds of confident learning (Northcutt, Jiang, Chuang 2021) as a rule for S.

    The threshold of a class is the mean probability that the classifier gives it on held-out images which humans
    labelled so; the machine labels what reaches that of the class it predicts. Confident learning finds wrong labels
    among given ones: it was not made for this, bounds nothing, and knows no epsilon. B and the number of held-out
    labels are MCAL's.
    """
    B = bought.B
    yield Label(B, len(B), "all", "train")
    U = remove(np.arange(n), B)
    T = yield Label(U, len(bought.T) + len(bought.V), "random", "test")
    U = remove(U, T.indices)
    fit = yield Train(B, T.indices, architecture)
    on_T, on_U = (yield Score(T.indices, fit.model)), (yield Score(U, fit.model))
    p = softmax(on_T.logits, axis=1)
    given = np.full(p.shape[1], np.inf)
    for c in np.unique(T.labels):
        given[c] = p[T.labels == c, c].mean()
    chosen = U[above(on_U, given)]
    if len(chosen):
        yield MachineLabel(chosen, len(chosen), fit.model)
    rest = remove(U, chosen)
    return (yield from humans_label_the_rest(n, config, architecture, T.indices, B, chosen, rest, bought.history))
