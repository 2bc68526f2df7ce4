"""A world made of a learning curve: no images, no training, an answer in microseconds, and the truth is known.

An image is a point u in [0, 1] on the scale of L(.), 0 the most confident, and the curve gives the chance that a
classifier trained on |B| labels is wrong there. T is a sample, so what it shows has binomial noise.
"""

from collections.abc import Mapping
from typing import Annotated, NamedTuple, Protocol

import numpy as np
from pydantic import Field
from scipy.special import ndtr

from mcal_jax.algorithm import acquisition, costs, planner
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.fields import Fraction, Settings
from mcal_jax.algorithm.machine_epsilon import is_kept
from mcal_jax.algorithm.protocol import (
    MEASURES,
    Answer,
    Indices,
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

THETA_GRID = np.linspace(0, 1, 1001)
"""The points of theta at which a curve is tabulated."""


class Curve(Protocol):
    """eps(S^theta(D(B))), as ``wrong_share`` = theta * eps: the share of all images that is in the top fraction
    theta and wrong. ``theta`` is an array; returns the same shape."""

    def wrong_share(self, theta: np.ndarray, size: float) -> np.ndarray: ...


class Analytic(Settings):
    """Eqn 3 plus a floor, and a margin of a given quality.

    The chance of a mistake at u is (1 + quality) eps(B) u^quality, at most 1: a margin of quality 0 is random,
    one of 3 keeps nearly all mistakes to the end of the scale. The error of all images is eps(B), or less where
    the chance is cut off at 1.
    """

    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3.0
    gamma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.4
    k: Annotated[float, Field(gt=0)] = 1e9
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    quality: Annotated[float, Field(gt=0)] = 2.0
    ceiling: Fraction = 0.9

    def wrong_share(self, theta: np.ndarray, size: float) -> np.ndarray:
        law = self.alpha * size**-self.gamma * np.exp(-size / self.k) + self.floor
        q, eps = self.quality, min(law, self.ceiling)
        steepest = (1 + q) * eps
        full = steepest ** (-1 / q) if steepest > 1 else 1.0  # from here on every image is wrong
        below = np.minimum(theta, full)
        return eps * below ** (q + 1) + np.maximum(theta - full, 0)


class Recorded:
    """The learning curve of a real run: its mistakes on T, interpolated in log |B|, held constant outside."""

    def __init__(self, history: tuple[TrainResult, ...]):
        history = tuple(fit for fit in history if fit.n_test)
        self.log_size = np.log([f.size for f in history])
        self.shares = np.stack([f.errors(THETA_GRID) / f.n_test for f in history])

    def wrong_share(self, theta: np.ndarray, size: float) -> np.ndarray:
        at = np.interp(np.log(size), self.log_size, np.arange(len(self.log_size)))
        low = int(at)
        high = min(low + 1, len(self.log_size) - 1)
        row = (1 - at + low) * self.shares[low] + (at - low) * self.shares[high]
        return np.interp(theta, THETA_GRID, row)


def chance(curve: Curve, u: np.ndarray, size: float) -> np.ndarray:
    """Chance of a mistake at ``u``: the slope of the share that is wrong."""
    slope = np.diff(curve.wrong_share(THETA_GRID, size)) * (len(THETA_GRID) - 1)
    return slope[np.minimum((u * (len(THETA_GRID) - 1)).astype(int), len(slope) - 1)]


class SimulatedWorld:
    """Answers from a curve. Every true label is 0, a machine's mistake is a 1, one of humans a 2.

    ``persistence`` in [0, 1] is how much of what makes an image of T come out wrong stays from one training to
    the next: at 0 every training sees fresh binomial noise, at 1 the same images stay the hard ones.
    ``epochs`` and ``seconds_per_image`` are what a training reports; images without labels are passed as often as
    ``costs.UNLABELLED_PASSES`` says. Humans err with chance ``noise`` on any image, which counts against the machine on
    T and V; the effect of training on their mistakes is left to the curve. Several services have a ``noise`` each, by
    the purpose of the request: test, certify, train, residual.
    """

    def __init__(
        self,
        n: int,
        curves: Curve | dict[str, Curve],
        *,
        seed: int = 0,
        persistence: float = 0.5,
        epochs: int = 200,
        seconds_per_image: float = 1e-4,
        noise: float | Mapping[str, float] = 0.0,
    ):
        self.noise = noise
        self.luck = np.random.default_rng([seed, 1, n]).random(n)
        self.slips = self.luck < (noise if isinstance(noise, float | int) else max(noise.values()))
        self.truth: np.ndarray | None = np.zeros(n, np.int32)
        self.curves = curves
        self.seed, self.persistence = seed, persistence
        self.epochs, self.seconds_per_image = epochs, seconds_per_image
        self.trained: dict[int, Train] = {}

    def answer(self, request: Request, number: int) -> Answer:
        rng = np.random.default_rng([self.seed, number])
        match request:
            case Label():
                chosen = self.choose(request, number)
                if isinstance(self.noise, Mapping):
                    self.slips[chosen] = self.luck[chosen] < self.noise[request.purpose]
                return Labels(chosen, 2 * self.slips[chosen].astype(np.int32))
            case Relabel(pool, n):
                chosen = np.sort(rng.choice(pool, n, replace=False))
                rate = self.noise["test"] if isinstance(self.noise, Mapping) else self.noise
                return SecondLabels(chosen, self.slips[chosen] != (rng.random(n) < rate))
            case Train(train, test):
                self.trained[number] = request
                return self._train(len(train), test, request.architecture, number, rng)
            case MachineLabel(pool, n, model, _, limits):
                job = self.trained[model]
                chosen = np.sort(rng.choice(pool, n, replace=False))
                u = rng.uniform(0, n / max(len(pool), 1), n)
                p = chance(self._curve(job.architecture), u, len(job.train))
                labels = (rng.random(n) < p).astype(np.int32)
                kept = np.sort(acquisition.apply_class_limits(limits, np.argsort(u), labels))
                return Labels(chosen[kept], labels[kept])
            case Measure(pool, model, by):
                return self._measure(len(pool), self.trained[model], by)
            case Verify(sample, pool, model):
                job = self.trained[model]
                u = np.concatenate([rng.random(len(sample)), rng.random(len(pool))])
                label = (rng.random(len(u)) < chance(self._curve(job.architecture), u, len(job.train))).astype(np.int32)
                order, counted, V = np.argsort(u), np.arange(len(u)) >= len(sample), slice(len(sample))
                ahead = acquisition.rank_within_class(order, counted, np.zeros(len(u)))[V]
                ahead_in_class = acquisition.rank_within_class(order, counted, label)[V]
                wrong, called = (label[V] != 0) | self.slips[sample], np.bincount(label[counted], minlength=2)
                human, is_labelled = 2 * self.slips.astype(np.int32), np.ones(len(self.slips), bool)
                is_labelled[sample] = is_labelled[pool] = False
                elsewhere = np.bincount(human[is_labelled], minlength=3)
                return Verification(ahead, wrong, label[V], ahead_in_class, called, human[sample], elsewhere)

    def choose(self, request: Label | Relabel, number: int) -> Indices:
        """The images that humans are asked to label for ``request``, sorted."""
        rng = np.random.default_rng([self.seed, number])
        return np.sort(rng.choice(request.pool, request.n, replace=False))

    def retire(self, request: Label, chosen: Indices) -> Indices:
        """None: an image here has no difficulty that would move it; see ``worlds.difficulty``."""
        return np.empty(0, np.int64)

    def restore(self, request: Request, number: int, answer: Answer) -> None:
        if isinstance(request, Train):
            self.trained[number] = request

    def _measure(self, n: int, job: Train, by: tuple[str, ...]) -> Measurement:
        """The counts that the curve gives, without noise; a ranking by anything but the margin is random."""
        at = np.arange(MEASURES + 1) / MEASURES
        share = self._curve(job.architecture).wrong_share(at, len(job.train))
        errors = {name: np.round(n * (share if name == "margin" else at * share[-1])).astype(int) for name in by}
        margins = {name: 1 - at[1:] if name == "margin" else np.full(MEASURES, 0.5) for name in by}
        return Measurement(n, errors, margins)

    def _curve(self, architecture: str) -> Curve:
        return self.curves[architecture] if isinstance(self.curves, dict) else self.curves

    def _train(self, size: int, test: Indices, architecture: str, number: int, rng) -> TrainResult:
        lasting = np.random.default_rng([self.seed, 0, len(test)])
        u, once = lasting.random(len(test)), lasting.standard_normal(len(test))
        again = rng.standard_normal(len(test))
        chances = ndtr(np.sqrt(self.persistence) * once + np.sqrt(1 - self.persistence) * again)
        wrong = (chances < chance(self._curve(architecture), u, size)) | self.slips[test]
        unlabelled = round(costs.unlabelled_passes(architecture) * (len(self.luck) - size - len(test)))
        images = self.epochs * size + unlabelled
        positions = np.flatnonzero(wrong[np.argsort(u)])
        return TrainResult(number, size, len(test), positions, images, images * self.seconds_per_image, unlabelled)


class Clairvoyant(NamedTuple):
    """The least cost for somebody who knows the curve: train once, on ``size`` labels, and label ``theta`` of U."""

    size: int
    theta: float
    cost: float


def clairvoyant(n: int, curve: Curve, config: Config, architecture: str = "resnet18") -> Clairvoyant:
    """The least cost of any run in this world, in US dollars; size 0 and theta 0: humans label everything.

    It buys T as everyone does (its size is the configuration's), searches 300 sizes and 1,000 theta, and holds
    Eqn 2, and ``machine_epsilon`` where there is one, with the true error.
    """
    tests = planner.n_test(n, config)
    thetas = THETA_GRID[1:]
    best = Clairvoyant(0, 0.0, n * config.label_price)
    for size in np.unique(np.geomspace(max(0.001 * n, 2), n - tests, 300).astype(int)):
        rest = n - tests - int(size)
        machine = planner.machine_images(n, rest, thetas, config)
        error = machine / n * curve.wrong_share(thetas, size) / thetas
        allowed = np.flatnonzero((error < config.epsilon) & is_kept(error, n, rest, thetas, config))
        if not len(allowed):
            continue
        training = costs.expected_training_cost(int(size), architecture, config, rest)
        residual = config.label_price * (rest - int(machine[allowed[-1]]))
        cost = float(costs.labelling_cost(tests, int(size), config) + training + residual)
        if cost < best.cost:
            best = Clairvoyant(int(size), float(thetas[allowed[-1]]), cost)
    return best
