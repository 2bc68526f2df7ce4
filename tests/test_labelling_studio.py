"""Label Studio's JSON without a server: tasks go out, exports come back, and the majority of the annotators counts."""

import json
import xml.etree.ElementTree as ET
from collections import Counter

import numpy as np
import pytest
from conftest import MIDDLING
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mcal_jax import Config, McalError, Session, from_arrays
from mcal_jax.algorithm.job import Job
from mcal_jax.labelling import work
from mcal_jax.labelling.doors import DOORS, Visit
from mcal_jax.labelling.label_studio.tasks import (
    data_uri,
    encoded,
    labelling_config,
    new_task,
    read_export,
    read_tasks,
    task_name,
)
from mcal_jax.labelling.servers import address, secret, server
from mcal_jax.runs.driver import drive
from mcal_jax.worlds.simulated import SimulatedWorld

N = 120
CLASSES = ("cat", "dog", "<b>&owl</b>")
JOB = Job(n=N, config=Config.certified(epsilon=0.3))
ODD = ("=1.png", "sub/two\nlines.png", "ünï.png", "raw\udcff.png")


def pool(n=N):
    pixels = np.random.default_rng(0).integers(0, 255, (n, 4, 4, 1), np.uint8)
    return from_arrays(pixels, None, CLASSES)._replace(files=(*ODD, *(f"p{i}.png" for i in range(n - len(ODD)))))


def chosen(label, who=1, **about):
    """An annotation as Label Studio lists it; None for a task that was skipped."""
    value = {"from_name": "choice", "to_name": "image", "type": "choices", "value": {"choices": [label]}}
    skipped = label is None
    return {"completed_by": who, "was_cancelled": skipped, "result": [] if skipped else [value], **about}


def task(name, annotations=(), number=0, **about):
    return {"id": 7, **new_task(name, number, "/data/a.png"), "annotations": list(annotations), **about}


def read(*tasks, people=None):
    return read_tasks(tasks, 0, pool(), people or {}, "", "here")


def label_of(*annotations, **about):
    """The label and the annotators of one image with these annotations; the labels alone where they are divided."""
    (rows, refused) = read(task("p1.png", annotations, **about))
    assert not refused
    return (rows[0].label, rows[0].annotator) if len(rows) == 1 else [row.label for row in rows]


def test_the_interface_offers_each_class_as_it_is_called():
    view = ET.fromstring(labelling_config(CLASSES))
    assert [choice.get("value") for choice in view.iter("Choice")] == list(CLASSES)
    assert view.find("Choices").get("toName") == view.find("Image").get("name") == "image"
    assert view.find("Header").get("value") == "$file"


@pytest.mark.parametrize("name", ["$cat", "two\nlines", " cat", "raw\udcff"])
def test_a_class_that_the_interface_would_change_is_refused(name):
    with pytest.raises(McalError, match="Label Studio can't offer the class"):
        labelling_config(["dog", name])


votes = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([*CLASSES, None])), max_size=8)


@given(votes, st.integers(1, 3))
def test_an_image_has_the_label_that_most_of_enough_annotators_chose(answers, overlap):
    annotations = [chosen(label, who, id=i) for i, (who, label) in enumerate(answers)]
    last = dict(answers)  # what an annotator said last counts
    ranked = Counter(last.values()).most_common()
    said = label_of(*annotations, overlap=overlap)
    if len(last) < overlap:
        assert said == ("", "")
    elif len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
        assert sorted(map(str, said)) == sorted(map(str, last.values()))
    else:
        assert said == (ranked[0][0], ", ".join(sorted(f"user {who}" for who in last)))


