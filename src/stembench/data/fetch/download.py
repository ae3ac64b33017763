"""Download one file by HTTP: continued where it broke off, tried again after passing faults.

A download in progress is two files: PART, the bytes so far, and PART.json, which says of which
file they are (address, length, ETag, Last-Modified). They outlive a killed process. The next one
asks for the rest, on the condition that the file is still the same one (If-Range); when the server
does not answer with exactly that, the download starts anew. Whether the whole is the right file
is for its checksum to say, not for this module.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import logging
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from stembench.data.fetch.links import check_room
from stembench.progress import Bar

logger = logging.getLogger(__name__)

#: Seconds without a byte after which a connection counts as broken.
TIMEOUT_S = 60.0
#: So many attempts in a row that bring less than a megabyte end the download.
ATTEMPTS, ADVANCE = 4, 1 << 20
#: Seconds before the second attempt; doubled before each further one.
BACKOFF_S, LONGEST_S = 1.0, 60.0
_CHUNK = 1 << 20
_PASSING = {408, 425, 429, 500, 502, 503, 504}


class Unavailable(Exception):
    """The file cannot be had from there; the message says why."""


class _Passing(Exception):
    """A fault that may be gone in a moment; `wait`: seconds the server asks for."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class _Identity:
    """What tells whether two answers are parts of the same file."""

    url: str
    length: int | None
    etag: str | None
    modified: str | None

    @classmethod
    def of(cls, url: str, response: Any) -> Self:
        length = response.headers.get("Content-Length")
        encoded = response.headers.get("Content-Encoding", "identity") != "identity"
        return cls(
            url,
            None if encoded or not (length or "").isdigit() else int(length),
            response.headers.get("ETag"),
            response.headers.get("Last-Modified"),
        )

    @classmethod
    def noted(cls, part: Path) -> Self | None:
        """That of the bytes in `part`, or None when it is not known."""
        try:
            return cls(**json.loads(_note(part).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def condition(self) -> str | None:
        """For If-Range: a strong ETag or a time; without one, nothing can be continued."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.modified

    def write(self, part: Path) -> None:
        temporary = _note(part).with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self)))
        temporary.replace(_note(part))


def download(url: str, part: Path, size: int | None = None) -> bool:
    """Bring what `url` names whole into `part`; whether earlier bytes were continued.

    `size`: the bytes it must have, where known. Raises Unavailable; what has come stays in `part`
    for the next call, unless it is of another file. A full disk is an OSError or a StembenchError.
    """
    failures, continued = 0, False
    while True:
        before = _size(part)
        try:
            return _attempt(url, part, size) or continued
        except _Passing as fault:
            after = _size(part)
            continued = continued or after > 0
            failures = 1 if after - before >= ADVANCE else failures + 1
            if failures >= ATTEMPTS:
                raise Unavailable(f"{fault} ({ATTEMPTS} attempts)") from None
            pause = min(max(fault.wait, BACKOFF_S * 2 ** (failures - 1)), LONGEST_S)
            logger.warning("%s: %s; next attempt in %.0f s", url, fault, pause)
            time.sleep(pause)


def discard(part: Path) -> None:
    """Forget what has come."""
    part.unlink(missing_ok=True)  # first: a note without bytes starts anew, never the reverse
    _note(part).unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _title(part: Path) -> str:
    """The file's own name: PART is called FILE.KEY.part."""
    return Path(part.stem).stem


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _attempt(url: str, part: Path, size: int | None) -> bool:
    """One connection; whether it continued earlier bytes."""
    known = _Identity.noted(part)
    offset = _size(part)
    if known is not None and known.url == url and offset and known.length == offset:
        return True  # all of it is there: the process ended before it could be checked
    if known is None or known.url != url or known.condition is None:
        offset = 0
    headers = {"User-Agent": "stembench", "Accept-Encoding": "identity"}
    if known is not None and known.condition is not None and offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": known.condition}
    with _open(urllib.request.Request(url, headers=headers), part) as response:
        if response.status == 206 and known is not None:
            _check_range(response, known, offset, part)
        else:
            if offset:
                logger.info("%s: the server sends all of it anew", url)
            offset, known = 0, _Identity.of(url, response)
            discard(part)
            if size is not None and known.length not in (None, size):
                raise Unavailable(f"wrong length, expected {size:,} bytes, it has {known.length:,}")
            known.write(part)
        total = known.length if known.length is not None else size
        if total is not None:
            kept = f"; what has come is kept in {part.parent}" if offset else ""
            check_room(part.parent, total - offset, f"the download of {_title(part)}", kept=kept)
        if offset:
            logger.info("%s: continued after %s bytes", url, f"{offset:,}")
        _receive(response, part, offset, total)
    return offset > 0


def _open(request: urllib.request.Request, part: Path) -> Any:
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the file has become shorter than what is here
            done = _size(part)
            discard(part)
            raise _Passing(f"the server has nothing after {done:,} bytes") from None
        text = f"HTTP {error.code} {error.reason}"
        if error.code in _PASSING:
            raise _Passing(text, _retry_after(error.headers.get("Retry-After"))) from None
        raise Unavailable(text) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise Unavailable(str(error.reason)) from None
        raise _Passing(_reason(error.reason)) from None
    except (OSError, http.client.HTTPException) as error:
        raise _Passing(_reason(error)) from None


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    return str(error) or type(error).__name__


def _retry_after(value: str | None) -> float:
    """Seconds; the header holds them, or a date."""
    if value is None:
        return 0.0
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def _check_range(response: Any, known: _Identity, offset: int, part: Path) -> None:
    """The answer must be the rest of the same file; if not, the next attempt starts anew."""
    found = re.fullmatch(
        r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
    )
    etag = response.headers.get("ETag")
    if (
        found is None
        or int(found[1]) != offset
        or (known.length is not None and found[2] not in ("*", str(known.length)))
        or (etag is not None and known.etag is not None and etag != known.etag)
    ):
        discard(part)
        raise _Passing("the server sent another part than the one asked for")


def _receive(response: Any, part: Path, offset: int, total: int | None) -> None:
    done = offset
    with part.open("ab") as file, Bar(_title(part), total or 0, start=offset) as progress:
        while True:
            try:
                chunk = response.read1(_CHUNK)
            except TimeoutError:
                raise _Passing(f"no byte came for {TIMEOUT_S:g} s after {done:,} bytes") from None
            except (OSError, http.client.HTTPException) as error:
                raise _Passing(f"broke off after {done:,} bytes: {_reason(error)}") from None
            if not chunk:
                break
            if total is not None and done + len(chunk) > total:
                file.close()
                discard(part)
                raise Unavailable(f"wrong length, it has more than the expected {total:,} bytes")
            file.write(chunk)
            done += len(chunk)
            progress.advance(len(chunk))
    if total is not None and done != total:
        raise _Passing(f"broke off after {done:,} of {total:,} bytes")
