"""What the client sends and hands out, method by method."""

from __future__ import annotations

import inspect
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import cocalc_api
import httpx2
import pytest
from scripted_wire import HOST, KEY, Wire

from projecthub import AsyncHub, AsyncProject, Hub, Project
from projecthub.client.requests import GRACE_S, USUAL_WAIT_S
from projecthub.errors import (
    CallTimeout,
    ClientError,
    Conflict,
    InvalidArgument,
    NotFound,
    NotSignedIn,
    PermissionDenied,
    ProtocolError,
    QueryRefused,
)
from projecthub.wire.methods import METHODS, Endpoint

P, A = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
COPIED = {"policy": "update", "overwrite_newer": False, "delete_missing": False, "backup": False, "skip_missing": False}
STATE = {"state": "running", "time": "2025-11-21T14:55:21.253Z"}

CALLS: dict[tuple[Endpoint, str], tuple[Callable[[Hub], Any], list[Any], Any]] = {
    (Endpoint.HUB, "system.ping"): (lambda hub: hub.system.ping(), [{}], {"now": 1}),
    (Endpoint.HUB, "system.test"): (lambda hub: hub.system.test(), [{}], {"account_id": A, "server_time": 1}),
    (Endpoint.HUB, "system.getNames"): (lambda hub: hub.system.get_names([A]), [[A]], {A: {"first_name": "Ada"}}),
    (Endpoint.HUB, "system.userSearch"): (
        lambda hub: hub.system.user_search("ada", limit=3),
        [{"query": "ada", "limit": 3, "admin": False, "only_email": False}],
        [],
    ),
    (Endpoint.HUB, "system.getCustomize"): (
        lambda hub: hub.system.get_customize(["siteName"]),
        [["siteName"]],
        {"siteName": "hub"},
    ),
    (Endpoint.HUB, "system.generateUserAuthToken"): (
        lambda hub: hub.system.generate_user_auth_token(A, "p"),
        [{"user_account_id": A, "password": "p"}],
        "t",
    ),
    (Endpoint.HUB, "system.adminResetPasswordLink"): (
        lambda hub: hub.system.admin_reset_password_link(A),
        [{"user_account_id": A}],
        "/auth/password-reset/t",
    ),
    (Endpoint.HUB, "system.revokeUserAuthToken"): (lambda hub: hub.system.revoke_user_auth_token("t"), ["t"], None),
    (Endpoint.HUB, "projects.copyPaths"): (
        lambda hub: hub.projects.copy_paths(
            sources=[{"project_id": P, "path": "hw"}], target={"project_id": A, "path": "in"}, dry_run=True
        ),
        [
            {
                "sources": [{"project_id": P, "path": "hw"}],
                "target": {"project_id": A, "path": "in"},
                **COPIED,
                "dry_run": True,
                "wait": True,
            }
        ],
        {"id": A},
    ),
    (Endpoint.HUB, "copies.plan"): (
        lambda hub: hub.copies.plan({"project_id": P, "path": "hw"}, [A, {"project_id": P}], exclude=["x"], wait=False),
        [
            {
                "source": {"project_id": P, "path": "hw"},
                "targets": [A, {"project_id": P}],
                **COPIED,
                "exclude": ["x"],
                "wait": False,
            }
        ],
        {"id": A},
    ),
    (Endpoint.HUB, "copies.files"): (
        lambda hub: hub.copies.files(A, 2, statuses=["new"]),
        [{"id": A, "number": 2, "statuses": ["new"], "after": 0, "limit": 1000}],
        {"files": [], "next": None},
    ),
    (Endpoint.HUB, "copies.apply"): (
        lambda hub: hub.copies.apply(A, only="failed"),
        [{"id": A, "only": "failed", "wait": True}],
        {"id": A},
    ),
    (Endpoint.HUB, "copies.get"): (
        lambda hub: hub.copies.get(A, targets=False),
        [{"id": A, "targets": False}],
        {"id": A},
    ),
    (Endpoint.HUB, "copies.list"): (
        lambda hub: hub.copies.list(P, after=A),
        [{"project_id": P, "plans": False, "limit": 100, "after": A}],
        [],
    ),
    (Endpoint.HUB, "copies.cancel"): (lambda hub: hub.copies.cancel(A), [{"id": A}], {"id": A}),
    (Endpoint.HUB, "copies.retry"): (
        lambda hub: hub.copies.retry(A, wait=False),
        [{"id": A, "wait": False}],
        {"id": A},
    ),
    (Endpoint.HUB, "copies.undo"): (
        lambda hub: hub.copies.undo(A, (1, 2)),
        [{"id": A, "targets": [1, 2], "wait": True}],
        {"id": A},
    ),
    (Endpoint.HUB, "copies.forget"): (
        lambda hub: hub.copies.forget(A, project_id=P),
        [{"id": A, "project_id": P}],
        {"targets": 2, "freed_bytes": 8192, "project_ids": [P]},
    ),
    (Endpoint.HUB, "messages.send"): (
        lambda hub: hub.messages.send("S", "B", [A], 3),
        [{"to_ids": [A], "subject": "S", "body": "B", "reply_id": 3}],
        4,
    ),
    (Endpoint.HUB, "audit.list"): (
        lambda hub: hub.audit.list(A, method="keys.", outcome="denied", since=5, after=7, order="oldest", limit=9),
        [
            {
                "account_id": A,
                "method": "keys.",
                "outcome": "denied",
                "since": 5,
                "after": 7,
                "order": "oldest",
                "limit": 9,
            }
        ],
        {"entries": [], "next": None},
    ),
    (Endpoint.HUB, "messages.get"): (
        lambda hub: hub.messages.get(type="new", cutoff=5),
        [{"limit": 100, "offset": 0, "type": "new", "cutoff": 5}],
        [],
    ),
    (Endpoint.HUB, "org.getAll"): (lambda hub: hub.org.get_all(), [{}], []),
    (Endpoint.HUB, "sync.history"): (
        lambda hub: {"patches": hub.sync.history(P, "a", start_seq=2), "info": {}},
        [{"project_id": P, "path": "a", "start_seq": 2}],
        {"patches": [], "info": {}},
    ),
    (Endpoint.HUB, "sync.checkpoint"): (
        lambda hub: hub.sync.checkpoint(P, "a"),
        [{"project_id": P, "path": "a"}],
        {"seq": 1, "time": 5, "created": True},
    ),
    (Endpoint.HUB, "db.touch"): (
        lambda hub: hub.db.touch(P, "a", "open"),
        [{"project_id": P, "path": "a", "action": "open"}],
        None,
    ),
    (Endpoint.HUB, "db.fileUseTimes"): (
        lambda hub: hub.db.file_use_times(P, "a", A, edit_times=True),
        [
            {
                "project_id": P,
                "path": "a",
                "target_account_id": A,
                "limit": 1000,
                "access_times": True,
                "edit_times": True,
            }
        ],
        {"target_account_id": A, "access_times": [5], "edit_times": []},
    ),
    (Endpoint.HUB, "purchases.getBalance"): (lambda hub: hub.purchases.get_balance(), [{}], 0),
    (Endpoint.HUB, "purchases.getMinBalance"): (lambda hub: hub.purchases.get_min_balance(), [{}], 0),
    (Endpoint.HUB, "org.create"): (lambda hub: hub.org.create("x"), [{"name": "x"}], P),
    (Endpoint.HUB, "org.get"): (lambda hub: hub.org.get("x"), [{"name": "x"}], {"name": "x"}),
    (Endpoint.HUB, "org.set"): (
        lambda hub: hub.org.set("x", "T", link="L"),
        [{"name": "x", "title": "T", "link": "L"}],
        None,
    ),
    (Endpoint.HUB, "org.addAdmin"): (lambda hub: hub.org.add_admin("x", A), [{"name": "x", "user": A}], None),
    (Endpoint.HUB, "org.addUser"): (lambda hub: hub.org.add_user("x", A), [{"name": "x", "user": A}], None),
    (Endpoint.HUB, "org.createUser"): (
        lambda hub: hub.org.create_user("x", "a@x", "Ada"),
        [{"name": "x", "email": "a@x", "firstName": "Ada"}],
        A,
    ),
    (Endpoint.HUB, "org.getUsers"): (lambda hub: hub.org.get_users("x"), [{"name": "x"}], []),
    (Endpoint.HUB, "org.removeUser"): (lambda hub: hub.org.remove_user("x", A), [{"name": "x", "user": A}], None),
    (Endpoint.HUB, "org.removeAdmin"): (lambda hub: hub.org.remove_admin("x", A), [{"name": "x", "user": A}], None),
    (Endpoint.HUB, "org.createToken"): (
        lambda hub: hub.org.create_token("a@x", expire=5),
        [{"user": "a@x", "expire": 5}],
        {"token": "t", "url": "u"},
    ),
    (Endpoint.HUB, "org.expireToken"): (lambda hub: hub.org.expire_token("t"), [{"token": "t"}], None),
    (Endpoint.HUB, "org.message"): (
        lambda hub: hub.org.message("x", "S", "B"),
        [{"name": "x", "subject": "S", "body": "B"}],
        None,
    ),
    (Endpoint.HUB, "system.manageApiKeys"): (
        lambda hub: hub.system.manage_api_keys("delete", id=7),
        [{"action": "delete", "id": 7}],
        None,
    ),
    (Endpoint.HUB, "db.userQuery"): (
        lambda hub: hub.db.query({"accounts": {"name": None}}, [{"limit": 1}]),
        [{"query": {"accounts": {"name": None}}, "options": [{"limit": 1}]}],
        {"accounts": {"name": "ada"}},
    ),
    (Endpoint.HUB, "projects.createProject"): (
        lambda hub: hub.projects.create_project(
            "T", "D", "L", "S", image="I", start=True, ephemeral=5, project_id=P, customize={"license": "M"}
        ),
        [
            {
                "title": "T",
                "description": "D",
                "license": "L",
                "public_path_id": "S",
                "image": "I",
                "start": True,
                "ephemeral": 5,
                "project_id": P,
                "customize": {"license": "M"},
            }
        ],
        P,
    ),
    (Endpoint.HUB, "projects.copyPathBetweenProjects"): (
        lambda hub: hub.projects.copy_path_between_projects(P, "a", A, "b", backup=True, exclude=["*.o"], timeout=9),
        [
            {
                "src_project_id": P,
                "src_path": "a",
                "target_project_id": A,
                "target_path": "b",
                "overwrite_newer": False,
                "delete_missing": False,
                "backup": True,
                "exclude": ["*.o"],
                "timeout": 9,
            }
        ],
        {"files": 1},
    ),
    (Endpoint.HUB, "projects.addCollaborator"): (
        lambda hub: hub.projects.add_collaborator([P], [A]),
        [{"opts": {"project_id": [P], "account_id": [A]}}],
        {"project_id": [P]},
    ),
    (Endpoint.HUB, "projects.removeCollaborator"): (
        lambda hub: hub.projects.remove_collaborator(P, A),
        [{"opts": {"project_id": P, "account_id": A}}],
        {"project_id": P, "account_id": A},
    ),
    (Endpoint.HUB, "projects.changeUserType"): (
        lambda hub: hub.projects.change_user_type(P, A, "viewer"),
        [{"opts": {"project_id": P, "target_account_id": A, "new_group": "viewer"}}],
        None,
    ),
    (Endpoint.HUB, "projects.ofCourse"): (lambda hub: hub.projects.of_course(P), [{"project_id": P}], []),
    (Endpoint.HUB, "projects.handOver"): (
        lambda hub: hub.projects.hand_over(P, A),
        [{"project_id": P, "account_id": A, "new_group": "collaborator"}],
        {"project_id": P, "owner": A, "group": "collaborator"},
    ),
    (Endpoint.HUB, "projects.inviteCollaborator"): (
        lambda hub: hub.projects.invite_collaborator(P, A, email="Come!"),
        [{"opts": {"project_id": P, "account_id": A, "email": "Come!"}}],
        {"project_id": P, "invited": []},
    ),
    (Endpoint.HUB, "projects.inviteCollaboratorWithoutAccount"): (
        lambda hub: hub.projects.invite_collaborator_without_account(P, "a@b.de", group="viewer"),
        [{"opts": {"project_id": P, "to": "a@b.de", "group": "viewer"}}],
        {"project_id": P, "invited": []},
    ),
    (Endpoint.HUB, "projects.start"): (lambda hub: hub.projects.start(P), [{"project_id": P}], STATE),
    (Endpoint.HUB, "projects.stop"): (lambda hub: hub.projects.stop(P), [{"project_id": P}], STATE),
    (Endpoint.HUB, "projects.restart"): (lambda hub: hub.projects.restart(P), [{"project_id": P}], STATE),
    (Endpoint.HUB, "projects.clone"): (
        lambda hub: hub.projects.clone(P, "T", exclude=["*.log"], start=True),
        [{"project_id": P, "title": "T", "exclude": ["*.log"], "with_collaborators": False, "start": True}],
        A,
    ),
    (Endpoint.HUB, "projects.setTemplate"): (
        lambda hub: hub.projects.set_template(P, False),
        [{"project_id": P, "template": False}],
        {"project_id": P, "template": False, "everybody": False},
    ),
    (Endpoint.HUB, "projects.templates"): (lambda hub: hub.projects.templates(), [{}], []),
    (Endpoint.HUB, "shares.list"): (lambda hub: hub.shares.list(after=A), [{"limit": 100, "after": A}], []),
    (Endpoint.HUB, "shares.get"): (lambda hub: hub.shares.get(A), [{"id": A}], {"id": A}),
    (Endpoint.HUB, "shares.copy"): (
        lambda hub: hub.shares.copy(A, P, "here", path="part", backup=True),
        [
            {
                "id": A,
                "target_project_id": P,
                "path": "part",
                "target_path": "here",
                "overwrite_newer": False,
                "delete_missing": False,
                "backup": True,
            }
        ],
        {"files": 1, "bytes": 2},
    ),
    (Endpoint.HUB, "projects.listAll"): (
        lambda hub: hub.projects.list_all(5, "1." + P),
        [{"limit": 5, "after": "1." + P}],
        {"projects": [{"project_id": P}], "next": None},
    ),
    (Endpoint.HUB, "projects.stopAll"): (lambda hub: hub.projects.stop_all(), [{}], {"stopped": 1, "failed": {}}),
    (Endpoint.HUB, "projects.idle"): (lambda hub: hub.projects.idle(P), [{"project_id": P}], {"idle_for_s": 3}),
    (Endpoint.HUB, "projects.touch"): (lambda hub: hub.projects.touch(P), [{"project_id": P}], STATE),
    (Endpoint.HUB, "projects.state"): (lambda hub: hub.projects.state(P), [{"project_id": P}], STATE),
    (Endpoint.HUB, "projects.status"): (lambda hub: hub.projects.status(P), [{"project_id": P}], {"disk_MB": 1}),
    (Endpoint.HUB, "projects.deleteProject"): (
        lambda hub: hub.projects.delete(P),
        [{"project_id": P}],
        {"project_id": P, "deleted": True},
    ),
    (Endpoint.HUB, "accounts.create"): (
        lambda hub: hub.accounts.create("ada@example.org", "Ada"),
        [{"email_address": "ada@example.org", "first_name": "Ada", "last_name": "", "admin": False}],
        {"account_id": A},
    ),
    (Endpoint.HUB, "accounts.list"): (
        lambda hub: hub.accounts.list("ada", after=A),
        [{"query": "ada", "limit": 100, "after": A}],
        [],
    ),
    (Endpoint.HUB, "accounts.get"): (lambda hub: hub.accounts.get("ada@x"), [{"account_id": "ada@x"}], {}),
    (Endpoint.HUB, "accounts.update"): (
        lambda hub: hub.accounts.update(A, first_name="Ada", disabled=False),
        [{"account_id": A, "first_name": "Ada", "disabled": False}],
        {"account_id": A},
    ),
    (Endpoint.HUB, "accounts.delete"): (
        lambda hub: hub.accounts.delete(A, "bob@x"),
        [{"account_id": A, "projects": "bob@x"}],
        {"account_id": A, "deleted": True, "projects_deleted": [], "projects_handed_over": [P]},
    ),
    (Endpoint.HUB, "accounts.importRoster"): (
        lambda hub: hub.accounts.import_roster([{"email_address": "a@x"}], dry_run=True),
        [{"rows": [{"email_address": "a@x"}], "dry_run": True}],
        {"dry_run": True, "created": 1, "changed": 0, "unchanged": 0, "rows": []},
    ),
    (Endpoint.HUB, "accounts.setPassword"): (
        lambda hub: hub.accounts.set_password("new password", current_password="old password"),
        [{"password": "new password", "current_password": "old password"}],
        {"account_id": A, "password_set": True},
    ),
    (Endpoint.HUB, "accounts.signIn"): (
        lambda hub: hub.accounts.sign_in("ada@x", "new password"),
        [{"email_address": "ada@x", "password": "new password"}],
        {"account_id": A, "secret": "sk-1", "expire": "2030-01-01T00:00:00.000Z"},
    ),
    (Endpoint.HUB, "accounts.signOut"): (
        lambda hub: hub.accounts.sign_out(everywhere=True),
        [{"everywhere": True}],
        {"signed_out": True},
    ),
    (Endpoint.HUB, "keys.update"): (
        lambda hub: hub.keys.update(7, scopes=("read",), calls_per_minute=0),
        [{"id": 7, "scopes": ["read"], "calls_per_minute": 0}],
        {"id": 7},
    ),
    (Endpoint.HUB, "keys.create"): (
        lambda hub: hub.keys.create(A, name="laptop", expire=5),
        [{"account_id": A, "name": "laptop", "expire": 5}],
        {"id": 1, "secret": "sk-x"},
    ),
    (Endpoint.HUB, "keys.list"): (lambda hub: hub.keys.list(project_id=P), [{"project_id": P}], []),
    (Endpoint.HUB, "keys.revoke"): (lambda hub: hub.keys.revoke(7), [{"id": 7}], {"id": 7, "revoked": True}),
    (Endpoint.HUB, "projects.setQuotas"): (
        lambda hub: hub.projects.set_quotas(P, memory=2000, cores=1.5, network=True),
        [{"project_id": P, "memory": 2000, "cores": 1.5, "network": True}],
        None,
    ),
    (Endpoint.HUB, "projects.addLicense"): (
        lambda hub: hub.projects.add_license(P, A),
        [{"project_id": P, "license_id": A}],
        {"project_id": P, "license_id": A, "attached": True, "changed": True, "needs_restart": False},
    ),
    (Endpoint.HUB, "projects.removeLicense"): (
        lambda hub: hub.projects.remove_license(P, A),
        [{"project_id": P, "license_id": A}],
        {"project_id": P, "license_id": A, "attached": False, "changed": True, "needs_restart": False},
    ),
    (Endpoint.HUB, "licenses.create"): (
        lambda hub: hub.licenses.create({"cpu": 2}, "Course", run_limit=3, expires="2027-01-31"),
        [{"quota": {"cpu": 2}, "title": "Course", "description": "", "run_limit": 3, "expires": "2027-01-31"}],
        {"id": A},
    ),
    (Endpoint.HUB, "licenses.list"): (lambda hub: hub.licenses.list(after=A), [{"limit": 100, "after": A}], []),
    (Endpoint.HUB, "licenses.get"): (lambda hub: hub.licenses.get(A), [{"id": A}], {"id": A}),
    (Endpoint.HUB, "licenses.update"): (
        lambda hub: hub.licenses.update(A, {"cpu": None}, run_limit=0),
        [{"id": A, "quota": {"cpu": None}, "run_limit": 0}],
        {"id": A},
    ),
    (Endpoint.HUB, "licenses.end"): (lambda hub: hub.licenses.end(A), [{"id": A}], {"id": A}),
    (Endpoint.HUB, "snapshots.create"): (
        lambda hub: hub.project(P).snapshots.create("before", expire="2027-01-31"),
        [{"project_id": P, "title": "before", "expire": "2027-01-31"}],
        {"id": A},
    ),
    (Endpoint.HUB, "snapshots.list"): (
        lambda hub: hub.project(P).snapshots.overview(),
        [{"project_id": P}],
        {"snapshots": [], "used_bytes": 0, "quota_bytes": 1, "under_way": None},
    ),
    (Endpoint.HUB, "snapshots.diff"): (
        lambda hub: {"changes": hub.project(P).snapshots.diff(A, P, path="d"), "next": None},
        [{"project_id": P, "id": A, "other": P, "path": "d", "limit": 10_000}],
        {"changes": [{"path": "d/a", "status": "added"}], "next": None},
    ),
    (Endpoint.HUB, "snapshots.restore"): (
        lambda hub: hub.project(P).snapshots.restore(A, "d", to="e"),
        [{"project_id": P, "id": A, "path": "d", "to": "e"}],
        {"id": A, "path": "e", "files": 1, "bytes": 1, "before": None, "in_trash": []},
    ),
    (Endpoint.HUB, "snapshots.delete"): (
        lambda hub: hub.project(P).snapshots.delete(A),
        [{"project_id": P, "id": A}],
        {"id": A, "deleted": True, "freed_bytes": 1},
    ),
    (Endpoint.PROJECT, "system.ping"): (lambda hub: hub.project(P).system.ping(), [{}], {"now": 1}),
    (Endpoint.PROJECT, "system.test"): (lambda hub: hub.project(P).system.test(), [{}], {"project_id": P}),
    (Endpoint.HUB, "jupyter.kernels"): (lambda hub: hub.jupyter.kernels(P), [{"project_id": P}], []),
    (Endpoint.HUB, "jupyter.execute"): (
        lambda hub: hub.jupyter.execute("b", "python3", ["a"], P, "d", timeout=None),
        [{"input": "b", "kernel": "python3", "history": ["a"], "project_id": P, "path": "d"}],
        {"output": [], "created": "2026-01-01T00:00:00.000Z"},
    ),
    (Endpoint.PROJECT, "system.jupyterExecute"): (
        lambda hub: hub.project(P).system.jupyter_execute("b", "python3", ["a"], "d", None, limits={"timeout_s": 1}),
        [{"input": "b", "kernel": "python3", "history": ["a"], "path": "d", "limits": {"timeout_s": 1}}],
        [],
    ),
    (Endpoint.PROJECT, "system.listJupyterKernels"): (
        lambda hub: hub.project(P).system.list_jupyter_kernels(),
        [{}],
        [{"pid": 7, "connectionFile": "/tmp/kernel-0.json"}],
    ),
    (Endpoint.PROJECT, "system.stopJupyterKernel"): (
        lambda hub: hub.project(P).system.stop_jupyter_kernel(7),
        [{"pid": 7}],
        {"success": True},
    ),
    (Endpoint.PROJECT, "system.listing"): (
        lambda hub: hub.project(P).system.listing("d", hidden=True),
        [{"path": "d", "hidden": True}],
        [{"name": "a", "size": 1, "mtime": 1.5}],
    ),
    (Endpoint.PROJECT, "system.configuration"): (
        lambda hub: hub.project(P).system.configuration(),
        ["main"],
        {"timestamp": "2025-11-21T14:55:21.253Z", "capabilities": {}},
    ),
    (Endpoint.PROJECT, "system.signal"): (
        lambda hub: hub.project(P).system.signal("SIGINT", 7, [8]),
        [{"signal": "SIGINT", "pid": 7, "pids": [8]}],
        None,
    ),
    (Endpoint.PROJECT, "system.version"): (lambda hub: hub.project(P).system.version(), [{}], 1),
    (Endpoint.PROJECT, "ping"): (lambda hub: hub.project(P).system.pong(), [{}], "pong"),
    (Endpoint.PROJECT, "system.readTextFileFromProject"): (
        lambda hub: hub.project(P).system.read_text_file_from_project("a"),
        [{"path": "a"}],
        "text",
    ),
    (Endpoint.PROJECT, "system.writeTextFileToProject"): (
        lambda hub: hub.project(P).system.write_text_file_to_project("a", "text"),
        [{"path": "a", "content": "text"}],
        None,
    ),
    (Endpoint.PROJECT, "system.deleteFiles"): (
        lambda hub: hub.project(P).system.delete_files(["a"]),
        [{"paths": ["a"]}],
        None,
    ),
    (Endpoint.PROJECT, "system.moveFiles"): (
        lambda hub: hub.project(P).system.move_files(["a"], ""),
        [{"paths": ["a"], "dest": ""}],
        None,
    ),
    (Endpoint.PROJECT, "system.renameFile"): (
        lambda hub: hub.project(P).system.rename_file("a", "b"),
        [{"src": "a", "dest": "b"}],
        None,
    ),
    (Endpoint.PROJECT, "system.realpath"): (lambda hub: hub.project(P).system.realpath("a"), ["a"], "b"),
    (Endpoint.PROJECT, "system.canonicalPaths"): (
        lambda hub: hub.project(P).system.canonical_paths(["a"]),
        [["a"]],
        ["b"],
    ),
    (Endpoint.PROJECT, "system.exec"): (
        lambda hub: hub.project(P).system.exec("ls", ["-l"], "d", max_output=9, env={"A": "1"}, err_on_exit=False),
        [
            {
                "command": "ls",
                "args": ["-l"],
                "path": "d",
                "max_output": 9,
                "env": {"A": "1"},
                "err_on_exit": False,
            }
        ],
        {"type": "blocking", "stdout": "", "stderr": "", "exit_code": 1},
    ),
}