def test_answers_in_all_forms_that_label_studio_knows():
    assert label_of() == label_of({"result": []}) == ("", "")  # nothing chosen yet
    assert label_of(chosen("dog", 2, updated_at="2026-01-02"), chosen("cat", 2, updated_at="2026-01-03"))[0] == "cat"
    assert label_of(chosen("cat", {"id": 3, "email": "eve@example.com"})) == ("cat", "eve@example.com")
    assert label_of(chosen("cat", None)) == ("cat", "")
    nulls = {"updated_at": None, "was_cancelled": None, "id": None}
    assert label_of({**chosen("cat"), **nulls}, {"completed_by": 2, "result": None}, overlap=None)[0] == "cat"
    comment = {"type": "textarea", "from_name": "why", "value": {"text": ["blurred"]}}
    assert label_of({"completed_by": 1, "result": [comment, *chosen("cat")["result"]]}) == ("cat", "user 1")
    both = {"completed_by": 1, "result": [{"type": "choices", "value": {"choices": ["cat", "dog"]}}]}
    assert label_of(both)[0] not in ("", *CLASSES)  # two classes are none
    rows, _ = read(task("p1.png", [chosen("cat", 5)]), people={5: "ada@example.com"})
    assert rows[0].annotator == "ada@example.com"
    twice, _ = read(task("p1.png", [chosen("cat", 1)]), task("p1.png", [chosen("cat", 2)]))  # sent twice
    assert [(row.label, row.annotator) for row in twice] == [("cat", "user 1, user 2")]


@pytest.mark.parametrize(
    "bad", [7, None, {}, {"data": {"image": "x"}}, task("p1.png", [{"result": 3}]), {"data": {"file": 1, "batch": []}}]
)
def test_a_task_that_is_none_of_ours_is_refused_alone(bad):
    rows, refused = read(bad, task("p2.png", [chosen("cat")]))
    assert [row.label for row in rows] == ["cat"]
    assert len(refused) == 1
    assert refused[0].startswith("refused: here, task 1: no task of this job")
    assert "\n" not in refused[0]


def test_tasks_of_other_batches_are_left_alone():
    assert read(task("p1.png", [chosen("cat")], number=3)) == ([], [])


def test_names_of_files_survive_the_way_there_and_back():
    dataset = pool()
    tasks = json.loads(json.dumps([task(name) for name in dataset.files]))
    assert all(name == task_name(name) for name in dataset.files if name.isprintable())
    json.dumps(tasks, ensure_ascii=False).encode()  # nothing that can't be sent
    rows, _ = read(*tasks)
    assert [row.file for row in rows] == list(dataset.files)


