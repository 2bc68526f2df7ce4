"""Eqn 1 and Eqn 4: what labels and training cost, in US dollars, and what they will cost.

The paper's C_h is ``label_price``, its C_t (D(B)) is ``training_cost``, |B_i| is ``size``.
"""

import math
from collections.abc import Sequence

import numpy as np

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.fields import HIGHEST_PRICE, LOWEST_PRICE
from mcal_jax.algorithm.outcome import Ledger
from mcal_jax.algorithm.paper_prices import PAPER_PRICES
from mcal_jax.algorithm.protocol import Indices, TrainResult
from mcal_jax.algorithm.training_price import PerHour, PerImageEpoch
from mcal_jax.errors import McalError
from mcal_jax.registry import Registry

SERVICES: Registry[float] = Registry("labelling service", {"amazon": 0.04, "satyam": 0.003})
"""US dollars per label by service (section 5). ``SERVICES.register("ours", 0.02)`` adds one."""

RESNET18 = 0.556e9
"""Multiply-adds of ResNet18 for one image of 32x32x3 (He et al. 2016), by which work has a price."""
HIDDEN = 256
"""Units in the hidden layer of ``mlp``."""


UNLABELLED_PASSES: Registry[float] = Registry("recipe", {"self_training": 2.4})
"""How often a training by such a recipe passes each image that no human has labelled, on average; by others: never.
``UNLABELLED_PASSES.register("ours", 2.0)`` adds one, so that its cost is known before the first training."""


def head_prices(features: int, classes: int) -> dict[str, float]:
    """US dollars per image and epoch of ``linear`` and ``mlp`` on so many ``features``.

    Their multiply-adds at the price of those of ResNet18, which Table 2 implies: about 1e-14 dollars each.

    >>> {name: f"{price:.1e}" for name, price in head_prices(768, 10).items()}
    {'linear': '7.2e-11', 'mlp': '1.9e-09'}
    """
    price = PAPER_PRICES["colour"]["resnet18"] / RESNET18
    return {"linear": price * features * classes, "mlp": price * (features + classes) * HIDDEN}


def split_recipe(architecture: str) -> tuple[str, str]:
    """The net and the recipe that ``NET@RECIPE`` names; the recipe of a plain name is "".

    >>> split_recipe("resnet18@short"), split_recipe("resnet18")
    (('resnet18', 'short'), ('resnet18', ''))
    """
    net, at, recipe = architecture.rpartition("@")
    return (net, recipe) if at and "/" not in recipe else (architecture, "")


def unlabelled_passes(architecture: str) -> float:
    """How often a training of ``architecture`` passes each image without a label, on average.

    >>> unlabelled_passes("resnet18@self_training"), unlabelled_passes("resnet18")
    (2.4, 0.0)
    """
    _, recipe = split_recipe(architecture)
    return UNLABELLED_PASSES[recipe] if recipe in UNLABELLED_PASSES else 0.0  # noqa: SIM401 - get raises McalError


def label_price(service: str | float) -> float:
    """US dollars per label of a service named in SERVICES, or the price given. Raises McalError for any other.

    >>> label_price("amazon"), label_price(0.01)
    (0.04, 0.01)
    """
    if isinstance(service, str):
        return label_price(SERVICES[service])
    if not LOWEST_PRICE <= service <= HIGHEST_PRICE:
        raise McalError(f"the price of a label must be {LOWEST_PRICE:g} to {HIGHEST_PRICE:,.0f} dollars, got {service}")
    return float(service)


def price_of(config: Config, purpose: str) -> float:
    """US dollars for a label that is asked for by a request of this ``purpose``."""
    return config.label_price if config.services is None else config.services.of(purpose).price


def training_cost(fit: TrainResult, architecture: str, config: Config) -> float:
    """US dollars of one training, C_t of Eqn 1. Raises McalError if the architecture has no price.

    >>> fit = TrainResult(model=0, size=1000, n_test=100, wrong=np.arange(5), images=200_000, seconds=60.0)
    >>> round(training_cost(fit, "resnet18", Config()), 2)  # 1000 images, 200 epochs, 5.2e-6 dollars each
    1.04
    >>> training_cost(fit, "resnet18", Config(training_price=PerHour(dollars=3.6)))
    0.06
    >>> round(training_cost(fit._replace(unlabelled=50_000), "resnet18", Config()), 2)  # and 50,000 passes without
    1.3
    """
    price = config.training_price
    if isinstance(price, PerHour):
        return fit.seconds / 3600 * price.with_energy
    passes = fit.images if price.epochs == "recipe" else price.epochs * fit.size + fit.unlabelled
    return _image_epoch(price, architecture) * passes


def unlabelled_cost(fit: TrainResult, architecture: str, config: Config) -> float:
    """US dollars of the passes of images without labels, a part of ``training_cost``."""
    price = config.training_price
    if isinstance(price, PerHour):
        return training_cost(fit, architecture, config) * fit.unlabelled / fit.images if fit.unlabelled else 0.0
    return _image_epoch(price, architecture) * fit.unlabelled


