"""Ask and tell: a pool labelled step by step is the run of ``drive``, whatever happens in between."""

import asyncio
import contextlib
import dataclasses
import errno
import os

import numpy as np
import pytest
from conftest import MIDDLING

from mcal_jax import Config, McalError, Session, from_arrays, label, load
from mcal_jax.algorithm.config import PerHour
from mcal_jax.algorithm.job import Job, check_job
from mcal_jax.algorithm.planner import n_test
from mcal_jax.algorithm.protocol import UNKNOWN
from mcal_jax.inputs import as_dataset, class_number
from mcal_jax.runs.driver import drive, replay
from mcal_jax.worlds.simulated import SimulatedWorld

N = 600
pytestmark = pytest.mark.usefixtures("small_nets")
JOBS = {
    "recommended": Job(n=N),
    "certified": Job(n=N, config=Config.certified(epsilon=0.2)),
    "relabel": Job(n=N, config=Config.certified(epsilon=0.3, repeat=0.5, test_fraction=0.1)),
    "race": Job(n=N, architectures=("cnn18", "resnet18")),
    "paper": Job(n=N, config=Config.paper()),
}


def world(noise=0.0):
    return SimulatedWorld(N, MIDDLING, seed=3, noise=noise)


def pool():
    return from_arrays(np.zeros((N, 4, 4), np.uint8), None, ["a", "b", "c"])


def answers_of(world, batch):
    """What the simulated humans of ``world`` say."""
    again = batch.purpose == "relabel"
    rng = np.random.default_rng([world.seed, batch.number])
    if again:
        rng.choice(N, 1)
    return 2 * world.slips[batch.indices].astype(int)


def finish(session, simulated):
    asked = []
    while (batch := session.ask()) is not None:
        session.tell(batch, answers_of(simulated, batch))
        asked.append(batch)
    return asked, session.result()


@pytest.mark.parametrize("name", JOBS)
def test_a_session_is_the_run_of_the_same_job(tmp_path, name):
    job = JOBS[name]
    asked, result = finish(Session.over(world(), job, pool(), tmp_path / "run.jsonl"), world())
    straight = drive(job, world())
    assert np.array_equal(result.labels, straight.labels)
    assert result.bill == straight.outcome.ledger
    assert sum(batch.cost for batch in asked) == pytest.approx(
        result.bill.total - result.bill.training - result.bill.race
    )
    first = [batch for batch in asked if batch.purpose != "relabel"]
    everything = np.concatenate([batch.indices for batch in first])
    assert len(np.unique(everything)) == len(everything)


def test_labels_that_the_source_knows_are_taken_when_they_are_asked_for(tmp_path):
    """As if a human had given them, where the job does not own them: the source got them after it had begun."""
    given = np.where(np.arange(N) % 3 == 0, 2 * world().slips.astype(np.int32), -1).astype(np.int32)
    session = Session.over(world(), JOBS["certified"], pool()._replace(given=given), tmp_path / "run.jsonl")
    session.ask()
    ahead = session.ask_ahead()
    asked, result = finish(session, world())
    for batch in [*asked, ahead]:
        assert not (batch.indices % 3 == 0).any()
    assert np.array_equal(result.labels, drive(JOBS["certified"], world()).labels)


OWNED = tuple(range(0, N, 3))


def owning(simulated):
    """The pool of which a source knows the labels of every third image, and the job that owns them."""
    given = np.where(np.arange(N) % 3 == 0, 2 * simulated.slips.astype(np.int32), UNKNOWN).astype(np.int32)
    return pool()._replace(given=given), lambda job: job.model_copy(update={"owned": OWNED})


