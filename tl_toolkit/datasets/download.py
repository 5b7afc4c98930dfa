"""Files from the web: several at a time, checked by SHA-256, continued where they were cut off.

Every file is fetched by :func:`pooch.retrieve`, which checks the hash before a file gets its final name.
What pooch lacks is the downloader given to it here: it writes to ``<name>.part``, which outlives a failed
attempt and a killed process, and asks the server for the missing rest with an HTTP Range request.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tl_toolkit.core.console import note, progress
from tl_toolkit.core.errors import UserError

if TYPE_CHECKING:
    import requests

CHUNK = 1 << 14  # bytes; small, as the chunk under way is lost when a connection stalls or ends
CONNECT_TIMEOUT = 5.0  # seconds for each address of a server
LONGEST_WAIT = 60.0  # seconds, whatever a server's Retry-After header asks for
TRIES_WITHOUT_NETWORK = 2  # per file, until any server has answered


class DownloadError(UserError):
    """A file that could not be had: its name, the reason, and that running again continues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file and what is known of it beforehand.

    Args:
        url: Where it is, quoted.
        name: Its path relative to the folder that it is fetched into, with ``/`` between the parts.
        sha256: Its hash, 64 lower-case hexadecimal digits.
        size: Its length in bytes.

    Raises:
        ValueError: the name leaves the folder, or hash or size cannot be right.
    """

    url: str
    name: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        path = PurePosixPath(self.name)
        if not path.parts or path.is_absolute() or ".." in path.parts:
            raise ValueError(f"name must be a path inside the folder, got {self.name!r}")
        if len(self.sha256) != 64 or not set(self.sha256) <= set("0123456789abcdef"):
            raise ValueError(f"sha256 must be 64 lower-case hexadecimal digits, got {self.sha256!r}")
        if self.size <= 0:
            raise ValueError(f"size must be > 0 bytes, got {self.size}")


def fetch_all(
    files: Sequence[RemoteFile],
    folder: Path,
    *,
    workers: int = 8,
    attempts: int = 3,
    timeout: float = 20,
    backoff: float = 1.0,
) -> None:
    """Have every file in ``folder``, with the right hash, or say why not.

    A file that is there with the right hash is not asked for again. One that was cut off is continued from
    its ``.part`` file; where the server cannot continue, or the result has the wrong hash, it is fetched
    afresh. The first file that is given up ends the whole, as it would be missing whatever became of the
    others. Two processes must not fetch into one folder at once (see :func:`exclusive`).

    Args:
        files: What to fetch; the names must differ.
        folder: Where to; made if it is missing.
        workers: How many files at a time.
        attempts: Tries for each file. A missing file gets one, a wrong hash two; a failing connection two
            until any server has answered, so that a machine without a network learns it in seconds.
        timeout: Seconds without a byte after which a connection counts as stalled.
        backoff: Seconds before the second try, doubled for every further one.

    Raises:
        DownloadError: a file is missing, differs from its hash, or could not be had in ``attempts`` tries.
        OSError: as the system raised it, such as a full disk. Nothing incomplete has a final name.
    """
    if len({file.name for file in files}) < len(files):
        raise ValueError("names must differ, got one more than once")
    # Here and not by the workers: pooch makes missing folders one after the other only.
    for parent in {(folder / file.name).parent for file in files}:
        parent.mkdir(parents=True, exist_ok=True)

    todo: SimpleQueue[RemoteFile] = SimpleQueue()
    outcomes: SimpleQueue[Exception | None] = SimpleQueue()
    for file in files:
        todo.put(file)
    with progress() as bar:
        task = bar.add_task("Downloading (MB)", total=sum(file.size for file in files) / 1e6)
        job = _Job(folder, attempts, timeout, backoff, lambda n_bytes: bar.advance(task, n_bytes / 1e6))
        # Daemon threads: a thread pool would hold up Ctrl-C until every stalled read has timed out.
        work = [(job, todo, outcomes)] * min(workers, len(files))
        threads = [threading.Thread(target=_work, args=args, daemon=True) for args in work]
        try:
            for thread in threads:
                thread.start()
            for _ in files:
                if (error := outcomes.get()) is not None:
                    raise error
        finally:
            job.stop.set()  # from here on a worker that is still waiting for bytes writes nothing more
            deadline = time.monotonic() + 0.5
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))


@contextmanager
def exclusive(lock_file: Path) -> Iterator[None]:
    """Hold ``lock_file`` while the block runs; another process that wants it waits, and says so.

    The lock ends with the process that holds it, however that ends. The empty file may stay behind.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        note(f"Waiting for another process that is at work in {lock_file.parent} ...")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class _StoppedError(Exception):
    """The caller gave up; nobody is told."""


