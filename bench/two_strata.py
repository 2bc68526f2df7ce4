"""An exact certificate from two strata: V is sparse where the classifier is confident, and dense beyond.

A walk through the ranking as in ``mcal_jax.algorithm.certificate``, but a mistake that V shows in the first stratum
weighs more than one in the second. S ends just before the sum of weights goes beyond a threshold that is fixed
beforehand. That S fails only if the sum is no larger when ``limit`` mistakes have been missed. Given how many mistakes
the first stratum holds, what V catches of them is hypergeometric, and so is what it catches of those that follow in the
second. The threshold is the largest with a chance of failure within the risk for every such number.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import hypergeom

COARSE = 200
"""How many numbers of mistakes in the first stratum are tried while the threshold is sought."""


class TwoStrata(NamedTuple):
    """``few`` of the ``first`` images are drawn, ``many`` of the ``rest``; a mistake of the first weighs ``weight``."""

    first: int
    few: int
    rest: int
    many: int
    weight: float

    @classmethod
    def of(cls, first: int, few: int, rest: int, many: int) -> "TwoStrata":
        """The weights are those of an unbiased count of the mistakes that V misses, 1.4 times as much in the sparse
        stratum: with that all mistakes in one stratum or the other are about as likely to break the bound."""
        sparse, dense = few / first, many / max(rest, 1)
        weight = 1.4 * (1 - sparse) / sparse * dense / max(1 - dense, 1e-9)
        return cls(first, few, rest, many, max(round(4 * weight) / 4, 1.0))

    def chance_of_failure(self, threshold: float, limit: int, step: int = 1) -> float:
        """The largest chance, over every number of mistakes in the first stratum, that ``limit`` mistakes are missed
        before the sum of weights goes beyond ``threshold``; every ``step``-th number is tried."""
        caught = np.arange(int(threshold / self.weight + 1e-9) + 1)[None]
        beyond = np.floor(threshold - self.weight * caught + 1e-9).astype(int)  # how many the second may show yet
        mistakes = np.arange(0, min(self.first, limit + caught.size - 1) + 1, step)[:, None]
        missing = limit - mistakes + caught
        length = np.clip(missing + beyond, 0, self.rest)
        second = hypergeom.cdf(beyond, self.rest, length, self.many)
        second = np.where(missing + beyond >= self.rest, self.rest - self.many >= missing, second)
        chances = hypergeom.pmf(caught, self.first, mistakes, self.few) * np.where(missing <= 0, 1.0, second)
        return float(chances.sum(axis=1).max())

    def threshold(self, limit: int, risk: float) -> float:
        """The largest sum of weights up to which S may go on; -1 if there is none."""
        most = int(limit * self.many / max(self.rest - self.many, 1)) + 2
        sums = np.unique(np.add.outer(self.weight * np.arange(most + 1), np.arange(most + 1)))
        sums, step = sums[sums <= most], max(limit // COARSE, 1)
        low, high = -1, len(sums)
        while high - low > 1:
            middle = (low + high) // 2
            is_safe = self.chance_of_failure(float(sums[middle]), limit, step) <= risk
            low, high = (middle, high) if is_safe else (low, middle)
        while low >= 0 and step > 1 and self.chance_of_failure(float(sums[low]), limit) > risk:
            low -= 1
        return float(sums[low]) if low >= 0 else -1.0

    def _stake(self, limit: int, risk: float) -> float:
        """The stake of bets on every mistake that lets S go furthest if all are in the dense stratum."""
        odds = (1 - self.many / self.rest) / (self.many / self.rest)
        most = min(1 / odds, self.few / max(self.first - self.few, 1))

        def reach(stake: float) -> float:
            return (limit * np.log1p(stake) + np.log(risk)) / np.log1p(-odds * stake)

        return float(minimize_scalar(reach, bounds=(1e-9 * most, most * (1 - 1e-9)), method="bounded").x)

    def betting_weights(self, limit: int, risk: float) -> tuple[float, float]:
        """What a mistake of each stratum weighs if V is drawn image by image: a mistake that V misses multiplies the
        capital by 1 + stake, one that it catches by what makes that a fair bet."""
        stake = self._stake(limit, risk)
        rates = np.array([self.few / self.first, self.many / self.rest])
        first, second = -np.log1p(-stake * (1 - rates) / rates)
        return float(first), float(second)

    def betting_threshold(self, limit: int, risk: float) -> float:
        """Ville's inequality: with ``limit`` mistakes missed, the capital is beyond 1 / risk unless V caught more."""
        return limit * float(np.log1p(self._stake(limit, risk))) + float(np.log(risk))