@pytest.mark.parametrize("endpoint, name", [(endpoint, name) for endpoint in Endpoint for name in METHODS[endpoint]])
def test_every_method_of_the_table(hub: Hub, wire: Wire, endpoint: Endpoint, name: str) -> None:
    call, args, reply = CALLS[endpoint, name]
    wire.answers(reply)
    assert call(hub) == reply
    (request,) = wire.requests
    assert (request.method, str(request.url)) == ("POST", HOST + endpoint)
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    sent = {"name": name, "args": args}
    assert wire.bodies == [sent | {"project_id": P} if endpoint is Endpoint.PROJECT else sent]


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (Hub(KEY, HOST).projects, cocalc_api.Hub("k").projects),
        (Hub(KEY, HOST).system, cocalc_api.Hub("k").system),
        (Project(KEY, HOST).system, cocalc_api.Project("k").system),
    ],
    ids=["projects", "hub.system", "project.system"],
)
def test_names_order_and_defaults_are_those_of_the_public_client(ours: Any, theirs: Any) -> None:
    shared = {name for name in dir(type(theirs)) if not name.startswith("_")} & set(dir(type(ours)))
    assert len(shared) >= 3
    for name in shared:
        public = [(p.name, p.default) for p in inspect.signature(getattr(theirs, name)).parameters.values()]
        own = inspect.signature(getattr(ours, name)).parameters.values()
        assert [(p.name, p.default) for p in own if p.kind is not p.KEYWORD_ONLY] == public


