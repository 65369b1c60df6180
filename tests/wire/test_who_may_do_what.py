"""Who may do what: every method, every table of user queries and every route, by callers of every kind.

What is expected follows from the table of methods, and from what is declared here as an exception. A method, a table
or a route that is added without calls or without a rule fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from projecthub.hub.tables import TABLES
from projecthub.wire.errors import CODE_HEADER
from projecthub.wire.methods import METHODS, Ability, Caller, Endpoint, Form, Method
from tests.hubs import HubProcess
from tests.wire.cast import PASSWORD, Cast, Target, Who, differences

OK, SIGNED_OUT, DENIED, OWNERS, REFUSED, HIDDEN = (
    "ok",
    "not_signed_in",
    "permission_denied",
    "ownership_denied",
    "query_refused",
    "not_found",
)
NOBODY = {Who.ANONYMOUS, Who.BAD_KEY, Who.DISABLED}
"""Who is signed in nowhere."""
MEMBERS = {Who.COLLABORATOR, Who.OWNER}
READERS = {Who.VIEWER, *MEMBERS}
ACCOUNTS = {Who.STRANGER, Who.ORGANIZER, Who.SITE_ADMIN, *READERS}


def expected(row: Method) -> dict[Who, str]:
    """What each kind of caller is told by a method, unless an exception is declared."""
    if row.caller is Caller.ANYONE:
        return dict.fromkeys(Who, OK)
    on_project = READERS if row.needs is Ability.READ else MEMBERS
    allowed = {
        Caller.ACCOUNT: ACCOUNTS,
        Caller.MEMBER: on_project,
        Caller.ORGANIZER: {Who.ORGANIZER, Who.SITE_ADMIN},
        Caller.ADMIN: {Who.SITE_ADMIN},
    }[row.caller]
    signed_in = ACCOUNTS
    if row.endpoint is Endpoint.PROJECT:
        allowed, signed_in = {*allowed, Who.PROJECT_KEY}, {*ACCOUNTS, Who.PROJECT_KEY}
    return {who: OK if who in allowed else DENIED if who in signed_in else SIGNED_OUT for who in Who}


@dataclass(frozen=True)
class Case:
    """One way to call a method.

    Attributes:
        args: Makes its arguments, about things that are there.
        but: What kinds of callers are told otherwise than `expected` says.
        fresh: Whether each call that is allowed uses up what it is about.
    """

    args: Callable[[Target, Who], Any]
    but: Mapping[Who, str] = field(default_factory=dict)
    fresh: bool = False


def told(outcome: str, *kinds: Who) -> dict[Who, str]:
    return dict.fromkeys(kinds, outcome)


def project(target: Target, who: Who) -> dict[str, Any]:
    return {"project_id": target.project_id}


def running(target: Target, who: Who) -> dict[str, Any]:
    return {"project_id": target.running()}


def nothing(target: Target, who: Who) -> dict[str, Any]:
    return {}


def about(name: str, **more: Any) -> Callable[[Target, Who], dict[str, Any]]:
    """An object with one thing of the target, under the name that it has in calls."""

    def args(target: Target, who: Who) -> dict[str, Any]:
        things = {
            "project_id": lambda: target.project_id,
            "id": lambda: target.license_id,
            "account_id": lambda: target.spare_id,
            "user_account_id": lambda: target.spare_id,
            "name": lambda: target.cast.organization,
        }
        return {
            name: things[name](),
            **{key: value(target) if callable(value) else value for key, value in more.items()},
        }

    return args


def shared_file(target: Target) -> str:
    """The id of a share of one of its files."""
    return str(target.cast.owner.shares.create(target.project_id, target.file())["id"])


def of_share(target: Target) -> dict[str, object]:
    """From a share of one of its files to where that could be copied."""
    place = {"project_id": target.project_id, "path": target.cast.unique("copy")}
    return {"source": {"public_path_id": shared_file(target)}, "targets": [place]}


ADMIN_TOO = told(OK, Who.SITE_ADMIN)
ADMIN_ONLY = told(DENIED, *ACCOUNTS - {Who.SITE_ADMIN})
MEMBERS_ONLY = told(DENIED, Who.STRANGER, Who.VIEWER, Who.ORGANIZER, Who.SITE_ADMIN)
KEY_UNKNOWN = told(HIDDEN, Who.STRANGER, Who.VIEWER, Who.ORGANIZER)
NOT_MINE = told(HIDDEN, *ACCOUNTS - {Who.OWNER})
OWNER_ONLY = told(OWNERS, *ACCOUNTS - {Who.OWNER})


HUB: dict[str, Case] = {
    "system.ping": Case(nothing),
    "system.test": Case(nothing),
    "system.getNames": Case(lambda t, who: [t.spare_id]),
    "system.userSearch": Case(lambda t, who: {"query": "spare"}),
    "system.userSearch as an admin": Case(lambda t, who: {"query": "spare", "admin": True}, ADMIN_ONLY),
    "system.manageApiKeys": Case(lambda t, who: {"action": "create", "name": "mine"}),
    **{
        f"system.manageApiKeys: {action} of a project": Case(
            lambda t, who, action=action: {**project(t, who), "action": action, "id": t.key_id, "name": "k"},
            MEMBERS_ONLY,
            fresh=True,
        )
        for action in ("get", "create", "edit", "delete")
    },
    "system.getCustomize": Case(lambda t, who: ["siteName"]),
    "system.generateUserAuthToken": Case(about("user_account_id"), ADMIN_ONLY),
    "system.adminResetPasswordLink": Case(about("user_account_id")),
    "system.revokeUserAuthToken": Case(lambda t, who: "no-such-token"),
    "projects.createProject": Case(lambda t, who: {"title": "Mine"}),
    "projects.createProject with an id": Case(
        lambda t, who: {"project_id": f"00000000-0000-4000-8000-{int(t.cast.unique('0')[2:]):012d}"}, ADMIN_ONLY
    ),
    "projects.copyPathBetweenProjects": Case(
        lambda t, who: {"src_project_id": t.project_id, "src_path": t.file(), "target_path": t.cast.unique("copy")}
    ),
    "projects.copyPaths": Case(lambda t, who: t.copy()),
    "projects.copyPaths as a dry run": Case(lambda t, who: {**t.copy(), "dry_run": True}),
    "copies.plan": Case(lambda t, who: t.copy(), MEMBERS_ONLY),
    "copies.plan of a share": Case(lambda t, who: of_share(t), MEMBERS_ONLY),
    "projects.copyPaths of a share": Case(lambda t, who: of_share(t), MEMBERS_ONLY),
    "copies.list": Case(nothing),
    "copies.list of a project": Case(project),
    "copies.get": Case(lambda t, who: {"id": t.planned()}, NOT_MINE),
    "copies.files": Case(lambda t, who: {"id": t.planned()}, NOT_MINE),
    "copies.apply": Case(lambda t, who: {"id": t.planned()}, NOT_MINE),
    "copies.cancel": Case(lambda t, who: {"id": t.planned()}, NOT_MINE),
    "copies.retry": Case(lambda t, who: {"id": t.cancelled()}, NOT_MINE),
    "copies.undo": Case(lambda t, who: {"id": t.copied()}, NOT_MINE),
    "copies.forget": Case(lambda t, who: {"id": t.copied()}, NOT_MINE),
    "copies.forget of a project": Case(project, MEMBERS_ONLY),
    "projects.ofCourse": Case(project, told(DENIED, Who.VIEWER)),
    "projects.createProject in a course": Case(
        lambda t, who: {"course": {**project(t, who), "student": t.cast.unique("student")}}, MEMBERS_ONLY
    ),
    "projects.clone": Case(project, told(OK, Who.VIEWER)),
    "projects.setTemplate": Case(project, ADMIN_TOO),
    "projects.setTemplate: for everybody": Case(
        about("project_id", everybody=True), ADMIN_TOO | told(DENIED, *MEMBERS)
    ),
    "projects.templates": Case(nothing),
    "shares.list": Case(nothing),
    "shares.list of a project": Case(project, told(DENIED, Who.STRANGER, Who.ORGANIZER, Who.SITE_ADMIN)),
    "shares.get": Case(lambda t, who: {"id": shared_file(t)}),
    "shares.copy": Case(
        lambda t, who: {
            "id": shared_file(t),
            "target_project_id": t.project_id,
            "target_path": t.cast.unique("copy"),
        },
        MEMBERS_ONLY,
    ),
    "projects.addCollaborator": Case(about("project_id", account_id=lambda t: t.spare_id), ADMIN_TOO, fresh=True),
    "projects.addCollaborator: oneself": Case(
        lambda t, who: {**project(t, who), "account_id": t.cast[who].account_id}, ADMIN_TOO, fresh=True
    ),
    "projects.addCollaborator by a token": Case(
        lambda t, who: {"token_id": t.invite_token, "account_id": t.cast[who].account_id},
        told(OK, *ACCOUNTS),
        fresh=True,
    ),
    "projects.removeCollaborator": Case(about("project_id", account_id=lambda t: t.joined_id), fresh=True),
    "projects.removeCollaborator: oneself": Case(
        lambda t, who: {**project(t, who), "account_id": t.cast[who].account_id},
        told(OK, Who.VIEWER) | told(OWNERS, Who.OWNER),
        fresh=True,
    ),
    "projects.changeUserType": Case(
        about("project_id", target_account_id=lambda t: t.joined_id, new_group="owner"), OWNER_ONLY, fresh=True
    ),
    "projects.handOver": Case(about("project_id", account_id=lambda t: t.joined_id), OWNER_ONLY, fresh=True),
    "projects.inviteCollaborator": Case(about("project_id", account_id=lambda t: t.spare_id), fresh=True),
    "projects.inviteCollaboratorWithoutAccount": Case(
        about("project_id", to="nobody@example.org", email="Come"), fresh=True
    ),
    "projects.start": Case(project),
    "projects.touch": Case(project),
    "projects.idle": Case(running),
    "projects.status": Case(running),
    "projects.restart": Case(project),
    "projects.stop": Case(running),
    "projects.listAll": Case(nothing),
    "projects.stopAll": Case(nothing),
    "projects.deleteProject": Case(project, ADMIN_TOO, fresh=True),
    "projects.state": Case(project),
    "projects.setQuotas": Case(about("project_id", cores=2)),
    "projects.addLicense": Case(about("project_id", license_id=lambda t: t.license_id), ADMIN_TOO, fresh=True),
    "projects.removeLicense": Case(about("project_id", license_id=lambda t: t.licensed), ADMIN_TOO, fresh=True),
    "licenses.create": Case(lambda t, who: {"quota": {"cpu": 1}}),
    "licenses.list": Case(nothing),
    "licenses.get": Case(about("id")),
    "licenses.update": Case(about("id", title="Course")),
    "licenses.end": Case(about("id"), fresh=True),
    "accounts.create": Case(lambda t, who: {"email_address": f"{t.cast.unique('new')}@example.org"}),
    "accounts.list": Case(nothing),
    "accounts.get": Case(nothing),
    "accounts.get: another's": Case(about("account_id"), ADMIN_ONLY),
    "accounts.update": Case(lambda t, who: {"last_name": "Changed"}),
    "accounts.update: another's": Case(about("account_id", last_name="Changed"), ADMIN_ONLY),
    "accounts.update: to be an admin": Case(lambda t, who: {"admin": True}, ADMIN_ONLY),
    "accounts.delete": Case(about("account_id"), ADMIN_ONLY, fresh=True),
    "accounts.importRoster": Case(lambda t, who: {"rows": [{"email_address": "roster@example.org"}]}),
    "accounts.setPassword": Case(about("account_id", password=PASSWORD), ADMIN_ONLY),
    "accounts.signIn": Case(lambda t, who: {"email_address": t.with_password, "password": PASSWORD}),
    "accounts.signOut": Case(lambda t, who: {"everywhere": True}),
    "keys.create": Case(lambda t, who: {"name": "mine"}),
    "keys.create: another's": Case(about("account_id"), ADMIN_ONLY),
    "keys.create of a project": Case(project, MEMBERS_ONLY),
    "keys.list": Case(nothing),
    "keys.list: another's": Case(about("account_id"), ADMIN_ONLY),
    "keys.list of a project": Case(project, MEMBERS_ONLY),
    "keys.update": Case(lambda t, who: {"id": t.own_key_id(who), "name": "renamed"}),
    "keys.update of a project": Case(lambda t, who: {"id": t.key_id, "name": "renamed"}, KEY_UNKNOWN),
    "keys.revoke": Case(lambda t, who: {"id": t.own_key_id(who)}),
    "keys.revoke of a project": Case(lambda t, who: {"id": t.key_id}, KEY_UNKNOWN, fresh=True),
    "snapshots.create": Case(project),
    "snapshots.list": Case(project),
    "snapshots.diff": Case(about("project_id", id=lambda t: t.snapshot_id)),
    "snapshots.restore": Case(about("project_id", id=lambda t: t.snapshot_id, to=lambda t: t.cast.unique("restored"))),
    "snapshots.restore in place": Case(about("project_id", id=lambda t: t.snapshot_id), fresh=True),
    "snapshots.delete": Case(about("project_id", id=lambda t: t.snapshot_id), fresh=True),
    "audit.list": Case(nothing),
    "sync.history": Case(about("project_id", path=lambda t: t.file())),
    "sync.checkpoint": Case(about("project_id", path=lambda t: t.file())),
    "db.touch": Case(about("project_id", path="a.txt", action="open")),
    "db.fileUseTimes": Case(about("project_id", path="a.txt")),
    "purchases.getBalance": Case(nothing),
    "purchases.getMinBalance": Case(nothing),
    "jupyter.kernels": Case(project),
    "jupyter.execute": Case(about("project_id", input="1", kernel="python3")),
    "messages.send": Case(lambda t, who: {"to_ids": [t.spare_id], "subject": "Hello", "body": ""}),
    "messages.get": Case(nothing),
    "org.getAll": Case(nothing),
    "org.create": Case(lambda t, who: {"name": t.cast.unique("org")}),
    "org.get": Case(about("name")),
    "org.set": Case(about("name", title="Matrix")),
    "org.addAdmin": Case(about("name", user=lambda t: t.spare_id), fresh=True),
    "org.addUser": Case(about("name", user=lambda t: t.spare_id), fresh=True),
    "org.createUser": Case(about("name", email=lambda t: f"{t.cast.unique('new')}@example.org")),
    "org.getUsers": Case(about("name")),
    "org.removeUser": Case(about("name", user=lambda t: t.member_id), fresh=True),
    "org.removeAdmin": Case(about("name", user=lambda t: t.member_id)),
    "org.createToken": Case(lambda t, who: {"user": t.member_id}),
    "org.expireToken": Case(lambda t, who: {"token": "no-such-token"}),
    "org.message": Case(about("name", subject="Hello", body="")),
}
"""Calls of each method of the hub; what stands behind a name tells them apart. `db.userQuery` has its own."""

PROJECT: dict[str, Case] = {
    "system.ping": Case(nothing),
    "system.test": Case(nothing),
    "system.exec": Case(lambda t, who: {"command": "touch made-by-exec"}),
    "system.listing": Case(lambda t, who: {"path": ""}),
    "system.readTextFileFromProject": Case(lambda t, who: {"path": t.file()}),
    "system.writeTextFileToProject": Case(lambda t, who: {"path": "written.txt", "content": "text"}),
    "system.deleteFiles": Case(lambda t, who: {"paths": [t.file()]}),
    "system.moveFiles": Case(lambda t, who: {"paths": [t.file("inbox/")], "dest": ""}),
    "system.renameFile": Case(lambda t, who: {"src": t.file(), "dest": t.cast.unique("renamed")}),
    "system.realpath": Case(lambda t, who: t.file()),
    "system.canonicalPaths": Case(lambda t, who: [t.file()]),
    "system.jupyterExecute": Case(lambda t, who: {"input": "1", "kernel": "python3"}),
    "system.listJupyterKernels": Case(nothing),
    "system.stopJupyterKernel": Case(lambda t, who: {"pid": 1}),
    "system.configuration": Case(lambda t, who: "main"),
    "system.signal": Case(lambda t, who: {"signal": "SIGCONT", "pid": t.sleeper}),
    "system.version": Case(nothing),
    "ping": Case(nothing),
}


def of_table(**fields: Any) -> Callable[[Target, Who], dict[str, Any]]:
    """What a query of a table shows: given values, things of the target, or null."""
    return lambda t, who: {name: value(t, who) if callable(value) else value for name, value in fields.items()}


def project_of(target: Target, who: Who) -> str:
    return target.project_id


def on_project(*denied: Who) -> dict[Who, str]:
    """Refused to those who are not on the project, and to ``denied``."""
    return told(REFUSED, Who.STRANGER, Who.ORGANIZER, *denied)


NOT_MANAGING = on_project(Who.VIEWER)
NOT_MANAGING_NOR_ADMIN = on_project(Who.VIEWER, Who.SITE_ADMIN)
TOKEN = {"project_id": project_of, "token": lambda t, who: t.invite_token}
SHARE = {"project_id": project_of, "path": "shared"}

GET: dict[str, Case] = {
    "projects": Case(of_table(project_id=project_of, title=None), on_project()),
    "projects_all": Case(of_table(project_id=project_of, title=None), on_project()),
    "projects_admin": Case(of_table(project_id=project_of, title=None), told(REFUSED, *ACCOUNTS - {Who.SITE_ADMIN})),
    "project_avatar_images": Case(of_table(project_id=project_of, avatar_image_full=None), on_project()),
    "accounts": Case(of_table(first_name=None)),
    "account_profiles": Case(of_table(account_id=lambda t, who: t.spare_id, profile=None)),
    "collaborators": Case(of_table(account_id=None)),
    "collaborators_one_project": Case(of_table(project_id=project_of, account_id=None), on_project()),
    "project_log": Case(of_table(project_id=project_of, event=None), on_project()),
    "project_log_all": Case(of_table(project_id=project_of, event=None), on_project()),
    "public_paths": Case(of_table(project_id=project_of, path=None), on_project()),
    "public_paths_by_id": Case(of_table(id=lambda t, who: t.share_id, path=None)),
    "file_use": Case(of_table(project_id=project_of, path=None), on_project()),
    "project_invite_tokens": Case(of_table(project_id=project_of, token=None), NOT_MANAGING),
    "site_licenses": Case(of_table(id=None), told(REFUSED, *ACCOUNTS - {Who.SITE_ADMIN})),
    "messages": Case(of_table(id=None)),
}
SET: dict[str, Case] = {
    "projects": Case(of_table(project_id=project_of, title="Changed"), NOT_MANAGING),
    **{
        f"projects.{name}": Case(of_table(project_id=project_of, **{name: value}), but, fresh=True)
        for name, value, but in (
            ("deleted", True, NOT_MANAGING),
            ("env", {"A": "1"}, NOT_MANAGING),
            ("users", lambda t, who: {t.cast[who].account_id: {"hide": True}}, on_project(Who.SITE_ADMIN)),
            ("site_license", lambda t, who: {t.license_id: {}}, NOT_MANAGING),
            ("action_request", {"action": "stop"}, NOT_MANAGING_NOR_ADMIN),
            ("manage_users_owner_only", True, {**NOT_MANAGING, Who.COLLABORATOR: REFUSED}),
            ("name", lambda t, who: t.cast.unique("name"), {**NOT_MANAGING, Who.COLLABORATOR: REFUSED}),
            ("sandbox", True, {**NOT_MANAGING, Who.COLLABORATOR: REFUSED}),
        )
    },
    "projects.users: another's group": Case(
        of_table(project_id=project_of, users=lambda t, who: {t.cast[who].account_id: {"group": "owner"}}),
        told(REFUSED, *ACCOUNTS),
    ),
    "projects_owner": Case(of_table(project_id=project_of, sandbox=True), {**NOT_MANAGING, Who.COLLABORATOR: REFUSED}),
    "project_invite_requests": Case(
        of_table(project_id=project_of, invite_requests=lambda t, who: {t.cast[who].account_id: {"message": "Hello"}})
    ),
    "accounts": Case(of_table(last_name="Changed")),
    "project_log": Case(of_table(project_id=project_of, event={"event": "note"}), NOT_MANAGING_NOR_ADMIN),
    "public_paths": Case(of_table(**SHARE), NOT_MANAGING_NOR_ADMIN),
    "file_use": Case(of_table(project_id=project_of, path="a.txt"), on_project(Who.SITE_ADMIN)),
    "project_invite_tokens": Case(of_table(**TOKEN, usage_limit=3), NOT_MANAGING),
    "messages": Case(of_table(id=lambda t, who: t.own_message_id(who), read=True)),
}
DELETE: dict[str, Case] = {
    "public_paths": Case(of_table(**SHARE), NOT_MANAGING_NOR_ADMIN),
    "project_invite_tokens": Case(of_table(**TOKEN), NOT_MANAGING, fresh=True),
}


# -- what there is has its calls -------------------------------------------------------------------


def methods_of(cases: Mapping[str, Case]) -> set[str]:
    return {method_of(name) for name in cases}


def method_of(name: str) -> str:
    return re.split(r"[ :]", name, maxsplit=1)[0]


def test_every_method_has_calls() -> None:
    assert methods_of(HUB) | {"db.userQuery"} == METHODS[Endpoint.HUB].keys()
    assert methods_of(PROJECT) == METHODS[Endpoint.PROJECT].keys()


def test_every_table_has_queries() -> None:
    assert GET.keys() == {name for name, table in TABLES.items() if table.rows is not None}
    assert {name.partition(".")[0] for name in SET} == {name for name, table in TABLES.items() if table.change}
    assert DELETE.keys() == {name for name, table in TABLES.items() if table.delete}


# -- the calls -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cast() -> Iterator[Cast]:
    with HubProcess() as process:
        cast = Cast(process)
        yield cast
        cast.close()


def in_form(row: Method, args: Any) -> list[Any]:
    return [{"opts": args}] if row.form is Form.OPTS else [args]


def check(cast: Cast, row: Method, case: Case, args: Callable[[Any], list[Any]]) -> None:
    """Call as each kind of caller: first those who are refused, which must change nothing."""
    outcomes = {**expected(row), **case.but}
    for who in sorted(Who, key=lambda who: outcomes[who] == OK):
        allowed = outcomes[who] == OK
        target = Target(cast) if allowed and case.fresh else cast.target
        given = args(case.args(target, who))
        before = None if allowed else cast.stored(target)
        code, reply = cast.call(who, target, row.endpoint, row.name, given)
        assert code == outcomes[who], (who, given, reply)
        assert before is None or differences(before, cast.stored(target)) == [], (who, given)


@pytest.mark.parametrize("name", HUB)
def test_methods_of_the_hub(cast: Cast, name: str) -> None:
    row = METHODS[Endpoint.HUB][method_of(name)]
    check(cast, row, HUB[name], lambda args: in_form(row, args))


@pytest.mark.parametrize("name", PROJECT)
def test_methods_of_the_project(cast: Cast, name: str) -> None:
    row = METHODS[Endpoint.PROJECT][name]
    cast.target.running()
    check(cast, row, PROJECT[name], lambda args: in_form(row, args))


QUERIES = [(name, kind) for kind, cases in (("get", GET), ("set", SET), ("delete", DELETE)) for name in cases]


@pytest.mark.parametrize(("name", "kind"), QUERIES)
def test_user_queries(cast: Cast, name: str, kind: str) -> None:
    case = {"get": GET, "set": SET, "delete": DELETE}[kind][name]
    options = {"get": [], "set": [{"set": True}], "delete": [{"delete": True}]}[kind]
    table = name.partition(".")[0]
    row = METHODS[Endpoint.HUB]["db.userQuery"]
    check(cast, row, case, lambda shape: [{"query": {table: shape}, "options": options}])


# -- routes ----------------------------------------------------------------------------------------

PREFIX = "/projects/{project_id}"
READING = {
    ("GET", "/export"),
    ("GET", "/files"),
    ("GET", "/files/stat"),
    ("GET", "/files/content"),
    ("GET", "/files/archive"),
    ("GET", "/jobs"),
    ("GET", "/jobs/{job_id}"),
    ("GET", "/jobs/{job_id}/output"),
    ("GET", "/jobs/{job_id}/events"),
    ("GET", "/jupyter/sessions"),
    ("GET", "/trash"),
    ("GET", "/snapshots/{snapshot_id}/content"),
}
"""Routes that look, and nothing else: all of the project's people may call them. All others are its members'."""


def test_routes(cast: Cast) -> None:
    document = cast.send(Who.ANONYMOUS, cast.target, "GET", "/api/v1/openapi.json").json()
    routes = {
        (method.upper(), path.removeprefix(PREFIX))
        for path, methods in document["paths"].items()
        for method in methods
        if method != "parameters"
    }
    assert routes > {*READING, *MAKING, *FREE}
    routes -= {*MAKING, *FREE}
    assert not any(path.startswith(("/projects", "/shares")) for _, path in routes), "a rule for it is due"
    for method, path in sorted(routes):
        check_route(cast, method, path)


MAKING: dict[tuple[str, str], set[Who]] = {
    ("POST", "/projects"): ACCOUNTS,
    ("POST", "/projects/import"): ACCOUNTS,
    ("POST", "/clone"): READERS,
}
"""Routes that make projects of the caller's own, and who may call them."""
FREE = {
    ("GET", "/shares"),
    ("GET", "/shares/{share_id}"),
    ("GET", "/shares/{share_id}/files"),
    ("GET", "/shares/{share_id}/files/content"),
    ("GET", "/shares/{share_id}/files/archive"),
}
"""Routes for people who are not signed in, too; a key that is given has to be right."""


