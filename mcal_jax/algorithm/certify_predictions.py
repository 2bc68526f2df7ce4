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


def certify_predictions(
    n: int, config: Config, sample: int, label_costs: Sequence[float] | None = None, owned: Sequence[int] = ()
) -> Algorithm:
    """Have ``sample`` of the images 0 ... n-1 labelled by humans, and let the classifier label what that certifies.

    ``label_costs`` [n] are US dollars for a label of each image, by default all cost the label price. Yields requests,
    returns the Outcome; T is empty, and B holds the ``owned`` images, which humans have labelled before, at no cost.
    Raises McalError for a sample that is not within 1 and the number of the other images, for costs that are not one an
    image, and for a configuration without ``certify``.
    """
    if not config.certify:
        raise McalError("certify: give the confidence of the bound, Config.certified()")
    if not 1 <= sample <= n - len(owned):
        raise McalError(f"sample: 1 to {n - len(owned)} images can be labelled to certify the others, got {sample}")
    if label_costs is not None and len(label_costs) != n:
        raise McalError(f"label_costs: {len(label_costs)} for {n} images")
    B, none = np.array(owned, np.int64), np.empty(0, np.int64)
    if len(B):
        yield Label(B, len(B), "all", "owned")
    bought = remove(np.arange(n), B)
    V = (yield Label(bought, sample, "random", "certify")).indices
    U = remove(bought, V)
    verification = yield Verify(V, U, MODEL)
    certified = certificate.certificate(n, len(U), len(U), verification, config)
    certified, rejected = machine_epsilon.without_junk(n, certified, verification, config)
    S = (yield MachineLabel(U, certified.machine, MODEL, None, certified.limits)).indices
    R = (yield Label(remove(U, S), len(U) - len(S), "all", "residual")).indices
    bill = _bill(bought, V, R, config, label_costs)
    theta = len(S) / max(len(U), 1)
    return Outcome(
        n, none, B, S, R, theta, "predictions", "certified", bill, (), (), V=V, certificate=certified,
        rejected=rejected, owned=len(B),
    )  # fmt: skip


def _bill(bought: Indices, V: Indices, R: Indices, config: Config, label_costs: Sequence[float] | None) -> Ledger:
    all_human, certificate, residual = (costs.cost_of_labels(images, config, label_costs) for images in (bought, V, R))
    return Ledger(0.0, 0.0, residual, 0.0, 0.0, all_human, certificate)


def suggested_sample(n: int, pool: int, wrong: np.ndarray, config: Config) -> SampleSize:
    """How many labels are worth buying for V, if the classifier errs as ``wrong`` says, and the share of the ``pool``
    images without a label, of all ``n``, that it is then expected to label.

    ``wrong`` [k] is the expected share of the pool that is among its most confident i / k images and wrong,
    i = 1 ... k.
    """
    thetas = np.arange(1, len(wrong) + 1) / len(wrong)
    risk = certificate.risk_of_all(config)
    best = best_sample_size(n, pool, thetas, wrong, config.epsilon, risk, machine_epsilon=config.machine_epsilon)
    return best._replace(sample=max(certificate.size_to_buy(n, pool, best.sample, config), 1))
