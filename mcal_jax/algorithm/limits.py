"""Exact confidence limits for a share."""

from scipy.stats import beta


def clopper_pearson(mistakes: int, trials: int, risk: float) -> float:
    """Exact upper confidence limit on the chance of a mistake, of which there were ``mistakes`` in ``trials``.

    >>> round(clopper_pearson(0, 59, 0.05), 3)
    0.05
    """
    return 1.0 if mistakes == trials else float(beta.ppf(1 - risk, mistakes + 1, trials - mistakes))
