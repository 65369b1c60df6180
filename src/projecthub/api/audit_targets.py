"""What a call names, for the audit log: which project, account, key, path. Never what it says, runs, or keeps secret.

Every field of the arguments of a method that changes something stands in one of the two tables; a test sees to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from projecthub.hub.audited_calls import MAX_PROJECTS, storable
from projecthub.hub.query_forms import MAX_QUERIES
from projecthub.wire.ids import is_uuid

if TYPE_CHECKING:
    from collections.abc import Callable

    from projecthub.wire.methods import Method

MAX_LISTED: Final = 100
"""Values of a list that are kept."""
MAX_IDS: Final = 1000
"""Values of a list of ids that are kept; of ids of projects `MAX_PROJECTS` are."""
MAX_VALUE: Final = 300
"""Characters of a value that are kept."""
_MAX_ALL: Final = 4000
"""Characters of all values of a call together, but for lists of ids; the rest is left out."""
_BESIDE: Final = 4

NAMED: Final = frozenset({
    "account_id", "action", "admin", "always_running", "async_get", "cores", "cpu_shares", "dest", "disableInternet",
    "disabled", "disk_quota", "dry_run", "email", "email_address", "everywhere", "group", "id", "license", "license_id",
    "member_host", "memory", "memory_request", "mintime", "name", "network", "new_group", "path", "paths", "pid",
    "pids", "policy", "project_id", "projects", "public_path_id", "reply_id", "scopes", "signal", "src", "src_path",
    "src_project_id", "target_account_id", "target_path", "target_project_id", "template_id", "to", "to_ids",
    "user", "user_account_id",
})  # fmt: skip
"""Fields that are kept; what is null or empty is left out, and what is false but for these:"""
_FLAGS: Final = frozenset({"admin", "disableInternet", "disabled"})

UNNAMED: Final = frozenset({
    "activates", "aggregate", "args", "aspect", "async_await", "async_call", "async_stats",
    "backup", "bash", "body", "calls_per_minute", "command", "compute_server_id", "content", "course",
    "current_password", "customize", "cwd", "delete_missing", "description", "env",
    "ephemeral", "err_on_exit", "everybody", "exclude", "expire", "expires", "first_name", "firstName", "hash",
    "history", "image", "input", "kernel", "last_name", "lastName", "limits", "link", "link2proj", "max_output",
    "only", "options", "overwrite_newer",
    "password", "pool", "query", "quota", "replyto", "replyto_name", "rows", "run_limit", "source", "sources",
    "skip_missing", "start", "subject", "target", "targets", "template", "timeout", "title", "token", "token_id",
    "wait", "with_collaborators",
})  # fmt: skip
"""Fields that are not: texts, code, options, and whatever lets somebody in."""

_OTHERS: Final = {
    # A text of somebody's own, beside a project or an account that says whom it is about.
    ("projects.inviteCollaborator", "email"),
    ("projects.inviteCollaboratorWithoutAccount", "email"),
}
"""Fields that elsewhere are kept, and here hold the text of a mail."""

_MADE: Final[Mapping[str, tuple[str, ...]]] = {
    "projects.createProject": ("project_id",),
    "projects.clone": ("target_project_id",),
    "projects.copyPaths": ("id",),
    "copies.plan": ("id",),
    "accounts.create": ("account_id",),
    "accounts.importRoster": ("created", "changed", "unchanged"),
    "accounts.setPassword": ("account_id",),
    "accounts.signIn": ("account_id",),
    "accounts.update": ("account_id",),
    "keys.create": ("id", "account_id"),
    "licenses.create": ("id",),
    "messages.send": ("id",),
    "org.create": ("organization_id",),
    "org.createUser": ("account_id",),
}
"""What the reply of a method names: the reply itself, or what it holds under these names.

