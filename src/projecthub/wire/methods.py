"""The table of methods: the one place that says which calls exist.

Router, client, command line, documentation and conformance tests are held to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from projecthub.wire import (
    audit,
    copies,
    courses,
    histories,
    messages,
    organizations,
    project_system,
    shapes,
    sharing,
    snapshots,
)


class Endpoint(StrEnum):
    """The path a method is called at."""

    HUB = "/api/conat/hub"
    PROJECT = "/api/conat/project"


class Caller(StrEnum):
    """Who may call a method at all; the hub's rules refine it."""

    ANYONE = "anyone, without a key"
    ACCOUNT = "any account"
    MEMBER = "an owner or collaborator of the project"
    ORGANIZER = "an admin of the organization, or a site admin"
    ADMIN = "a site admin"


class Ability(StrEnum):
    """What a call does, as far as rights are concerned: a person's role and the scopes of a key are sets of these."""

    READ = "read"
    """Look at things."""
    RUN = "run"
    """Start and stop projects, run code in them."""
    WRITE = "write"
    """Change files."""
    MANAGE = "manage"
    """Change projects, people, keys, licenses."""


ALL_ABILITIES: Final = frozenset(Ability)

READ, RUN, WRITE, MANAGE = Ability.READ, Ability.RUN, Ability.WRITE, Ability.MANAGE


