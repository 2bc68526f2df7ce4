"""The files door: tables and folders go out, come back in any shape, and each row is taken or refused in one line."""

import csv
import os
import shutil

import numpy as np
import pytest
from conftest import MIDDLING
from PIL import Image

from mcal_jax import Config, McalError, Session, from_arrays
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import UNKNOWN
from mcal_jax.labelling import files, work
from mcal_jax.labelling.answers import plain_name, read_table, safe_name
from mcal_jax.labelling.doors import DOORS, Visit
from mcal_jax.labelling.pictures import LinkNames
from mcal_jax.runs.codec import unpack
from mcal_jax.runs.driver import drive
from mcal_jax.runs.runlog import RunLog
from mcal_jax.worlds.simulated import SimulatedWorld

N = 200
JOB = Job(n=N, config=Config.certified(epsilon=0.3))
CLASSES = ["cat", "dog", "no cat"]
ODD = ("=1+1.png", 'quo"te.png', "two\nlines.png", "comma, semi;colon.png", "-dash.png", "sub/deep/a.png", "ünï.png")
"""Names of files that a table, a shell or a spreadsheet may trip over."""


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for name in [*ODD, *(f"p{i}.png" for i in range(N - len(ODD)))]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), len(name), np.uint8)).save(path)
    return folder


def dataset(photos):
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    return from_arrays(np.zeros((N, 4, 4), np.uint8), None, CLASSES)._replace(files=tuple(names))


class Desk:
    """A job in a simulated world, where every picture is a cat, and what the door said."""

    def __init__(self, photos, out, door="csv", job=JOB):
        self.photos, self.out, self.door, self.job = photos, out, door, job
        self.said = []
        out.mkdir(exist_ok=True)

    def visit(self, annotator=""):
        """Visit the door in a new session, as a new process would; returns the open batch and what it said."""
        self.said = []
        world = SimulatedWorld(N, MIDDLING, seed=3)
        with Session.over(world, self.job, dataset(self.photos), self.out / "run.jsonl") as session:
            batch = DOORS[self.door](Visit(session, self.photos, self.out, annotator, self.said.append))
            if batch is None:
                self.result = session.result()
            return batch

    @property
    def refused(self):
        return [line for line in self.said if line.startswith("refused: ")]


def rows_of(path):
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.reader(file))


def save(path, rows, delimiter=",", encoding="utf-8"):
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def fill(path, label="cat", which=slice(None), **how):
    rows = rows_of(path)
    for row in rows[1:][which]:
        row[1] = label
    save(path, rows, **how)


def test_a_job_by_tables_has_the_labels_and_the_bill_of_the_same_run(photos, tmp_path):
    desk = Desk(photos, tmp_path / "job")
    asked = []
    while (batch := desk.visit("ada")) is not None:
        path = desk.out / f"batch-{batch.number:04d}.csv"
        asked += [row[0] for row in rows_of(path)[1:]]
        fill(path)
        assert not desk.refused
    assert len(asked) == len(set(asked))
    straight = drive(JOB, SimulatedWorld(N, MIDDLING, seed=3))
    assert np.array_equal(desk.result.labels, straight.labels)
    assert desk.result.bill == straight.outcome.ledger
    assert sorted(path.name for path in desk.out.iterdir()) == ["done", "run.jsonl"]
    frame = desk.result.to_frame()
    assert set(frame["annotator"][frame["source"] == "human"]) == {"ada"}


