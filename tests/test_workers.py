"""Workers: errors in a line, one that dies takes no other task with it, and none is left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import as_completed
from pathlib import Path

import pytest

from mcal_jax.errors import McalError
from mcal_jax.runs.workers import Workers, in_a_line


def divide(a, b):
    return a / b


def refuse(text):
    raise McalError(text)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_fails_fails_in_a_line_and_the_others_are_done():
    with Workers([None, 0]) as workers:
        tasks = {
            "right": workers.submit(divide, 6, b=3),
            "foreign": workers.submit(divide, 1, 0),
            "ours": workers.submit(refuse, "x: not so"),
            "killed": workers.submit(die),
        }
        later = [workers.submit(divide, n, 1) for n in range(6)]
        assert len(list(as_completed([*tasks.values(), *later]))) == 10
    errors = {name: str(future.exception() or "") for name, future in tasks.items()}
    assert errors == {
        "right": "",
        "foreign": "ZeroDivisionError: division by zero",
        "ours": "x: not so",
        "killed": "its process was ended by signal SIGKILL; the system does so where memory runs out",
    }
    assert tasks["right"].result() == 2
    assert [future.result() for future in later] == list(range(6))


def test_an_interruption_ends_what_is_at_work():
    began = time.perf_counter()
    workers = Workers([None])
    pid = workers.submit(os.getpid).result()
    running, waiting = workers.submit(time.sleep, 600), workers.submit(divide, 1, 1)
    while not running.running():
        time.sleep(0.01)
    with pytest.raises(KeyboardInterrupt), workers:
        raise KeyboardInterrupt
    assert waiting.cancelled()
    assert "SIGKILL" in str(running.exception())
    assert not alive(pid)
    assert time.perf_counter() - began < 60


def test_a_killed_parent_leaves_no_worker_behind(tmp_path):
    """Workers that lived on would hold the locks of the logs, and the cores."""
    code = """
    import os, signal, time
    from mcal_jax.runs.workers import Workers
    if __name__ == "__main__":
        workers = Workers([None])
        print(workers.submit(os.getpid).result(), flush=True)
        workers.submit(time.sleep, 600)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    (tmp_path / "killed.py").write_text(textwrap.dedent(code))
    done = subprocess.run([sys.executable, "killed.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    worker = int(done.stdout)
    for _ in range(100):
        if not alive(worker):
            break
        time.sleep(0.1)
    assert not alive(worker)


def test_an_error_in_a_line():
    assert in_a_line(ValueError("two\n  lines")) == "ValueError: two lines"
    assert in_a_line(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert in_a_line(McalError("as it is")) == "as it is"


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