An account that the call named by its e-mail address is named by its id then.
"""
_ON_COPIES: Final = frozenset({"copies.apply", "copies.cancel", "copies.retry", "copies.undo"})
"""Methods that name an operation, which names the projects that it copies between."""

_QUERIED: Final = ("project_id", "account_id", "id", "path")


def target_of(method: Method, arguments: Any) -> dict[str, Any]:
    """What the arguments of a call name, as JSON of bounded size."""
    if method.name == "db.userQuery":
        return bounded(_queried(arguments.query, arguments.options))
    if method.name in ("copies.plan", "projects.copyPaths"):
        return bounded({**_named(method, arguments), "project_id": _copied(arguments), **_shared(arguments)})
    if isinstance(arguments, dict):  # what only the project looks at closer
        return bounded({name: arguments.get(name) for name in _fields(method)})
    return bounded(_named(method, arguments))


def _named(method: Method, arguments: Any) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in _fields(method)}


def _copied(arguments: Any) -> list[str]:
    """The projects that are copied between; whatever else is there is none."""
    places = [arguments.source, arguments.target, *(arguments.sources or ()), *(arguments.targets or ())]
    ids = (place.get("project_id") if isinstance(place, dict) else place for place in places)
    return [*dict.fromkeys(one for one in ids if isinstance(one, str))]


def _shared(arguments: Any) -> dict[str, Any]:
    """The share that is copied from, if it is one."""
    share_id = arguments.source.get("public_path_id") if isinstance(arguments.source, dict) else None
    return {"public_path_id": share_id} if isinstance(share_id, str) else {}


@cache
def _fields(method: Method) -> tuple[str, ...]:
    names = (field.name for field in fields(method.arguments))
    return tuple(name for name in names if name in NAMED and (method.name, name) not in _OTHERS)


def made_by(method: Method) -> Callable[[Any], dict[str, Any]] | None:
    """What tells what the reply of a method names, if there is anything."""
    if method.name == "accounts.delete":
        return lambda reply: bounded(
            {
                "account_id": reply["account_id"],
                "project_id": [*reply["projects_deleted"], *reply["projects_handed_over"]],
            }
        )
    if method.name in _ON_COPIES:
        return lambda reply: bounded({"project_id": _between(reply)})
    if method.name == "copies.forget":
        return lambda reply: bounded({"project_id": reply["project_ids"]})
    names = _MADE.get(method.name)
    if names is None:
        return None
    return lambda reply: bounded({name: reply.get(name) if isinstance(reply, dict) else reply for name in names})


def _between(operation: Mapping[str, Any]) -> list[str]:
    """The projects that an operation copies between."""
    rows = operation.get("targets", ())
    return [*dict.fromkeys(row[name] for row in rows for name in ("source_project_id", "target_project_id"))]


def bounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that may be kept: texts, numbers, flags, and lists of texts, none of them long.

    Of ids more are kept than of texts, so that nobody hides which projects and people a call names behind many others.
    """
    kept: dict[str, Any] = {}
    left, is_whole = _MAX_ALL, True
    for name, value in values.items():
        one = _bounded(value, MAX_PROJECTS if name == "project_id" else MAX_IDS)
        if one is None or one == [] or (one is False and name not in _FLAGS):
            continue
        if isinstance(one, list) and is_uuid(one[0]):
            kept[name] = one
            continue
        fitting = _fitting(one, left)
        is_whole &= fitting == one
        if fitting is not None:
            kept[name] = fitting
            left -= len(str(fitting))
    return kept if is_whole else {**kept, "more": True}


def _fitting(value: Any, left: int) -> Any:
    """As much of a list as there is room for, or a value if there is room for it; else None."""
    if not isinstance(value, list):
        return value if len(str(value)) <= left else None
    sizes = accumulate(len(one) + _BESIDE for one in value)
    return value[: sum(size <= left for size in sizes)] or None


def _bounded(value: Any, most_ids: int) -> Any:
    if isinstance(value, str):
        return storable(value, MAX_VALUE)
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        if all(map(is_uuid, value[:most_ids])):
            return list(value[:most_ids])
        return [storable(str(one), MAX_VALUE) for one in value[:MAX_LISTED]]
    return None


def _queried(query: Any, options: Any) -> dict[str, Any]:
    """The tables of user queries, which rows of them, and which fields; as whom, if a site admin asks as another."""
    named: dict[str, Any] = {"table": []}
    queries = query if isinstance(query, list) else [query]
    for one in queries[:MAX_QUERIES]:
        if not isinstance(one, dict) or len(one) != 1:
            continue
        ((table, shape),) = one.items()
        named["table"].append(table)
        shape = shape[0] if isinstance(shape, list) and shape else shape
        for name in _QUERIED if isinstance(shape, dict) else ():
            if isinstance(shape.get(name), str | int):
                named.setdefault(name, []).append(shape[name])
        others = [name for name in shape if name not in _QUERIED] if isinstance(shape, dict) else []
        if others:
            named.setdefault("fields", []).extend(name for name in others if name not in named.get("fields", ()))
    for option in options if isinstance(options, list) else ():
        if isinstance(option, dict) and option.get("account_id"):
            named["as_account_id"] = option["account_id"]
    return {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in named.items()}
