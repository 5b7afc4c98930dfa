"""A real HTTP server on this machine that misbehaves on request."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import unquote


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one answer.

    Args:
        status: Answer with this status and no file.
        retry_after: Value of a Retry-After header that goes with ``status``.
        after: Send this many bytes of the body, then do what ``then`` says.
        then: ``"cut"`` ends the connection, ``"reset"`` tears it down, ``"stall"`` holds it open and silent.
        ignore_range: Send the whole file, whatever part was asked for.
        declare_length: Say how long the body is.
        body: Send this in place of the file.
        hold: Answer only when this is set.
    """

    status: int | None = None
    retry_after: str | None = None
    after: int | None = None
    then: str = "cut"
    ignore_range: bool = False
    declare_length: bool = True
    body: bytes | None = None
    hold: threading.Event | None = None


class Server:
    """Serves ``files`` (path without the first slash -> bytes) while its ``with`` block runs.

    Attributes:
        files: What is served; may be changed at any time.
        requests: (path, Range header or ``None``) of every request, in order of arrival.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.requests: list[tuple[str, str | None]] = []
        self._faults: dict[str, Iterator[Fault]] = {}
        self._closing = threading.Event()
        owner = self

        class Handler(_Handler):
            server_state = owner

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def misbehave(self, path: str, faults: Iterable[Fault]) -> None:
        """The next requests for ``path`` meet these faults, one each; then all is well."""
        self._faults[path] = iter(faults)

    def ranges(self, path: str) -> list[str | None]:
        """The Range headers of the requests for ``path``."""
        return [asked for name, asked in self.requests if name == path]

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement
    server_state: Server

    def do_GET(self) -> None:
        state = self.server_state
        path, asked = unquote(self.path).removeprefix("/"), self.headers["Range"]
        state.requests.append((path, asked))
        fault = next(state._faults.get(path, iter(())), Fault())
        if fault.hold is not None:
            fault.hold.wait(10)
        body = fault.body if fault.body is not None else state.files.get(path)
        if fault.status is not None or body is None:
            self.send_response(fault.status or 404)
            if fault.retry_after is not None:
                self.send_header("Retry-After", fault.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        total, start = len(body), 0
        if asked is None or fault.ignore_range:
            self.send_response(200)
        else:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        body = body[start:]
        if fault.declare_length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[: fault.after])
        if fault.after is not None:
            self.close_connection = True
            if fault.then == "stall":
                state._closing.wait(10)
            elif fault.then == "reset":
                lingerless = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingerless)
                self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the tests read ``requests``."""
