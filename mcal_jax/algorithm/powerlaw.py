"""Eqn 3, the truncated power law of the error against the training size, and its rivals, fitted to error counts with
lmfit.

    eps(B) = alpha B^-gamma e^(-B/k)
    log eps = a - gamma log(B/B0) - kappa B/B0,   B0 the geometric mean of the sizes, kappa = B0/k

The second form keeps the parameters near one and turns "no truncation" (k infinite) into kappa = 0. The rivals
(Viering and Loog, The Shape of Learning Curves, 2022) end at a floor: pow3 is floor + e^a (B/B0)^-gamma, pow4 has
B/B0 + shift for B/B0. One formula holds them all. The fit minimises the binomial deviance of the counts, so no errors
at all are data and not minus infinity; weak priors keep few points from deciding everything.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import xlogy

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.plan import Law
from mcal_jax.algorithm.protocol import TrainResult, trials

Residuals = Callable[[dict[str, float]], np.ndarray]
BOUNDS = {"a": (-25.0, 0.0), "gamma": (0.0, 3.0), "kappa": (0.0, 5.0), "floor": (0.0, 0.5), "shift": (0.0, 5.0)}
FREE = {"power": (), "truncated": ("kappa",), "pow3": ("floor",), "pow4": ("floor", "shift")}
"""The parameters of each law besides a and gamma; the others are 0."""
LEVEL = (np.log(0.1), 3.0)  # prior mean and standard deviation of a: an error anywhere from 0.02 % to 100 %
SLOPE = (0.5, 0.5)  # of gamma, where nothing is known
NEIGHBOUR_SLOPE_SD = 0.2  # of gamma about that of the next larger theta (share_slopes)
SPREAD = {"kappa": 0.3, "floor": 0.02, "shift": 1.0}  # about 0: a bend needs evidence
BENDS = {"kappa": 0.02, "floor": 0.002, "shift": 0.1}  # where the search for them begins
POINTS_FOR_BEND = 5  # with fewer, three parameters are saturated: all laws are the plain one


def log_error(a, gamma, kappa, B0, size, shift=0.0):
    """log eps of Eqn 3 without floor, natural logarithm; arrays broadcast."""
    x = np.asarray(size) / B0
    return a - gamma * np.log(x + shift) - kappa * x


def predict(laws: Sequence[Law], sizes: np.ndarray) -> np.ndarray:
    """eps(S^theta(D(B))) for every size and law, [sizes, laws], in [0, 1] and rising with theta (section 3.1, Eqn 3).

    ``laws`` are in order of rising theta.
    """
    names = ("a", "gamma", "kappa", "B0", "floor", "shift")
    a, gamma, kappa, B0, floor, shift = (np.array([getattr(law, name) for law in laws]) for name in names)
    eps = floor + np.exp(log_error(a, gamma, kappa, B0, np.asarray(sizes, float)[:, None], shift))
    return np.maximum.accumulate(np.minimum(eps, 1.0), axis=1)


def log_sd(law: Law, sizes: np.ndarray) -> np.ndarray:
    """Standard error of log eps(B), by the covariance of the fit; [sizes]."""
    x = np.asarray(sizes, float) / law.B0
    falling = np.exp(log_error(law.a, law.gamma, law.kappa, law.B0, sizes, law.shift))
    slopes = [np.ones_like(x), -np.log(x + law.shift), -x, 1 / falling, -law.gamma / (x + law.shift)]
    gradient = np.stack(slopes, axis=1) * (falling / (law.floor + falling))[:, None]
    return np.sqrt(np.maximum(np.einsum("bi,ij,bj->b", gradient, law.covariance, gradient), 0))


def band(law: Law, sizes: np.ndarray, z: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limit of eps(B), ``z`` standard errors about the fit in its log form; each [sizes]."""
    middle = np.log(law.floor + np.exp(log_error(law.a, law.gamma, law.kappa, law.B0, sizes, law.shift)))
    sd = log_sd(law, sizes)
    return np.exp(np.minimum(middle - z * sd, 0)), np.exp(np.minimum(middle + z * sd, 0))


