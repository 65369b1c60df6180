"""How an HTTP client is made when the caller brings none."""

from __future__ import annotations

import ssl
from typing import Any, Final

import httpx2

from projecthub.client.settings import Target

_KEEP_IDLE_S: Final = 4.0
"""Seconds an unused connection is kept. Servers give up after 5 or more; whoever reuses one later may meet its end."""


def client_options(target: Target) -> dict[str, Any]:
    """Options of the HTTP client for a hub: proxies of the environment are not asked the way to this machine."""
    options: dict[str, Any] = {
        "limits": httpx2.Limits(keepalive_expiry=_KEEP_IDLE_S),
        "trust_env": not target.is_loopback,
    }
    if target.host.startswith("http://"):
        # Reading the machine's certificates takes 20 ms, for nothing here: this context trusts no one.
        options["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return options
