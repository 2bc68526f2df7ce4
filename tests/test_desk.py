"""The desk: every image to one annotator at a time, or to k, whatever they do and whenever the process dies."""

import errno
import os
import statistics
import sys
import threading
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from conftest import MIDDLING

from mcal_jax import Config, McalError, Session, from_arrays
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import UNKNOWN, Train
from mcal_jax.labelling.desk import Desk
from mcal_jax.runs.driver import drive
from mcal_jax.worlds.simulated import SimulatedWorld

N = 300
JOB = Job(n=N, config=Config(epsilon=0.2))


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self):
        return self.now


def pool():
    return from_arrays(np.zeros((N, 4, 4), np.uint8), None, ["a", "b", "c"])


def open_session(tmp_path, job=JOB):
    return Session.over(SimulatedWorld(N, MIDDLING, seed=3), job, pool(), tmp_path / "run.jsonl")


def open_desk(session, **settings):
    """A desk that has handed out its first batch."""
    desk = Desk(session, **settings)
    wait_for(desk, "labelling")
    return desk


def wait_for(desk, *states):
    with desk._changed:
        assert desk._changed.wait_for(lambda: desk._state in states, 20), desk.status()


def label_all(desk, annotator="ada", label=0):
    """Labels everything, and returns the images in their order."""
    seen = []
    while not desk.wait(0):
        for image in desk.take(annotator, 5):
            desk.answer(annotator, image, label)
            seen.append(image)
    return seen


def test_one_annotator_labels_what_a_run_asks_for(tmp_path):
    session = open_session(tmp_path)
    seen = label_all(open_desk(session))
    result, straight = session.result(), drive(JOB, SimulatedWorld(N, MIDDLING, seed=3))
    assert len(set(seen)) == len(seen) == np.sum(~straight.by_machine)
    assert np.array_equal(result.labels, straight.labels)
    assert result.bill == straight.outcome.ledger
    assert session.progress().cost == pytest.approx(result.bill.total)
    assert session.progress().labelled == session.progress().expected == len(seen)


