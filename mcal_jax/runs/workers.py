"""Processes that work side by side, each on one task at a time."""

import contextlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from mcal_jax.errors import McalError

CONTEXT = multiprocessing.get_context("spawn")  # JAX does not survive a fork


class Workers(ThreadPoolExecutor):
    """One process for each of ``cores``, held to that core unless it is None.

    The future of a task that fails has a McalError of one line, whatever failed. A process that dies, be it for want
    of memory, fails its own task alone, and another takes its place. None outlives this process, or a ``with``.
    """

    def __init__(self, cores: Sequence[int | None]):
        super().__init__(len(cores))
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all = [_Worker(core) for core in cores]
        for worker in self._all:
            self._free.put(worker)

    def submit(self, task: Callable[..., Any], /, *args: Any, **options: Any) -> Future:
        return super().submit(self._call, task, args, options)

    def _call(self, task: Callable[..., Any], args: Any, options: Any) -> Any:
        worker = self._free.get()
        try:
            return worker.call(task, args, options)
        finally:
            self._free.put(worker)

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        """Wait for all tasks; after an error or Ctrl-C end the processes in the middle of whatever they do."""
        self.shutdown(wait=kind is None, cancel_futures=True)
        for worker in self._all:
            worker.stop(kill=kind is not None)


class _Worker:
    """A process, started when it is first needed."""

    def __init__(self, core: int | None):
        self.core, self.stopped = core, False
        self.process: Any = None
        self.pipe: Any = None
        self.lock = threading.Lock()  # no process may start behind the back of ``stop``
        self.joining = threading.Lock()

    def call(self, task: Callable[..., Any], args: Any, options: Any) -> Any:
        self._start()
        try:
            self.pipe.send((task, args, options))
            value, error = self.pipe.recv()
        except (EOFError, OSError):
            code = self._exit_code()
            why = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            hint = "; the system does so where memory runs out" if code == -signal.SIGKILL else ""
            raise McalError(f"its process was ended {why}{hint}") from None
        if error:
            raise McalError(error)
        return value

    def _start(self) -> None:
        with self.lock:
            if self.stopped:
                raise McalError("interrupted")
            if self.process is None or not self.process.is_alive():
                self.pipe, theirs = CONTEXT.Pipe()
                self.process = CONTEXT.Process(target=_serve, args=(theirs, self.core), daemon=True)
                self.process.start()
                theirs.close()

    def stop(self, kill: bool) -> None:
        with self.lock:
            self.stopped = True
            if self.process is None:
                return
            if kill:
                self.process.kill()
            else:
                self.pipe.close()
        self._exit_code()

    def _exit_code(self) -> int:
        """Wait for the end of the process. One thread at a time: another would find no child to wait for."""
        with self.joining:
            self.process.join()
            return self.process.exitcode or 0


def _serve(pipe: Any, core: int | None) -> None:
    """Execute tasks from the pipe, one after the other, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent says what to do
    threading.Thread(target=_watch_parent, daemon=True).start()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # an odd locale must not end a run
    if core is not None and hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[core % len(allowed)]})
    with contextlib.suppress(EOFError):
        while True:
            task, args, options = pipe.recv()
            try:
                answer = task(*args, **options), ""
            except Exception as error:
                answer = None, in_a_line(error)
            pipe.send(answer)


def _watch_parent() -> None:
    """A killed parent must not leave workers behind that train on, and hold the locks of the logs."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)


def in_a_line(error: BaseException) -> str:
    """An exception as one line; what is not the user's mistake says its type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, McalError) else f"{type(error).__name__}: {text}".removesuffix(": ")