def test_the_seed_s_twelve_operations_exist() -> None:
    public = {name for name in dir(cocalc_api.Hub("k").projects) if not name.startswith("_")}
    assert public <= set(dir(Hub(KEY, HOST).projects))


def test_a_bound_is_sent_and_waited_for(hub: Hub, wire: Wire) -> None:
    wire.answers(STATE)
    hub.projects.start(P, timeout_s=30)
    hub.projects.start(P)
    assert [body.get("timeout") for body in wire.bodies] == [30_000, None]
    assert [r.extensions["timeout"]["read"] for r in wire.requests] == [30 + GRACE_S, USUAL_WAIT_S]


def test_what_waits_for_copies_waits_as_long_as_they_need(hub: Hub, wire: Wire) -> None:
    wire.answers({"id": A})
    hub.copies.apply(A)
    hub.copies.retry(A, wait=False)
    hub.projects.copy_paths({"project_id": P, "path": "x"}, [A])
    assert [r.extensions["timeout"]["read"] for r in wire.requests] == [None, USUAL_WAIT_S, None]


def test_waiting_for_copies(hub: Hub, wire: Wire) -> None:
    now = {"id": A, "state": "running"}
    seen: list[Any] = []
    for answer in (now, now, {**now, "state": "done"}, {**now, "state": "done", "targets": []}):
        wire.answers(answer)
    assert hub.copies.wait(A, on_progress=seen.append)["targets"] == []
    assert [one["state"] for one in seen] == ["running", "running", "done"]
    wire.answers(now)
    with pytest.raises(CallTimeout, match="it goes on"):
        hub.copies.wait(A, timeout_s=0.01)


