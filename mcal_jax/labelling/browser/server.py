"""The server behind the page: static files, the API of a desk, pictures. It never waits for a training."""

import asyncio
import json
import re
import secrets
import socket
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mcal_jax.errors import McalError
from mcal_jax.labelling.browser.api import Api
from mcal_jax.labelling.browser.counter import Counter
from mcal_jax.labelling.browser.guard import Guard
from mcal_jax.labelling.desk import Desk

STATIC = Path(__file__).parent / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".png": "image/png"}
LARGEST_BODY = 4096
"""Bytes of a request."""
PATIENCE = 10.0
"""Seconds in which a request must have arrived."""
LONGEST_WAIT = 2.0
"""Seconds for which a call for images is held back while there are none."""


def application(api: Api, token: str, hosts: Collection[str] = (), *, any_address: bool = False) -> Guard:
    """The ASGI application, guarded."""
    counter = Counter(api)
    files = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in TYPES}

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            raise HTTPException(404)
        return Response(files[name], media_type=TYPES[Path(name).suffix])

    async def call(request: Request) -> Response:
        body = await _body(request)
        reply = await counter.call(request.path_params["name"], body)
        if body.get("wait") is True:
            reply = await _wait_for_images(counter, body, reply)
        return JSONResponse(reply)

    async def picture(request: Request) -> Response:
        digits = request.path_params["image"]
        if not re.fullmatch("[0-9]{1,18}", digits):
            raise HTTPException(404)
        content, media_type = await run_in_threadpool(api.pictures.encoded, int(digits))
        return Response(content, media_type=media_type)

    async def refused(request: Request, error: Exception) -> Response:
        status, text = (error.status_code, error.detail) if isinstance(error, HTTPException) else (409, str(error))
        return JSONResponse({"error": text}, status)

    routes = [
        Route("/", page),
        Route("/static/{name}", page),
        Route("/api/image/{image}", picture),
        Route("/api/{name}", call, methods=["POST"]),
    ]
    handlers = {McalError: refused, HTTPException: refused}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), token, hosts, any_address)


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object of a request. Raises HTTPException for one that is too large, too slow, or something else."""

    async def read() -> bytes:
        content = b""
        async for chunk in request.stream():
            content += chunk
            if len(content) > LARGEST_BODY:
                raise HTTPException(413, f"a request has at most {LARGEST_BODY} bytes")
        return content

    try:
        body = json.loads(await asyncio.wait_for(read(), PATIENCE))
    except (TimeoutError, ClientDisconnect):
        raise HTTPException(408, "the request did not arrive in time") from None
    except (ValueError, RecursionError):
        raise HTTPException(400, "a request is a JSON object") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "a request is a JSON object")
    return body


async def _wait_for_images(counter: Counter, body: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
    """The reply once there are images, or the state is another; at the latest after LONGEST_WAIT."""
    version, state = counter.api.desk.version, reply["status"]["state"]
    deadline = asyncio.get_running_loop().time() + LONGEST_WAIT
    while not reply["images"] and reply["status"]["state"] == state and state not in ("finished", "failed"):
        if asyncio.get_running_loop().time() > deadline:
            return await counter.call("take", body)
        await asyncio.sleep(0.03)
        if counter.api.desk.version != version:
            version = counter.api.desk.version
            reply = await counter.call("take", body)
    return reply


class Server:
    """A server in a thread: ``url`` has the token behind "#", where browsers keep it to themselves.

    Raises McalError where the port is taken or the host is none of this machine.
    """

    def __init__(
        self, desk: Desk, api: Api, host: str = "127.0.0.1", port: int = 0, token: str | None = None, hosts=()
    ):
        self.desk, self.token = desk, token or secrets.token_urlsafe(24)
        self.socket = _bind(host, port)
        self.port = self.socket.getsockname()[1]
        is_local = host in ("127.0.0.1", "::1", "localhost")
        app = application(api, self.token, hosts, any_address=not is_local)
        settings: dict[str, Any] = dict(log_level="warning", access_log=False, server_header=False, ws="none")
        self.server = uvicorn.Server(
            uvicorn.Config(app, lifespan="off", timeout_keep_alive=30, timeout_graceful_shutdown=2, **settings)
        )
        name = f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host
        self.url = f"http://{name}:{self.port}/#{self.token}"
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True, name="mcal-server")
        self.thread.start()

    def stop(self) -> None:
        """Stop answering; what was answered is on disk."""
        self.desk.close()
        self.server.should_exit = True
        self.thread.join(10)
        self.socket.close()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(512)
    except (OSError, OverflowError) as error:
        sock.close()
        raise McalError(f"can't serve on {host}, port {port}: {getattr(error, 'strerror', None) or error}") from None
    return sock
