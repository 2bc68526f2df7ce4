"""Certifying given predictions: exact bounds for any ranking, each label asked for once."""

import numpy as np
import pytest
from scipy.stats import binom

from mcal_jax import McalError, certify

N = 2000


def classifier(error=0.1, seed=0, informative=True):
    """True labels, predictions and confidences of a classifier that errs where it is least confident."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, N)
    u = rng.random(N)
    wrong = rng.random(N) < np.minimum(3 * error * u**2, 1)
    predictions = np.where(wrong, (truth + 1) % 3, truth)
    return truth, predictions, 1 - u if informative else rng.random(N)


def test_labels_are_certified_and_each_human_label_is_asked_for_once():
    truth, predictions, confidence = classifier()
    asked = []

    def annotate(indices):
        asked.extend(indices.tolist())
        return truth[indices]

    result = certify(predictions, confidence, annotate=annotate, epsilon=0.05)
    assert np.mean(result.labels != truth) < 0.05
    assert result.certificate.bound <= 0.05
    assert sorted(asked) == np.flatnonzero(~result.by_machine).tolist()
    assert result.bill.total == pytest.approx(0.04 * len(asked))
    assert result.bill.savings > 0.3
    machine = result.by_machine
    assert confidence[machine].min() > np.sort(confidence)[: int(0.05 * N)].max()


def test_epsilon_is_broken_no_more_often_than_the_risk():
    broken, draws, risk = 0, 60, 0.2
    for seed in range(draws):
        truth, predictions, confidence = classifier(0.3, seed, informative=seed % 2 == 0)
        result = certify(
            predictions, confidence, annotate=lambda at, truth=truth: truth[at], level=1 - risk, sample=200, seed=seed
        )
        broken += np.mean(result.labels != truth) >= 0.05
    assert broken <= binom.isf(0.001, draws, risk)


def test_names_and_an_interrupted_call_that_goes_on(tmp_path):
    truth, predictions, confidence = classifier()
    names = np.array(["cat", "dog", "eel"])
    calls = []

    def annotate(indices):
        calls.append(len(indices))
        if len(calls) == 2:
            raise TimeoutError("nobody is here")
        return names[truth[indices]]

    settings = dict(annotate=annotate, log=tmp_path / "run.jsonl")
    with pytest.raises(McalError, match="nobody is here"):
        certify(names[predictions], confidence, **settings)
    result = certify(names[predictions], confidence, **settings)
    assert len(calls) == 3  # V is not asked for again
    assert result.classes == ("cat", "dog", "eel")
    assert set(result.to_frame()["class"]) == {"cat", "dog", "eel"}
    with pytest.raises(McalError, match="log of other predictions"):
        certify(names[predictions], confidence[::-1], **settings)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"predictions": [0, 1]}, "2 predictions and 3 confidences"),
        ({"confidence": [0.1, float("nan"), 1.0]}, "or NaN"),
        ({"confidence": ["a", "b", "c"]}, "one number for each image"),
        ({"classes": ["a"]}, "class 1 of 1"),
        ({"predictions": [0, 1, -1]}, "class -1"),
        ({"predictions": [0, None, 1]}, "got None"),
        ({"predictions": [0.0, float("nan"), 1.0]}, "the number or the name of a class"),
        ({"predictions": ["a", None, "b"]}, "got None"),
        ({"sample": 4}, "sample: 1 to 3"),
        ({"sample": 0}, "sample: 1 to 3"),
        ({"predictions": [], "confidence": []}, "0 predictions"),
    ],
)
def test_what_cannot_be_certified_is_refused_before_anybody_is_asked(changes, says):
    def nobody(indices):
        raise AssertionError("asked")

    given = {"predictions": [0, 1, 0], "confidence": [0.5, 0.6, 0.7], **changes}
    with pytest.raises(McalError, match=says):
        certify(given.pop("predictions"), given.pop("confidence"), annotate=nobody, **given)
