"""Files are written whole or not at all, and never over an input, a record or something of the user's."""

import itertools
import os
import threading

import pytest

from mcal_jax.errors import McalError
from mcal_jax.files import Lock, absolute, check_distinct, check_writable, is_same_file, read_bytes, write_atomically
from mcal_jax.runs.labels import LABELS_BEGIN


def error_of(call, *arguments):
    with pytest.raises(McalError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def ways(tmp_path, monkeypatch):
    """Paths that all lead to one file: plain, from the root, with a detour, through links."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "a" / "file")
    (tmp_path / "folder").symlink_to(tmp_path / "a")
    os.link(tmp_path / "a" / "file", tmp_path / "hard")
    return ["a/file", str(tmp_path / "a" / "file"), "./a/../a/file", "link", "folder/file", "hard"]


def test_one_file_is_known_whatever_way_leads_to_it(ways):
    for one, other in itertools.combinations(ways, 2):
        message = error_of(check_distinct, {"--log": one, "--labels": other})
        assert "--labels and --log are the same file" in message
    check_distinct({"--log": "a/file", "--labels": "a/other", "--data": None})
    assert not is_same_file(absolute("a/file"), absolute("a/other"))


def test_files_that_are_still_to_be_made_are_compared_too(tmp_path):
    (tmp_path / "to").symlink_to(tmp_path / "new.csv")  # dangling
    error_of(check_distinct, {"--log": tmp_path / "new.csv", "--labels": tmp_path / "to"})
    error_of(check_distinct, {"--log": tmp_path / "new.csv", "--labels": tmp_path / "x" / ".." / "new.csv"})


@pytest.mark.parametrize("name", ["~", "~nobody-of-this-name/x", "~two.npz"])
def test_a_tilde_and_odd_names_are_no_traceback(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute(name).is_absolute()
    check_distinct({"--log": name, "--labels": "other"})


def test_a_name_that_no_file_can_have_is_told():
    for call in (
        absolute,
        lambda path: check_distinct({"--log": path, "--labels": "x"}),
        lambda path: check_writable(path, ""),
    ):
        assert "'a\\x00b'" in error_of(call, "a\0b")


def test_something_of_the_users_is_not_written_over(tmp_path):
    path = tmp_path / "labels.csv"
    check_writable(path, "--labels", "index,label")
    path.write_text("")
    check_writable(path, "--labels", "index,label")
    for header in (LABELS_BEGIN, "x,y"):
        path.write_text(f"{header}\n0,1,dog,human\n")
        check_writable(path, "--labels", LABELS_BEGIN, "x,y")
    path.write_text("my thesis")
    assert "holds something else and would be lost" in error_of(check_writable, path, "--labels", "index,label")
    assert "--labels" in error_of(check_writable, tmp_path, "--labels")
    check_writable("/dev/null", "--labels", "index,label")


@pytest.mark.parametrize("name", ["file/x.csv", "file/deeper/x.csv", "x" * 300])
def test_a_place_where_nothing_can_be_written_is_known_beforehand(name, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    message = error_of(check_writable, tmp_path / name, "--labels")
    assert message.startswith("--labels: can't write")
    assert error_of(write_atomically, tmp_path / name, "text").startswith("can't write")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_may_not_be_written_is_known_beforehand(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as on a read-only disk; root may write anywhere else
    assert "read-only" in error_of(check_writable, tmp_path / "new" / "x.csv", "--labels")
    assert list(tmp_path.iterdir()) == []


def test_a_file_appears_whole_and_replaces_what_was_there(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_atomically(path, "größe\r\n")
    assert path.read_bytes() == "größe\r\n".encode()
    write_atomically(path, "2")
    assert path.read_text(encoding="utf-8") == "2"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_a_name_that_is_no_text_can_be_written(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.csv")
    check_writable(path, "--labels")
    write_atomically(path, os.fsdecode(b"\xe9"))
    assert path.read_bytes() == b"\xe9"


def test_a_link_is_written_through_and_stays(tmp_path):
    (tmp_path / "link").symlink_to("folder/real.txt")
    write_atomically(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "real.txt").read_text(encoding="utf-8") == "text"
    (tmp_path / "loop").symlink_to("loop")
    assert "leads to itself" in error_of(check_writable, tmp_path / "loop", "--labels")


def test_a_lock_is_held_by_one_alone_and_leaves_nothing(tmp_path):
    path = tmp_path / "new" / "run.jsonl"
    lock = Lock(path)
    assert "run.jsonl is open in this process" in error_of(Lock, path)
    lock.release()
    lock.release()
    assert list(path.parent.iterdir()) == []
    (path.parent / ".run.jsonl.lock").touch()  # left by a process that was killed
    Lock(path).release()
    assert list(path.parent.iterdir()) == []


def test_a_lock_is_released_by_any_thread(tmp_path):
    lock = Lock(tmp_path / "run.jsonl")
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert not list(tmp_path.iterdir())
    Lock(tmp_path / "run.jsonl").release()


def test_a_lock_where_nothing_can_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for name in ("file/run.jsonl", "file/deeper/run.jsonl"):
        assert error_of(Lock, tmp_path / name).startswith("can't write")


def test_a_device_is_written_to_and_stays_one(tmp_path):
    pipe = tmp_path / "pipe"  # not /dev/null itself, which a mistake here would destroy
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, "text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert pipe.is_fifo()
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


def test_a_device_that_never_ends_is_not_read(tmp_path):
    assert "it is a device" in error_of(read_bytes, "/dev/zero")
    assert "No such file" in error_of(read_bytes, tmp_path / "none")
    (tmp_path / "file").write_bytes(b"1")
    assert read_bytes(tmp_path / "file") == b"1"
