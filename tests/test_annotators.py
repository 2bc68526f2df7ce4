"""Annotators that do not answer as asked: one line that names the image, and nothing of the run is lost."""

import numpy as np
import pytest

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.annotators import ask
from mcal_jax.annotators.function import FromFunction
from mcal_jax.annotators.ground_truth import GroundTruth
from mcal_jax.data import from_arrays
from mcal_jax.errors import McalError
from mcal_jax.runs.driver import drive
from mcal_jax.runs.runlog import RunLog
from mcal_jax.worlds.trained import TrainedWorld

CLASSES = ("cat", "dog", "eel")
ASKED = np.array([3, 5, 8, 13])


class Saying:
    """Answers with whatever it was given; an exception is raised."""

    def __init__(self, answer):
        self.answer = answer

    def label(self, indices, again=False):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (TimeoutError("after 60 s"), "did not label 4 images in time: after 60 s"),
        (TimeoutError(), "in time: no answer"),
        ([0, 1, 2], "asked for 4 labels and gave an answer of shape [3]"),
        ([0, 1, 2, 0, 1], "shape [5]"),
        ([[0, 1, 2, 0]], "shape [1, 4]"),
        ([0, 1, 3, 0], "image 8 as class 3; the 3 classes are numbered from 0"),
        ([0, -1, 2, 0], "image 5 as class -1"),
        ([0.0, 1.0, 2.0, 0.0], "type float64"),
        (["cat", "dog", "eel", "cat"], "the number of a class"),
        ([[0], [1, 2], 0, 1], "the annotator's answer for 4 images is no array of labels"),
        (None, "shape []"),
    ],
)
def test_an_answer_that_does_not_fit_is_told_in_one_line(answer, told):
    with pytest.raises(McalError) as caught:
        ask(Saying(answer), ASKED, CLASSES)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_of_the_annotator_itself_is_not_taken_for_a_bad_answer():
    with pytest.raises(ValueError, match="no such project"):
        ask(Saying(ValueError("no such project")), ASKED, CLASSES)


def test_an_answer_that_fits_is_taken():
    said = ask(Saying([2, 1, 0, 2]), ASKED, CLASSES)
    assert (said.dtype, said.tolist()) == (np.int32, [2, 1, 0, 2])


@pytest.mark.parametrize(
    "answer",
    [
        [2, 1, 0, 2],
        (2, 1, 0, 2),
        np.array([2, 1, 0, 2], np.uint8),
        ["eel", "dog", "cat", "eel"],
        np.array(["eel", "dog", "cat", "eel"]),
        ["eel", 1, 0, np.int32(2)],
    ],
)
def test_a_function_answers_with_class_numbers_or_names(answer):
    asked = []
    annotator = FromFunction(lambda indices: asked.append(indices) or answer, CLASSES)
    labels = ask(annotator, ASKED, CLASSES, again=True)
    assert (labels.dtype, labels.tolist()) == (np.int32, [2, 1, 0, 2])
    assert (asked[0].dtype, asked[0].tolist()) == (ASKED.dtype, ASKED.tolist())


def test_a_function_is_not_asked_about_no_images():
    assert len(ask(FromFunction(lambda indices: 1 / 0, CLASSES), ASKED[:0], CLASSES)) == 0


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "returned None for 4 images"),
        ([0, 1, 2], "asked for 4 labels and gave an answer of shape [3]"),
        ("eel", "shape []"),
        ([[0, 1, 2, 0]], "shape [1, 4]"),
        ([0, 1, 3, 0], "image 8 as class 3"),
        ([0, -1, 2, 0], "image 5 as class -1"),
        (["cat", "dgo", "eel", "cat"], "image 5 as 'dgo', which is no class; did you mean 'dog'?"),
        (["cat", "dog", "eel", "horse"], "image 13 as 'horse', which is no class; known: cat, dog, eel"),
        (["cat", None, "eel", "cat"], "gave image 5 no label"),
        ([0.0, float("nan"), 1.0, 1.0], "image 3 as 0.0: a label is a class number or the name of a class"),
        ([0, float("nan"), 1, 1], "gave image 5 no label"),
        ([[0], [1, 2], 0, 1], "image 3 as [0]"),
        ([np.zeros(2), np.zeros(3), 0, 1], "image 3 as array"),
    ],
)
def test_a_functions_answer_that_does_not_fit_is_one_line(answer, message):
    with pytest.raises(McalError) as caught:
        ask(FromFunction(lambda indices: answer, CLASSES), ASKED, CLASSES)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("small_nets")
def test_a_run_whose_annotator_fails_once_goes_on_to_the_same_end(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 120)
    images = from_arrays(
        (rng.normal(80, 20, (120, 6, 6)) + 90 * labels[:, None, None]).clip(0, 255).astype("u1"), labels
    )
    job = Job(n=120, config=Config(test_fraction=0.1, seed_fraction=0.1, theta_step=0.25))
    truth = GroundTruth(images)
    settings = {"width": 2, "recipe": "brief"}
    whole = drive(job, TrainedWorld(images, truth, **settings))

    class Late:
        """Lets the third question go unanswered."""

        asked = 0

        def label(self, indices, again=False):
            self.asked += 1
            if self.asked == 3:
                raise TimeoutError
            return truth.label(indices)

    log = RunLog.create(tmp_path / "run.jsonl", job, {})
    with pytest.raises(McalError, match="in time"):
        drive(job, TrainedWorld(images, Late(), **settings), log)
    log.close()
    log = RunLog.resume(tmp_path / "run.jsonl")
    assert len(log.entries) >= 3
    done = drive(job, TrainedWorld(images, truth, **settings), log)
    assert (done.labels == whole.labels).all()
    assert done.outcome.ledger == whole.outcome.ledger
