"""What a ranked classifier does on a sample: shared by every world that knows labels and margins."""

import numpy as np

from mcal_jax.algorithm import acquisition
from mcal_jax.algorithm.protocol import Indices, Labels, Verification


def verification(
    order: np.ndarray, label: np.ndarray, in_sample: np.ndarray, human: np.ndarray, elsewhere: np.ndarray, classes: int
) -> Verification:
    """The answer to Verify from the classifier's ``label`` of sample and pool together, int32 [m].

    ``order`` [m] holds positions, the most confident first; ``in_sample`` bool [m]; ``human`` are the labels that
    humans gave the sample, in its order; ``elsewhere`` those of all images that they labelled before.
    """
    ahead = acquisition.rank_within_class(order, ~in_sample, np.zeros(len(order)))
    ahead_in_class = acquisition.rank_within_class(order, ~in_sample, label)
    return Verification(
        ahead[in_sample],
        label[in_sample] != human,
        label[in_sample],
        ahead_in_class[in_sample],
        np.bincount(label[~in_sample], minlength=classes),
        human,
        np.bincount(elsewhere, minlength=classes),
    )


def machine_labels(
    pool: Indices, label: np.ndarray, margin: np.ndarray, order: np.ndarray, limits: tuple[int, ...] | None
) -> Labels:
    """The answer to MachineLabel: the images of ``pool`` in ``order``, positions in the pool, within ``limits``.

    ``label`` int32 and ``margin`` float32 are the classifier's, [pool].
    """
    chosen = np.sort(acquisition.apply_class_limits(limits, order, label))
    return Labels(pool[chosen], label[chosen], margin[chosen].astype(np.float32))