class _FailedError(Exception):
    """Why one try failed; how many such failures a file is allowed; the least pause after it in seconds."""

    def __init__(self, reason: str, *, tries: int, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.tries, self.wait = reason, tries, wait


def _work(job: _Job, todo: SimpleQueue[RemoteFile], outcomes: SimpleQueue[Exception | None]) -> None:
    """Fetch files until none is left, and post one outcome for each."""
    import requests

    with requests.Session() as session:
        while not job.stop.is_set():
            try:
                file = todo.get_nowait()
            except Empty:
                return
            try:
                job.fetch(file, session)
            except _StoppedError:
                return
            except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
                outcomes.put(error)
                return
            outcomes.put(None)


@dataclass(slots=True)
class _Job:
    """What the workers of one :func:`fetch_all` share."""

    folder: Path
    attempts: int
    timeout: float
    backoff: float
    advance: Callable[[float], None]
    stop: threading.Event = field(default_factory=threading.Event)
    answered: threading.Event = field(default_factory=threading.Event)

    def fetch(self, file: RemoteFile, session: requests.Session) -> None:
        """Have one file complete under its final name."""
        import pooch

        pooch.get_logger().setLevel("WARNING")  # it would announce each file and break the progress bar
        shown = 0  # bytes of this file that the progress bar counts

        def show(n_bytes: int) -> None:
            nonlocal shown
            self.advance(n_bytes - shown)
            shown = n_bytes

        def downloader(url: str, output_file: str, _: object) -> None:
            part = self.folder / f"{file.name}.part"
            self._complete(part, file, session, show)
            part.replace(output_file)  # pooch checks the hash of it, then gives it the final name

        failures: Counter[str] = Counter()
        for attempt in range(1, self.attempts + 1):
            try:
                pooch.retrieve(file.url, file.sha256, file.name, self.folder, downloader=downloader)
            except _FailedError as error:
                failure = error
            except ValueError as error:  # pooch's word for a hash that differs
                failure = _FailedError("what came has the wrong SHA-256 hash", tries=2)
                failure.__cause__ = error
            else:
                show(file.size)
                return
            if self.stop.is_set():
                raise _StoppedError
            failures[failure.reason] += 1
            if failures[failure.reason] >= failure.tries or attempt == self.attempts:
                raise DownloadError(
                    f"Could not download {file.name} from {urlsplit(file.url).netloc}: {failure.reason}. "
                    "What is complete is kept; running again continues."
                ) from failure
            delay = max(self.backoff * 2 ** (attempt - 1), failure.wait)
            if self.answered.is_set():  # without a network every worker would say the same
                note(f"{file.name}: {failure.reason}; trying again in {delay:g} s.")
            if self.stop.wait(delay):
                raise _StoppedError

    def _complete(self, part: Path, file: RemoteFile, session: requests.Session, show: Callable[[int], None]) -> None:
        """Bring ``part`` to its full size, from where it is."""
        import requests

        have = part.stat().st_size if part.exists() else 0
        if have == file.size:
            return
        headers = {"Accept-Encoding": "identity"}  # else sizes and ranges would mean compressed bytes
        if have:
            headers["Range"] = f"bytes={have}-"
        limits = min(CONNECT_TIMEOUT, self.timeout), self.timeout
        try:
            with session.get(file.url, headers=headers, stream=True, timeout=limits) as response:
                self.answered.set()
                if response.status_code not in (200, 206, 416):
                    raise self._refused(response)
                start, total = _extent(response, file.size)
                if total != file.size or start not in (0, have):
                    part.unlink(missing_ok=True)
                    raise _FailedError(f"the server has not the {file.size} bytes that are due", tries=2)
                have = start
                show(have)
                with part.open("ab" if have else "wb") as sink:
                    for chunk in response.iter_content(CHUNK):
                        if self.stop.is_set():
                            raise _StoppedError
                        sink.write(chunk)
                        have += len(chunk)
                        show(have)
                        if have > file.size:
                            break
        except requests.RequestException as error:
            raise self._explained(error) from error
        if have > file.size:
            part.unlink()
            raise _FailedError(f"the server sent more than {file.size} bytes", tries=2)
        if have < file.size:  # an answer without Content-Length ends like a complete one
            raise _FailedError("the connection was cut off", tries=self.attempts)

    def _refused(self, response: requests.Response) -> _FailedError:
        """What a status says that brings no bytes of the file."""
        status = response.status_code
        asked = response.headers.get("Retry-After", "")
        return _FailedError(
            f"the server answered {status} {response.reason}",
            tries=self.attempts if status in (408, 429) or status >= 500 else 1,
            wait=min(float(asked), LONGEST_WAIT) if asked.isdecimal() else 0.0,
        )

    def _explained(self, error: requests.RequestException) -> _FailedError:
        """What went wrong on the network, found in the chain of errors that requests wraps it in."""
        import requests
        import urllib3.exceptions as urllib3

        chain: list[BaseException] = [error]
        while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None:
            chain.append(inner)
        detail = getattr(chain[-1], "strerror", None) or str(chain[-1])
        unreached = (urllib3.NewConnectionError, urllib3.ConnectTimeoutError, requests.exceptions.ProxyError)
        if any(isinstance(link, unreached) for link in chain):
            tries = self.attempts if self.answered.is_set() else TRIES_WITHOUT_NETWORK
            return _FailedError(f"no connection ({detail})", tries=tries)
        if any(isinstance(link, TimeoutError | requests.Timeout) for link in chain):
            self.answered.set()
            return _FailedError(f"stalled, no bytes for {self.timeout:g} s", tries=self.attempts)
        passing = isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError)
        if not passing or any(isinstance(link, ssl.SSLCertVerificationError) for link in chain):
            return _FailedError(detail, tries=1)
        return _FailedError("the connection was cut off", tries=self.attempts)


def _extent(response: requests.Response, expected: int) -> tuple[int, int]:
    """The first byte that an answer brings (-1: none), and the whole file's size in bytes if it is said."""
    if response.status_code == 200:
        return 0, int(response.headers.get("Content-Length", expected))
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    first = span.partition("-")[0]
    return int(first) if first.isdecimal() else -1, int(total) if total.isdecimal() else expected
