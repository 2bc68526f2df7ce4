"""Who may speak to the server: the right host, the right origin and the right token, or nobody."""

import hmac
import ipaddress
from collections.abc import Collection

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of every response."""


class Guard:
    """Refuses requests with a foreign Host (DNS rebinding) or Origin, and calls of the API without ``token``.

    ``hosts`` are the names by which the server may be called, besides the addresses of this machine's loopback;
    ``any_address``: any IP address will do, because a page of another origin can't have one for its name.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Collection[str], any_address: bool):
        self.app, self.token, self.any_address = app, token, any_address
        self.hosts = {"localhost", "127.0.0.1", "::1", *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *ours]
            await send(message)

        refusal = self._refusal(scope["path"], headers)
        app = JSONResponse({"error": refusal[1]}, refusal[0]) if refusal else self.app
        await app(scope, receive, send_with_headers)

    def _refusal(self, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and reason, if a request is refused."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            return 403, "wrong host"
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            return 403, "wrong origin"
        if path.startswith("/api/"):
            given = headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                return 401, "wrong token: open the page by the address that the server printed"
        return None

    def _is_ours(self, host: str) -> bool:
        name = host.lower()
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        elif ":" in name:
            name = name.rpartition(":")[0]
        return name in self.hosts or (self.any_address and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