@pytest.mark.parametrize("for_test", [0, 5, 60], ids=lambda k: f"{k} of T")
@pytest.mark.parametrize("name", JOBS)
def test_owned_labels_join_B_and_T_and_cost_nothing(tmp_path, name, for_test):
    """Nobody is asked for them, V holds none of them, T only those of a random sample, and the bill is that of the
    others. At 60 T is owned whole, at 5 the rest of it is bought."""
    simulated = world(noise=0.02)
    dataset, _ = owning(simulated)
    of_test, of_train = OWNED[:for_test], OWNED[for_test:]
    job = JOBS[name].model_copy(update={"owned": of_train, "owned_test": of_test})
    session = Session.over(simulated, job, dataset, tmp_path / "run.jsonl")
    asked, result = finish(session, world(noise=0.02))
    outcome, bill = result.outcome, result.bill
    assert not any(np.isin(batch.indices, OWNED).any() for batch in asked if batch.purpose != "relabel")
    assert np.isin(of_train, outcome.B).all()
    assert np.intersect1d(outcome.T, OWNED).tolist() == list(of_test)
    assert len(outcome.T) == max(n_test(N - len(OWNED), job.config), for_test)
    assert sum(batch.cost for batch in asked) == pytest.approx(bill.total - bill.training - bill.race)
    assert bill.train == pytest.approx(0.04 * (len(outcome.B) - len(of_train)))
    assert bill.test == pytest.approx(0.04 * (len(outcome.T) - len(of_test)) * job.config.bill_test_set)
    assert bill.humans_only == pytest.approx(0.04 * (N - len(OWNED)))
    everything = np.concatenate([outcome.T, outcome.B, outcome.S, outcome.R, outcome.V])
    assert np.array_equal(np.sort(everything), np.arange(N))
    assert np.array_equal(result.labels[list(OWNED)], dataset.given[list(OWNED)])
    rows = result.to_frame()
    assert rows["cost"].sum() == pytest.approx(0.04 * (rows["source"] == "human").sum() - 0.04 * len(OWNED))
    assert set(rows.loc[list(OWNED), "annotator"]) == {dataset.name}
    assert (rows.loc[list(of_train), ["source", "set"]] == ["human", "B"]).all(axis=None)
    assert (rows.loc[list(of_test), ["source", "set"]] == ["human", "T"]).all(axis=None)
    assert "200 labels were known beforehand" in result.summary()
    assert result.record.last_plan.cost == pytest.approx(outcome.plans[-1].cost)
    replayed = replay(tmp_path / "run.jsonl").outcome
    assert (replayed.ledger, replayed.owned) == (bill, len(OWNED))


def test_a_certificate_with_owned_labels_is_about_all_images(tmp_path):
    """What the machine may get wrong is a share of X, the owned images among them."""
    job = owning(world())[1](JOBS["certified"])
    bounds = []
    for seed in range(20):
        simulated = SimulatedWorld(N, MIDDLING, seed=seed)
        delivery = drive(job, simulated)
        if certificate := delivery.outcome.certificate:
            bounds.append(certificate.bound * N >= np.sum(delivery.labels != simulated.truth))
            assert certificate.bound < 0.2
    assert len(bounds) > 10
    assert np.mean(bounds) >= 0.8


def test_a_job_that_owned_no_labels_goes_on_as_it_began(tmp_path):
    """Logs of the first versions bought what the source knew."""
    dataset, _ = owning(world())
    images = dataset.images + np.arange(N, dtype=np.uint8)[:, None, None, None]
    settings = dict(width=2, recipe="brief", log=tmp_path / "run.jsonl")
    Session(dataset._replace(images=images, given=None), **settings).close()
    session = Session(dataset._replace(images=images), **settings)
    assert session.log.job.owned == ()
    assert "owned" not in session.log.job.model_dump()


def test_owned_labels_that_are_gone_when_they_are_needed(tmp_path):
    dataset, own = owning(world())
    session = Session.over(world(), own(JOBS["certified"]), dataset._replace(given=None), tmp_path / "run.jsonl")
    with pytest.raises(McalError, match="knew 200 labels when the job began"):
        session.ask()
    for owned, says in (((3, 3), "larger than the one before"), ((-1,), "0 or more")):
        with pytest.raises(ValueError, match=says):
            Job(n=N, owned=owned)
    with pytest.raises(McalError, match="for images below 600"):
        drive(Job(n=N, owned=(N,)), world())
    with pytest.raises(McalError, match="owned: labels known beforehand are for mcal"):
        drive(Job(n=N, owned=(1,), algorithm="humans_only"), world())
    with pytest.raises(McalError, match="the pool holds 2"):
        drive(Job(n=N, owned=tuple(range(N - 2))), world())
    with pytest.raises(McalError, match="the pool holds 0"):
        drive(Job(n=N, owned_test=tuple(range(N))), world())
    with pytest.raises(McalError, match="owned, owned_test: image 7 is in both"):
        drive(Job(n=N, owned=(3, 7), owned_test=(7, 9)), world())
    with pytest.raises(McalError, match="owned_test: labels known beforehand are for mcal, without_active_learning"):
        drive(Job(n=N, owned_test=(1,), sample=20, algorithm="certify_predictions"), world())


