"""Checks that a world answers every request as the protocol asks, repeatably, and can be resumed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.algorithm.protocol import (
    MEASURES,
    Answer,
    Label,
    Labels,
    MachineLabel,
    Measure,
    Relabel,
    Request,
    SecondLabels,
    Train,
    TrainResult,
    Verify,
    World,
)
from mcal_jax.runs.answers import check_answer
from mcal_jax.runs.driver import Delivery, drive


def require(condition: Any, text: str) -> None:
    """Raises AssertionError with ``text`` if the condition is false; unlike ``assert``, under ``python -O`` too."""
    if not condition:
        raise AssertionError(text)


def same(a: Any, b: Any) -> bool:
    """Whether two answers, plans or outcomes are equal, arrays and their types included."""
    if isinstance(a, tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return a == b


class WorldRun(NamedTuple):
    """A whole run in a world: every request with its answer, and what was delivered. ``open`` makes the world anew."""

    job: Job
    open: Callable[[], World]
    steps: list[tuple[Request, Answer]]
    delivery: Delivery


def run_world(open_world: Callable[[], World], job: Job) -> WorldRun:
    """Run a job to its end in a fresh world. Raises McalError for an answer that does not fit its request."""
    steps: list[tuple[Request, Answer]] = []
    delivery = drive(job, open_world(), observe=lambda number, *step: steps.append(step))
    return WorldRun(job, open_world, steps, delivery)


def check_world(open_world: Callable[[], World], job: Job) -> None:
    """Whether a world answers every request of a ``job`` as the protocol asks, repeatably, and can be resumed.

    ``open_world`` returns a fresh world with the same seed at every call; ``job`` should be small, for it is run about
    six times. Raises McalError or AssertionError.
    """
    run = run_world(open_world, job)
    for check in WORLD_CHECKS:
        check(run)


def check_labels(run: WorldRun) -> None:
    """Labels are as many as asked for, of images of the pool, sorted, int64 and int32, and not negative."""
    for request, answer in run.steps:
        check_answer(request, answer)
        if not isinstance(request, Label | MachineLabel):
            continue
        assert isinstance(answer, Labels)
        kinds = (answer.indices.dtype, answer.labels.dtype)
        require(kinds == (np.int64, np.int32), f"indices and labels are {kinds}, not int64 and int32")
        require((np.diff(answer.indices) > 0).all(), "the indices of an answer are not sorted")
        require((answer.labels >= 0).all(), "a label is negative")


def check_trainings(run: WorldRun) -> None:
    """Trainings report the sizes asked for, positions in T, at least |B| images, and a model of their own."""
    models = []
    for request, answer in run.steps:
        if not isinstance(request, Train):
            continue
        assert isinstance(answer, TrainResult)
        sizes = (len(request.train), len(request.test))
        require((answer.size, answer.n_test) == sizes, f"|B| and |T| are {(answer.size, answer.n_test)}, not {sizes}")
        require((np.diff(answer.wrong) > 0).all(), "the positions of mistakes on T are not sorted")
        require(((answer.wrong >= 0) & (answer.wrong < answer.n_test)).all(), "a mistake on T is not a position in T")
        require(answer.images >= answer.size, f"a training on {answer.size} labels processed {answer.images} images")
        unlabelled = answer.unlabelled
        require(0 <= unlabelled <= answer.images - answer.size, f"{unlabelled} of {answer.images} had no label")
        require(answer.seconds >= 0, f"a training took {answer.seconds} seconds")
        models.append(answer.model)
    require(len(set(models)) == len(models), f"two trainings have the same model: {models}")
    named = {getattr(request, "model", None) for request, _ in run.steps} - {None}
    require(named <= set(models), f"models {named - set(models)} are asked for, and were never trained")


def check_verifications(run: WorldRun) -> None:
    """V is ranked among the pool, and as wrong as its labels by humans say."""
    known: dict[int, int] = {}
    for request, answer in run.steps:
        if isinstance(request, Label) and isinstance(answer, Labels):
            known |= dict(zip(answer.indices.tolist(), answer.labels.tolist(), strict=True))
        if isinstance(request, Verify):
            _check_verification(request, answer, known)


def _check_verification(request: Verify, answer: Any, known: dict[int, int]) -> None:
    by_image = (answer.ahead, answer.wrong, answer.label, answer.ahead_in_class, answer.human)
    lengths, pool = {len(column) for column in by_image}, len(request.pool)
    require(lengths == {len(request.sample)}, f"V has {len(request.sample)} images, the answer {lengths}")
    kinds = (answer.wrong.dtype, answer.label.dtype, answer.human.dtype)
    require(kinds == (np.bool_, np.int32, np.int32), f"wrong, label and human are {kinds}, not bool, int32 and int32")
    require(answer.called.sum() == pool, f"called counts {answer.called.sum()} images in a pool of {pool}")
    require(((answer.ahead >= 0) & (answer.ahead <= pool)).all(), "ahead is not a count of images of the pool")
    ahead, called = answer.ahead_in_class, answer.called[answer.label]
    require(((ahead >= 0) & (ahead <= called)).all(), "ahead_in_class is not a count of images of the class")
    others = answer.ahead - ahead
    require(((others >= 0) & (others <= pool - called)).all(), "ahead and ahead_in_class contradict each other")
    require(not np.isin(request.sample, request.pool).any(), "V and the pool it is ranked among overlap")
    human = [known[image] for image in request.sample.tolist()]
    require(np.array_equal(answer.human, human), "human are not the labels that humans gave to V")
    require(np.array_equal(answer.wrong, answer.label != human), "wrong is not where label and human differ")
    before = [label for image, label in known.items() if image not in set(request.sample.tolist())]
    counts = np.bincount(before, minlength=len(answer.elsewhere))
    require(np.array_equal(answer.elsewhere, counts), f"elsewhere is {answer.elsewhere}, humans gave {counts}")


def check_class_limits(run: WorldRun) -> None:
    """Under limits by class the machine labels all of its most confident images that no limit forbids."""
    for number, (request, answer) in enumerate(run.steps):
        if not isinstance(request, MachineLabel) or request.limits is None:
            continue
        assert isinstance(answer, Labels)
        world = _restored(run, number)
        whole: Any = world.answer(request._replace(limits=None), number)
        counts, kept = (np.bincount(one.labels, minlength=len(request.limits)) for one in (whole, answer))
        allowed = np.minimum(counts, request.limits)
        require(np.array_equal(kept, allowed), f"limits allow {allowed} labels by class, the machine gave {kept}")
        unlimited = whole.labels[np.isin(whole.indices, answer.indices)]
        require(np.array_equal(unlimited, answer.labels), "limits change the labels of images that they allow")


def check_measures(run: WorldRun) -> None:
    """Counts of mistakes rise from 0 to all mistakes on the pool, in whichever order, and margins fall."""
    for request, answer in run.steps:
        if not isinstance(request, Measure):
            continue
        measured: Any = answer
        require(measured.n == len(request.pool), f"{measured.n} images were measured of {len(request.pool)}")
        require(set(measured.errors) == set(measured.margins) == set(request.by), f"not measured by {request.by}")
        for by, errors in measured.errors.items():
            steps = np.diff(errors)
            require((errors[0], len(errors)) == (0, MEASURES + 1), f"{by}: errors are not {MEASURES + 1} counts from 0")
            require((steps >= 0).all(), f"{by}: counts of mistakes fall")
            require(steps.max() <= np.ceil(measured.n / MEASURES), f"{by}: more mistakes than images")
        require(len({errors[-1] for errors in measured.errors.values()}) == 1, "the orders differ in all mistakes")
        require((np.diff(measured.margins["margin"]) <= 1e-6).all(), "the order by margin is not by margin")


def check_partition(run: WorldRun) -> None:
    """T, B, S, R and V partition X, and humans label no image twice, but for second labels."""
    assert_partition(run.delivery.outcome)
    labelled = labelled_by_humans(run.steps)
    require(len(np.unique(labelled)) == len(labelled), "humans labelled an image twice")


def assert_partition(outcome: Outcome) -> None:
    """Raises AssertionError unless T, B, S, R and V hold every image exactly once."""
    parts = np.concatenate([outcome.T, outcome.B, outcome.S, outcome.R, outcome.V])
    require(np.array_equal(np.sort(parts), np.arange(outcome.n)), "T, B, S, R and V do not partition X")


def labelled_by_humans(steps: list[tuple[Request, Answer]]) -> np.ndarray:
    """Every image that humans labelled, as often as they did, but for second labels."""
    labelled = [
        answer.indices for request, answer in steps if isinstance(request, Label) and isinstance(answer, Labels)
    ]
    return np.concatenate(labelled) if labelled else np.arange(0)


def check_delivery(run: WorldRun) -> None:
    """The labels delivered are those answered, and the true error is theirs."""
    delivery, truth = run.delivery, run.open().truth
    labels = np.full(run.job.n, -1)
    for request, answer in run.steps:
        if isinstance(request, Label | MachineLabel):
            assert isinstance(answer, Labels)
            labels[answer.indices] = answer.labels
    require(np.array_equal(delivery.labels, labels), "the labels delivered are not those answered")
    require(np.array_equal(np.flatnonzero(delivery.by_machine), delivery.outcome.S), "by_machine is not S")
    error = None if truth is None else np.mean(delivery.labels != truth)
    require(delivery.true_error == error, f"the true error is {error}, not {delivery.true_error}")


def check_repeatable(run: WorldRun) -> None:
    """A world with the same seed answers the same requests alike."""
    again = run_world(run.open, run.job)
    require(len(again.steps) == len(run.steps), f"one run has {len(run.steps)} requests, a second {len(again.steps)}")
    for number, ((request, before), (_, answer)) in enumerate(zip(run.steps, again.steps, strict=True)):
        require(
            _alike(before, answer), f"request {number}, {type(request).__name__}, is answered otherwise the 2nd time"
        )


def check_choices(run: WorldRun) -> None:
    """``choose`` and ``retire``, by which a session asks humans, name the images that ``answer`` had them label."""
    world = run.open()
    for number, (request, answer) in enumerate(run.steps):
        if isinstance(request, Label | Relabel):
            chosen, what = world.choose(request, number), f"request {number}, {type(request).__name__}"
            assert isinstance(answer, Labels | SecondLabels)
            require(np.array_equal(chosen, answer.indices), f"{what}: choose gives other images than answer")
            if isinstance(request, Label) and isinstance(answer, Labels):
                retired = world.retire(request, chosen)
                require(np.array_equal(retired, answer.retired), f"{what}: retire gives other images than answer")
        world.restore(request, number, answer)


def check_resumable(run: WorldRun) -> None:
    """A world to which the first answers are restored goes on as if it had never been interrupted."""
    for kept in sorted({int(share * (len(run.steps) - 1)) for share in (0.2, 0.5, 0.8, 1.0)}):
        world = _restored(run, kept)
        for number, (request, answer) in list(enumerate(run.steps))[kept:]:
            what = f"request {number}, {type(request).__name__}, is answered otherwise after a resume at {kept}"
            require(_alike(answer, world.answer(request, number)), what)


def _restored(run: WorldRun, kept: int) -> World:
    """A fresh world that learned of the first ``kept`` answers of a run."""
    world = run.open()
    for number, (request, answer) in enumerate(run.steps[:kept]):
        world.restore(request, number, answer)
    return world


def _alike(a: Answer, b: Answer) -> bool:
    """Whether two answers are the same; measured seconds may differ."""
    if isinstance(a, TrainResult) and isinstance(b, TrainResult):
        return same(a._replace(seconds=0.0), b._replace(seconds=0.0))
    return same(a, b)


WORLD_CHECKS: tuple[Callable[[WorldRun], None], ...] = (
    check_labels,
    check_trainings,
    check_verifications,
    check_class_limits,
    check_measures,
    check_partition,
    check_delivery,
    check_repeatable,
    check_choices,
    check_resumable,
)
"""What ``check_world`` checks, in order."""