@pytest.mark.parametrize("door", ["folder", "copies"])
def test_a_job_by_folders_has_the_labels_and_the_bill_of_the_same_run(photos, tmp_path, door):
    desk = Desk(photos, tmp_path / "job", door)
    while (batch := desk.visit()) is not None:
        folder = desk.out / f"batch-{batch.number:04d}"
        assert {path.name for path in folder.iterdir()} == {*CLASSES, "unlabelled"}
        links = sorted((folder / "unlabelled").iterdir())
        assert len(links) == len(batch)
        assert all(link.is_symlink() == (door == "folder") and Image.open(link).size == (4, 4) for link in links)
        for link in links[: max(1, len(links) * 2 // 3)]:  # the rest next time
            shutil.move(link, folder / "cat" / link.name)
    assert desk.result.bill == drive(JOB, SimulatedWorld(N, MIDDLING, seed=3)).outcome.ledger


def test_nothing_is_written_over_asked_twice_or_taken_by_halves(photos, tmp_path):
    desk = Desk(photos, tmp_path / "job")
    first = desk.visit()
    path = desk.out / "batch-0000.csv"
    fill(path, which=slice(0, 3))
    content = path.read_bytes()
    left = desk.visit()
    assert (left.number, len(left)) == (0, len(first) - 3)
    assert path.read_bytes() == content
    left = desk.visit()  # the same rows once more
    assert len(left) == len(first) - 3
    assert not desk.refused
    fill(path, "dog", slice(0, 1))  # another label than the one taken
    desk.visit()
    assert desk.refused == [
        f"refused: batch-0000.csv, row 2: {shown(rows_of(path)[1][0])}: has the label 'cat' already"
    ]


def shown(name):
    name = plain_name(name)
    return name if name.isprintable() else ascii(name)


def unknown_files(desk):
    """The files whose class nobody could tell, by the log."""
    told = [part for part in RunLog.read(desk.out / "run.jsonl").parts if "labels" in part]
    pairs = [zip(unpack(part["indices"], int), unpack(part["labels"], int), strict=True) for part in told]
    return [dataset(desk.photos).files[index] for of in pairs for index, label in of if label == UNKNOWN]


def test_each_bad_row_is_refused_in_one_line_and_the_others_are_taken(photos, tmp_path):
    desk = Desk(photos, tmp_path / "job")
    first = desk.visit()
    path = desk.out / "batch-0000.csv"
    rows = rows_of(path)
    asked = {plain_name(row[0]) for row in rows[1:]}
    stranger = next(name for name in dataset(photos).files if name not in asked and name.startswith("p"))
    rows[1][1], rows[2][1], rows[3][1], rows[4][1] = "Cat ", "cta", "?", "dog"
    rows += [
        ["nowhere.png", "cat"],
        ["../photos/p1.png", "cat"],
        [stranger, "cat"],
        [rows[4][0], "cat"],
        ["", ""],
        ["x"],
    ]
    save(path, rows)
    left = desk.visit()
    assert len(left) == len(first) - 2  # only "Cat " was clear, and that nobody can tell what the third is
    assert len(desk.refused) == 6
    assert unknown_files(desk) == [plain_name(rows[3][0])]
    text = "\n".join(desk.refused)
    assert "unknown class 'cta': did you mean 'cat'?" in text
    assert "nowhere.png: no such image in this pool" in text
    assert "../photos/p1.png: no such image in this pool" in text
    assert f"{stranger}: is not asked for" in text
    assert "has the label 'dog' already" in text
    assert "another row has another label" in text


def test_a_batch_may_be_shared_out_and_comes_back_as_spreadsheets_save_it(photos, tmp_path):
    desk = Desk(photos, tmp_path / "job")
    first = desk.visit()
    path = desk.out / "batch-0000.csv"
    head, *rows = rows_of(path)
    head = [" File", "LABEL", "Annotator"]
    ada = [[name, "cat", "ada"] for name, *_ in rows[:4]]
    bob = [[name, "dog", "bob"] for name, *_ in rows[4:9]]
    path.unlink()
    save(desk.out / "batch-0000-ada.csv", [head, *ada], ";", "utf-8-sig")
    save(desk.out / "batch-0000-bob.csv", [head, *bob], "\t", "utf-16")
    left = desk.visit()
    assert len(left) == len(first) - 9
    assert not desk.refused
    assert [row[0] for row in rows_of(path)[1:]] == [row[0] for row in rows[9:]]  # what was lost is asked for again


def test_answers_to_a_finished_batch_are_compared_and_put_away(photos, tmp_path):
    desk = Desk(photos, tmp_path / "job")
    desk.visit()
    fill(desk.out / "batch-0000.csv")
    assert desk.visit().number == 1
    old = desk.out / "done" / "batch-0000.csv"
    shutil.copy(old, desk.out / "batch-0000.csv")
    fill(desk.out / "batch-0000.csv", "dog", slice(0, 2))
    assert desk.visit().number == 1
    assert len(desk.refused) == 2
    assert sorted(path.name for path in (desk.out / "done").iterdir()) == ["batch-0000-1.csv", "batch-0000.csv"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"name,label\na,b\n", "it needs one column 'file'; its columns are name, label"),
        (b"file\na\n", "it needs one column 'label'"),
        (b"", "its columns are none"),
        (b"\x89PNG\0\0", "no text; save the table as CSV"),
        (b'file,label\n"' + b"x" * 200_000, "not a table: field larger than field limit"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_one_line(tmp_path, content, says):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(McalError, match=says):
        read_table(tmp_path / "t.csv", "", 100)


def test_a_million_rows_of_answers_are_refused_in_one_line_and_the_others_are_taken(photos, tmp_path):
    desk = Desk(photos, tmp_path / "job")
    first = desk.visit()
    name = rows_of(desk.out / "batch-0000.csv")[1][0]
    (desk.out / "batch-0000-flood.csv").write_bytes(b"file,label\n" + f"{name},dog\n".encode() * 10**6)
    fill(desk.out / "batch-0000.csv", which=slice(0, 3))
    assert len(desk.visit()) == len(first) - 3
    assert len(desk.refused) == 1
    assert "1,000,001 lines, and a table of answers to this pool has 2,010 at most" in desk.refused[0]


def test_names_of_files_survive_tables_and_links(photos):
    pool = dataset(photos)
    names = LinkNames(pool)
    assert len(names.name_of) == N
    assert all(names.name_of[names.link_of[name]] == name and "/" not in names.link_of[name] for name in pool.files)
    assert names.link_of["sub/deep/a.png"] == "sub--deep--a.png"
    for name in ODD:
        assert plain_name(safe_name(name)) == name
        assert not safe_name(name).startswith(("=", "+", "-", "@"))
    clash = pool._replace(files=("a/b.png", "a--b.png", "A--B.png", ".hidden.png", "x" * 250 + ".png", *pool.files[5:]))
    links = LinkNames(clash)
    assert len({link.casefold() for link in links.name_of}) == N
    assert all(len(os.fsencode(link)) < 256 and not link.startswith(".") for link in links.name_of)


def test_each_image_has_a_name_of_its_own_however_its_path_is_written(photos, tmp_path):
    def visit(out, *names):
        pool = dataset(photos)
        pool = pool._replace(files=(*names, *pool.files[len(names) :]))
        out.mkdir(exist_ok=True)
        with Session.over(SimulatedWorld(N, MIDDLING, seed=3), JOB, pool, out / "run.jsonl") as session:
            return len(DOORS["csv"](Visit(session, photos, out, "", lambda line: None)))

    odd = [f"././{name}" for name in dataset(photos).files]
    first = visit(tmp_path / "odd", *odd)
    fill(tmp_path / "odd" / "batch-0000.csv", which=slice(first - 1))
    assert visit(tmp_path / "odd", *odd) == 1
    with pytest.raises(McalError, match=r"two images called a.png"):
        visit(tmp_path / "twice", "a.png", "./a.png")


@pytest.mark.parametrize("classes", [["a/b", "c"], ["Cat", "cat"], ["unlabelled", "x"], ["..", "x"]])
def test_classes_that_cannot_be_folders_are_refused(classes):
    with pytest.raises(McalError, match="use the door csv"):
        files._check_folder_names(classes)


# ---------------------------------------------------------------------------------------------------------
# The whole cycle


@pytest.fixture
def simulated(monkeypatch):
    """Sessions train in a simulated world."""
    monkeypatch.setattr("mcal_jax.session.trained_world", lambda *_, **__: SimulatedWorld(N, MIDDLING, seed=3))


def test_the_same_call_begins_goes_on_and_finishes(photos, tmp_path, simulated):
    said = []

    def call(**given):
        said.clear()
        return work.work_on(photos, emit=said.append, **given)

    batch = call(classes=CLASSES, settings={"epsilon": 0.3, "label_price": 0.1})
    out = tmp_path / "photos.mcal"
    assert said[0] == "photos: 200 images, 4x4 pixels, grey"
    assert "199 images are exact copies" not in said[1]
    assert f"wanted: {len(batch)} labels for the test set (T), ${len(batch) / 10:,.2f}; batch 0" in said
    assert "no plan yet, since no classifier is trained; humans alone would cost $20.00" in said
    while not hasattr(batch, "labels"):
        fill(out / f"batch-{batch.number:04d}.csv")
        batch = call()
    assert batch.record.job.config.epsilon == 0.3
    assert {path.name for path in out.iterdir()} == {
        "cache", "datasheet.html", "datasheet.md", "done", "job.json", "labels.csv", "run.jsonl",
    }  # fmt: skip
    assert rows_of(out / "labels.csv")[0][:4] == ["file", "label", "source", "set"]
    with pytest.raises(McalError, match=r"config.epsilon = 0.3, now 0.1"):
        call(settings={"epsilon": 0.1})


def test_a_job_remembers_its_door_and_its_size(photos, tmp_path, simulated):
    for given in ({"classes": CLASSES, "door": "folder", "size": 8}, {}):
        work.work_on(photos, emit=lambda line: None, **given)
    assert (tmp_path / "photos.mcal" / "batch-0000").is_dir()
    assert not list((tmp_path / "photos.mcal").glob("*.csv"))
    with pytest.raises(McalError, match="is the log of other images"):
        work.work_on(photos, emit=lambda line: None, size=6)
    work.work_on(photos, emit=lambda line: None)  # what was refused is not remembered


def test_known_labels_are_not_asked_for_and_cost_nothing(tmp_path, simulated):
    lines, said = ["file,label"], []
    for i in range(N):
        Image.fromarray(np.full((4, 4), i % 250, np.uint8)).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{'cat' if i % 2 else ''}")
    (tmp_path / "pool.csv").write_text("\n".join(lines))
    batch = work.work_on(tmp_path / "pool.csv", classes=["cat", "dog", "x"], out=tmp_path / "job", emit=said.append)
    assert any(
        line.endswith("100 of 200 labels are known; they cost nothing and are never a part of V") for line in said
    )
    assert "no plan yet, since no classifier is trained; humans alone would cost $4.00" in said
    asked = rows_of(tmp_path / "job" / f"batch-{batch.number:04d}.csv")[1:]
    assert asked
    assert all(int(row[0].removesuffix(".png")) % 2 == 0 for row in asked)
    assert len(asked) == len(batch)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"door": "window"}, "unknown door 'window'"),
        ({"settings": {"epsilon": 2}}, "epsilon: "),
        ({"classes": ["cat"]}, "give the names of at least 2"),
        ({"out": "photos/inside"}, "lies in the folder of the pictures"),
        ({"out": "photos/p1.png"}, "is no folder"),
    ],
)
def test_a_job_that_cannot_work_is_refused_before_anything_is_asked(photos, tmp_path, simulated, given, says):
    given = {"classes": CLASSES, **given}
    if "out" in given:
        given["out"] = tmp_path / given["out"]
    with pytest.raises(McalError, match=says):
        work.work_on(photos, emit=lambda line: None, **given)
    assert not list(tmp_path.glob("*.mcal/batch*"))
    assert not (tmp_path / "photos.mcal" / "run.jsonl").exists()