def test_a_picture_is_handed_out_without_what_its_file_says_besides(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    Image.new("RGB", (300, 300), "red").save(tmp_path / "p1.png", exif=exif)
    assert b"where I live" in (tmp_path / "p1.png").read_bytes()
    ((name, content, media),) = encoded(pool(), tmp_path, ["p1.png"])
    assert (name, media) == ("p1.png", "image/jpeg")
    assert b"where I live" not in content
    assert data_uri(b"abc", "image/png") == "data:image/png;base64,YWJj"


# ---------------------------------------------------------------------------------------------------------
# Jobs by files


def visit(out, said, job=JOB):
    """Visit the door in a new session; returns the open batch, or the result."""
    with Session.over(SimulatedWorld(N, MIDDLING, seed=3), job, pool(), out / "run.jsonl") as session:
        batch = DOORS["label-studio-files"](Visit(session, None, out, "", said.append))
        return session.result() if batch is None else batch


def annotate(path, label, which=slice(None)):
    """Answer tasks as an export would; returns them."""
    tasks = json.loads(path.read_text(encoding="utf-8"))
    for each in tasks[which]:
        each["annotations"] = [chosen(label)]
    return tasks


def test_a_job_by_files_of_tasks_has_the_labels_and_the_bill_of_the_same_run(tmp_path):
    said, asked = [], []
    while not hasattr(batch := visit(tmp_path, said), "labels"):
        path = tmp_path / f"batch-{batch.number:04d}.json"
        tasks = annotate(path, "cat")
        asked += [each["data"]["file"] for each in tasks]
        (tmp_path / f"batch-{batch.number:04d}-done.json").write_text(json.dumps(tasks), encoding="utf-8")
    assert not [line for line in said if "refused" in line]
    assert len(asked) == len(set(asked))
    assert all(set(each["data"]) == {"image", "file", "batch"} for each in tasks)
    assert tasks[0]["data"]["image"].startswith("data:image/png;base64,")
    straight = drive(JOB, SimulatedWorld(N, MIDDLING, seed=3))
    assert np.array_equal(batch.labels, straight.labels)
    assert batch.bill == straight.outcome.ledger
    assert ET.parse(tmp_path / "label-studio.xml").getroot().tag == "View"
    assert not list(tmp_path.glob("batch-*"))


def test_an_export_is_taken_in_part_or_refused_in_lines(tmp_path):
    said = []
    first = visit(tmp_path, said)
    tasks = annotate(tmp_path / "batch-0000.json", "cat", slice(0, 3))
    tasks[3]["annotations"] = [chosen(None)]
    tasks[4]["annotations"] = [chosen("cta")]
    tasks[5]["annotations"] = [chosen("cat", 1), chosen("dog", 2)]
    tasks.append(task("nowhere.png", [chosen("cat")]))
    export = tmp_path / "batch-0000 from Label Studio.json"
    export.write_text(json.dumps(tasks), encoding="utf-8")
    (tmp_path / "batch-0000-no.json").write_text('{"tasks": 1}', encoding="utf-8")
    left = visit(tmp_path, said)
    assert len(left) == len(first) - 4
    text = "\n".join(said)
    assert "unknown class 'cta': did you mean 'cat'?" in text
    assert "another row has another label" in text
    assert "nowhere.png: no such image in this pool" in text
    assert "batch-0000-no.json: no list of tasks; export the project as JSON" in text
    assert len(visit(tmp_path, said)) == len(left)  # the same file once more
    with pytest.raises(McalError, match="no list of tasks"):
        read_export(tmp_path / "run.jsonl", 0, pool())


# ---------------------------------------------------------------------------------------------------------
# Addresses and keys


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://a", "begins with http"),
        ("file:///etc/passwd", "begins with http"),
        ("127.0.0.1:8080", "begins with http"),
        ("http://", "begins with http"),
        ("http://a\nb", "begins with http"),
        ("http://a:99999", "is no address"),
        ("http://[::1", "is no address"),
        ("http://ada:secret@a", "holds a name or a password"),
        ("http://a/?token=secret", "has a query"),
    ],
)
def test_an_address_that_is_none_is_refused_in_a_line(url, says):
    with pytest.raises(McalError, match=says) as error:
        address(url)
    assert "\n" not in str(error.value)
    assert "@" not in url or "secret" not in str(error.value)


def test_an_address_may_have_a_path():
    assert address("https://labels.example.com/studio/") == "https://labels.example.com/studio"


@pytest.mark.parametrize("key", ["", "two words", "line\nline", "schlüssel", "a\x00"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key):
    with pytest.raises(McalError, match="api_key") as error:
        secret(key)
    assert not key or key not in str(error.value)


def test_a_key_is_not_shown():
    assert "hunter2" not in repr(server("http://a", "hunter2"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"url": "http://a"}, "the door csv has no server; give --door label-studio"),
        ({"api_key": "k"}, "the door csv has no server; give --door label-studio"),
        ({"url": "ftp://a", "door": "label-studio"}, "begins with http"),
        ({"api_key": "two words", "door": "label-studio"}, "api_key"),
    ],
)
def test_a_server_that_cannot_be_is_refused_before_anything_is_written(tmp_path, given, says):
    images = np.zeros((N, 4, 4), np.uint8)
    with pytest.raises(McalError, match=says):
        work.work_on(images, classes=CLASSES, out=tmp_path / "job", emit=lambda line: None, **given)
    assert not (tmp_path / "job").exists()