def test_exec_s_timeout_bounds_command_and_call(hub: Hub, wire: Wire) -> None:
    wire.answers({"type": "blocking", "stdout": "", "stderr": "", "exit_code": 0})
    hub.project(P).system.exec("ls", timeout=2)
    assert wire.bodies[0]["args"] == [{"command": "ls", "timeout": 2}]
    assert wire.bodies[0]["timeout"] == 2000


def test_copies_may_take_as_long_as_they_need(hub: Hub, wire: Wire) -> None:
    wire.answers({"files": 0})
    hub.projects.copy_path_between_projects(P, "a")
    hub.projects.copy_path_between_projects(P, "a", timeout=10)
    assert [r.extensions["timeout"]["read"] for r in wire.requests] == [None, 10 + GRACE_S]
    assert all("timeout" not in body for body in wire.bodies)


def test_raw_calls_take_the_wire_s_milliseconds(hub: Hub, wire: Wire) -> None:
    wire.answers("anything")
    assert hub.call("any.thing", [1, "two"], timeout=5) == "anything"
    assert hub.project(P).call("any.thing") == "anything"
    assert wire.bodies == [
        {"name": "any.thing", "args": [1, "two"], "timeout": 5},
        {"name": "any.thing", "args": [], "project_id": P},
    ]


