"""Which hub to call, and with which key."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from projecthub.errors import InvalidArgument, NotSignedIn

DEFAULT_HOST: Final = "http://127.0.0.1:8000"
"""Where a hub listens unless it is told otherwise."""

KEY_VARIABLES: Final = ("PROJECTHUB_API_KEY", "COCALC_API_KEY")
"""Environment variables that may hold the API key; the first that is set wins."""

HOST_VARIABLES: Final = ("PROJECTHUB_URL", "COCALC_HOST")
"""Environment variables that may hold the hub's address; the first that is set wins."""

_ADMIN_KEY_FILE: Final = "admin-key"
_URL_FILE: Final = "url"
_MAX_KEPT_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """A hub, and the key to call it with.

    Attributes:
        host: Scheme, host, port and perhaps a path, without a slash at the end.
        api_key: The key; never shown.
    """

    host: str
    api_key: str = field(repr=False)

    @property
    def is_loopback(self) -> bool:
        """Whether the hub is on this machine."""
        return is_loopback(self.host)


def resolve(api_key: str | None, host: str | None, environ: Mapping[str, str]) -> Target:
    """The hub and the key from what the caller gave, the environment, and the hub on this machine, in that order.

    Args:
        api_key: The key, or None to look in `KEY_VARIABLES`, and for a hub on this machine in its data directory.
        host: The address, or None to look in `HOST_VARIABLES`, and in the data directory of a hub on this machine, else
            `DEFAULT_HOST`.
        environ: The environment.

    Raises:
        InvalidArgument: The address or the key is malformed.
        NotSignedIn: There is no key anywhere.
    """
    if host is None:
        host = _first(environ, HOST_VARIABLES) or _kept(environ, _URL_FILE) or DEFAULT_HOST
    address = check_host(host)
    key = api_key
    if key is None:  # an empty one was meant to be a key: what is found here could be another's
        key = _first(environ, KEY_VARIABLES) or (_kept(environ, _ADMIN_KEY_FILE) if is_loopback(address) else None)
    if not key:
        raise NotSignedIn(
            f"no API key for {address}: give api_key, or set {KEY_VARIABLES[0]}; a hub on this machine that was "
            "started with `projecthub serve` by you is found by itself, another one by --config and its settings file"
        )
    return Target(address, check_key(key))


def check_host(host: str) -> str:
    """The address without a slash at its end.

    Raises:
        InvalidArgument: It is not an ``http://`` or ``https://`` address, or it holds a user, a query or a fragment.
    """
    try:
        parts = urlsplit(host.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port out of range, or brackets that do not match
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidArgument(f"host {host!r} is not the address of a hub; it looks like {DEFAULT_HOST}")
    return host.strip().rstrip("/")


def check_key(key: str) -> str:
    """The key without blanks around it; the error never shows it.

    Raises:
        InvalidArgument: It cannot stand in a header.
    """
    if not re.fullmatch(r"[\x21-\x7e]+", key.strip()):
        raise InvalidArgument(
            "the API key holds blanks or characters beyond ASCII; one looks like sk-..., copy it again"
        )
    return key.strip()


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine alone."""
    name = urlsplit(host).hostname or ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_local(host: str) -> bool:
    """Whether an address is of use on this machine alone: a loopback one, or the one that stands for all."""
    return is_loopback(host) or urlsplit(host).hostname in ("0.0.0.0", "::")  # noqa: S104


def data_dir(environ: Mapping[str, str]) -> Path:
    """Where a hub that this user starts on this machine keeps everything.

    Raises:
        InvalidArgument: The settings file cannot be read.
        RuntimeError: The user has no home directory.
    """
    if (named := named_data_dir(environ)) is not None:
        return named
    if shared := environ.get("XDG_DATA_HOME"):
        return Path(shared) / "projecthub"
    return Path(environ.get("HOME") or "~").expanduser() / ".local" / "share" / "projecthub"


def named_data_dir(environ: Mapping[str, str]) -> Path | None:
    """The data directory that the environment names, or the settings file that it names; None: none is named.

    Raises:
        InvalidArgument: The file cannot be read.
    """
    own = environ.get("PROJECTHUB_DATA_DIR") or _of_settings_file(environ.get("PROJECTHUB_CONFIG"))
    return Path(own).expanduser().absolute() if own else None


def _of_settings_file(file: str | None) -> str | None:
    """What the settings file of a hub on this machine says of its data directory; its other keys are not ours."""
    if not file:
        return None
    import tomllib  # for operators only, and only here

    try:
        told = tomllib.loads(Path(file).read_text(encoding="utf-8")).get("data_dir")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else f"it is no TOML: {error}"
        raise InvalidArgument(
            f"the settings file {file} cannot be read: {why}; correct --config or PROJECTHUB_CONFIG, or give the "
            "address and the key of the hub"
        ) from error
    return told if isinstance(told, str) else None


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)


def _kept(environ: Mapping[str, str], name: str) -> str | None:
    """What a hub on this machine wrote for whoever may read its data directory."""
    try:
        with (data_dir(environ) / name).open(encoding="ascii") as file:
            return file.read(_MAX_KEPT_BYTES).strip() or None
    except (OSError, UnicodeDecodeError, RuntimeError):  # RuntimeError: no home directory
        return None
