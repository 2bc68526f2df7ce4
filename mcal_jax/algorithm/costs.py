"""Eqn 1 and Eqn 4: what labels and training cost, in US dollars, and what they will cost."""

import math
from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np

from mcal_jax.algorithm.config import CHEAPEST, DEAREST, Config, PerHour, PerImageEpoch
from mcal_jax.algorithm.outcome import Ledger
from mcal_jax.algorithm.protocol import TrainResult
from mcal_jax.errors import McalError

SERVICES = {"amazon": 0.04, "satyam": 0.003}
"""Dollars a label (section 5)."""

PAPER_PRICES = {
    "grey": {"cnn18": 2.1e-6, "resnet18": 3.3e-6, "resnet50": 6.9e-6},
    "colour": {"cnn18": 3.3e-6, "resnet18": 5.2e-6, "resnet50": 9.8e-6},
}
"""Dollars per image and epoch that Table 2 implies, for 28x28x1 and 32x32x3: where both services have one
delta, two equations give the labels bought and the training dollars; divided by 200 epochs and the largest sum
of |B| that fits, with T among the labels (but for ResNet50 at 32x32x3, the highest value of its range). They are
derived, the paper does not print them; the experiment "audit" shows both ways of counting."""


def label_price(service: str | float) -> float:
    """Dollars a label of a service named in SERVICES, or of the price given. Raises McalError."""
    if isinstance(service, str):
        if service not in SERVICES:
            near = get_close_matches(service, SERVICES, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(SERVICES)}, or give a price"
            raise McalError(f"unknown labelling service {service!r}{hint}")
        return SERVICES[service]
    if not CHEAPEST <= service <= DEAREST:
        raise McalError(f"the price of a label must be {CHEAPEST:g} to {DEAREST:,.0f} dollars, got {service}")
    return float(service)


def training_cost(fit: TrainResult, architecture: str, config: Config) -> float:
    """What one training cost. Raises McalError if the architecture has no price."""
    price = config.training_price
    if isinstance(price, PerHour):
        return fit.seconds / 3600 * price.dollars
    epochs_of_images = fit.images if price.epochs == "recipe" else price.epochs * fit.size
    return _image_epoch(price, architecture) * epochs_of_images


def total_training_cost(history: Sequence[TrainResult], architecture: str, config: Config) -> float:
    """What all trainings of ``history`` cost; the exact sum, for that of ``sum`` depends on the version of Python."""
    return math.fsum(training_cost(fit, architecture, config) for fit in history)


def expected_training_cost(size: int, architecture: str, config: Config) -> float:
    """What a training on ``size`` labels will cost as far as the price tells beforehand, else 0.

    Raises McalError if the architecture has no price.
    """
    price = config.training_price
    if isinstance(price, PerHour):
        return 0.0
    dollars = _image_epoch(price, architecture)
    return 0.0 if price.epochs == "recipe" else dollars * price.epochs * size


def _image_epoch(price: PerImageEpoch, architecture: str) -> float:
    if not isinstance(price.dollars, dict):
        return price.dollars
    if architecture not in price.dollars:
        raise McalError(
            f"no training price for {architecture!r}; training_price.dollars has {', '.join(price.dollars)}"
        )
    return price.dollars[architecture]


def labelling_cost(tests: int, sizes, config: Config):
    """Dollars of the labels of T, if it is billed, and of B; ``sizes`` may be an array of |B|."""
    return config.label_price * ((tests if config.bill_test_set else 0) + sizes)


def learned_rate(history: Sequence[TrainResult], architecture: str, config: Config) -> tuple[float, float]:
    """(c0, c1) of the dollars of one retraining, c0 + c1 |B| with both >= 0 (line 13).

    The paper takes c0 = 0, which one point can only allow; recipes and compilers have fixed costs, which
    measured seconds show.
    """
    size = np.array([f.size for f in history], float)
    dollars = np.array([training_cost(f, architecture, config) for f in history])
    if len(history) == 1 or (
        isinstance(config.training_price, PerImageEpoch) and config.training_price.epochs != "recipe"
    ):
        return 0.0, float((size @ dollars) / (size @ size))
    from scipy.optimize import nnls  # takes half a second to import, and few prices need it

    scale = size.max()
    (c0, c1), _ = nnls(np.stack([np.ones_like(size), size / scale], axis=1), dollars)
    return float(c0), float(c1 / scale)


def retraining_cost(rate: tuple[float, float], size: float, target: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Dollars of growing B from ``size`` to ``target`` in ``steps`` equal steps, one retraining each.

    Eqn 4 started at ``size`` instead of 0: the sum of |B_j| over the steps. Zero where target = size.
    """
    target, steps = np.broadcast_arrays(np.asarray(target, float), np.asarray(steps, float))
    sizes_summed = steps * size + (target - size) * (steps + 1) / 2
    return np.where(target > size, steps * rate[0] + rate[1] * sizes_summed, 0.0)


def ledger(
    n: int,
    n_test: int,
    n_train: int,
    n_residual: int,
    training: float,
    config: Config,
    n_check: int = 0,
    n_repeat: int = 0,
) -> Ledger:
    """Eqn 1, part by part; ``n_check`` is |V|, ``n_repeat`` how many images are labelled twice."""
    price = config.label_price
    test = price * n_test if config.bill_test_set else 0.0
    labels = (price * count for count in (n, n_check, n_repeat))
    return Ledger(test, price * n_train, price * n_residual, training, 0.0, *labels)