def test_a_project_s_own_key_needs_no_project_id(http: httpx2.Client, wire: Wire) -> None:
    wire.answers({"project_id": P, "server_time": 1})
    Project(KEY, HOST, client=http).system.test()
    assert "project_id" not in wire.bodies[0]


def test_undelete_changes_one_field(hub: Hub, wire: Wire) -> None:
    wire.answers({})
    hub.projects.undelete(P)
    assert wire.bodies[0]["args"] == [{"query": {"projects": {"project_id": P, "deleted": False}}}]


def test_each_creation_has_an_idempotency_key_of_its_own(hub: Hub, wire: Wire) -> None:
    wire.answers(P)
    for _ in range(2):
        hub.projects.create_project("T")
    hub.projects.create_project("T", idempotency_key="mine")
    first, second, given = [request.headers["idempotency-key"] for request in wire.requests]
    assert uuid.UUID(first).version == uuid.UUID(second).version == 4
    assert first != second
    assert given == "mine"


@pytest.mark.parametrize("code", [None, "permission_denied", "query_refused"])
def test_get_one_project_of_others_is_an_empty_list(hub: Hub, wire: Wire, code: str | None) -> None:
    wire.answers({"error": "FATAL: you do not have read access to this project -- account_id=x"}, code=code)
    assert hub.projects.get(project_id=P) == []
    assert wire.bodies[0]["args"][0]["query"].keys() == {"projects_all"}


