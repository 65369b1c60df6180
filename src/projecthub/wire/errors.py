"""The one table from an error to its text on the wire, and back.

The wire knows a refusal only as HTTP 200 with ``{"error": "<text>"}``. The hub adds the error's code in the response
header `CODE_HEADER`, which other clients ignore; a text that comes without it is recognised by `PATTERNS`.

Source: Wire contract 1.6, 3.5.
"""

from __future__ import annotations

import re
from typing import Final

from projecthub import errors as e

CODE_HEADER: Final = "x-projecthub-error"
"""Response header that carries the code of the error in the body."""

RETRY_HEADER: Final = "retry-after"
"""Response header of a refusal that holds for a while: in how many seconds to come again."""

_BARE: Final = (e.NotSignedIn, e.QueryRefused, e.ExecFailed, e.CallTimeout)
_PREFIXES: Final = ("FATAL: ", "OwnershipError: ")

PATTERNS: Final[tuple[tuple[re.Pattern[str], type[e.HubError]], ...]] = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"timeout", e.CallTimeout),
        (r"You must provide authentication|must be signed in|must sign in|Unknown authorization type", e.NotSignedIn),
        (r"unknown function", e.UnknownMethod),
        (r"^OwnershipError: Project not found|Project not found:", e.NotFound),
        (r"^OwnershipError: |Only (the |project )?owners? ", e.OwnershipDenied),
        (r"must be (a )?(collaborator|an owner|an admin|owner)|write access|read access|only admins?|permission denied"
         r"|Must be an admin|cannot add self", e.PermissionDenied),
        (r"ENOENT|no such |unknown project_id|does not exist", e.NotFound),
        (r"^FATAL: |^ERROR -- |unknown option", e.QueryRefused),
        (r"^command '|^killed command '|^error Error: spawn", e.ExecFailed),
        (r"nvalid|must be contained|must be specified|must be valid|arrays of the same length", e.InvalidArgument),
    )
)  # fmt: skip
"""Texts without a code, first match wins."""


def _all_kinds(kind: type[e.HubError]) -> dict[str, type[e.HubError]]:
    found = {kind.code: kind}
    for child in kind.__subclasses__():
        found |= _all_kinds(child)
    return found


BY_CODE: Final = _all_kinds(e.HubError)
"""Every class of error by its code."""


def to_text(error: e.HubError) -> str:
    """The text for an error raised inside a method: most kinds stand behind the name of their class.

    A message that begins with a prefix of the wire, because its text belongs to another kind there, is left as it is.
    """
    if isinstance(error, e.OwnershipDenied):
        return f"OwnershipError: {error.message}"
    if isinstance(error, _BARE) or error.message.startswith(_PREFIXES):
        return error.message
    return f"Error: {error.message}"


def from_text(text: str, code: str | None = None, retry_after: str | None = None) -> e.HubError:
    """The error that a text of the wire stands for; `RemoteError` if it is none we know.

    Args:
        text: Value of ``error`` in the body.
        code: Value of `CODE_HEADER`, if the answer had one.
        retry_after: Value of `RETRY_HEADER`, if the answer had one.
    """
    kind = BY_CODE.get(code or "") or next((k for pattern, k in PATTERNS if pattern.search(text)), e.RemoteError)
    message = re.sub(r"^(Error|OwnershipError): ", "", text)
    if issubclass(kind, e.RateLimited):
        is_number = retry_after is not None and retry_after.isascii() and retry_after.isdigit()
        return kind(message, retry_after_s=int(retry_after[:9]) if retry_after and is_number else 1, text=text)
    return kind(message, text=text)