def test_known_at_random_draws_T_from_the_known_labels(tmp_path):
    """As many as T needs, by the seed; the job goes on as it began, and says so where it began otherwise."""
    dataset, _ = owning(world())
    images = dataset.images + (np.arange(N) // 3).astype(np.uint8)[:, None, None, None]
    dataset = dataset._replace(images=images)
    settings = dict(width=2, recipe="brief")
    few = dataset._replace(given=np.where(np.arange(N) < 30, dataset.given, UNKNOWN))
    drawn = {}
    for name, (known, seed) in {
        "all": (dataset, 0),
        "again": (dataset, 0),
        "other": (dataset, 1),
        "few": (few, 0),
    }.items():
        log = tmp_path / f"{name}.jsonl"
        with Session(known, **settings, seed=seed, known_at_random=True, log=log) as session:
            job = session.log.job
        drawn[name] = job.owned_test
        assert sorted(job.owned + job.owned_test) == np.flatnonzero(known.given != UNKNOWN).tolist()
        with Session(known, **settings, seed=seed, log=log) as session:
            assert session.log.job == job
    assert len(drawn["all"]) == n_test(N - len(OWNED), job.config) > len(drawn["few"]) == 10
    assert drawn["all"] == drawn["again"] != drawn["other"]
    with pytest.raises(McalError, match="known_at_random: no label of 'arrays' is known"):
        Session(dataset._replace(given=None), **settings, known_at_random=True)
    Session(dataset, **settings, log=tmp_path / "plain.jsonl").close()
    with pytest.raises(McalError, match="took no known labels for T"):
        Session(dataset, **settings, log=tmp_path / "plain.jsonl", known_at_random=True)


@pytest.mark.parametrize("seed", range(5))
def test_labels_come_in_any_order_and_in_parts_and_survive_a_new_process(tmp_path, seed):
    rng, job, simulated = np.random.default_rng(seed), JOBS["certified"], world()
    path = tmp_path / "run.jsonl"
    session, given, finished = Session.over(world(), job, pool(), path), set(), False
    while not finished:
        batch = session.ask()
        if batch is None:
            break
        assert not given & set(batch.indices.tolist())  # nothing is asked twice
        some = rng.permutation(len(batch))[: rng.integers(1, len(batch) + 1)]
        part = dataclasses.replace(batch, indices=batch.indices[some])
        session.tell(part.indices.tolist(), answers_of(simulated, part), annotator="ada")
        given |= set(part.indices.tolist())
        if rng.random() < 0.5:
            session.close()
            session = Session.over(world(), job, pool(), path)
    result = session.result()
    straight = drive(job, world())
    assert np.array_equal(result.labels, straight.labels)
    assert result.bill == straight.outcome.ledger
    rows = result.to_frame()
    assert set(rows.loc[rows.source == "human", "annotator"]) == {"ada"}
    assert set(rows.loc[rows.source == "machine", "annotator"]) <= {""}
    assert rows["cost"].sum() == pytest.approx(result.bill.total - result.bill.training)
    assert rows["set"].value_counts().to_dict() == {
        name: len(getattr(result.outcome, name)) for name in "TBSRV" if len(getattr(result.outcome, name))
    }


def test_wrong_labels_are_refused_whole(tmp_path):
    session = Session.over(world(), JOBS["recommended"], pool(), tmp_path / "run.jsonl")
    with pytest.raises(McalError, match="image 3 is not asked for"):
        session.tell([3], [0])
    batch = session.ask()
    one, two, other = batch.indices[0], batch.indices[1], np.setdiff1d(np.arange(N), batch.indices)[0]
    for indices, labels, says in (
        ([one, other], [0, 0], f"image {other} is not asked for"),
        ([one, two], [0], "1 labels for 2 images"),
        ([one, one], [0, 0], "named twice"),
        ([one], ["d"], "unknown class 'd': known: a, b, c"),
        ([one], [3], "class 3 of 3"),
        ([one], [None], "got None"),
        ([one], [-1], "class -1"),
        ([one], [True], "got True"),
    ):
        with pytest.raises(McalError, match=says):
            session.tell(indices, labels)
    with pytest.raises(McalError, match="class 3 of 3"):
        session.vote(one, 3, annotator="ada")
    assert np.array_equal(session.ask().indices, batch.indices)
    session.vote(one, batch.indices.dtype.type(1), annotator="ada")  # numbers of NumPy's are numbers
    session.tell([one], ["b"])
    assert one not in session.ask().indices
    with pytest.raises(McalError, match=f"image {one} has a label"):
        session.tell([one], ["a"])
    with pytest.raises(McalError, match="are still to be labelled"):
        session.result()


def test_no_label_is_asked_for_again_where_a_whole_batch_cannot_be_written(tmp_path, monkeypatch):
    session = Session.over(world(), JOBS["recommended"], pool(), tmp_path / "run.jsonl")
    first = session.ask()
    session.tell(first, answers_of(world(), first))

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(McalError, match="No space left"):
            session.ask()
    assert session.progress().labelled == len(first)
    assert not set(session.ask().indices) & set(first.indices)
    assert finish(session, world())[1].bill == drive(JOBS["recommended"], world()).outcome.ledger


def test_a_session_that_is_interrupted_while_it_plans_goes_on_from_its_log(tmp_path):
    def open_session():
        return Session.over(world(), JOBS["recommended"], pool(), tmp_path / "run.jsonl")

    session = open_session()
    first = session.ask()
    session.tell(first, answers_of(world(), first))
    observe = session._driver.observe

    def interrupted(number, request, answer):
        raise KeyboardInterrupt

    session._driver.observe = interrupted
    with pytest.raises(KeyboardInterrupt):
        session.ask()
    session._driver.observe = observe
    with pytest.raises(McalError, match="is closed; open it again"):
        session.ask()
    session.close()
    assert finish(open_session(), world())[1].bill == drive(JOBS["recommended"], world()).outcome.ledger


@pytest.mark.parametrize("room", [0, 1])
def test_labels_for_two_batches_are_taken_together_or_not_at_all(tmp_path, monkeypatch, room):
    session = Session.over(world(), JOBS["recommended"], pool(), tmp_path / "run.jsonl")
    both = [session.ask().indices[0], session.ask_ahead().indices[0]]
    synced = []

    def fills_up(descriptor):
        if len(synced) == room:
            raise OSError(errno.ENOSPC, "No space left on device")
        synced.append(descriptor)

    with monkeypatch.context() as patched, contextlib.suppress(McalError):
        patched.setattr(os, "fsync", fills_up)
        session.tell(both, [0, 0])
    left = [session.ask().indices, session.ask_ahead().indices]
    assert [both[k] in left[k] for k in (0, 1)] == [not room, not room]


def test_a_closed_session_takes_no_labels(tmp_path):
    session = Session.over(world(), JOBS["recommended"], pool(), tmp_path / "run.jsonl")
    batch = session.ask()
    session.close()
    with pytest.raises(McalError, match="is closed; open it again"):
        session.tell(batch, np.zeros(len(batch), int))


def test_the_log_of_other_images_or_settings_is_refused(tmp_path):
    images = load("fashion_mnist_10k", first=300, downsample=2)._replace(version=None)
    path = tmp_path / "run.jsonl"
    settings = dict(width=2, recipe="brief", log=path)
    with Session(images, **settings) as session:
        assert session.log.job.config == Config.certified()
    with pytest.raises(McalError, match=r"epsilon = 0\.05, now 0\.1"):
        Session(images, config=Config.certified(epsilon=0.1), **settings)
    with pytest.raises(McalError, match=r"width is 2 there, 4 here"):
        Session(images, **{**settings, "width": 4})
    with pytest.raises(McalError, match="log of other images: the pixels"):
        Session(images._replace(images=255 - images.images), **settings)
    Session(images, log=path).close()  # what is not given is as the log says
    other = dict(log=tmp_path / "other.jsonl", width=2, architecture="cnn18", seed=np.int64(3))
    for given in (other, {"log": other["log"]}):
        with Session(images, **given) as session:
            assert (session.log.job.architectures, session.log.run["session"]["seed"]) == (("cnn18",), 3)
    with Session(images, config=Config(epsilon=0.2), **{**settings, "log": tmp_path / "loose.jsonl"}):
        pass
    with Session(images, log=tmp_path / "loose.jsonl") as session:
        assert session.log.job.config == Config(epsilon=0.2)


def test_images_without_labels_are_labelled_by_a_function(tmp_path):
    known = load("fashion_mnist_10k", first=150, downsample=2)
    asked = []

    def annotate(indices):
        asked.extend(indices.tolist())
        return [known.classes[k] for k in known.labels[indices]]

    settings = dict(
        classes=known.classes,
        width=2,
        recipe="brief",
        log=tmp_path / "run.jsonl",
        config=Config(epsilon=0.4, theta_step=0.25, seed_fraction=0.1),
    )
    result = label(known.images, annotate=annotate, **settings)
    assert result.true_error is None
    assert "true error not known" in repr(result)
    human = ~result.by_machine
    assert sorted(asked) == np.flatnonzero(human).tolist()
    assert np.array_equal(result.labels[human], known.labels[human])
    assert len(repr(result)) < 200
    assert "<table>" in result._repr_html_()
    again = label(known.images, annotate=None, **settings)  # nobody is asked: all is in the log
    assert np.array_equal(again.labels, result.labels)


@pytest.mark.parametrize(
    ("images", "classes", "says"),
    [
        (np.zeros((9, 8, 8), np.uint8), None, "'arrays' has 0 classes"),
        (np.zeros((9, 8, 8), np.uint8), ["a"], "'arrays' has 1 class: give the names"),
        (np.zeros((9, 8, 8)), ["a", "b"], "they must be uint8"),
        (np.zeros((2, 8, 8), np.uint8), ["a", "b"], "the pool holds 2"),
        ("no_such_set", ["a", "b"], "unknown data set"),
    ],
)
def test_a_pool_that_cannot_work_is_refused_before_anything_is_asked(tmp_path, images, classes, says):
    with pytest.raises(McalError, match=says):
        Session(images, classes=classes, log=tmp_path / "run.jsonl")
    assert not list(tmp_path.iterdir())


def test_a_job_whose_objective_ignores_a_setting_is_refused_but_goes_on_if_it_was_begun():
    job = Job(n=N, config=Config.certified(), objective="least_cost")
    with pytest.raises(McalError, match="objective least_cost: it keeps no certify"):
        check_job(job, is_new=True)
    check_job(job, is_new=False)


@pytest.mark.parametrize("given", [{"seed": -1}, {"seed": 1.5}, {"seed": True}, {"acquisition": "nowhere.py:mine"}])
def test_settings_that_cannot_work_are_refused_before_anything_is_asked(tmp_path, given):
    with pytest.raises(McalError, match=r"seed: a whole number|seed: at least 0|can't read nowhere.py"):
        Session(load("fashion_mnist_10k", first=100, downsample=2), width=2, log=tmp_path / "run.jsonl", **given)
    assert not list(tmp_path.iterdir())


def test_other_names_of_classes_keep_the_labels_and_the_same_in_another_order_are_refused(tmp_path):
    images, labels = np.zeros((40, 8, 8), np.uint8), np.arange(40) % 2
    known = from_arrays(images, labels, ["a", "b"])._replace(given=np.int32(labels))
    np.savez(tmp_path / "pool.npz", images=images, labels=labels, classes=["a", "b"])
    for source in (known, tmp_path / "pool.npz"):
        renamed = as_dataset(source, ["cat", "dog", "owl"])
        assert renamed.classes == ("cat", "dog", "owl")
        assert renamed.labels.tolist() == labels.tolist()
        with pytest.raises(McalError, match="numbers these classes in another order, which begins a, b"):
            as_dataset(source, ["b", "a"])
        with pytest.raises(McalError, match="must be from 0 to 0, and one is 1"):
            as_dataset(source, ["cat"])
    assert as_dataset(known, ["cat", "dog"]).given.tolist() == labels.tolist()


def test_classes_are_named_or_numbered():
    assert [class_number(one, ("a", "b")) for one in ("b", 1, np.int64(0))] == [1, 1, 0]


def test_images_that_no_human_can_tell_are_billed_and_not_trained_on(tmp_path):
    known = load("fashion_mnist_10k", first=220, downsample=2)
    config = Config(epsilon=0.6, theta_step=0.25, seed_fraction=0.1)
    session = Session(known, width=2, recipe="brief", config=config, log=tmp_path / "run.jsonl")
    unknown = []
    while (batch := session.ask()) is not None:
        session.tell_unknown(batch.indices[:2], annotator="ada")
        session.tell(batch.indices[2:], known.labels[batch.indices[2:]])
        unknown += batch.indices[:2].tolist()
    result = session.result()
    assert len(result.outcome.history) >= 1
    assert np.flatnonzero(result.labels == UNKNOWN).tolist() == sorted(unknown)
    assert result.bill.test == pytest.approx(0.04 * len(result.outcome.T))
    with pytest.raises(McalError, match="is not asked for"):
        session.tell_unknown([unknown[0]])
    path = result.save(tmp_path / "labels.csv")
    row = path.read_text(encoding="utf-8").splitlines()[unknown[0] + 1]
    assert row.startswith(f"{unknown[0]},-1,,human")


@pytest.mark.parametrize("price", [None, PerHour()])
def test_a_job_goes_on_where_no_human_could_tell_a_single_image_of_B(tmp_path, price):
    labels = np.arange(300) % 2
    features = np.random.default_rng(0).normal(3 * labels[:, None], 1, (300, 4)).astype(np.float32)
    config = Config(theta_step=0.25, seed_fraction=0.1, **({"training_price": price} if price else {}))
    settings = dict(classes=["a", "b"], log=tmp_path / "run.jsonl")
    session, trained = Session(features, config=config, **settings), 0
    while (batch := session.ask()) is not None:
        trained += batch.purpose == "train"
        if batch.purpose == "train" and trained <= 2:
            session.tell_unknown(batch.indices)
        else:
            session.tell(batch.indices, labels[batch.indices])
    first, second, third = session.result().outcome.history[:3]
    assert (first.images, second.images) == (0, 0)
    assert third.images > 0 < len(session.result().outcome.S)
    session.close()
    assert Session(features, **settings).result().labels.tolist() == session.result().labels.tolist()


def test_a_session_is_driven_from_asyncio_while_others_tell(tmp_path):
    session, simulated = Session.over(world(), JOBS["recommended"], pool(), tmp_path / "run.jsonl"), world()

    async def tell(batch, part):
        labels = answers_of(simulated, batch)[part]
        await asyncio.to_thread(session.tell, batch.indices[part], labels)

    async def run():
        while (batch := await asyncio.to_thread(session.ask)) is not None:
            await asyncio.gather(*(tell(batch, np.s_[i::4]) for i in range(4)))

    asyncio.run(run())
    assert session.result().bill == drive(JOBS["recommended"], world()).outcome.ledger


def test_progress_counts_labels_and_dollars(tmp_path):
    session, simulated = Session.over(world(), JOBS["recommended"], pool(), tmp_path / "run.jsonl"), world()
    assert session.progress() == (N, 0, None, 0.0, None)
    batch = session.ask()
    session.tell(batch.indices[:3], [0, 0, 0])
    assert session.progress()[:4] == (N, 3, None, pytest.approx(0.12))
    session.undo(batch.indices[0])
    assert session.progress().labelled == 2
    assert batch.indices[0] in session.ask().indices
    _, result = finish(session, simulated)
    assert session.progress() == (N, result.by_machine.size - result.by_machine.sum(), *session.progress()[2:])
    assert session.progress().cost == pytest.approx(result.bill.total)
