"""Shapes of the wire: what goes in as arguments, what comes back. Standard library only.

Arguments are dataclasses (the hub validates them, the client fills them in); replies are typed dictionaries, because on
the wire and in the client they are plain JSON objects. Times are ISO-8601 UTC strings unless a name ends in ``_ts``,
or is `now` or `server_time`: those are milliseconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

StateWord = Literal["running", "stopped", "starting", "stopping", "restarting", "error"]


# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NoArguments:
    """A method without arguments; whatever is sent is ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """`system.getNames`: the one argument is the list itself."""

    account_ids: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Customize:
    """`system.getCustomize`: the one argument is the list of fields; None: all."""

    fields: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSearch:
    """`system.userSearch`."""

    query: str = ""
    limit: int = 20
    admin: bool = False
    only_email: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ManageApiKeys:
    """`system.manageApiKeys`. `expire`: ISO string or milliseconds since the epoch."""

    action: str = "get"
    project_id: str | None = None
    name: str | None = None
    expire: str | int | None = None
    id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserQuery:
    """`db.userQuery`; section 3 of the contract says what the two may hold."""

    query: Any = None
    options: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateProject:
    """`projects.createProject`. `ephemeral` is a lifetime in milliseconds.

    `customize` may hold `disableInternet`, and `license`, which is added to the other. `template_id`: a project.
    `course` makes it a student's project in a course: `project_id` of the course, `student`, the id in its roster, and
    perhaps `path`, `email_address`, `account_id`.
    """

    title: str | None = None
    description: str | None = None
    license: str | None = None
    public_path_id: str | None = None
    image: str | None = None
    start: bool = False
    ephemeral: int | None = None
    project_id: str | None = None
    customize: dict[str, Any] | None = None
    course: dict[str, Any] | None = None
    template_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPath:
    """`projects.copyPathBetweenProjects`. Paths are relative to the homes; `timeout` is in seconds."""

    src_project_id: str | None = None
    src_path: str | None = None
    target_project_id: str | None = None
    target_path: str | None = None
    overwrite_newer: bool = False
    delete_missing: bool = False
    backup: bool = False
    exclude: list[str] | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCollaborator:
    """`projects.addCollaborator`, under `opts`: scalars, or lists of equal length. `group`: what they become."""

    project_id: str | list[str] | None = None
    account_id: str | list[str] | None = None
    token_id: str | list[str | None] | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveCollaborator:
    """`projects.removeCollaborator`, under `opts`: scalars, or lists of equal length."""

    project_id: str | list[str] | None = None
    account_id: str | list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeUserType:
    """`projects.changeUserType`, under `opts`."""

    project_id: str | None = None
    target_account_id: str | None = None
    new_group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """`projects.handOver`: `account_id` becomes an owner, the caller a `new_group`."""

    project_id: str | None = None
    account_id: str | None = None
    new_group: str = "collaborator"


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteCollaborator:
    """`projects.inviteCollaborator`, under `opts`: of somebody who has an account. `email` is the text of a mail."""

    project_id: str | None = None
    account_id: str | None = None
    group: str | None = None
    title: str | None = None
    link2proj: str | None = None
    replyto: str | None = None
    replyto_name: str | None = None
    email: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteWithoutAccount:
    """`projects.inviteCollaboratorWithoutAccount`, under `opts`. `to`: e-mail addresses, parted by commas or blanks."""

    project_id: str | None = None
    to: str | None = None
    group: str | None = None
    title: str | None = None
    link2proj: str | None = None
    replyto: str | None = None
    replyto_name: str | None = None
    email: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectOnly:
    """A method about one project."""

    project_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetQuotas:
    """`projects.setQuotas`. Sizes in MB, `cpu_shares` in 1/1024 of a core, `mintime` in seconds.

    `network`, `member_host` and `always_running` are 0 or 1.
    """

    project_id: str | None = None
    memory: float | None = None
    memory_request: float | None = None
    cpu_shares: float | None = None
    cores: float | None = None
    disk_quota: float | None = None
    mintime: float | None = None
    network: float | None = None
    member_host: float | None = None
    always_running: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectLicense:
    """`projects.addLicense` and `projects.removeLicense`."""

    project_id: str | None = None
    license_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateLicense:
    """`licenses.create`. `activates` and `expires`: ISO string, milliseconds since the epoch, or ``now``, ``never``."""

    quota: dict[str, Any]
    title: str = ""
    description: str = ""
    run_limit: int | None = None
    activates: str | int | None = None
    expires: str | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListLicenses:
    """`licenses.list`. `after`: the last id of the page before."""

    limit: int = 100
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseOnly:
    """A method about one license."""

    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateLicense:
    """`licenses.update`: what is given changes. `quota` is merged, a null in it takes its key away; `run_limit` 0: any.

    `activates` and `expires` as in `CreateLicense`.
    """

    id: str | None = None
    quota: dict[str, Any] | None = None
    title: str | None = None
    description: str | None = None
    run_limit: int | None = None
    activates: str | int | None = None
    expires: str | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAccount:
    """`accounts.create`: beyond the existing wire, for the operator."""

    email_address: str
    first_name: str = ""
    last_name: str = ""
    admin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOnly:
    """`accounts.get`: an account's id or e-mail address; default: the caller."""

    account_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAccount:
    """`accounts.update`: what is not given stays. `account_id` as of `AccountOnly`; others are for site admins."""

    account_id: str | None = None
    email_address: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    admin: bool | None = None
    disabled: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAccount:
    """`accounts.delete`. `account_id` as of `AccountOnly`, but to be given.

    `projects` says what becomes of those that have no other owner: ``refuse``, ``delete``, or who gets them, as an
    account's id or e-mail address.
    """

    account_id: str
    projects: str = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPassword:
    """`accounts.setPassword`. `account_id` as of `AccountOnly`; `current_password`: to change one's own."""

    password: str
    account_id: str | None = None
    current_password: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """`accounts.signIn`."""

    email_address: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOut:
    """`accounts.signOut`: ends this session, or all of the account."""

    everywhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRoster:
    """`accounts.importRoster`. Each row holds `email_address`, and perhaps `line`, names, `role` and `disabled`."""

    rows: list[dict[str, Any]]
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAccounts:
    """`accounts.list`. `after`: the last account_id of the page before."""

    query: str | None = None
    limit: int = 100
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateKey:
    """`keys.create`. `account_id` (site admins) may be an account's id or e-mail address; default: the caller.

    `scopes` is some of read, run, write and manage; default: those of the key that calls.
    """

    account_id: str | None = None
    project_id: str | None = None
    name: str = ""
    expire: str | int | None = None
    scopes: list[str] | None = None
    calls_per_minute: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateKey:
    """`keys.update`: what is not given stays. `expire` may be ``never``, `calls_per_minute` 0 for any number."""

    id: int
    name: str | None = None
    expire: str | int | None = None
    scopes: list[str] | None = None
    calls_per_minute: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListKeys:
    """`keys.list`: those of an account (default: the caller's), or of a project."""

    account_id: str | None = None
    project_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeKey:
    """`keys.revoke`."""

    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Arguments of `system.listing`."""

    path: str = ""
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTextFile:
    """Arguments of `system.readTextFileFromProject`."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteTextFile:
    """Arguments of `system.writeTextFileToProject`."""

    path: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteFiles:
    """Arguments of `system.deleteFiles`."""

    paths: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveFiles:
    """Arguments of `system.moveFiles`."""

    paths: list[str]
    dest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameFile:
    """Arguments of `system.renameFile`."""

    src: str
    dest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RealPath:
    """Argument of `system.realpath`, which is the path itself."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalPaths:
    """Argument of `system.canonicalPaths`, which is the list itself."""

    paths: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec:
    """`system.exec` of a project. `timeout` is in seconds, `max_output` in characters for each stream."""

    command: str
    args: list[str] | None = None
    path: str | None = None
    cwd: str | None = None
    timeout: float | None = None
    max_output: int | None = None
    bash: bool | None = None
    env: dict[str, str] | None = None
    err_on_exit: bool | None = None
    aggregate: str | int | None = None
    async_call: bool | None = None
    async_get: str | None = None
    async_await: bool | None = None
    async_stats: bool | None = None
    compute_server_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JupyterSpecs:
    """`jupyter.kernels`."""

    project_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JupyterRun:
    """`jupyter.execute`. ``history`` runs first, its output is dropped; ``path`` is the directory to run in."""

    input: str | None = None
    kernel: str | None = None
    history: list[str] | None = None
    project_id: str | None = None
    path: str | None = None
    hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JupyterExecute:
    """`system.jupyterExecute` of a project. ``limits``: ``timeout_s``, ``total_timeout_s``, ``max_output_bytes``."""

    input: str
    kernel: str
    history: list[str] | None = None
    path: str | None = None
    pool: dict[str, Any] | None = None
    limits: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopJupyterKernel:
    """`system.stopJupyterKernel` of a project."""

    pid: int


# -- replies ---------------------------------------------------------------------------------------


class Ping(TypedDict):
    """Reply of `system.ping`."""

    now: int


class Test(TypedDict):
    """Reply of `system.test`: whose key it is."""

    account_id: NotRequired[str]
    project_id: NotRequired[str]
    server_time: int


class UserName(TypedDict):
    """One value of `system.getNames`."""

    first_name: str
    last_name: str
    profile: NotRequired[dict[str, Any] | None]


class User(TypedDict):
    """One row of `system.userSearch`; times in milliseconds since the epoch."""

    account_id: str
    first_name: str
    last_name: str
    name: str | None
    email_address: NotRequired[str | None]
    last_active: int | None
    created: int | None
    email_address_verified: bool | None


class ApiKey(TypedDict):
    """One row of `system.manageApiKeys` and `keys.list`; `secret` only in the answer that made it."""

    id: int
    account_id: str
    project_id: NotRequired[str | None]
    expire: str | None
    created: str
    name: str
    trunc: str
    last_active: str | None
    scopes: list[str]
    calls_per_minute: int | None
    secret: NotRequired[str]


class Account(TypedDict):
    """One row of `accounts.list`, and the reply of `accounts.create`, `get` and `update`."""

    account_id: str
    email_address: str | None
    first_name: str
    last_name: str
    admin: bool
    disabled: bool
    deleted: bool
    created: str
    last_active: str | None


class DeletedAccount(TypedDict):
    """Reply of `accounts.delete`: what became of the account's own projects, by their ids."""

    account_id: str
    deleted: Literal[True]
    projects_deleted: list[str]
    projects_handed_over: list[str]


