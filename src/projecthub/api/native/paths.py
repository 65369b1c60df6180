"""Paths of files in queries and bodies, of any bytes.

A name in a home is bytes. In a URL they stand percent-encoded, as always, and need be no UTF-8. JSON has only text:
there, paths of such names are percent-encoded as well, and said to be so.
"""

import os
from typing import Annotated
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from fastapi import Depends, Query
from starlette.requests import Request

_TOKEN = "%"  # noqa: S105 - a mark, no secret


def in_query(request: Request, name: str) -> str | None:
    """A value of the query, byte for byte: what is no UTF-8 is kept as Python keeps it in names of files."""
    query = request.scope["query_string"].decode("latin-1")
    given = dict(parse_qsl(query, keep_blank_values=True, errors="surrogateescape"))
    return given.get(name)


def in_body(path: str, *, encoded: bool) -> str:
    """A path of a JSON body, which may be percent-encoded there."""
    return os.fsdecode(unquote_to_bytes(path)) if encoded else path


def to_token(name: str) -> str:
    """A name as text that `from_token` understands: itself, where that is text."""
    if name.isprintable() and not name.startswith(_TOKEN):
        return name
    return _TOKEN + quote(os.fsencode(name), safe="")


def from_token(token: str) -> str:
    """The name that a token stands for; what is none stands for itself."""
    return os.fsdecode(unquote_to_bytes(token[1:])) if token.startswith(_TOKEN) else token


async def _path(
    request: Request,
    path: Annotated[
        str,
        Query(
            description="A path relative to the project's home, or an absolute one below /home/user; of any bytes, "
            "percent-encoded.",
            min_length=1,
        ),
    ],
) -> str:
    return in_query(request, "path") or path


async def _directory(
    request: Request,
    path: Annotated[
        str,
        Query(
            description="A directory: relative to the project's home, or absolute below /home/user; empty: the home."
        ),
    ] = "",
) -> str:
    return in_query(request, "path") or path


APath = Annotated[str, Depends(_path)]
"""The path that a route is about."""

ADirectory = Annotated[str, Depends(_directory)]
"""The directory that a route is about."""
