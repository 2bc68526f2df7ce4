"""The door to a Label Studio that runs: a small one of ours for what may go wrong, and the real one."""

import gzip
import io
import json
import logging
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from conftest import MIDDLING
from fake_label_studio import KEY, Fake
from PIL import Image

from mcal_jax import Config, McalError, Session, from_arrays, load
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import UNKNOWN
from mcal_jax.labelling import work
from mcal_jax.labelling.doors import DOORS, Visit
from mcal_jax.labelling.servers import server
from mcal_jax.runs.driver import drive
from mcal_jax.runs.settings import home
from mcal_jax.worlds.simulated import SimulatedWorld

pytest.importorskip("label_studio_sdk", reason="no label-studio-sdk: pip install 'mcal-jax[label-studio]'")
from mcal_jax.labelling.label_studio import client, door

sys.path.insert(0, str(home() / "bench"))
import label_studio_server

N = 200
CLASSES = ("cat", "dog", "<b>owl</b>")
JOB = Job(n=N, config=Config.certified(epsilon=0.3))
FILES = ("=1.png", "sub/two\nlines.png", "ünï.png", *(f"p{i}.png" for i in range(N - 3)))
POOL = from_arrays(np.random.default_rng(0).integers(0, 255, (N, 4, 4, 1), np.uint8), None, CLASSES)
POOL = POOL._replace(files=FILES)


@pytest.fixture
def fake():
    fake = Fake()
    yield fake
    fake.close()


@pytest.fixture
def other():
    """A server to which nothing may be sent."""
    other = Fake()
    yield other
    other.close()
    assert not other.requests


class Visits:
    """A job in a simulated world, each visit in a new session."""

    def __init__(self, out, url):
        self.out, self.url, self.said = out, url, []

    def __call__(self, key=KEY):
        with Session.over(SimulatedWorld(N, MIDDLING, seed=3), JOB, POOL, self.out / "run.jsonl") as session:
            place = server(self.url, key)
            batch = DOORS["label-studio"](Visit(session, None, self.out, "", self.said.append, place))
            return session.result() if batch is None else batch


@pytest.fixture
def visit(fake, tmp_path):
    return Visits(tmp_path, fake.url)


def test_a_job_has_the_labels_and_the_bill_of_the_same_run(fake, visit, caplog):
    caplog.set_level(logging.DEBUG)
    while not hasattr(batch := visit(), "labels"):
        tasks = [task for task in fake.tasks if not task["annotations"]]
        for task in tasks[: 6 if batch.number == 0 else None]:  # the rest next time
            fake.annotate(task, "cat", who=1 + task["id"] % 3)
    straight = drive(JOB, SimulatedWorld(N, MIDDLING, seed=3))
    assert np.array_equal(batch.labels, straight.labels)
    assert batch.bill == straight.outcome.ledger
    frame = batch.to_frame()
    names = set(frame["annotator"][frame["source"] == "human"])
    assert names == {"ada@example.com", "bob@example.com", "user 3"}
    assert len(fake.projects) == 1
    sent = [(task["data"]["batch"], task["data"]["file"]) for task in fake.tasks]
    assert len(sent) == len(set(sent))  # nothing is sent twice
    assert not [line for line in visit.said if "refused" in line]
    # The key stands in one header of each request and nowhere else.
    assert {headers["authorization"] for _, _, headers, _ in fake.requests} == {f"Token {KEY}"}
    assert not [body for _, path, _, body in fake.requests if KEY.encode() in body or KEY in path]
    kept = [path.read_bytes() for path in visit.out.rglob("*") if path.is_file()]
    assert len(kept) == 2  # the log and where the server is
    assert KEY not in "".join([*visit.said, caplog.text, *(content.decode("utf-8", "replace") for content in kept)])


def test_a_task_holds_a_picture_the_name_of_its_file_and_the_batch(fake, visit):
    first = visit()
    assert len(fake.tasks) == len(first)
    for task, index in zip(fake.tasks, first.indices, strict=True):
        assert set(task["data"]) == {"image", "file", "batch"}
        assert task["data"]["file"] == FILES[index]
        (content,) = (content for name, content in fake.uploads.values() if f"/data/{name}" == task["data"]["image"])
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), POOL.images[index, ..., 0])
    (project,) = fake.projects
    assert project["title"] == f"mcal: {POOL.name}"
    assert [choice.get("value") for choice in ET.fromstring(project["label_config"]).iter("Choice")] == list(CLASSES)
    assert "nobody can tell" in project["expert_instruction"]
    assert project["skip_queue"] == "IGNORE_SKIPPED"