class PasswordSet(TypedDict):
    """Reply of `accounts.setPassword`."""

    account_id: str
    password_set: Literal[True]


class SignedIn(TypedDict):
    """Reply of `accounts.signIn`: `secret` is used like an API key until `expire`, an ISO time."""

    account_id: str
    secret: str
    expire: str


class SignedOut(TypedDict):
    """Reply of `accounts.signOut`."""

    signed_out: Literal[True]


class RosterRow(TypedDict):
    """What a roster does to one account: `changes` from a field to its value before and after."""

    line: int
    email_address: str
    action: Literal["create", "change"]
    changes: dict[str, list[Any]]


class RosterReport(TypedDict):
    """Reply of `accounts.importRoster`; of a dry run, what the run would do."""

    dry_run: bool
    created: int
    changed: int
    unchanged: int
    rows: list[RosterRow]


class ProjectState(TypedDict):
    """Reply of `projects.state`, and of start, stop and touch.

    `time` is the last change; `ip` only when running; `error` only in state ``error``.
    """

    state: StateWord
    time: str
    ip: NotRequired[str]
    error: NotRequired[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAllProjects:
    """`projects.listAll`. `after`: the `next` of the page before."""

    limit: int = 100
    after: str | None = None


class StoppedAll(TypedDict):
    """Reply of `projects.stopAll`: how many were stopped, and why others were not, by project id."""

    stopped: int
    failed: dict[str, str]


class ProcessId(TypedDict):
    """The nested form of ``project.pid``."""

    pid: int


class Memory(TypedDict):
    """Memory of all processes of a project in MB; `limit` only where one is in force."""

    count: int
    pss: float
    rss: float
    swap: float
    uss: float
    limit: NotRequired[float]


class Cpu(TypedDict):
    """Processor seconds of a project since it was started."""

    usage: float


class Idle(TypedDict):
    """Reply of `projects.idle`, and `idle` in a status: of a project that runs, since when it is not used.

    `would_stop_at` is null where something keeps it from being stopped, which `blocked_by` tells; `because` is the last
    sign of use. Times are in seconds.
    """

    idle_for_s: int
    idle_timeout_s: int | None
    would_stop_at: str | None
    because: str
    blocked_by: list[str]


class EnforcedBy(TypedDict):
    """By what a project is held to each of its limits; null: by nothing on this machine."""

    memory: str | None
    cpu: str | None
    processes: str | None


class ProjectLimits(TypedDict):
    """What a project may use at most: memory in MB, processors in cores."""

    memory_MB: int | None
    cpu: float | None
    processes: int | None
    enforced_by: EnforcedBy


# The flat key ``project.pid`` cannot be a class attribute, hence the functional form.
_StatusFlat = TypedDict("_StatusFlat", {"project.pid": int}, total=False)


class ProjectStatus(_StatusFlat, total=False):
    """Reply of `projects.status`; of a project that does not run only what begins with `disk_`."""

    project: ProcessId
    start_ts: int
    session_id: str
    version: int
    disk_MB: int
    disk_quota_MB: int
    disk_age_s: int
    disk_full: Literal[True]
    snapshots_MB: int
    undo_MB: int
    memory: Memory
    cpu: Cpu
    oom_kills: int
    idle: Idle
    idle_timeout_s: int
    would_stop_at: str
    isolation: str
    network: str
    limits: ProjectLimits


class Member(TypedDict):
    """One value of a project's `users`."""

    group: Literal["owner", "collaborator", "viewer"]
    hide: NotRequired[bool]
    upgrades: NotRequired[dict[str, Any]]
    ssh_keys: NotRequired[dict[str, Any]]


class RowState(TypedDict, total=False):
    """`state` in a project row: as `ProjectState`, but ``opened`` stands for stopped."""

    state: str
    time: str
    ip: str
    error: str


class ProjectRow(TypedDict, total=False):
    """A row of `projects.get` with the default fields; others appear when they are asked for."""

    project_id: str
    title: str
    description: str
    last_edited: str
    created: str
    state: RowState
    deleted: bool
    users: dict[str, Member]


class ProjectPage(TypedDict):
    """Reply of `projects.listAll`; `next` is null if there are no more."""

    projects: list[ProjectRow]
    next: str | None


class LogEntry(TypedDict):
    """One thing that happened in a project; without `account_id`: the hub did it. `time` is an ISO time.

    `event["event"]` is the kind: ``project_created``, ``project_edited``, ``invite_user``, ``path_copied`` and so on;
    what else stands in there depends on it.
    """

    id: int
    project_id: str
    time: str
    event: dict[str, Any]
    account_id: NotRequired[str]


class License(TypedDict):
    """A license. `running`: how many projects run with it now; `projects`, only from `licenses.get`: which."""

    id: str
    title: str
    description: str
    quota: dict[str, Any]
    run_limit: int | None
    activates: str | None
    expires: str | None
    created: str
    status: str
    running: int
    projects: NotRequired[list[str]]


class LicenseChange(TypedDict):
    """Reply of `projects.addLicense` and `projects.removeLicense`.

    `needs_restart`: whether the project runs, so that the change counts from its next start on.
    """

    project_id: str
    license_id: str
    attached: bool
    needs_restart: bool


class Deleted(TypedDict):
    """Reply of `projects.deleteProject`."""

    project_id: str
    deleted: Literal[True]


class HandedOver(TypedDict):
    """Reply of `projects.handOver`: the new owner, and what the caller is now."""

    project_id: str
    owner: str
    group: str


MailState = Literal["queued", "recent", "none"]


class InvitedPerson(TypedDict):
    """One of those invited.

    `state`: ``added`` now, or a ``member`` before; or, of whom no account is known, ``invited``. `mail`: ``queued``,
    ``recent`` (they had one lately), or ``none``: pass the `link` on yourself.
    """

    email_address: NotRequired[str]
    account_id: NotRequired[str]
    state: Literal["added", "member", "invited"]
    mail: MailState
    link: str


class Invited(TypedDict):
    """Reply of `projects.inviteCollaborator` and `projects.inviteCollaboratorWithoutAccount`."""

    project_id: str
    invited: list[InvitedPerson]


class InviteToken(TypedDict):
    """A row of the table `project_invite_tokens`. `email_address`: whom it was made for; times are ISO times."""

    token: str
    project_id: str
    account_id: str
    group: str
    created: str
    counter: int
    usage_limit: NotRequired[int]
    expires: NotRequired[str]
    email_address: NotRequired[str]


class AddedCollaborators(TypedDict):
    """Reply of `projects.addCollaborator`: a list, unless one token was given that was in no list."""

    project_id: str | list[str]


class RemovedCollaborator(TypedDict):
    """Reply of `projects.removeCollaborator`; lists if lists were given."""

    project_id: str | list[str]
    account_id: str | list[str]


class CopySummary(TypedDict):
    """Reply of `projects.copyPathBetweenProjects`.

    `files` and `bytes` were written; `skipped` counts devices, sockets and pipes, `kept_newer` files that are newer in
    the target and were left (`kept_newer_paths` names the first 100), `unchanged` files that were equal already.
    """

    files: int
    bytes: int
    skipped: int
    unchanged: int
    kept_newer: int
    kept_newer_paths: list[str]
    deleted: int
    backed_up: int
    seconds: float


class ExecResult(TypedDict):
    """Reply of `system.exec`; of an asynchronous call with its id, and how it stands with it now.

    `start` in milliseconds since the epoch; `status` is `running`, `completed` or `error`.
    """

    type: Literal["blocking", "async"]
    stdout: str
    stderr: str
    exit_code: int
    job_id: NotRequired[str]
    start: NotRequired[int]
    status: NotRequired[str]
    pid: NotRequired[int]
    elapsed_s: NotRequired[float]
    stats: NotRequired[list[dict[str, Any]]]


class JupyterKernelSpec(TypedDict):
    """One kernel of `jupyter.kernels`: what Jupyter calls its specification."""

    name: str
    display_name: str
    language: str
    env: dict[str, str]
    metadata: dict[str, Any]
    resource_dir: str
    argv: list[str]
    interrupt_mode: NotRequired[str]


class JupyterOutput(TypedDict, total=False):
    """One output: of a stream (`name`, `text`), something shown (`data`), or an error (`ename` and so on)."""

    output_type: str
    name: str
    text: str | list[str]
    data: dict[str, Any]
    metadata: dict[str, Any]
    transient: dict[str, Any]
    ename: str
    evalue: str
    traceback: list[str]


class JupyterResult(TypedDict):
    """Reply of `jupyter.execute`; `created` is an ISO time."""

    output: list[JupyterOutput]
    created: str


class RunningKernel(TypedDict):
    """One kernel of `system.listJupyterKernels`."""

    pid: int
    connectionFile: str
    kernel_name: NotRequired[str]


class StoppedKernel(TypedDict):
    """Reply of `system.stopJupyterKernel`."""

    success: bool


class Revoked(TypedDict):
    """Reply of `keys.revoke`."""

    id: int
    revoked: Literal[True]


class FileEntry(TypedDict):
    """One entry of the reply of `system.listing`.

    `size` is in bytes, for a directory the number of its entries; `mtime` in seconds since the epoch. `isdir` holds for
    symlinks to directories, too.
    """

    name: str
    size: int
    mtime: float
    isdir: NotRequired[Literal[True]]
    issymlink: NotRequired[Literal[True]]
    link_target: NotRequired[str]
    error: NotRequired[str]


class FileInfo(TypedDict):
    """One thing in a home, as the native routes tell it: `kind` is file, directory, symlink or other; bytes of a file.

    `bytes` of a directory is the number of its entries; `modified_at` an ISO time. `encoded_name`, of a name that is no
    UTF-8, are its bytes, percent-encoded.
    """

    name: str
    kind: str
    bytes: int
    modified_at: str
    mode: int
    is_directory: bool
    link_target: str | None
    error: str | None
    encoded_name: str | None


class WrittenFile(TypedDict):
    """A file that was written; `etag` names this state of it."""

    path: str
    bytes: int
    etag: str


class TrashEntry(TypedDict):
    """One thing in the trash of a project; times are ISO times."""

    id: str
    path: str
    is_directory: bool
    bytes: int
    deleted_at: str
    deleted_by: str
    expires_at: str
