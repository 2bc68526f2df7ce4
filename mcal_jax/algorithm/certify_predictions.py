"""Certifying a classifier of one's own: no T, no B, only V and what the bound makes of it (ours).

Humans label V, a random sample of X; S are the most confident images as far as V certifies; humans label the rest.
"""

from collections.abc import Sequence

import numpy as np

from mcal_jax.algorithm import certificate, costs, machine_epsilon
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.outcome import Algorithm, Ledger, Outcome
from mcal_jax.algorithm.protocol import Indices, Label, MachineLabel, Verify, remove
from mcal_jax.algorithm.sample_size import SampleSize, best_sample_size
from mcal_jax.errors import McalError

MODEL = -1
"""The number of the classifier in requests: it was trained elsewhere."""


def certify_predictions(n: int, config: Config, sample: int, label_costs: Sequence[float] | None = None) -> Algorithm:
    """Have ``sample`` of the images 0 ... n-1 labelled by humans, and let the classifier label what that certifies.

    ``label_costs`` [n] are US dollars for a label of each image, by default all cost the label price. Yields requests,
    returns the Outcome, of which T and B are empty. Raises McalError for a sample that is not within 1 ... n, for costs
    that are not one an image, and for a configuration without ``certify``.
    """
    if not config.certify:
        raise McalError("certify: give the confidence of the bound, Config.certified()")
    if not 1 <= sample <= n:
        raise McalError(f"sample: 1 to {n} images can be labelled to certify the others, got {sample}")
    if label_costs is not None and len(label_costs) != n:
        raise McalError(f"label_costs: {len(label_costs)} for {n} images")
    X, none = np.arange(n), np.empty(0, np.int64)
    V = (yield Label(X, sample, "random", "certify")).indices
    U = remove(X, V)
    verification = yield Verify(V, U, MODEL)
    certified = certificate.certificate(n, len(U), len(U), verification, config)
    certified, rejected = machine_epsilon.without_junk(n, certified, verification, config)
    S = (yield MachineLabel(U, certified.machine, MODEL, None, certified.limits)).indices
    R = (yield Label(remove(U, S), len(U) - len(S), "all", "residual")).indices
    bill = _bill(X, V, R, config, label_costs)
    theta = len(S) / max(len(U), 1)
    return Outcome(
        n, none, none, S, R, theta, "predictions", "certified", bill, (), (), V=V, certificate=certified,
        rejected=rejected,
    )  # fmt: skip


def _bill(X: Indices, V: Indices, R: Indices, config: Config, label_costs: Sequence[float] | None) -> Ledger:
    all_human, certificate, residual = (costs.cost_of_labels(images, config, label_costs) for images in (X, V, R))
    return Ledger(0.0, 0.0, residual, 0.0, 0.0, all_human, certificate)


def suggested_sample(n: int, wrong: np.ndarray, config: Config) -> SampleSize:
    """How many labels are worth buying for V, if the classifier errs as ``wrong`` says, and the share of X that it is
    then expected to label.

    ``wrong`` [k] is the expected share of X that is among the most confident i / k images and wrong, i = 1 ... k.
    """
    thetas = np.arange(1, len(wrong) + 1) / len(wrong)
    risk = certificate.risk_of_all(config)
    best = best_sample_size(n, n, thetas, wrong, config.epsilon, risk, machine_epsilon=config.machine_epsilon)
    return best._replace(sample=max(certificate.size_to_buy(n, n, best.sample, config), 1))
