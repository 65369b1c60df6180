"""Requests as no client makes them: seeded, so that a failure comes again.

Most are calls that are nearly right, for those come far; the rest is wrong in its bytes, its headers or its shape.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from projecthub.wire.methods import METHODS, Endpoint, Form
from projecthub.wire.shapes import NoArguments

_ODD_NAMES = ["", ".", "system", "system.", ".ping", "system.ping.x", "SYSTEM.PING", "projects.__init__", "a" * 5000]
_ODD_NAMES += ["db.userQuery\n", "../../etc/passwd", "é.ü", "org.get", "jupyter.execute", "projects.start;", "{}.{}"]
_ODD_TEXTS = ["", " ", "null", "0", "-1", "{account_id}", "{project_id}", "../..", "/etc/passwd", "a/../../b", "~", "%"]
_ODD_TEXTS += ["'; DROP TABLE projects; --", "\u202e", "\U0001f600" * 50, "x" * 3000, "2020-01-01", "1e999", "a@b", "@"]
_ODD_TEXTS += ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "\x7f\x1b[31m", "\r\nX: y", "f" * 40, "%s%n", "\\"]
_ODD_TEXTS += [
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-4fff-8fff-ffffffffffff",
    "sk-" + "0" * 49,
    "{now}",
]
_ODD_NUMBERS = [0, -0.0, 1, -1, 2**31, -(2**31), 2**53, 2**63 - 1, -(2**63), 1e308, -1e308, 5e-324, 0.5, 1795422487952]
# What is refused wherever it stands: rare here, for it hides whatever else is wrong.
_BARRED = ["\ud800", "\udfff\ud800", "a\0b", 2**63, 2**64, 10**30, -(10**400)]
_FIELDS = [
    "title",
    "description",
    "users",
    "state",
    "name",
    "env",
    "deleted",
    "created",
    "last_edited",
    "color",
    "settings",
]
_FIELDS += [
    "site_license",
    "manage_users_owner_only",
    "sandbox",
    "action_request",
    "invite_requests",
    "last_active",
    "zzz",
]
_FIELDS += [
    "first_name",
    "last_name",
    "font_size",
    "terminal",
    "profile",
    "unlisted",
    "email_address",
    "groups",
    "tags",
]
_FIELDS += [
    "path",
    "disabled",
    "id",
    "counter",
    "compute_image",
    "avatar_image_tiny",
    "secret_token",
    "__class__",
    "status",
]
_KEYS = [
    "hide",
    "group",
    "upgrades",
    "ssh_keys",
    "action",
    ">=",
    "<",
    "IS NOT",
    "ANY",
    "LIKE",
    "MINLEN",
    "relative_time",
]
_KEYS += ["unit", "query", "opts", "project_id", "account_id", "", "a" * 300, "A=B", "__proto__", "1", "{account_id}"]
_TABLES = ["projects"] * 4 + [
    "projects_all",
    "accounts",
    "accounts",
    "public_paths",
    "public_paths",
    "project_log",
    "zzz",
]
_CONTENT_TYPES = [
    "application/json; charset=latin-1",
    "text/plain",
    "application/xml",
    "",
    "x" * 300,
    "APPLICATION/JSON",
]
_CONTENT_TYPES += ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
_COMMANDS = ["true", "echo", "no-such-program", "cd /", "echo a b", "exit 3", "printf '\\xff'"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to be sent.

    Attributes:
        method: Of HTTP.
        path: Where to.
        headers: Names and values.
        body: Its bytes.
        sound: Whether it is a POST of JSON, however wrong, so that its answer has to be JSON with status 200.
    """

    method: str
    path: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    sound: bool


