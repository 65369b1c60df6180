"""What a hub tells of itself to everybody: its name, where it is reached.

Source: Wire contract 5.1, `getCustomize`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence


class Site:
    """The hub as people see it."""

    def __init__(self, *, name: str, url: str | None, help_email: str | None, version: str) -> None:
        """Make it.

        Args:
            name: What people call the hub.
            url: Where they reach it, as the operator says; None: where it listens (`listens_at`).
            help_email: Whom they may ask; None: nobody.
            version: Of this program.
        """
        self._name = name
        self._given_url = url
        self._help_email = help_email
        self._version = version
        self._address = ""

    def listens_at(self, address: str) -> None:
        """Note where the hub listens: ``http://127.0.0.1:8000``. It may have chosen the port itself."""
        self._address = address

    @property
    def url(self) -> str:
        """The hub's address, without a slash at its end: what links to it begin with."""
        return self._given_url or self._address

    def customize(self, fields: Sequence[str] | None) -> dict[str, Any]:
        """The public settings; those of ``fields`` that there are, or all."""
        settings = {
            "siteName": self._name,
            "siteURL": self.url,
            "dns": urlsplit(self.url).netloc,
            "helpEmail": self._help_email,
            "version": self._version,
            "jupyterApiEnabled": False,
        }
        return settings if fields is None else {name: settings[name] for name in fields if name in settings}
