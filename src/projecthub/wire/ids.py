"""Identifiers on the wire."""

from __future__ import annotations

import re
from typing import NewType, TypeGuard

ProjectId = NewType("ProjectId", str)
"""A project's id: a lower-case uuid of 36 characters."""

AccountId = NewType("AccountId", str)
"""An account's id: a lower-case uuid of 36 characters."""

_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_SHA1 = re.compile(r"[0-9a-f]{40}")


def is_uuid(value: object) -> TypeGuard[str]:
    """Whether ``value`` is a uuid: 36 characters, 8-4-4-4-12 hex, any version, either case.

    Source: Wire contract 2.
    """
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def is_share_id(value: object) -> TypeGuard[str]:
    """Whether ``value`` has the shape of a share's id: 40 lower-case hex digits.

    Source: Wire contract 7.4.
    """
    return isinstance(value, str) and _SHA1.fullmatch(value) is not None