class Form(StrEnum):
    """How the arguments stand in ``args``."""

    OBJECT = "one object"
    OPTS = "one object that holds them under `opts`"
    LIST = "the list itself as the first argument"


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table.

    Attributes:
        name: Wire name, ``group.function``.
        endpoint: Where it is called.
        arguments: Dataclass of its arguments.
        reply: Type of its reply.
        caller: Who may call it.
        needs: What the caller must be able to do, by role and by key.
        source: Where it is specified.
        form: How the arguments stand on the wire.
        notes: Whether it changes what no ability stands for: sessions, or who has used what.
    """

    name: str
    endpoint: Endpoint
    arguments: type
    reply: Any
    caller: Caller
    needs: Ability
    source: str
    form: Form = Form.OBJECT
    notes: bool = False

    @property
    def is_mutating(self) -> bool:
        """Whether its calls may change something. Those of `db.userQuery` do if their arguments say so."""
        return self.needs is not Ability.READ or self.notes


def _file(name: str, arguments: type, reply: Any, needs: Ability, form: Form = Form.OBJECT) -> Method:
    source = "Wire contract 5.5"
    return Method(f"system.{name}", Endpoint.PROJECT, arguments, reply, Caller.MEMBER, needs, source, form)


def _hub(
    name: str, arguments: type, reply: Any, caller: Caller, needs: Ability, source: str, form: Form = Form.OBJECT
) -> Method:
    return Method(name, Endpoint.HUB, arguments, reply, caller, needs, source, form)


def _copies(name: str, arguments: type, reply: Any, needs: Ability) -> Method:
    return _hub(f"copies.{name}", arguments, reply, Caller.ACCOUNT, needs, "docs/wire-extensions.md")


def _org(name: str, arguments: type, reply: Any, caller: Caller, needs: Ability) -> Method:
    return Method(f"org.{name}", Endpoint.HUB, arguments, reply, caller, needs, "Wire contract 5.4")


def _snapshots(name: str, arguments: type, reply: Any, needs: Ability) -> Method:
    return _hub(f"snapshots.{name}", arguments, reply, Caller.MEMBER, needs, "docs/wire-extensions.md")


_ROWS: Final = (
    _hub("system.ping", shapes.NoArguments, shapes.Ping, Caller.ACCOUNT, READ, "Wire contract 5.1"),
    _hub("system.test", shapes.NoArguments, shapes.Test, Caller.ACCOUNT, READ, "Wire contract 5.1"),
    _hub("system.getNames", shapes.Names, dict[str, shapes.UserName], Caller.ACCOUNT, READ, "Wire contract 5.1",
         Form.LIST),
    _hub("system.userSearch", shapes.UserSearch, list[shapes.User], Caller.ACCOUNT, READ, "Wire contract 5.1"),
    _hub("system.manageApiKeys", shapes.ManageApiKeys, list[shapes.ApiKey] | None, Caller.ACCOUNT, MANAGE,
         "Wire contract 1.3"),
    _hub("system.getCustomize", shapes.Customize, dict[str, Any], Caller.ACCOUNT, READ, "Wire contract 5.1", Form.LIST),
    _hub("system.generateUserAuthToken", organizations.GenerateUserAuthToken, str, Caller.ACCOUNT, MANAGE,
         "Wire contract 5.1"),
    _hub("system.adminResetPasswordLink", organizations.AdminResetPasswordLink, str, Caller.ADMIN, MANAGE,
         "Wire contract 5.1"),
    _hub("system.revokeUserAuthToken", organizations.RevokeUserAuthToken, None, Caller.ACCOUNT, MANAGE,
         "Wire contract 5.1", Form.LIST),
    _hub("db.userQuery", shapes.UserQuery, dict[str, Any] | list[Any], Caller.ACCOUNT, READ, "Wire contract 3"),
    _hub("projects.createProject", shapes.CreateProject, str, Caller.ACCOUNT, MANAGE, "Wire contract 2.2"),
    _hub("projects.clone", sharing.CloneProject, str, Caller.MEMBER, MANAGE, "docs/wire-extensions.md"),
    _hub("projects.setTemplate", sharing.SetTemplate, sharing.TemplateSet, Caller.MEMBER, MANAGE,
         "docs/wire-extensions.md"),
    _hub("projects.templates", shapes.NoArguments, list[sharing.Template], Caller.ACCOUNT, READ,
         "docs/wire-extensions.md"),
    _hub("shares.list", sharing.ListShares, list[sharing.Share], Caller.ACCOUNT, READ, "docs/wire-extensions.md"),
    _hub("shares.get", sharing.ShareOnly, sharing.Share, Caller.ACCOUNT, READ, "docs/wire-extensions.md"),
    _hub("shares.copy", sharing.CopyShare, shapes.CopySummary, Caller.ACCOUNT, WRITE, "docs/wire-extensions.md"),
    _hub("projects.copyPathBetweenProjects", shapes.CopyPath, shapes.CopySummary, Caller.MEMBER, WRITE,
         "Wire contract 2.3"),
    _hub("projects.copyPaths", copies.CopyPaths, copies.CopyOperation, Caller.MEMBER, WRITE, "docs/wire-extensions.md"),
    _copies("plan", copies.PlanCopies, copies.CopyOperation, WRITE),
    _copies("files", copies.CopyFiles, copies.PlannedFiles, READ),
    _copies("apply", copies.ApplyCopies, copies.CopyOperation, WRITE),
    _copies("get", copies.GetCopies, copies.CopyOperation, READ),
    _copies("list", copies.ListCopies, list[copies.CopyOperation], READ),
    _copies("cancel", copies.CancelCopies, copies.CopyOperation, WRITE),
    _copies("retry", copies.RetryCopies, copies.CopyOperation, WRITE),
    _copies("undo", copies.UndoCopies, copies.CopyOperation, WRITE),
    _copies("forget", copies.ForgetCopies, copies.ForgottenCopies, MANAGE),
    _hub("projects.addCollaborator", shapes.AddCollaborator, shapes.AddedCollaborators, Caller.MEMBER, MANAGE,
         "Wire contract 2.4", Form.OPTS),
    _hub("projects.removeCollaborator", shapes.RemoveCollaborator, shapes.RemovedCollaborator, Caller.MEMBER, MANAGE,
         "Wire contract 2.5", Form.OPTS),
    _hub("projects.changeUserType", shapes.ChangeUserType, None, Caller.MEMBER, MANAGE, "Wire contract 5.2", Form.OPTS),
    _hub("projects.handOver", shapes.HandOver, shapes.HandedOver, Caller.MEMBER, MANAGE, "docs/wire-extensions.md"),
    _hub("projects.inviteCollaborator", shapes.InviteCollaborator, shapes.Invited, Caller.MEMBER, MANAGE,
         "Wire contract 5.2", Form.OPTS),
    _hub("projects.inviteCollaboratorWithoutAccount", shapes.InviteWithoutAccount, shapes.Invited, Caller.MEMBER,
         MANAGE, "Wire contract 5.2", Form.OPTS),
    _hub("projects.ofCourse", courses.CourseOnly, list[courses.CourseProject], Caller.MEMBER, READ,
         "docs/wire-extensions.md"),
    _hub("projects.start", shapes.ProjectOnly, shapes.ProjectState, Caller.MEMBER, RUN, "Wire contract 2.6"),
    _hub("projects.stop", shapes.ProjectOnly, shapes.ProjectState, Caller.MEMBER, RUN, "Wire contract 2.7"),
    _hub("projects.restart", shapes.ProjectOnly, shapes.ProjectState, Caller.MEMBER, RUN, "docs/wire-extensions.md"),
    _hub("projects.listAll", shapes.ListAllProjects, shapes.ProjectPage, Caller.ADMIN, READ, "docs/wire-extensions.md"),
    _hub("projects.stopAll", shapes.NoArguments, shapes.StoppedAll, Caller.ADMIN, MANAGE, "docs/wire-extensions.md"),
    _hub("projects.deleteProject", shapes.ProjectOnly, shapes.Deleted, Caller.MEMBER, MANAGE, "Wire contract 2.8"),
    _hub("projects.state", shapes.ProjectOnly, shapes.ProjectState, Caller.MEMBER, READ, "Wire contract 2.9"),
    _hub("projects.status", shapes.ProjectOnly, shapes.ProjectStatus, Caller.MEMBER, READ, "Wire contract 2.10"),
    _hub("projects.idle", shapes.ProjectOnly, shapes.Idle, Caller.MEMBER, READ, "docs/wire-extensions.md"),
    _hub("projects.touch", shapes.ProjectOnly, shapes.ProjectState, Caller.MEMBER, RUN, "Wire contract 2.11"),
    _hub("projects.setQuotas", shapes.SetQuotas, None, Caller.ADMIN, MANAGE, "Wire contract 5.2"),
    _hub("projects.addLicense", shapes.ProjectLicense, shapes.LicenseChange, Caller.MEMBER, MANAGE,
         "docs/wire-extensions.md"),
    _hub("projects.removeLicense", shapes.ProjectLicense, shapes.LicenseChange, Caller.MEMBER, MANAGE,
         "docs/wire-extensions.md"),
    _hub("licenses.create", shapes.CreateLicense, shapes.License, Caller.ADMIN, MANAGE, "docs/wire-extensions.md"),
    _hub("licenses.list", shapes.ListLicenses, list[shapes.License], Caller.ADMIN, READ, "docs/wire-extensions.md"),
    _hub("licenses.get", shapes.LicenseOnly, shapes.License, Caller.ADMIN, READ, "docs/wire-extensions.md"),
    _hub("licenses.update", shapes.UpdateLicense, shapes.License, Caller.ADMIN, MANAGE, "docs/wire-extensions.md"),
    _hub("licenses.end", shapes.LicenseOnly, shapes.License, Caller.ADMIN, MANAGE, "docs/wire-extensions.md"),
    _hub("accounts.create", shapes.CreateAccount, shapes.Account, Caller.ADMIN, MANAGE, "docs/wire-extensions.md"),
    _hub("accounts.list", shapes.ListAccounts, list[shapes.Account], Caller.ADMIN, READ, "docs/wire-extensions.md"),
    _hub("accounts.get", shapes.AccountOnly, shapes.Account, Caller.ACCOUNT, READ, "docs/wire-extensions.md"),
    _hub("accounts.update", shapes.UpdateAccount, shapes.Account, Caller.ACCOUNT, MANAGE, "docs/wire-extensions.md"),
    _hub("accounts.delete", shapes.DeleteAccount, shapes.DeletedAccount, Caller.ACCOUNT, MANAGE,
         "docs/wire-extensions.md"),
    _hub("accounts.importRoster", shapes.ImportRoster, shapes.RosterReport, Caller.ADMIN, MANAGE,
         "docs/wire-extensions.md"),
    _hub("accounts.setPassword", shapes.SetPassword, shapes.PasswordSet, Caller.ACCOUNT, MANAGE,
         "docs/wire-extensions.md"),
    Method("accounts.signIn", Endpoint.HUB, shapes.SignIn, shapes.SignedIn, Caller.ANYONE, READ,
           "docs/wire-extensions.md", notes=True),
    Method("accounts.signOut", Endpoint.HUB, shapes.SignOut, shapes.SignedOut, Caller.ACCOUNT, READ,
           "docs/wire-extensions.md", notes=True),
    _hub("keys.create", shapes.CreateKey, shapes.ApiKey, Caller.ACCOUNT, MANAGE, "docs/wire-extensions.md"),
    _hub("keys.list", shapes.ListKeys, list[shapes.ApiKey], Caller.ACCOUNT, READ, "docs/wire-extensions.md"),
    _hub("keys.update", shapes.UpdateKey, shapes.ApiKey, Caller.ACCOUNT, MANAGE, "docs/wire-extensions.md"),
    _hub("keys.revoke", shapes.RevokeKey, shapes.Revoked, Caller.ACCOUNT, MANAGE, "docs/wire-extensions.md"),
    _hub("audit.list", audit.ListAudit, audit.AuditPage, Caller.ADMIN, READ, "docs/wire-extensions.md"),
    _hub("jupyter.kernels", shapes.JupyterSpecs, list[shapes.JupyterKernelSpec], Caller.MEMBER, RUN,
         "Wire contract 5.3"),
    _hub("jupyter.execute", shapes.JupyterRun, shapes.JupyterResult | None, Caller.MEMBER, RUN, "Wire contract 5.3"),
    _hub("sync.history", histories.GetHistory, histories.SyncHistory, Caller.MEMBER, READ, "Wire contract 5.3"),
    _hub("sync.checkpoint", histories.MakeCheckpoint, histories.Checkpoint, Caller.MEMBER, WRITE,
         "docs/wire-extensions.md"),
    Method("db.touch", Endpoint.HUB, histories.Touch, None, Caller.MEMBER, READ, "Wire contract 5.3", notes=True),
    _hub("db.fileUseTimes", histories.FileUseTimes, histories.UseTimes, Caller.MEMBER, READ, "Wire contract 5.3"),
    _hub("purchases.getBalance", shapes.NoArguments, int, Caller.ACCOUNT, READ, "Wire contract 5.3"),
    _hub("purchases.getMinBalance", shapes.NoArguments, int, Caller.ACCOUNT, READ, "Wire contract 5.3"),
    _hub("messages.send", messages.SendMessage, int | None, Caller.ACCOUNT, MANAGE, "Wire contract 5.3"),
    _hub("messages.get", messages.GetMessages, list[messages.Message], Caller.ACCOUNT, READ, "Wire contract 5.3"),
    _org("getAll", shapes.NoArguments, list[organizations.OrganizationRow], Caller.ADMIN, READ),
    _org("create", organizations.OrganizationOnly, str, Caller.ADMIN, MANAGE),
    _org("get", organizations.OrganizationOnly, organizations.Organization, Caller.ORGANIZER, READ),
    _org("set", organizations.SetOrganization, None, Caller.ORGANIZER, MANAGE),
    _org("addAdmin", organizations.OrganizationUser, None, Caller.ADMIN, MANAGE),
    _org("addUser", organizations.OrganizationUser, None, Caller.ADMIN, MANAGE),
    _org("createUser", organizations.CreateOrganizationUser, str, Caller.ORGANIZER, MANAGE),
    _org("getUsers", organizations.OrganizationOnly, list[organizations.Member], Caller.ORGANIZER, READ),
    _org("removeUser", organizations.OrganizationUser, None, Caller.ORGANIZER, MANAGE),
    _org("removeAdmin", organizations.OrganizationUser, None, Caller.ORGANIZER, MANAGE),
    _org("createToken", organizations.CreateToken, organizations.Token, Caller.ORGANIZER, MANAGE),
    _org("expireToken", organizations.ExpireToken, None, Caller.ACCOUNT, MANAGE),
    _org("message", organizations.OrganizationMessage, None, Caller.ORGANIZER, MANAGE),
    _snapshots("create", snapshots.CreateSnapshot, snapshots.Snapshot, WRITE),
    _snapshots("list", snapshots.ListSnapshots, snapshots.SnapshotList, READ),
    _snapshots("diff", snapshots.DiffSnapshot, snapshots.SnapshotDiff, READ),
    _snapshots("restore", snapshots.RestoreSnapshot, snapshots.RestoredSnapshot, WRITE),
    _snapshots("delete", snapshots.DeleteSnapshot, snapshots.DeletedSnapshot, MANAGE),
    Method("system.ping", Endpoint.PROJECT, shapes.NoArguments, shapes.Ping, Caller.MEMBER, READ, "Wire contract 5.5"),
    Method("system.test", Endpoint.PROJECT, shapes.NoArguments, shapes.Test, Caller.MEMBER, READ, "Wire contract 5.5"),
    Method("system.exec", Endpoint.PROJECT, shapes.Exec, shapes.ExecResult, Caller.MEMBER, RUN, "Wire contract 5.6"),
    Method("system.configuration", Endpoint.PROJECT, project_system.Configuration, project_system.Configured,
           Caller.MEMBER, RUN, "Wire contract 5.5", Form.LIST),
    Method("system.signal", Endpoint.PROJECT, project_system.Signal, None, Caller.MEMBER, RUN, "Wire contract 5.5"),
    Method("system.version", Endpoint.PROJECT, shapes.NoArguments, int, Caller.MEMBER, READ, "Wire contract 5.5"),
    Method("ping", Endpoint.PROJECT, shapes.NoArguments, str, Caller.MEMBER, READ, "Wire contract 5.5"),
    _file("listing", shapes.Listing, list[shapes.FileEntry], READ),
    _file("readTextFileFromProject", shapes.ReadTextFile, str, READ),
    _file("writeTextFileToProject", shapes.WriteTextFile, None, WRITE),
    _file("deleteFiles", shapes.DeleteFiles, None, WRITE),
    _file("moveFiles", shapes.MoveFiles, None, WRITE),
    _file("renameFile", shapes.RenameFile, None, WRITE),
    _file("realpath", shapes.RealPath, str, READ, Form.LIST),
    _file("canonicalPaths", shapes.CanonicalPaths, list[str], READ, Form.LIST),
    Method("system.jupyterExecute", Endpoint.PROJECT, shapes.JupyterExecute, list[shapes.JupyterOutput],
           Caller.MEMBER, RUN, "Wire contract 5.5"),
    Method("system.listJupyterKernels", Endpoint.PROJECT, shapes.NoArguments, list[shapes.RunningKernel],
           Caller.MEMBER, RUN, "Wire contract 5.5"),
    Method("system.stopJupyterKernel", Endpoint.PROJECT, shapes.StopJupyterKernel, shapes.StoppedKernel,
           Caller.MEMBER, RUN, "Wire contract 5.5"),
)  # fmt: skip

METHODS: Final[dict[Endpoint, dict[str, Method]]] = {
    endpoint: {row.name: row for row in _ROWS if row.endpoint is endpoint} for endpoint in Endpoint
}
"""All methods, by endpoint and name."""