def test_get_raises_other_refusals(hub: Hub, wire: Wire) -> None:
    wire.answers({"error": "must be signed in and MUST provide an api key (cookies are not allowed)"})
    with pytest.raises(NotSignedIn):
        hub.projects.get(project_id=P)
    wire.answers({"error": "FATAL: user get query not allowed for projects.x"}, code="query_refused")
    with pytest.raises(QueryRefused):
        hub.projects.get(["x"], project_id=P)
    wire.answers({"error": "permission denied"}, code="permission_denied")
    with pytest.raises(PermissionDenied):
        hub.projects.get()


def test_the_state_of_a_broken_project_is_no_refusal(hub: Hub, wire: Wire) -> None:
    broken = {"state": "error", "time": STATE["time"], "error": "no space left"}
    wire.answers(broken)
    assert hub.projects.state(P) == broken
    assert hub.projects.start(P) == broken


def test_a_code_makes_it_a_refusal_whatever_else_it_holds(hub: Hub, wire: Wire) -> None:
    wire.answers({"state": "error", "error": "Error: it is deleted"}, code="conflict")
    with pytest.raises(Conflict, match=r"^it is deleted$"):
        hub.projects.start(P)


@pytest.mark.parametrize("reply", [None, [], "x", 5])
def test_a_reply_of_another_type_is_not_the_wire(hub: Hub, wire: Wire, reply: Any) -> None:
    wire.answers(reply)
    with pytest.raises(ProtocolError, match=r"projects\.state"):
        hub.projects.state(P)


