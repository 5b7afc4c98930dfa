"""What stands before a web application: who may call it, how much it may be sent, and what browsers may do with it."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException
from fastapi.responses import JSONResponse

_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
}

_PATIENCE = 10
"""Bodies of up to so many times the limit are read to their end, and thrown away: else clients see a reset connection
and not why."""


class Guard:
    """An ASGI application around another.

    Args:
        hosts: Names by which a browser may call the server; None for any. On loopback this stops pages of other sites,
            whose name was made to point here (DNS rebinding).
        max_bytes: Largest body of a request; above it the answer is 413.
    """

    def __init__(self, app: Any, *, hosts: frozenset[str] | None, max_bytes: int) -> None:
        self._app, self._hosts, self._max_bytes = app, hosts, max_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}

        async def guarded_send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        if problem := self._problem(headers):
            await JSONResponse({"detail": problem[1]}, problem[0])(scope, receive, guarded_send)
            return
        received = 0

        async def guarded_receive() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received <= self._max_bytes:
                return message
            while message.get("more_body") and received <= _PATIENCE * self._max_bytes:
                message = await receive()
                received += len(message.get("body", b""))
            raise HTTPException(413, self._too_large(), {"connection": "close"})

        await self._app(scope, guarded_receive, guarded_send)

    def _problem(self, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if self._hosts is not None and name not in self._hosts:
            return 421, f"This server is not called {name or 'that'}: use its own address."
        origin = headers.get("origin")
        if origin is not None and _place(origin) != host:
            return 403, "Pages of other sites may not ask this server."
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > _PATIENCE * self._max_bytes:
            return 413, self._too_large()
        return None

    def _too_large(self) -> str:
        return f"The body is larger than {self._max_bytes / 1e6:.0f} MB."


def _place(origin: str) -> str | None:
    """Host and port of an origin; None for what is none, such as ``http://[``."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