def total_training_cost(history: Sequence[TrainResult], architecture: str, config: Config) -> float:
    """US dollars of all trainings in ``history``, summed exactly: ``sum`` depends on the version of Python."""
    return math.fsum(training_cost(fit, architecture, config) for fit in history)


def expected_training_cost(size: int, architecture: str, config: Config, unlabelled: int = 0) -> float:
    """US dollars of a training on ``size`` labels, where the price is known beforehand, else 0; ``unlabelled`` images
    without labels are passed as often as UNLABELLED_PASSES says.

    Raises McalError if the architecture has no price.
    """
    price = config.training_price
    if isinstance(price, PerHour):
        return 0.0
    image_epoch = _image_epoch(price, architecture)
    passes = 0.0 if price.epochs == "recipe" else price.epochs * size + unlabelled_passes(architecture) * unlabelled
    return image_epoch * passes


def _image_epoch(price: PerImageEpoch, architecture: str) -> float:
    """US dollars per image and epoch, whatever the recipe. Raises McalError if the architecture has no price."""
    if not isinstance(price.dollars, dict):
        return price.dollars
    net, _ = split_recipe(architecture)
    if net not in price.dollars:
        raise McalError(
            f"no training price for {net!r}; training_price.dollars has {', '.join(price.dollars)}: "
            f"give {{kind: per_image_epoch, dollars: {{{net}: 3.0e-6}}}} or {{kind: per_hour, dollars: 1.5}}"
        )
    return price.dollars[net]


def labelling_cost(tests: int, sizes, config: Config):
    """US dollars of the labels of T, if it is billed, and of B; ``tests`` is |T|, ``sizes`` is |B| or an array of them.

    >>> labelling_cost(100, np.array([20, 40]), Config(label_price=0.05)).tolist()
    [6.0, 7.0]
    """
    of_tests = tests if config.bill_test_set else 0
    if config.services is None:
        return config.label_price * (of_tests + sizes)
    return config.services.test.price * of_tests + config.services.train.price * sizes


def learned_rate(history: Sequence[TrainResult], architecture: str, config: Config) -> tuple[float, float]:
    """(c0, c1): one retraining costs c0 + c1 |B| US dollars, both >= 0 (line 13).

    The paper takes c0 = 0, and so does this function for a single training; recipes and compilers have fixed costs,
    which measured seconds show. Passes of images without labels, which become no more as B grows, cost as much again
    as in the last training.
    """
    size = np.array([f.size for f in history], float)
    unlabelled = [unlabelled_cost(f, architecture, config) for f in history]
    cost = np.array([training_cost(f, architecture, config) for f in history]) - unlabelled
    if len(history) == 1 or (
        isinstance(config.training_price, PerImageEpoch) and config.training_price.epochs != "recipe"
    ):
        return unlabelled[-1], float((size @ cost) / (size @ size))
    from scipy.optimize import nnls  # takes half a second to import, and few prices need it

    scale = size.max()
    (c0, c1), _ = nnls(np.stack([np.ones_like(size), size / scale], axis=1), cost)
    return float(c0) + unlabelled[-1], float(c1 / scale)


def retraining_cost(rate: tuple[float, float], size: float, target: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """US dollars of growing B from ``size`` to ``target`` in ``steps`` equal steps, one retraining each (Eqn 4).

    ``rate`` is (c0, c1) of ``learned_rate``; ``target`` and ``steps`` broadcast. The sum of |B_j| over the steps starts
    at ``size`` instead of 0. Zero where target = size.

    >>> retraining_cost((0.0, 0.01), 100, np.array(300), np.array([1, 2])).tolist()  # 300; 200 + 300
    [3.0, 5.0]
    """
    target, steps = np.broadcast_arrays(np.asarray(target, float), np.asarray(steps, float))
    sizes_summed = steps * size + (target - size) * (steps + 1) / 2
    return np.where(target > size, steps * rate[0] + rate[1] * sizes_summed, 0.0)


def cost_of_labels(images: Indices, config: Config, label_costs: Sequence[float] | None = None) -> float:
    """US dollars for a label of each of ``images``: ``label_costs`` [n] has them by image, else all cost the same."""
    if label_costs is None:
        return len(images) * config.label_price
    return float(np.asarray(label_costs)[images].sum())


def ledger(
    n: int,
    n_test: int,
    n_train: int,
    n_residual: int,
    training: float,
    config: Config,
    n_certificate: int = 0,
    n_repeat: int = 0,
) -> Ledger:
    """Eqn 1, part by part, in US dollars.

    The counts are |X|, |T|, |B|, |R|, |V|, each without labels that were owned before, and the number of images
    labelled twice; ``training`` is the cost of all trainings.

    >>> bill = ledger(1000, 50, 100, 300, 2.0, Config(label_price=0.04))
    >>> bill.total, round(bill.savings, 3)
    (20.0, 0.5)
    """
    price, residual = price_of(config, "test"), price_of(config, "residual")
    test = price * n_test if config.bill_test_set else 0.0
    labels = (config.label_price * n, price * n_certificate, price * n_repeat)
    return Ledger(test, price_of(config, "train") * n_train, residual * n_residual, training, 0.0, *labels)