def deviance_residuals(errors: np.ndarray, n: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """Signed square roots of the binomial deviance of ``errors`` out of ``n`` where ``eps`` was expected."""
    eps = np.minimum(np.maximum(eps, 1e-12), 1 - 1e-12)  # a third of the time of np.clip
    fails, holds = xlogy(errors, errors / (n * eps)), xlogy(n - errors, (n - errors) / (n * (1 - eps)))
    return np.sign(errors - n * eps) * np.sqrt(2 * np.maximum(fails + holds, 0))


def fit(
    sizes: np.ndarray,
    errors: np.ndarray,
    n: np.ndarray,
    law: str = "truncated",
    slope: tuple[float, float] = SLOPE,
) -> Law:
    """One law fitted to ``errors`` mistakes out of ``n`` test images at each training size; all [points] (line 17).

    ``law`` is a key of ``FREE``; with fewer than five points all are "power". ``slope`` is the mean and standard
    deviation of the prior on gamma. By the deviance and the priors together no constant is better.

    >>> sizes = np.array([100, 200, 400, 800, 1600])
    >>> law = fit(sizes, 1000 * 2.0 * sizes**-0.5, np.full(5, 1000))  # eps = 2 |B|^-0.5
    >>> law.form, round(law.gamma, 1), round(law.kappa, 1)
    ('truncated', 0.5, 0.0)
    >>> predict([law], [6400]).round(3).tolist()  # 2 * 6400^-0.5 = 0.025
    [[0.025]]
    """
    sizes, errors, n = (np.asarray(v, float) for v in (sizes, errors, n))
    B0 = float(np.exp(np.log(sizes).mean()))
    form = law if len(sizes) >= POINTS_FOR_BEND else "power"
    free = FREE[form]
    residuals = _residuals_of(sizes, errors, n, B0, slope, free)
    start = {"a": np.log((errors.sum() + 0.5) / (n.sum() + 1)), "gamma": max(slope[0], 0.05)} | dict.fromkeys(
        BENDS, 0.0
    )
    bends = {name: BENDS[name] for name in free}
    fitted = _least(residuals, start | bends, ["a", "gamma", *free])
    flat = start | {"gamma": 0.0}
    saturated = (log_error(start["a"], start["gamma"], 0.0, B0, sizes) >= 0) & (errors < n)
    if "floor" in free or saturated.any() or _squares(residuals, fitted) > _squares(residuals, flat):
        # At 100 % there is no gradient, and near a bound little, so the search may have been stuck. These begin below
        # 100 % at every size.
        steepest = -start["a"] / (2 * np.log(B0 / sizes.min()) + 1e-9)
        plain = _least(residuals, start | {"gamma": min(start["gamma"], steepest)}, ["a", "gamma"])
        bent = _least(residuals, plain | bends, ["a", "gamma", *free])
        for other in (_least(residuals, flat, ["a"]), plain, bent):
            before, after = _squares(residuals, fitted), _squares(residuals, other)
            fitted = other if after < before - 1e-6 * (1 + before) else fitted
    covariance = _covariance(residuals, fitted, ["a", "gamma", *free])
    return Law(fitted["a"], fitted["gamma"], fitted["kappa"], B0, covariance, form, fitted["floor"], fitted["shift"])


def _residuals_of(
    sizes: np.ndarray,
    errors: np.ndarray,
    n: np.ndarray,
    B0: float,
    slope: tuple[float, float],
    free: tuple[str, ...],
) -> Residuals:
    """The residuals that a fit minimises, as a function of its parameters: of the deviance and of the priors."""

    def residuals(p: dict[str, float]) -> np.ndarray:
        a, gamma, kappa, floor, shift = (p[name] for name in BOUNDS)
        prior = [(a - LEVEL[0]) / LEVEL[1], (gamma - slope[0]) / slope[1], *(p[k] / SPREAD[k] for k in free)]
        eps = floor + np.exp(np.minimum(log_error(a, gamma, kappa, B0, sizes, shift), 0))
        return np.concatenate([deviance_residuals(errors, n, eps), prior])

    return residuals


def _squares(residuals: Residuals, parameters: dict[str, float]) -> float:
    return float((residuals(parameters) ** 2).sum())


def _least(residuals: Residuals, start: dict[str, float], varying: list[str]) -> dict[str, float]:
    """The parameters within BOUNDS of the least sum of squares that a search from ``start`` finds.

    As ``lmfit.minimize`` finds them, in half its time: lmfit maps each parameter to one without bounds, and MINPACK's
    Levenberg-Marquardt is called with lmfit's tolerances, without the checks and copies in between.
    """
    import lmfit  # takes a second to import, and much that reads this module fits nothing
    from scipy.optimize import leastsq

    start = {name: float(np.clip(start[name], *limits)) for name, limits in BOUNDS.items()}
    free = [lmfit.Parameter(name, start[name], min=BOUNDS[name][0], max=BOUNDS[name][1]) for name in varying]

    def bounded(unbounded: np.ndarray) -> dict[str, float]:
        inside = (min(max(float(p.from_internal(v)), p.min), p.max) for p, v in zip(free, unbounded, strict=True))
        return start | dict(zip(varying, inside, strict=True))

    first = [parameter.setup_bounds() for parameter in free]
    limits = {"ftol": 1.5e-8, "xtol": 1.5e-8, "epsfcn": 1e-10, "maxfev": 2000 * (len(free) + 1)}
    with np.errstate(all="ignore"):
        return bounded(leastsq(lambda values: residuals(bounded(values)), first, full_output=True, **limits)[0])


def fit_all(history: Sequence[TrainResult], config: Config) -> tuple[Law, ...]:
    """One law for every theta of the grid (lines 14 to 17), from the counts on T of every training so far.

    With ``share_slopes`` they are fitted from theta = 1 downwards, where mistakes are many, and the prior
    of each slope is centred on that of the next larger theta: small theta have too few mistakes for a fit of their own.
    """
    sizes = np.array([f.size for f in history])
    errors = np.stack([f.errors(config.thetas) for f in history])
    n = np.stack([np.maximum(trials(config.thetas, f.n_test), 1) for f in history])
    laws: list[Law] = []
    for t in reversed(range(len(config.thetas))):
        slope = (laws[-1].gamma, NEIGHBOUR_SLOPE_SD) if config.share_slopes and laws else SLOPE
        laws.append(fit(sizes, errors[:, t], n[:, t], config.law, slope))
    return tuple(reversed(laws))


def _covariance(residuals: Residuals, fitted: dict[str, float], varying: list[str]) -> np.ndarray:
    """Inverse of J'J at the solution; lmfit gives none where a parameter sits on its bound."""
    step = 1e-5
    columns = [
        (residuals({**fitted, k: fitted[k] + step}) - residuals({**fitted, k: fitted[k] - step})) / (2 * step)
        for k in varying
    ]
    J = np.stack(columns, axis=1)
    covariance = np.zeros((len(BOUNDS), len(BOUNDS)))
    where = [list(BOUNDS).index(k) for k in varying]
    covariance[np.ix_(where, where)] = np.linalg.inv(J.T @ J)
    return covariance