def test_another_key_over_the_same_connections(hub: Hub, wire: Wire) -> None:
    wire.answers({"now": 1})
    other = hub.with_key("sk-other")
    other.system.ping()
    other.close()
    hub.system.ping()
    assert [r.headers["authorization"] for r in wire.requests] == ["Bearer sk-other", f"Bearer {KEY}"]


def test_an_injected_client_stays_open(http: httpx2.Client) -> None:
    with Hub(KEY, HOST, client=http):
        pass
    assert not http.is_closed


def test_a_closed_hub_says_so() -> None:
    hub = Hub(KEY, HOST)
    project = hub.project(P)
    hub.close()
    hub.close()
    with pytest.raises(ClientError, match="closed"):
        hub.system.ping()
    with pytest.raises(ClientError, match="closed"):
        project.system.ping()


def test_representations_hold_no_key() -> None:
    hub = Hub(KEY, HOST)
    assert repr(hub) == f"Hub('{HOST}')"
    assert KEY not in repr(hub.project(P)) + repr(vars(hub))


def test_a_server_s_parts_missing_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "projecthub.embedded", None)
    with pytest.raises(ClientError, match=r"projecthub\[server\]"):
        Hub.embedded()
    with pytest.raises(ClientError, match=r"projecthub\[server\]"):
        AsyncHub.embedded()


async def test_the_async_side(wire: Wire) -> None:
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(wire.handle)) as client:
        wire.answers(P)
        async with AsyncHub(KEY, HOST, client=client) as hub:
            assert await hub.projects.create_project("T") == P
            wire.answers({"projects": [{"project_id": P}]})
            assert await hub.projects.get(fields=["project_id"]) == [{"project_id": P}]
        wire.answers({"now": 1})
        async with AsyncProject(KEY, HOST, P, client=client) as project:
            assert await project.system.ping() == {"now": 1}
    assert [body["name"] for body in wire.bodies] == ["projects.createProject", "db.userQuery", "system.ping"]


def test_people_leave_join_and_hide(hub: Hub, wire: Wire) -> None:
    for reply in ({"account_id": A}, {"project_id": P, "account_id": A}, {"project_id": P}, {}, {}):
        wire.answers(reply)
    assert hub.projects.leave(P)["account_id"] == A
    assert hub.projects.join("https://hub.example.org/invite/abc/") == P
    hub.projects.hide(P)
    hub.projects.manage_users_owner_only(P, False)
    assert [(body["name"], body["args"]) for body in wire.bodies[1:]] == [
        ("projects.removeCollaborator", [{"opts": {"project_id": P, "account_id": A}}]),
        ("projects.addCollaborator", [{"opts": {"token_id": "abc"}}]),
        ("db.userQuery", [{"query": {"projects": {"project_id": P, "users": {"{account_id}": {"hide": True}}}}}]),
        ("db.userQuery", [{"query": {"projects": {"project_id": P, "manage_users_owner_only": False}}}]),
    ]


def test_invite_tokens_are_made_listed_and_taken_away(hub: Hub, wire: Wire) -> None:
    row = {"token": "t" * 16, "counter": 0}
    for reply in ({}, {}, {"project_invite_tokens": [row]}, {}):
        wire.answers(reply)
    first, second = hub.projects.create_invite_token(P), hub.projects.create_invite_token(P, usage_limit=None)
    assert first != second
    assert min(len(first), len(second)) == 64
    assert hub.projects.invite_tokens(P) == [row]
    hub.projects.revoke_invite_token(P, first)
    queries = [body["args"][0] for body in wire.bodies]
    assert queries[0] == {"query": {"project_invite_tokens": {"token": first, "project_id": P, "usage_limit": 1}}}
    assert queries[1] == {"query": {"project_invite_tokens": {"token": second, "project_id": P}}}
    assert queries[3]["options"] == [{"delete": True}]


