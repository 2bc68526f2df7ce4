"""One thread that serves all pages, call after call: whoever comes while the disk is awaited shares the next wait."""

import asyncio
import queue
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from mcal_jax.errors import McalError
from mcal_jax.labelling.browser.api import Api

MOST = 256
"""Calls that share one wait for the disk."""


class _Call(NamedTuple):
    name: str
    body: Mapping[str, Any]
    future: asyncio.Future
    loop: asyncio.AbstractEventLoop


class Counter:
    """Runs the calls of ``api`` in a thread. A reply comes after all that its call wrote is on the disk."""

    def __init__(self, api: Api):
        self.api = api
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True, name="mcal-counter").start()

    async def call(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The reply of ``Api.call``. Raises McalError as that does."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._calls.put(_Call(name, body, future, loop))
        return await future

    def _work(self) -> None:
        while True:
            calls = [self._calls.get()]
            while len(calls) < MOST and not self._calls.empty():
                calls.append(self._calls.get())
            try:
                with self.api.desk.session.log.together():
                    replies = [self._reply(call) for call in calls]
            except McalError as error:  # nobody knows what of this is on the disk
                self.api.desk.fail(str(error))
                replies = [error] * len(calls)
            for call, reply in zip(calls, replies, strict=True):
                call.loop.call_soon_threadsafe(_deliver, call.future, reply)

    def _reply(self, call: _Call) -> dict[str, Any] | Exception:
        try:
            return self.api.call(call.name, call.body)
        except Exception as error:  # whatever it is, this thread goes on, and the caller is told
            return error


def _deliver(future: asyncio.Future, reply: dict[str, Any] | Exception) -> None:
    if future.cancelled():
        return
    if isinstance(reply, Exception):
        future.set_exception(reply)
    else:
        future.set_result(reply)
