"""Several annotators of different quality: who is asked, what their votes make, and what a table says of each."""

import itertools
import sys
import time

import numpy as np
import pytest
from conftest import MIDDLING
from hypothesis import given
from hypothesis import strategies as st
from test_desk import Clock, open_desk

from mcal_jax import Config, McalError, Session, from_arrays
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import UNKNOWN
from mcal_jax.annotators.aggregation import AGGREGATIONS, Vote, accuracies
from mcal_jax.annotators.panel import Panel
from mcal_jax.annotators.second_opinion import belief, pays
from mcal_jax.labelling import datasheet
from mcal_jax.runs.open_batches import gold_answers
from mcal_jax.worlds.simulated import SimulatedWorld

N = 200
JOB = Job(n=N, config=Config(epsilon=0.2, label_price=0.3))
CLASSES = ["a", "b", "c"]


def votes_of(right, images=300, classes=3, seed=0):
    """True labels, and a vote of each annotator on each image; ``right`` has the accuracies by name."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, images)
    votes = []
    for name, share in right.items():
        said = np.where(rng.random(images) < share, truth, (truth + rng.integers(1, classes, images)) % classes)
        votes += [Vote(i, name, int(label)) for i, label in enumerate(said)]
    return truth, votes


def error(labels, truth):
    return np.mean([labels[i] != truth[i] for i in range(len(truth))])


# ---------------------------------------------------------------------------------------------------------
# Aggregation


@pytest.mark.parametrize("name", ["dawid_skene", "mace"])
def test_good_annotators_outvote_many_bad_ones(name):
    pytest.importorskip("crowdkit")
    truth, votes = votes_of({"ada": 0.95, "bob": 0.9, "eve": 0.35, "joe": 0.35, "sue": 0.35}, images=150)
    assert error(AGGREGATIONS[name](votes, {}), truth) < error(AGGREGATIONS["majority"](votes, {}), truth) - 0.05


def test_accuracies_are_those_of_the_annotators_and_known_labels_tell_two_apart():
    pytest.importorskip("crowdkit")
    right = {"ada": 0.95, "bob": 0.8, "eve": 0.6}
    truth, votes = votes_of(right)
    found = accuracies(votes, {})
    assert all(abs(found[name] - share) < 0.08 for name, share in right.items())
    truth, votes = votes_of({"ada": 0.98, "bob": 0.6})  # of two, agreement says nothing of who is right
    known = {i: int(truth[i]) for i in range(60)}
    found = accuracies(votes, known)
    assert found["ada"] > 0.9
    assert found["bob"] < 0.72


def test_nothing_is_known_of_somebody_whose_images_nobody_else_saw():
    pytest.importorskip("crowdkit")
    assert accuracies([Vote(1, "ada", 0), Vote(2, "bob", 1)], {}) == {}
    assert set(accuracies([Vote(1, "ada", 0), Vote(1, "bob", 0), Vote(2, "eve", 1)], {})) == {"ada", "bob"}


def test_a_missing_crowdkit_is_said_before_anybody_is_asked(monkeypatch):
    monkeypatch.setitem(sys.modules, "crowdkit", None)
    for settings in ({"aggregation": "mace"}, {"aggregation": "dawid_skene"}, {"mistake_cost": 1.0, "opinions": 2}):
        with pytest.raises(McalError, match=r"need crowd-kit: pip install 'mcal-jax\[crowd\]'"):
            Panel(3, **settings)
    Panel(3, opinions=3)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"aggregation": "majorty"}, "did you mean 'majority'"),
        ({"opinions": 0}, "opinions: at least 1"),
        ({"mistake_cost": 0.0, "opinions": 2}, "mistake_cost: more than 0"),
        ({"mistake_cost": 1.0}, "opinions, the most, at least 2"),
        ({"prices": {"ada": -1.0}}, "prices: ada has -1.0"),
    ],
)
def test_rules_that_make_no_sense_are_refused(settings, says):
    with pytest.raises(McalError, match=says):
        Panel(3, **settings)


# ---------------------------------------------------------------------------------------------------------
# A second opinion


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=4), st.floats(0.3, 0.99), st.floats(0.01, 1))
def test_no_opinion_pays_that_costs_more_than_the_mistake_it_may_avoid(weights, accuracy, mistake_cost):
    b = np.array(weights) / sum(weights)
    assert not pays(b, accuracy, 1.01 * mistake_cost * (1 - b.max()), mistake_cost)
    if pays(b, accuracy, 0.1, mistake_cost):
        assert pays(b, accuracy, 0.05, mistake_cost)
        assert pays(b, accuracy, 0.1, 2 * mistake_cost)


def test_the_rule_is_the_least_expected_cost_of_all_ways_to_go_on():
    def least(b, accuracy, price, mistake_cost, ahead):
        """By brute force over all answers."""
        stop = mistake_cost * (1 - max(b))
        if not ahead:
            return stop, False
        ask = price
        for answer in range(len(b)):
            joint = [p * (accuracy if c == answer else (1 - accuracy) / (len(b) - 1)) for c, p in enumerate(b)]
            ask += sum(joint) * least([p / sum(joint) for p in joint], accuracy, price, mistake_cost, ahead - 1)[0]
        return min(stop, ask), ask < stop

    seen = set()
    for first, accuracy, price in itertools.product((0.5, 0.65, 0.8, 0.9, 0.97), (0.4, 0.7, 0.9), (0.01, 0.05, 0.15)):
        b = [first, 0.6 * (1 - first), 0.4 * (1 - first)]
        expected = least(b, accuracy, price, 1.0, 2)[1]
        assert pays(np.array(b), accuracy, price, 1.0) == expected
        seen.add(expected)
    assert seen == {True, False}


@pytest.mark.parametrize("classes", [5, 10, 1000])
def test_what_is_left_to_unlikely_classes_counts_too(classes):
    after = belief({"bob": 0}, {"bob": 0.6}, classes)
    assert after.max() == pytest.approx(0.6)
    assert pays(after, 0.95, 0.1, 0.4)  # it avoids about 0.35 of a mistake
    assert not pays(after, 0.95, 0.17, 0.4)


def test_two_of_equal_quality_are_asked_for_the_sake_of_a_third():
    alone = belief({"ada": 0}, {"ada": 0.8}, 2)
    assert pays(alone, 0.8, 0.02, 1.0)  # although one opinion more never changes the label at once
    assert not pays(alone, 0.5, 0.02, 1.0)


def test_a_price_asks_the_good_about_the_answers_of_the_bad_and_nobody_about_those_of_the_good():
    pytest.importorskip("crowdkit")
    panel = Panel(3, opinions=3, price=0.04, mistake_cost=0.5, prices={"ada": 0.06})
    truth, votes = votes_of({"ada": 0.97, "bob": 0.6, "eve": 1 / 3}, images=60)
    for image, name, label in votes:
        panel.add_gold(image, name, label, int(truth[image]))
    panel.add(100, "bob", 1)
    panel.add(101, "ada", 2)
    panel.labels([100, 101])  # estimates
    assert panel.accuracy("ada") > 0.9 > 0.75 > panel.accuracy("bob") > panel.accuracy("eve")
    assert panel.is_wanted(100, "ada")
    assert not panel.is_wanted(100, "eve")
    assert not panel.is_wanted(101, "bob")
    assert not panel.is_wanted(102, "eve")  # no better than chance: not even a first one
    assert panel.needed(100, ["ada", "bob", "eve"]) == 2
    assert panel.needed(100, ["bob", "eve"]) == 1  # ada is not there
    panel.prices["ada"] = 0.6
    assert not panel.is_wanted(100, "ada")
    assert panel.is_wanted(100, "ada", stands_for=30)  # of V, a mistake costs what it leaves to humans
    panel.add(100, "ada", 2)
    assert panel.labels([100]) == {100: 2}


def test_can_t_tell_says_nothing_of_the_class():
    assert np.allclose(belief({"ada": UNKNOWN}, {"ada": 0.9}, 4), 0.25)
    panel = Panel(3, opinions=2)
    for name in ("ada", "bob"):
        panel.add(1, name, UNKNOWN)
    assert panel.labels([1]) == {1: UNKNOWN}


# ---------------------------------------------------------------------------------------------------------
# At the desk


class Room:
    """A desk in a simulated world with annotators of known accuracy, who all fall for the same wrong class."""

    def __init__(self, path, right, given=None, job=JOB, **rules):
        pool = from_arrays(np.zeros((N, 4, 4), np.uint8), None, CLASSES)._replace(given=given)
        self.session = Session.over(SimulatedWorld(N, MIDDLING, seed=3), job, pool, path)
        self.right, self.rng, self.clock = right, np.random.default_rng(1), Clock()
        self.truth = np.arange(N) % 3
        self.desk, self.asked = open_desk(self.session, clock=self.clock, **rules), {name: [] for name in right}

    def work(self, until=10_000):
        """All label, one after another, until all is done or so many answers are given."""
        for _ in range(until):
            if self.desk.wait(0):
                break
            if not sum(self.answer(name) for name in self.right):
                time.sleep(0.002)  # the desk concludes a batch
        return self.desk.status()

    def answer(self, name):
        """Whether there was an image to answer."""
        for image in self.desk.take(name):
            label = int(self.truth[image] + (self.rng.random() > self.right[name])) % 3
            try:
                self.desk.answer(name, image, label)
            except McalError:  # a gold question at the very end
                assert self.desk.wait(10)
                return False
            self.asked[name].append(image)
            return True
        return False


def test_a_batch_of_several_opinions_is_labelled_by_all_of_them_together(tmp_path):
    pytest.importorskip("crowdkit")
    wrong = {}
    for aggregation in ("majority", "dawid_skene"):
        right = {"ada": 0.97, "bob": 0.6, "eve": 0.6}
        room = Room(tmp_path / f"{aggregation}.jsonl", right, opinions=3, aggregation=aggregation)
        assert room.work().state == "finished", room.desk.status()
        result = room.session.result()
        human = ~result.by_machine
        assert len(set(room.asked["ada"])) == len(room.asked["ada"]) == human.sum()
        wrong[aggregation] = np.mean(result.labels[human] != room.truth[human])
    assert wrong["dawid_skene"] < wrong["majority"] - 0.05
    table = result.annotators().set_index("annotator")
    assert (table["answers"] == len(room.asked["ada"])).all()
    assert np.allclose(table["cost"], 0.1 * table["answers"])
    assert np.isclose(table["cost"].sum(), 0.3 * (~result.by_machine).sum())
    assert table["accuracy"]["ada"] > 0.85 > 0.75 > table["accuracy"]["bob"]
    sheet = datasheet.write(result, tmp_path / "sheet.md").read_text(encoding="utf-8")
    assert "model of Dawid and Skene" in sheet
    assert "| ada | " in sheet


def test_joint_labels_outlive_the_process(tmp_path):
    pytest.importorskip("crowdkit")
    rules = dict(right={"ada": 0.97, "bob": 0.5, "eve": 0.5}, opinions=3, aggregation="dawid_skene")
    room = Room(tmp_path / "run.jsonl", **rules)
    room.work(until=4)  # in the middle of T
    before = {name: list(images) for name, images in room.asked.items()}
    room.desk.close()
    room.session.close()
    again = Room(tmp_path / "run.jsonl", **rules)
    assert again.work().state == "finished"
    for name, images in before.items():
        assert not set(images) & set(again.asked[name])
    table = again.session.result().annotators().set_index("annotator")
    assert table["answers"]["ada"] == len(before["ada"]) + len(again.asked["ada"])


def test_a_price_buys_fewer_opinions_and_waits_for_nobody_who_left(tmp_path):
    pytest.importorskip("crowdkit")
    given = np.where(np.arange(N) < 80, np.arange(N) % 3, -1)
    rules = dict(opinions=3, mistake_cost=0.5, gold=0.4, given=given)
    room = Room(tmp_path / "run.jsonl", {"ada": 0.97, "bob": 0.6, "eve": 1 / 3}, **rules)
    assert room.work().state == "finished", room.desk.status()
    result = room.session.result()
    table = result.annotators().set_index("annotator")
    human = ~result.by_machine & (given < 0)
    votes = table["answers"][["ada", "bob", "eve"]]
    assert votes.sum() < 2.5 * human.sum()
    assert max(votes["eve"], votes["bob"]) < votes["ada"]
    assert np.mean(result.labels[human] != room.truth[human]) < 0.1
    assert table["gold"][["ada", "bob"]].min() > 5
    assert table["gold_right"]["ada"] > 0.8 > table["gold_right"]["eve"]
    assert np.isclose(
        table["cost"]["ada"], 0.1 * (votes["ada"] + table["gold"]["ada"])
    )  # paid, though they label nothing


def test_an_image_that_waits_for_somebody_who_left_is_settled(tmp_path):
    pytest.importorskip("crowdkit")
    room = Room(tmp_path / "run.jsonl", {"bob": 0.6}, opinions=2, mistake_cost=5.0, lease=60.0)
    room.desk.take("ada")
    room.desk.release("ada")
    image = room.desk.take("bob")[0]
    room.desk.answer("bob", image, 1)
    left = room.desk.status().left
    assert room.session.batches.labels[image] < UNKNOWN  # ada is wanted
    room.clock.now += 100
    room.desk.take("bob")
    assert room.desk.status().left == left - 1


def test_gold_questions_look_like_the_others_and_label_nothing(tmp_path):
    given = np.where(np.arange(N) < 50, np.arange(N) % 3, -1)
    room = Room(tmp_path / "run.jsonl", {"ada": 1.0}, given=given, gold=0.3)
    purposes = set()
    while not room.desk.wait(0):
        for image in room.desk.take("ada"):
            purposes.add(room.desk.purpose(image))
        room.work(until=1)
    asked = room.asked["ada"]
    assert len(asked) == len(set(asked))
    result = room.session.result()
    golden = {answer["gold"] for answer in room.session.log.parts if "gold" in answer}
    assert golden
    assert golden <= set(range(50)) & set(asked)
    assert purposes <= {"test", "train", "residual"}
    bought = ~result.by_machine & (given < 0)
    assert set(asked) - golden == set(np.flatnonzero(bought))
    assert result.annotators().set_index("annotator")["gold_right"]["ada"] == 1
    with pytest.raises(McalError, match=r"gold: a share of the images from 0 to 0.5"):
        open_desk(room.session, gold=2.0)


def gold_in_hand(room):
    """Has ada answer until the last of her answers is one to a gold question; returns its image."""
    for _ in range(200):
        if (image := room.desk.take("ada")[0]) < 50:
            room.desk.answer("ada", image, 2)
            return image
        room.desk.answer("ada", image, int(room.truth[image]))
    raise AssertionError("no gold question came")


def test_a_gold_question_answered_after_the_end_is_refused_as_any_other(tmp_path):
    given = np.where(np.arange(N) < 50, np.arange(N) % 3, -1)
    room = Room(tmp_path / "run.jsonl", {"ada": 1.0}, given=given, gold=0.5)
    gold_in_hand(room)
    image = room.desk.undo("ada")
    room.session.log.close()
    with pytest.raises(McalError, match=f"image {image} is not yours to label: the session is at its end, or closed"):
        room.desk.answer("ada", image, 2)


@pytest.mark.parametrize("opinions", [1, 2])
def test_an_answer_to_a_gold_question_can_be_taken_back(tmp_path, opinions):
    given = np.where(np.arange(N) < 50, np.arange(N) % 3, -1)
    rules = dict(given=given, gold=0.5, opinions=opinions)
    room = Room(tmp_path / "run.jsonl", {"ada": 1.0}, **rules)
    image = gold_in_hand(room)
    before = room.desk.answers("ada", 100)
    assert before[-1] == (image, 2)
    left = room.desk.status().left
    assert room.desk.undo("ada") == image
    assert room.desk.take("ada") == [image]
    assert room.desk.answers("ada", 100) == before[:-1]
    assert room.desk.status().left == left
    assert not room.desk.jury.panel.gold["ada"]
    room.desk.answer("ada", image, image % 3)
    room.desk.close()
    room.session.close()
    again = Room(tmp_path / "run.jsonl", {"ada": 1.0}, **rules)  # it is in the log as it was left
    again.desk.take("ada")
    assert again.desk.answers("ada", 100) == [*before[:-1], (image, image % 3)]
    assert [one[:4] for one in gold_answers(again.session.log.parts)] == [(image, image % 3, image % 3, "ada")]


def test_answers_of_others_serve_as_gold_when_no_label_was_known(tmp_path):
    room = Room(tmp_path / "run.jsonl", {"ada": 1.0, "bob": 1.0}, gold=0.5)
    assert room.work().state == "finished"
    answered = {(part["annotator"], part["gold"]) for part in room.session.log.parts if "gold" in part}
    assert answered
    frame = room.session.result().to_frame().set_index("index")
    assert all(frame["annotator"][image] not in ("", annotator) for annotator, image in answered)