def test_each_answer_is_taken_or_refused_in_one_line(fake, visit):
    first = visit()
    answers = [["cat"], [None], ["cta"], ["cat", "dog"], ["cat", "cat", "dog"], [], ["Cat"]]
    for task, labels in zip(fake.tasks, answers, strict=False):
        for who, label in enumerate(labels, 1):
            fake.annotate(task, label, who)
    fake.tasks[7]["overlap"] = 2  # one annotator of two
    fake.annotate(fake.tasks[7], "cat")
    fake.tasks[8]["annotations"] = [{"id": "x"}]
    left = visit()
    assert len(left) == len(first) - 4  # a class, a skip, two to one, a class in other capitals
    text = "\n".join(visit.said)
    assert "unknown class 'cta': did you mean 'cat'?" in text
    assert "another row has another label" in text
    assert "no task of this job: see annotations.0.id" in text
    said = len(visit.said)
    assert len(visit()) == len(left)
    assert not [line for line in visit.said[said:] if "labels taken" in line and ": 0 labels" not in line]
    with Session.over(SimulatedWorld(N, MIDDLING, seed=3), JOB, POOL, visit.out / "run.jsonl") as session:
        opinions = {POOL.files[o.image]: (o.label, o.annotator) for o in session.batches.said()}
    names = [FILES[i] for i in first.indices]
    assert opinions[names[1]] == (UNKNOWN, "ada@example.com")
    assert opinions[names[4]] == (0, "ada@example.com, bob@example.com, user 3")


@pytest.mark.parametrize("path", ["/api/projects/", "/import?commit_to_project", "/import", "file-uploads"])
def test_a_visit_whose_answer_was_lost_goes_on(fake, visit, path):
    fake.fault = path, "lost"
    with pytest.raises(McalError, match="can't reach"):
        visit()
    fake.fault = None
    first = visit()
    assert len(fake.tasks) == len(first)
    assert len({task["project"] for task in fake.tasks}) == 1


def answer(content, status=200, **headers):
    return status, {"content-type": "application/json", **headers}, content


@pytest.mark.parametrize(
    ("path", "fault", "says"),
    [
        ("/", answer(b"<html>", 200), "does not answer as Label Studio does"),
        ("/", answer(b'{"results": [{}]}'), "does not answer as Label Studio does"),
        ("/api/users/", answer(b"7"), "does not answer as Label Studio does"),
        ("/import?", answer(b'{"file_upload_ids": []}'), "does not answer as Label Studio does"),
        ("/import?", answer(b'{"detail": "full"}', 500), "answers 500: full"),
        ("/", answer(b"x" * 20_000), "has more than 10,000 bytes"),
        ("/", answer(gzip.compress(b"[]" * 5_000), **{"content-encoding": "gzip"}), "sends a packed answer"),
        ("/api/tasks/", answer(json.dumps({"tasks": [{}] * 300}).encode()), "lists more than 250 tasks of batch 0"),
    ],
)  # fmt: skip
def test_a_strange_answer_is_told_in_one_line(fake, visit, monkeypatch, path, fault, says):
    monkeypatch.setattr(client, "LARGEST_ANSWER", 10_000)
    monkeypatch.setattr(door, "MOST_TASKS", 250 / N)
    fake.fault = path, fault
    with pytest.raises(McalError, match=says) as error:
        visit()
    assert "\n" not in str(error.value)
    assert KEY not in str(error.value)


def test_nothing_is_sent_to_another_server(fake, other, visit, monkeypatch):
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, other.url)
    fake.fault = "/api/projects/", answer(b"", 302, location=f"{other.url}/api/projects/")
    with pytest.raises(McalError, match=f"sends us on to {other.url}"):
        visit()
    fake.fault = None
    studio = client.Studio(fake.url, server(None, KEY).key)
    with pytest.raises(McalError, match=r"nothing is sent to 127\.0\.0\.1, which is another server"):
        studio._http.get(other.url)
    assert len(visit()) > 0