def test_many_at_once_get_each_image_once(tmp_path):
    desk, seen, lock = open_desk(open_session(tmp_path)), [], threading.Lock()

    def work(name):
        mine = label_all(desk, name)
        with lock:
            seen.extend(mine)

    threads = [threading.Thread(target=work, args=(f"annotator {i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    straight = drive(JOB, SimulatedWorld(N, MIDDLING, seed=3))
    assert len(seen) == len(set(seen)) == np.sum(~straight.by_machine)
    assert desk.session.result().bill == straight.outcome.ledger


def test_an_image_is_one_annotators_until_the_lease_lapses(tmp_path):
    clock = Clock()
    desk = open_desk(open_session(tmp_path), lease=60, clock=clock)
    hers, his = desk.take("ada", 4), desk.take("bob", 4)
    assert not set(hers) & set(his)
    assert desk.take("ada", 4) == hers
    with pytest.raises(McalError, match="not yours"):
        desk.answer("bob", hers[0], 0)
    clock.now = 50
    desk.take("bob", 4)
    clock.now = 70  # bob was heard of 20 seconds ago, ada was not
    everything = desk.take("cyd", N)
    assert set(hers) <= set(everything)
    assert not set(his) & set(everything)
    with pytest.raises(McalError, match="not yours"):
        desk.answer("ada", hers[0], 0)


def test_a_skipped_image_goes_to_someone_else_or_comes_last(tmp_path):
    desk = open_desk(open_session(tmp_path))
    first = desk.take("ada", 1)[0]
    desk.skip("ada", first)
    assert first not in desk.take("ada", 5)
    assert first in desk.take("bob", N)
    desk.release("bob")
    everything = desk.take("ada", N)
    assert everything[-1] == first


def test_undo_gives_the_image_back_and_is_in_the_log(tmp_path):
    session = open_session(tmp_path)
    desk = open_desk(session)
    one, two = desk.take("ada", 2)
    desk.answer("ada", one, 1)
    desk.answer("ada", two, 2)
    assert desk.answers("ada") == [(one, 1), (two, 2)]
    left = desk.status().left
    assert desk.undo("ada", two) == two
    assert desk.undo("ada", two) == one  # sent again, because the reply was lost
    assert desk.answers("ada") == [(one, 1)]
    assert desk.undo("ada") == one
    assert desk.status().left == left + 2
    assert desk.take("ada", 2) == [one, two]
    with pytest.raises(McalError, match="nothing to undo"):
        desk.undo("ada")
    desk.answer("ada", one, 2)
    session.close()
    desk.close()
    again = open_desk(open_session(tmp_path))
    assert again.answers("ada") == [(one, 2)]
    assert one not in again.take("bob", N)
    assert again.undo("ada") == one
    assert again.take("ada", 1) == [one]


def test_labels_that_the_session_is_told_by_others_are_asked_for_no_more(tmp_path):
    session = open_session(tmp_path)
    desk = open_desk(session)
    held, tests = desk.take("ada", 1)[0], session.batches.batches[0].indices
    others = tests[tests != held]
    session.tell(others[:-1], np.zeros(len(others) - 1, int))
    assert desk.take("bob", len(tests))[0] == others[-1]
    session.tell([held], [0])
    with pytest.raises(McalError, match=f"image {held} is not yours to label: it has a label"):
        desk.answer("ada", held, 1)
    session.tell([others[-1]], [0])
    assert not {held, others[-1]} & set(desk.take("ada", N) + desk.take("bob", N))
    wait_for(desk, "working", "labelling")
    assert desk.status().left < N - len(tests)


def test_an_answer_to_a_whole_batch_cannot_be_taken_back(tmp_path):
    desk = open_desk(open_session(tmp_path))
    tests = set(desk.session.batches.batches[0].indices.tolist())
    for image in desk.take("ada", N):
        if image in tests:
            desk.answer("ada", image, 0)
    with pytest.raises(McalError, match="nothing to undo"):
        desk.undo("ada")


def test_the_first_training_batch_is_handed_out_before_the_test_set_is_whole(tmp_path):
    session = open_session(tmp_path)
    desk = open_desk(session)
    tests, train = (session.batches.batches[number].indices.tolist() for number in (0, 1))
    held = desk.take("ada", N)
    assert held == tests + train
    for image in train:  # all of B before any of T
        desk.answer("ada", image, 0)
    session.close()
    desk.close()
    again = open_desk(open_session(tmp_path))
    assert again.take("ada", N) == tests
    label_all(again)
    assert again.session.result().bill == drive(JOB, SimulatedWorld(N, MIDDLING, seed=3)).outcome.ledger


def test_a_second_opinion_waits_for_the_test_set(tmp_path):
    job = Job(n=N, config=Config.certified(epsilon=0.3, repeat=0.5, test_fraction=0.2))
    session = open_session(tmp_path, job)
    desk = open_desk(session)
    assert list(session.batches.batches) == [0]
    label_all(desk)
    assert session.result().bill == drive(job, SimulatedWorld(N, MIDDLING, seed=3)).outcome.ledger


def test_votes_of_a_second_opinion_are_not_votes_of_the_first_one_after_a_restart(tmp_path):
    job = Job(n=N, config=Config.certified(epsilon=0.3, repeat=0.5, test_fraction=0.2))
    session = open_session(tmp_path, job)
    first = session.ask()
    session.tell(first, [0] * len(first))
    again = session.ask()
    assert again.purpose == "relabel"
    session.vote(again.indices[0], 1, annotator="ada")
    session.close()
    desk = open_desk(open_session(tmp_path, job), opinions=2)
    assert sum(map(len, desk.jury.panel.votes.values())) == 1


def test_k_annotators_vote_and_a_tie_goes_to_one_more(tmp_path):
    session = open_session(tmp_path)
    desk = open_desk(session, opinions=2)
    image = desk.take("ada", 1)[0]
    desk.answer("ada", image, 1)
    assert image not in desk.take("ada", N)
    desk.release("ada")
    assert image in desk.take("bob", N)
    desk.answer("bob", image, 2)
    assert session.batches.left(0).tolist().count(image) == 1  # a tie
    session.close()
    desk.close()
    again = open_desk(open_session(tmp_path), opinions=2)  # votes outlive the process
    assert image not in again.take("ada", N)
    again.release("ada")
    assert image in again.take("cyd", N)
    again.answer("cyd", image, 2)
    assert image not in again.session.batches.left(0)
    assert again.session.batches.labels[image] == 2
    assert again.undo("cyd") == image
    assert image in again.session.batches.left(0)


def effort(call, times=5):
    """What a call costs whatever the machine: functions called, and bytes allocated at most; medians."""
    calls, peaks = [], []
    for _ in range(times):
        events = Counter()
        sys.setprofile(lambda frame, event, argument, events=events: events.update([event]))
        call()
        sys.setprofile(None)
        calls.append(events["call"] + events["c_call"])
    tracemalloc.start()
    for _ in range(times):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        call()
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()
    return statistics.median(calls), statistics.median(peaks)


def efforts_of_an_answer(path, n, answers, given, **rules):
    """The effort of each call of a page, after so many answers of ada in a pool of ``n`` images."""
    job = JOB.model_copy(update={"n": n, "config": Config(epsilon=0.2, test_fraction=0.5)})
    images = from_arrays(np.zeros((n, 2, 2), np.uint8), None, ["a", "b", "c"])
    images = images._replace(given=np.where(np.arange(n) % 3, -1, 0) if given else None)
    session = Session.over(SimulatedWorld(n, MIDDLING, seed=3), job, images, path)
    desk = open_desk(session, clock=Clock(), **rules)
    hand = desk.take("ada", 8)

    def answer():
        desk.answer("ada", hand.pop(0), 0)

    def take():
        hand[:] = desk.take("ada", 8)

    with session.log.together():
        for _ in range(answers):
            answer()
            take()
        steps = {"take": (lambda: (answer(), take())), "answers": lambda: desk.answers("ada"), "status": desk.status}
        found = {name: effort(step) for name, step in steps.items()}
    desk.close()
    return found


@pytest.mark.parametrize(
    ("given", "rules"), [(False, {}), (False, {"opinions": 2}), (True, {"gold": 0.5})], ids=["one", "two", "gold"]
)
def test_the_work_of_an_answer_does_not_grow_with_the_pool_nor_with_the_answers(tmp_path, given, rules):
    small = efforts_of_an_answer(tmp_path / "small.jsonl", 300, 10, given, **rules)
    large = efforts_of_an_answer(tmp_path / "large.jsonl", 30_000, 1500, given, **rules)
    for name, (calls, peak) in large.items():
        assert calls < 1.5 * small[name][0] + 20, (name, small, large)
        assert peak < 1.5 * small[name][1] + 4096, (name, small, large)


def test_the_same_answer_twice_is_taken_once(tmp_path):
    desk = open_desk(open_session(tmp_path))
    image = desk.take("ada", 1)[0]
    desk.answer("ada", image, 1)
    before = len(desk.session.log.parts)
    desk.answer("ada", image, 1)
    assert len(desk.session.log.parts) == before
    with pytest.raises(McalError, match="not yours"):
        desk.answer("ada", image, 2)
    with pytest.raises(McalError, match="class 3 of 3"):
        desk.answer("ada", desk.take("ada", 1)[0], 3)


def test_what_no_human_can_tell_is_billed_and_counts_against_the_machine(tmp_path):
    session = open_session(tmp_path)
    desk = open_desk(session)
    unknown = desk.take("ada", 3)
    for image in unknown:
        desk.answer("ada", image, UNKNOWN)
    label_all(desk)
    result = session.result()
    assert set(np.flatnonzero(result.labels == UNKNOWN)) == set(unknown)
    rows = result.to_frame().loc[unknown]
    assert set(rows["class"]) == {""}
    assert set(rows["source"]) == {"human"}
    assert (rows["cost"] == session.log.job.config.label_price).all()
    assert result.true_error == pytest.approx(np.mean(result.labels != 0))


def test_a_desk_that_failed_while_a_classifier_was_trained_hands_out_nothing_afterwards(tmp_path):
    class Slow(SimulatedWorld):
        began, go_on = threading.Event(), threading.Event()

        def answer(self, request, number):
            if isinstance(request, Train):
                self.began.set()
                assert self.go_on.wait(20)
            return super().answer(request, number)

    desk = open_desk(Session.over(Slow(N, MIDDLING, seed=3), JOB, pool(), tmp_path / "run.jsonl"))
    while not Slow.began.wait(0.01):
        for image in desk.take("ada", 5):
            desk.answer("ada", image, 0)
    desk.fail("the disk is gone")
    Slow.go_on.set()
    desk._thread.join(20)
    assert (desk.status().state, desk.status().message) == ("failed", "the disk is gone")
    assert desk.wait(0)
    assert desk.take("ada", 5) == []


def test_a_job_goes_on_with_fewer_opinions_than_it_was_begun_with(tmp_path):
    desk = open_desk(open_session(tmp_path), opinions=2)
    seen = desk.take("ada", 5)
    for image in seen:
        desk.answer("ada", image, 1)
    desk.close()
    desk.session.close()
    session = open_session(tmp_path)
    assert not set(label_all(open_desk(session), "bob", 1)) & set(seen)
    result = session.result()
    human = int((~result.by_machine).sum())
    price = JOB.config.label_price
    table = result.annotators().set_index("annotator")
    assert table["answers"].to_dict() == {"ada": 5, "bob": human - 5}
    assert table["cost"].to_dict() == pytest.approx({"ada": 5 * price / 2, "bob": (human - 5) * price})


def test_prices_by_annotator_are_paid_for_single_opinions_too(tmp_path):
    session = open_session(tmp_path)
    seen = label_all(open_desk(session, prices={"ada": 0.11}), "ada")
    assert session.result().annotators()["cost"].tolist() == pytest.approx([0.11 * len(seen)])


def test_a_vote_whose_label_could_not_be_written_is_settled_by_the_next_desk(tmp_path, monkeypatch):
    desk = open_desk(open_session(tmp_path), opinions=2)
    image = desk.take("ada", 1)[0]
    desk.answer("ada", image, 1)
    assert image in desk.take("bob", N)
    written, sync = [], os.fsync

    def fills_up(descriptor):
        written.append(descriptor)
        if len(written) == 2:  # the vote fits, the label does not
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fills_up)
        with pytest.raises(McalError, match="No space left"):
            desk.answer("bob", image, 1)
    assert desk.wait(0)
    assert desk.status().state == "failed"
    assert "No space left" in desk.status().message
    desk.session.close()
    again = open_desk(open_session(tmp_path), opinions=2)
    assert again.session.batches.labels[image] == 1
    assert not {image} & {*again.take("cyd", N), *again.take("bob", N)}


def test_a_desk_that_is_closed_gives_nothing_to_those_who_still_ask(tmp_path):
    pytest.importorskip("crowdkit")
    clock = Clock()
    desk = open_desk(open_session(tmp_path), opinions=2, mistake_cost=5.0, lease=60.0, clock=clock)
    desk.take("ada")
    desk.answer("bob", desk.take("bob")[0], 1)
    desk.close()
    clock.now += 100  # ada has left, for whom images waited
    assert desk.take("bob") == []
    assert desk.status().left == 0


def test_a_failure_of_the_session_is_told(tmp_path):
    session = open_session(tmp_path)
    session.close()
    desk = Desk(session)
    wait_for(desk, "failed")
    assert "is closed" in desk.status().message
    assert desk.wait(0)


@pytest.mark.parametrize("settings", [{"opinions": 0}, {"lease": 0.0}, {"lease": float("nan")}])
def test_impossible_settings_are_refused(tmp_path, settings):
    with pytest.raises(McalError, match=next(iter(settings))):
        Desk(open_session(tmp_path), **settings)
