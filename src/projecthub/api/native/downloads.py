"""Answers that are files: ranges, conditions, checksums.

Source: RFC 9110 (ranges and conditions), RFC 9530 (digests), RFC 6266 (file names).
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
from email.utils import formatdate
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from starlette.responses import Response

from projecthub.api.native import problems
from projecthub.api.native.streamed import StreamedResponse
from projecthub.errors import InvalidArgument
from projecthub.files.views import mtime_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from projecthub.api.native.callers import Admitted
    from projecthub.hub.files import Files, OpenFile

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


async def answer(request: Request, files: Files, file: OpenFile, name: str, reader: Admitted) -> Response:
    """The answer to a GET or HEAD of a file, cut off when the reader may read no more; then the file is closed."""
    with contextlib.ExitStack() as owner:
        owner.callback(os.close, file.fd)
        headers = {
            "etag": file.etag,
            "last-modified": formatdate(mtime_of(file.status), usegmt=True),
            "accept-ranges": "bytes",
            "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "x-content-type-options": "nosniff",
        }
        wants_digest = "sha-256" in request.headers.get("want-repr-digest", "").lower()
        if wants_digest and (digest := await files.sha256(file)) is not None:
            headers["repr-digest"] = to_digest(digest)
        size = file.status.st_size
        if file.etag in etags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        start, stop, status = _wanted(request, file, size)
        if status == 416:
            refused = problems.answer(InvalidArgument(f"the range is beyond the {size} bytes of the file"), status=416)
            refused.headers["content-range"] = f"bytes */{size}"
            return refused
        if status == 206:
            headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
        headers["content-length"] = str(stop - start)
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type="application/octet-stream")
        told = reader.told(files.content(file, start, stop))
        response = StreamedResponse(file.fd, told, status, headers, "application/octet-stream")
        owner.pop_all()  # the response closes it
        return response


def _wanted(request: Request, file: OpenFile, size: int) -> tuple[int, int, int]:
    """First byte, last byte plus one, and the status. What is no single range of bytes is as if it were not there."""
    match = _RANGE.fullmatch(request.headers.get("range", "").strip())
    condition = request.headers.get("if-range")
    if match is None or match.group() == "bytes=-" or (condition is not None and condition.strip() != file.etag):
        return 0, size, 200
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return 0, size, 200
    return (start, stop, 206) if start < stop else (0, 0, 416)


def etags(header: str) -> tuple[str, ...]:
    """The names of states in a header; ``*`` as it is."""
    return tuple(part.strip().removeprefix("W/") for part in header.split(",") if part.strip())


def to_digest(sha256: bytes) -> str:
    """A checksum as it stands in `Repr-Digest`."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def from_digest(header: str | None) -> bytes | None:
    """The SHA-256 of a `Repr-Digest`; None: it holds none.

    Raises:
        InvalidArgument: It is malformed.
    """
    for part in (header or "").split(","):
        algorithm, _, value = part.strip().partition("=")
        if algorithm.lower() == "sha-256":
            try:
                digest = base64.b64decode(value.strip(":"), validate=True)
            except ValueError:
                digest = b""
            if len(digest) != 32:
                raise InvalidArgument(f"repr-digest {part.strip()[:100]!r} is malformed; give sha-256=:<base64>:")
            return digest
    return None
