"""Exact confidence limits for a share."""

from scipy.special import betaincinv


def clopper_pearson(mistakes: int, trials: int, risk: float) -> float:
    """Exact upper confidence limit on the chance of a mistake, of which there were ``mistakes`` in ``trials``.

    >>> round(clopper_pearson(0, 59, 0.05), 3)
    0.05
    """
    return 1.0 if mistakes == trials else float(betaincinv(mistakes + 1, trials - mistakes, 1 - risk))
