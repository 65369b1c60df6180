"""Names of files, of any bytes: text in which bytes that are no UTF-8 are halves of characters, as Python has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote, unquote_to_bytes, urlencode

from projecthub.errors import InvalidArgument
from projecthub.wire import shapes

_ESCAPE: Final = "surrogateescape"

T = TypeVar("T", bound=shapes.FileInfo)


def in_query(params: Mapping[str, Any]) -> str:
    """What stands behind the path of a URL; what is None is left out.

    Raises:
        InvalidArgument: A value is no text.
    """
    given = {name: to_bytes(str(value)) for name, value in params.items() if value is not None}
    return f"?{urlencode(given, quote_via=quote)}" if given else ""


def to_bytes(path: str) -> bytes:
    """The bytes of a path.

    Raises:
        InvalidArgument: It holds half of a character that stands for no byte.
    """
    try:
        return path.encode(errors=_ESCAPE)
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"path {path!a} is no valid text: it holds half of a character") from error


def in_body(**paths: str) -> dict[str, Any]:
    """Paths as they stand in JSON: percent-encoded, if one of them is no UTF-8."""
    encoded = {name: to_bytes(path) for name, path in paths.items()}
    if all(path.decode(errors="replace") == paths[name] for name, path in encoded.items()):
        return dict(paths)
    return {**{name: quote(path) for name, path in encoded.items()}, "encoded": True}


def named(info: T) -> T:
    """What the hub tells of a file, with its name as it is, by which it is found again."""
    if info["encoded_name"] is not None:
        info["name"] = unquote_to_bytes(info["encoded_name"]).decode(errors=_ESCAPE)
    return info