HISTORY: dict[str, Any] = {
    "patches": [
        {
            "seq": seq,
            "time": 100 + seq,
            "mesg": {
                "time": 100 + seq,
                "wall": 100 + seq,
                "patch": patch,
                "user_id": seq % 2,
                **({"is_snapshot": True} if seq == 3 else {}),
                "parents": [],
                "version": seq,
                "event": "written",
            },
        }
        for seq, patch in [(3, '[[[[1,"one"]],0,0,0,3]]'), (4, '[[[[0,"one"],[1," 😀"]],0,0,3,5]]')]
    ],
    "info": {"project_id": P, "path": "a", "users": [P, A], "first_seq": 3, "last_seq": 4, "sha256": "0" * 64},
}


TIMES: dict[str, Callable[[Hub, Any], Any]] = {
    "keys.create expire": lambda hub, time: hub.keys.create(expire=time),
    "keys.update expire": lambda hub, time: hub.keys.update(1, expire=time),
    "system.manageApiKeys expire": lambda hub, time: hub.system.manage_api_keys("create", expire=time),
    "db.userQuery expires": lambda hub, time: hub.projects.create_invite_token(P, expires=time),
    "licenses.create activates": lambda hub, time: hub.licenses.create({}, activates=time),
    "licenses.create expires": lambda hub, time: hub.licenses.create({}, expires=time),
    "licenses.update activates": lambda hub, time: hub.licenses.update("l", activates=time),
    "licenses.update expires": lambda hub, time: hub.licenses.update("l", expires=time),
    "org.createToken expire": lambda hub, time: hub.org.create_token(A, time),
    "messages.get cutoff": lambda hub, time: hub.messages.get(cutoff=time),
    "audit.list since": lambda hub, time: hub.audit.list(since=time),
    "audit.list until": lambda hub, time: list(hub.audit.entries(until=time)),
    "snapshots.create expire": lambda hub, time: hub.project(P).snapshots.create(expire=time),
}
"""Every call that takes a time, by its name and that of the argument."""


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (datetime(2027, 1, 31, 12, 0, 0, 1999, UTC), "2027-01-31T12:00:00.001Z"),
        (datetime(2027, 1, 31, 12, tzinfo=timezone(timedelta(hours=5))), "2027-01-31T07:00:00.000Z"),
        ("2027-01-31", "2027-01-31"),
        (1_800_000_000_000, 1_800_000_000_000),
    ],
)
def test_times_are_datetimes_too(hub: Hub, wire: Wire, name: str, given: Any, sent: Any) -> None:
    method, argument = name.split()
    wire.answers([] if method in ("system.manageApiKeys", "messages.get") else {"entries": [], "next": None})
    TIMES[name](hub, given)
    told = wire.bodies[-1]["args"][0]
    told = told["query"]["project_invite_tokens"] if method == "db.userQuery" else told
    assert (wire.bodies[-1]["name"], told[argument]) == (method, sent)


@pytest.mark.parametrize("name", TIMES)
def test_a_datetime_that_does_not_say_where_is_refused(hub: Hub, wire: Wire, name: str) -> None:
    argument = name.split()[1]
    with pytest.raises(InvalidArgument, match=f"^{argument} is 2027-01-31T00:00:00, a datetime without a time zone"):
        TIMES[name](hub, datetime(2027, 1, 31))
    assert wire.bodies == []


def test_versions_of_a_file(hub: Hub, wire: Wire) -> None:
    wire.answers(HISTORY)
    first, second = hub.sync.history(P, "a")
    assert (first["seq"], first["account_id"], first["is_snapshot"]) == (3, A, True)
    assert (second["seq"], second["account_id"], second["is_snapshot"]) == (4, None, False)
    assert (second["time"], second["event"]) == (104, "written")
    wire.answers(HISTORY)
    assert hub.sync.text(P, "a") == "one 😀"
    wire.answers(HISTORY | {"patches": HISTORY["patches"][:1]})
    assert hub.sync.text(P, "a", 3) == "one"
    assert wire.bodies[-1]["args"] == [{"project_id": P, "path": "a", "end_seq": 3}]


@pytest.mark.parametrize(
    ("reply", "seq", "text"),
    [
        (HISTORY, 5, "no version 5 of 'a': those from 3 to 4 are kept"),
        (HISTORY | {"patches": []}, 1, "no version 1 of 'a': those from 3 to 4 are kept"),
        ({"patches": [], "info": {}}, None, "no version of 'a': it has no history"),
    ],
)
def test_versions_that_are_not_there(hub: Hub, wire: Wire, reply: Any, seq: int | None, text: str) -> None:
    wire.answers(reply)
    with pytest.raises(NotFound, match=text):
        hub.sync.text(P, "a", seq)


def test_a_history_that_does_not_fit_together(hub: Hub, wire: Wire) -> None:
    wire.answers(HISTORY | {"patches": HISTORY["patches"][1:]})
    with pytest.raises(ProtocolError, match="does not fit together"):
        hub.sync.text(P, "a")
