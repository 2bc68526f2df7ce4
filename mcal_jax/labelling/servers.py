"""Servers of others that a door talks to: their address and the key to them."""

from typing import NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from mcal_jax.errors import McalError, shown


class Server(NamedTuple):
    """Where a server is, and the key to it, each None where it is not given. The key is shown nowhere."""

    url: str | None = None
    key: SecretStr | None = None


def server(url: str | None, key: str | None) -> Server:
    """A server as it is given. Raises McalError for an address that is none, and for a key that no header can hold."""
    return Server(None if url is None else address(url), None if key is None else secret(key))


def address(url: str) -> str:
    """The address of a server, without a slash at its end.

    >>> address("http://127.0.0.1:8080/")
    'http://127.0.0.1:8080'

    Raises McalError for one that is not http(s), or holds a name, a password or a query.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise McalError(f"url: {shown(url)!r} is no address") from None
    if "@" in parts.netloc:
        raise McalError("url: it holds a name or a password; give the key alone")
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise McalError(f"url: {shown(url)!r} is no address that begins with http:// or https://")
    if "?" in url or "#" in url:
        raise McalError(f"url: {shown(url)!r} has a query; give the address of the server alone")
    return url.rstrip("/")


def secret(key: str) -> SecretStr:
    """A key. Raises McalError, which does not show it, for one that no header can hold."""
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise McalError("api_key: it must be one word of plain letters, digits and signs")
    return SecretStr(key)