def test_the_command_gives_what_it_is_given(monkeypatch):
    from mcal_jax.cli.entry import app

    calls = []
    monkeypatch.setattr("mcal_jax.labelling.work_on", lambda source, **given: calls.append((source, given)))
    for words in (["photos", "--classes", "cat, dog", "--price", "0.1", "--door", "folder"], ["photos"]):
        with pytest.raises(SystemExit, match="0"):
            app(["label", *words])
    (source, begun), (_, again) = calls
    assert (source, begun["classes"], begun["settings"]) == ("photos", ["cat", "dog"], {"label_price": 0.1})
    assert begun["door"] == "folder"
    assert (again["classes"], again["settings"], again["door"]) == (None, {}, None)


def test_arrays_are_written_as_pictures(tmp_path, simulated):
    images = np.random.default_rng(0).integers(0, 255, (N, 4, 4, 3), np.uint8)
    batch = work.work_on(images, classes=CLASSES, out=tmp_path / "job", emit=lambda line: None)
    names = [row[0] for row in rows_of(tmp_path / "job" / "batch-0000.csv")[1:]]
    assert names == [f"{i:03d}.png" for i in batch.indices]
    picture = np.asarray(Image.open(tmp_path / "job" / "pictures" / names[0]))
    assert np.array_equal(picture, images[batch.indices[0]])