class Hostile:
    """Makes requests of one account that knows the ids of others."""

    def __init__(self, seed: int, key: str, projects: Sequence[str], accounts: Sequence[str]) -> None:
        """Make it; ``projects`` and ``accounts`` are ids, its own among them."""
        self._random = random.Random(seed)
        self._key = f"Bearer {key}".encode()
        self._projects = projects
        self._accounts = accounts
        self._plausible = self._values_by_name()

    def request(self) -> Request:
        pick = self._random
        endpoint = pick.choice(list(Endpoint))
        body = json.dumps(self._call(endpoint)).encode("utf-8", "surrogatepass")
        method, path, headers, sound = "POST", str(endpoint), self._good_headers(), b"\\ud" not in body
        match pick.randrange(20):
            case 0:
                body, sound = self._broken(body), False
            case 1:
                headers, sound = self._odd_headers(), False
            case 2:
                method, sound = pick.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]), False
            case 3:
                path += pick.choice(["/", "//", "/x", "?a=b", "/..", "/%00", "/%ff", "?" + "x" * 2000])
                sound = False
        return Request(method, path, headers, body, sound)

    # -- calls that are nearly right ---------------------------------------------------------------

    def _values_by_name(self) -> Mapping[str, Callable[[], Any]]:
        pick = self._random
        project = lambda: pick.choice(self._projects)  # noqa: E731
        account = lambda: pick.choice(self._accounts)  # noqa: E731
        path = lambda: pick.choice(["", "file", "a/b", "a", "/file", "./a/", "a/../file", "copy"])  # noqa: E731
        flag = lambda: pick.random() < 0.5  # noqa: E731
        values: dict[str, Callable[[], Any]] = {
            **dict.fromkeys(["project_id", "src_project_id", "target_project_id"], project),
            **dict.fromkeys(["account_id", "after"], account),
            **dict.fromkeys(["src_path", "target_path", "path"], path),
            **dict.fromkeys(["overwrite_newer", "delete_missing", "backup", "start", "bash", "err_on_exit"], flag),
            **dict.fromkeys(["admin", "only_email", "unlisted", "disabled", "sandbox"], flag),
            "action": lambda: pick.choice(["get", "get", "create", "edit", "delete"]),
            # Only one of its projects is deleted on purpose: a deleted one refuses most else.
            "deleted": lambda: False,
            "async_call": lambda: None,
            "compute_server_id": lambda: 0,
            "id": lambda: pick.choice([1, 999]),
            "limit": lambda: pick.choice([0, 1, 20]),
            "timeout": lambda: pick.choice([1, 0.5, 2]),
            "expire": lambda: pick.choice(["2030-01-01", "2020-01-01T00:00:00Z", 1795422487952]),
            "token_id": lambda: None,
            "public_path_id": lambda: pick.choice([None, "0" * 40]),
            "license": lambda: pick.choice([None, "", account()]),
            "ephemeral": lambda: 86_400_000,
            "customize": lambda: {"disableInternet": flag()},
            "exclude": lambda: ["*.o"],
            "env": lambda: {"A": "1"},
            "command": lambda: pick.choice(_COMMANDS),
            "args": list,
            "cwd": lambda: "/tmp",
            "max_output": lambda: 100,
            "users": lambda: {account(): {"hide": flag()}},
            "action_request": lambda: {"action": pick.choice(["start", "stop", "restart"])},
            "invite_requests": lambda: {account(): {"message": "x"}},
            "site_license": dict,
            "profile": lambda: {"color": "red"},
            "terminal": lambda: {"font_size": 1},
        }
        return values

    def _call(self, endpoint: Endpoint) -> Any:
        pick = self._random
        if pick.random() < 0.03:
            return self._value(4)
        name = pick.choice(list(METHODS[endpoint])) if pick.random() < 0.93 else pick.choice(_ODD_NAMES)
        call: dict[str, Any] = {"name": name, "args": self._arguments(name, endpoint)}
        if endpoint is Endpoint.PROJECT:
            call["project_id"] = self._near("project_id", 0.05)
        if pick.random() < 0.05:
            call["timeout"] = pick.choice([1, 50, 30000, self._value(1)])
        if pick.random() < 0.05:
            call[pick.choice(["name", "args", "project_id", "compute_server_id", "zzz"])] = self._value(2)
        return call

    def _arguments(self, name: str, endpoint: Endpoint) -> Any:
        pick = self._random
        row = METHODS[endpoint].get(name)
        if pick.random() < 0.03 or row is None or row.arguments is NoArguments:
            return pick.choice([[], [self._value(2)], self._value(3)])
        if name == "db.userQuery":
            return [self._user_query()]
        if row.form is Form.LIST:
            return [[self._near("account_id", 0.1) for _ in range(pick.randrange(5))]]
        names = [option for option in row.arguments.__dataclass_fields__ if pick.random() < 0.7]
        options = {option: self._near(option, 0.12) for option in names}
        if name == "projects.deleteProject" and "project_id" in options:
            options["project_id"] = self._projects[0]
        if name == "system.exec":
            # Whatever else is given: commands that end at once, and leave nothing behind.
            options |= {"timeout": self._near("timeout", 0.1), "command": pick.choice([*_COMMANDS, 5, None, "", " "])}
            options.pop("args", None)
        return [{"opts": options}] if row.form is Form.OPTS else [options]

    def _user_query(self) -> dict[str, Any]:
        pick = self._random
        nothing = pick.random() < 0.5
        shape = {
            name: None if nothing else self._near(name, 0.3) for name in pick.sample(_FIELDS, pick.randrange(1, 4))
        }
        if pick.random() < 0.3:
            shape |= {"title": "x", "deleted": False}
        if pick.random() < 0.2:
            shape[pick.choice(_FIELDS)] = {pick.choice(_KEYS): self._value(1)}
        shape["project_id"] = self._near("project_id", 0.1)
        query: Any = {pick.choice(_TABLES): [shape] if pick.random() < 0.5 else shape}
        if pick.random() < 0.1:
            query = pick.choice([[query, query], self._value(3)])
        call = {"query": query}
        if pick.random() < 0.3:
            option = pick.choice(
                ["limit", "order_by", "set", "delete", "account_id", "only_changes", "heartbeat", "zzz"]
            )
            plausible = {"limit": 5, "order_by": pick.choice(["-title", *_FIELDS]), "set": True}.get(option)
            call["options"] = [{option: plausible if pick.random() < 0.7 else self._value(1)}]
        return call

    def _near(self, name: str, wrong: float) -> Any:
        """A value that an option of this name may have; with the probability ``wrong`` any other."""
        if self._random.random() < wrong:
            return self._value(3)
        plausible = self._plausible.get(name)
        return plausible() if plausible else self._random.choice(["x", "a b", "é", 5])

    def _value(self, depth: int) -> Any:
        pick = self._random
        kind = pick.randrange(9 if depth else 5)
        if kind < 2:
            known = [*self._projects, *self._accounts] if kind else _ODD_TEXTS
            return pick.choice(known)
        if kind == 2:
            return pick.choice(_ODD_NUMBERS) if pick.random() < 0.9 else pick.choice(_BARRED)
        if kind in (3, 4):
            return pick.choice([None, True, False, [], {}])
        if kind in (5, 6):
            return [self._value(depth - 1) for _ in range(pick.randrange(4))]
        return {pick.choice(_FIELDS + _KEYS): self._value(depth - 1) for _ in range(pick.randrange(4))}

    # -- bytes and headers that are wrong ----------------------------------------------------------

    def _broken(self, body: bytes) -> bytes:
        pick = self._random
        match pick.randrange(8):
            case 0:
                return body[: pick.randrange(len(body) + 1)]
            case 1:
                return pick.randbytes(pick.randrange(200))
            case 2:
                at = pick.randrange(len(body) + 1)
                return body[:at] + pick.randbytes(3) + body[at:]
            case 3:
                depth = pick.choice([50, 150, 190, 500, 100_000])
                return b'{"name": "projects.createProject", "args": [' + b"[" * depth + b"]" * depth + b"]}"
            case 4:
                depth = pick.choice([50, 150, 190, 250, 5000])
                inner = b'{"a": ' * depth + b"null" + b"}" * depth
                return b'{"name": "db.userQuery", "args": [{"query": {"projects": ' + inner + b"}}]}"
            case 5:
                return body + b" " * pick.choice([900_000, 1_000_001, 1_200_000])
            case 6:
                number = pick.choice([b"NaN", b"Infinity", b"-Infinity", b"1e999", b"01", b"1E400", b"1" * 4400])
                return b'{"name": "projects.createProject", "args": [{"title": ' + number + b', "ephemeral": 1e999}]}'
            case _:
                return b"\xef\xbb\xbf" + body

    def _good_headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"content-type", b"application/json"), (b"authorization", self._key)]

    def _odd_headers(self) -> list[tuple[bytes, bytes]]:
        pick = self._random
        match pick.randrange(8):
            case 0:
                odd = pick.choice([b"", b"Basic", b"Basic ====", b"Bearer \xff\xfe", b"Digest x", b"B" * 5000])
                return [(b"content-type", b"application/json"), (b"authorization", odd)]
            case 1:
                return [*self._good_headers(), (b"authorization", b"Bearer x")]
            case 2:
                odd = pick.choice([b"", b"k" * 500, b"\xff", b"k"])
                return [*self._good_headers(), (b"idempotency-key", odd)]
            case 3:
                return [*self._good_headers(), (b"content-encoding", b"gzip")]
            case 4:
                return [*self._good_headers(), (b"x-forwarded-for", b"127.0.0.1"), (b"cookie", b"a=b; " * 200 + b"c=d")]
            case 5:
                return [*self._good_headers(), (b"accept", b"text/html"), (b"range", b"bytes=0-1")]
            case 6:
                return [*self._good_headers(), (b"x-" + b"y" * 200, b"z" * 4000)]
            case _:
                return [(b"content-type", pick.choice(_CONTENT_TYPES).encode()), (b"authorization", self._key)]