def test_a_wrong_key_and_a_server_that_is_down_are_told_and_the_key_is_not(fake, visit):
    with pytest.raises(McalError, match=r"refuses the key: Invalid token Token \*\*\*") as error:
        visit("another-key")
    assert "another-key" not in str(error.value)
    fake.close()
    with pytest.raises(McalError, match=f"can't reach {fake.url}"):
        visit()


def test_the_key_comes_from_the_environment_and_the_address_from_before(fake, visit, monkeypatch):
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    with pytest.raises(McalError, match="needs a key: set LABEL_STUDIO_API_KEY"):
        visit(None)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", KEY)
    first = visit(None)
    visit.url = None
    assert len(visit(None)) == len(first)
    assert len(fake.projects) == 1
    (visit.out / "label-studio.json").write_text("{}", encoding="utf-8")
    with pytest.raises(McalError, match="damaged; delete it"):
        visit(None)
    (visit.out / "label-studio.json").unlink()
    with pytest.raises(McalError, match="give --url"):
        visit(None)


def test_a_missing_sdk_is_told_with_what_to_install(visit, monkeypatch):
    monkeypatch.delitem(sys.modules, client.__name__)
    monkeypatch.setitem(sys.modules, "label_studio_sdk", None)
    with pytest.raises(McalError, match=r"pip install 'mcal-jax\[label-studio\]'"):
        visit()


def test_the_command_hands_on_address_and_key(monkeypatch):
    from mcal_jax.cli.entry import app

    calls = []
    monkeypatch.setattr("mcal_jax.labelling.work_on", lambda source, **given: calls.append(given))
    with pytest.raises(SystemExit, match="0"):
        app(["label", "photos", "--door", "label-studio", "--url", "http://a", "--api-key", "k"])
    assert (calls[0]["door"], calls[0]["url"], calls[0]["api_key"]) == ("label-studio", "http://a", "k")


# ---------------------------------------------------------------------------------------------------------
# The real one


@pytest.mark.slow
@pytest.mark.skipif(
    label_studio_server.command() is None,
    reason="no label-studio: install it in an environment of its own and set LABEL_STUDIO to the path of the program",
)
def test_a_scripted_person_labels_pictures_on_a_real_server(tmp_path, monkeypatch):
    """By the real SDK on both sides: an access token of the new kind, skips, two annotators, several visits."""
    known = load("fashion_mnist_10k", first=200)
    (tmp_path / "photos").mkdir()
    (tmp_path / "server").mkdir()
    for i, image in enumerate(known.images[..., 0]):
        Image.fromarray(image).save(tmp_path / "photos" / f"photo{i:03d}.png")
    truth = {f"photo{i:03d}.png": known.classes[k] for i, k in enumerate(known.labels)}
    skipped, said = {"photo007.png", "photo100.png"}, []
    with label_studio_server.running(tmp_path / "server") as url:
        people = label_studio_server.Annotators(url, lambda name: None if name in skipped else truth[name])
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", people.new_token())
        bob = people.sdk.users.create(email="bob@example.com", username="bob").id
        given = dict(
            classes=known.classes, settings={"epsilon": 0.5}, door="label-studio", url=url, width=2, recipe="brief"
        )
        while not hasattr(batch := work.work_on(tmp_path / "photos", emit=said.append, **given), "labels"):
            tasks = [task for task in people.tasks() if not task.annotations]
            for task in tasks[: 6 if batch.number == 0 else None]:  # the rest next time
                people.answer(task, people.choose(task.data["file"]), who=bob if task.id % 2 else 1)
            given = {}
        sent = [(task.data["batch"], task.data["file"]) for task in people.tasks()]
        picture = people.picture(people.tasks()[0])
    assert len(sent) == len(set(sent))
    assert not [line for line in said if "refused" in line]
    assert np.array_equal(picture, known.images[int(sent[0][1][5:8]), ..., 0])
    human = ~batch.by_machine
    wanted = np.array([UNKNOWN if name in skipped else known.classes.index(truth[name]) for name in sorted(truth)])
    assert np.array_equal(batch.labels[human], wanted[human])
    frame = batch.to_frame()
    assert set(frame["annotator"][human]) == {label_studio_server.EMAIL, "bob@example.com"}
    print("\n".join(line for line in said if "labels taken" in line), *said[-2:], sep="\n")
