"""Downloads one file, and checks it.

A file that is already there and right is not downloaded again. A download that was cut goes on
where it stopped.
"""

import hashlib
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

CHUNK = 1 << 16  # bytes that are read at a time
TIMEOUT = 60  # seconds that a server has to answer, and to send each chunk
LARGEST = 5 << 30  # bytes; no file of these data sets has half as many


def md5_of(path: Path) -> str:
    """Return the MD5 of a file as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def download_file(url: str, path: Path, md5: str) -> None:
    """Download a file to `path`, unless it is there with the right MD5.

    While it is incomplete, the file has the ending .part.

    Raises:
        ValueError: the file that was downloaded has another MD5; it is deleted.
        OSError: the connection failed; the bytes that arrived are kept for the next call.
    """
    if path.exists() and md5_of(path) == md5:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    start = part.stat().st_size if part.exists() else 0
    response = _request(url, path, start)
    if response:
        with closing(response):
            _receive(response, url, path, part, start if response.status == 206 else 0)
    actual_md5 = md5_of(part)
    if actual_md5 != md5:
        part.unlink()
        reason = (
            "the bytes from an earlier try may have been damaged: run it again"
            if start
            else "the link may be dead, or the file changed"
        )
        raise ValueError(f"the file from {url} has the MD5 {actual_md5}, not {md5}: {reason}")
    part.replace(path)


def _request(url: str, path: Path, start: int) -> HTTPResponse | None:
    """Return a server's response: the file from byte `start` on (status 206), or the whole file.

    It is None if no bytes are left to send.
    """
    headers = {"User-Agent": "Mozilla/5.0"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    with _connection_errors(url, path):
        try:
            return urllib.request.urlopen(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code == 416:
                return None
            raise


def _receive(response: HTTPResponse, url: str, path: Path, part: Path, start: int) -> None:
    """Write the response's bytes into the file `part`, after its first `start` bytes.

    Raises ConnectionError if the response ends too early, or is too long.
    """
    length = response.length or 0  # 0: the server did not send a length, or sent nonsense
    total = start + length
    with (
        open(part, "ab" if start else "wb") as file,
        tqdm(
            total=total if length else None,
            initial=start,
            unit="B",
            unit_scale=True,
            desc=path.name,
            disable=sys.stderr is None or not sys.stderr.isatty(),
        ) as bar,
    ):
        while max(total, file.tell()) <= LARGEST:
            with _connection_errors(url, path):
                chunk = response.read(CHUNK)
            if not chunk:
                break
            file.write(chunk)
            bar.update(len(chunk))
        else:
            if file.tell() > LARGEST:
                file.truncate(0)
            raise ConnectionError(
                f"{url}: the server sends more than {LARGEST} bytes, which cannot be {path.name}"
            )
        if file.tell() < total:
            raise ConnectionError(
                f"the connection closed after {file.tell()} of {total} bytes: run it again to go on"
            )


@contextmanager
def _connection_errors(url: str, path: Path) -> Iterator[None]:
    """Turn every error of a connection into a ConnectionError with a message of one line.

    Raises ConnectionError also if the block takes longer than `TIMEOUT` seconds: a socket's own
    timeout starts again with every byte.
    """
    has_alarm = hasattr(signal, "SIGALRM")
    previous = signal.signal(signal.SIGALRM, _time_out) if has_alarm else None
    if has_alarm:
        signal.alarm(TIMEOUT)
    try:
        yield
    except (OSError, ValueError, HTTPException) as error:
        cause = error.reason if type(error) is urllib.error.URLError else error
        reason = str(cause)[:200] or type(error).__name__
        raise ConnectionError(
            f"{url}: {reason} (run it again, or get the file in another way and put it at {path})"
        ) from error
    finally:
        if has_alarm:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)


def _time_out(*_) -> NoReturn:
    raise TimeoutError(f"it sends less than {CHUNK} bytes in {TIMEOUT} seconds")