@pytest.mark.parametrize(("method", "path"), MAKING)
def test_routes_that_make_projects(cast: Cast, method: str, path: str) -> None:
    place = path if path.startswith("/projects") else f"/projects/{cast.target.project_id}{path}"
    allowed = MAKING[method, path]
    for who in sorted(Who, key=lambda who: who in allowed):
        before = None if who in allowed else cast.stored(cast.target)
        reply = cast.send(who, cast.target, method, f"/api/v1{place}", json={})
        if who in allowed:
            assert reply.status_code in (200, 400), (who, reply.text)  # what is no export is refused as that
        else:
            denial = (401, SIGNED_OUT) if who in NOBODY else (403, DENIED)
            assert (reply.status_code, reply.headers.get(CODE_HEADER)) == denial, (who, reply.text)
            assert differences(before or {}, cast.stored(cast.target)) == [], who


@pytest.mark.parametrize(("method", "path"), sorted(FREE))
def test_routes_for_everybody(cast: Cast, method: str, path: str) -> None:
    place = path.replace("{share_id}", shared_file(cast.target))
    for who in Who:
        reply = cast.send(who, cast.target, method, f"/api/v1{place}")
        if who in NOBODY - {Who.ANONYMOUS}:
            assert (reply.status_code, reply.headers.get(CODE_HEADER)) == (401, SIGNED_OUT), (who, reply.text)
        else:
            assert reply.status_code in (200, 409), (who, reply.text)  # a file is no directory


def check_route(cast: Cast, method: str, path: str) -> None:
    allowed = {Who.PROJECT_KEY, *(READERS if (method, path) in READING else MEMBERS)}
    place = re.sub(r"\{[^}]+\}", "00000000-0000-4000-8000-000000000001", path)
    url = f"/api/v1/projects/{cast.target.project_id}{place}"
    parameters = {"path": cast.target.file()}
    for who in sorted(Who, key=lambda who: who in allowed):
        before = None if who in allowed else cast.stored(cast.target)
        reply = cast.send(who, cast.target, method, url, params=parameters)
        code = reply.headers.get(CODE_HEADER)
        if who in allowed:
            assert reply.status_code not in (401, 403) and reply.status_code < 500, (method, path, who, reply.text)
        else:
            denial = (401, SIGNED_OUT) if who in NOBODY else (403, DENIED)
            assert (reply.status_code, code) == denial, (method, path, who, reply.text)
            assert differences(before or {}, cast.stored(cast.target)) == [], (method, path, who)
