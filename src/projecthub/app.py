"""Builds a hub from settings: the only place where rooms are joined."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from projecthub import __version__
from projecthub.api import Services, make_app
from projecthub.engines.local.engine import LocalEngine
from projecthub.engines.local.probe import best_isolation
from projecthub.engines.port import Isolation, Network
from projecthub.errors import Conflict, StartFailed
from projecthub.files import Homes
from projecthub.hub.account_deletions import AccountDeletions
from projecthub.hub.accounts import Accounts
from projecthub.hub.admission import Admission
from projecthub.hub.archives import Archives
from projecthub.hub.audit import Audit
from projecthub.hub.calls import ProjectCalls
from projecthub.hub.cell_log import CellLog
from projecthub.hub.clock import SystemClock
from projecthub.hub.clones import Clones
from projecthub.hub.collaborators import Collaborators
from projecthub.hub.command_log import CommandLog
from projecthub.hub.copies import Copies
from projecthub.hub.courses import Courses
from projecthub.hub.creation import Creation
from projecthub.hub.exports import Exports
from projecthub.hub.figures import Figures
from projecthub.hub.files import Files
from projecthub.hub.homes import ProjectHomes
from projecthub.hub.housekeeping import Housekeeping
from projecthub.hub.idle import Idle
from projecthub.hub.invitations import Invitations
from projecthub.hub.jobs import Jobs
from projecthub.hub.jupyter import Jupyter
from projecthub.hub.jupyter_sessions import JupyterSessions
from projecthub.hub.keys import Keys, digest
from projecthub.hub.licenses import Licenses
from projecthub.hub.lifecycle import Lifecycle
from projecthub.hub.mail import Mail
from projecthub.hub.messages import Messages
from projecthub.hub.organizations import Organizations
from projecthub.hub.passwords import Passwords
from projecthub.hub.project_quotas import ProjectQuotas
from projecthub.hub.projects import Projects
from projecthub.hub.queries import Queries
from projecthub.hub.quotas import QuotaDefaults, Quotas
from projecthub.hub.readiness import Readiness
from projecthub.hub.rosters import Rosters
from projecthub.hub.sessions import Sessions
from projecthub.hub.shared_files import SharedFiles
from projecthub.hub.shares import Shares
from projecthub.hub.sign_in import SignIn
from projecthub.hub.site import Site
from projecthub.hub.smtp import SmtpServer
from projecthub.hub.snapshot_keeping import SnapshotKeeping
from projecthub.hub.snapshot_schedule import SnapshotSchedule
from projecthub.hub.snapshots import Snapshots
from projecthub.hub.sync import Sync
from projecthub.hub.tables import Tools
from projecthub.hub.templates import Templates
from projecthub.hub.trash import Trash
from projecthub.hub.uploads import Uploads
from projecthub.hub.workplaces import Workplaces
from projecthub.store import Store, open_store

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from projecthub.settings import Settings

LEAST_SPARE_UID: Final = 20_000
"""In a container's small range of user ids, those from here on up to `NOBODY` are taken for projects."""
NOBODY: Final = 65_534
ADMIN_KEY_FILE: Final = "admin-key"
URL_FILE: Final = "url"
ADMIN_KEY_NAME: Final = "first admin"


@dataclass(slots=True)
class RunningHub:
    """A hub that is open.

    Attributes:
        app: Its ASGI application.
        isolation: The isolation that is in force.
        network: What projects reach unless they are given more.
        admin_key: The first admin's key, if this data directory knows it.
        admin_key_is_new: Whether it was made just now.
        site: What it tells of itself; whoever serves it says where.
        stop_projects: Whether closing the hub stops all projects; otherwise they run on and are found again.
    """

    app: ASGIApp
    isolation: Isolation
    network: Network
    admin_key: str | None
    admin_key_is_new: bool
    site: Site
    stop_projects: bool = False


@asynccontextmanager
async def open_hub(settings: Settings, *, stop_projects: bool = False) -> AsyncIterator[RunningHub]:
    """Open a hub, and close it at the end.

    Args:
        settings: What the operator set.
        stop_projects: See `RunningHub`; can be changed while it runs.

    Raises:
        Conflict: Another hub has this data directory.
        StartFailed: No isolation although it is required, or the engine cannot run.
    """
    isolation = _isolation(settings)
    async with AsyncExitStack() as stack:
        stack.enter_context(own_data_dir(settings.data_dir))
        clock = SystemClock()
        store = await open_store(settings.url_of_store, clock=clock)
        stack.push_async_callback(store.close)
        await store.claim()
        audit = Audit(store, clock, kept_days=settings.audit_days)
        await audit.open()
        stack.push_async_callback(audit.close)
        uids = _uids(settings) if isolation is Isolation.FULL else None
        quotas = Quotas(quota_defaults(settings), clock)
        bare = isolation is Isolation.NONE
        homes = ProjectHomes(Homes(settings.data_dir / "projects"), uids, quotas.disk_quota_bytes, bare=bare)
        stack.callback(homes.close)
        data_dir = settings.data_dir
        engine = LocalEngine(
            runtime_dir=data_dir / "run",
            isolation=isolation,
            hidden=[data_dir],
            network=_usual_network(settings, isolation),
        )
        keys = Keys(store, clock)
        lifecycle = Lifecycle(store, engine, homes, quotas, clock)
        calls = ProjectCalls(store, clock, lifecycle, engine)
        commands = CommandLog(store, clock)
        workplaces = Workplaces(store, homes, calls, clock)
        histories = workplaces.histories
        cells = CellLog(store, clock, calls, commands)
        jobs = Jobs(calls, lifecycle, homes, commands, histories)
        idle = Idle(store, engine, lifecycle, calls, quotas, clock)
        projects = Projects(store, clock, lifecycle, engine, homes, quotas, idle)
        copies = Copies(store, homes, clock, histories)
        templates, shares = Templates(store, clock), Shares(store, workplaces, copies)
        creation = Creation(store, clock, lifecycle, homes, shares, templates, histories)
        accounts = Accounts(store, clock, keys)
        passwords = Passwords()
        stack.callback(passwords.close)
        licenses = Licenses(store, clock)
        messages, sessions = Messages(store, clock), Sessions(store, clock, keys, passwords)
        sign_in = SignIn(store, clock, keys, sessions, passwords)
        site = Site(
            name=settings.site_name, url=settings.public_url, help_email=settings.help_email, version=__version__
        )
        trash, uploads = Trash(workplaces), Uploads(workplaces)
        keeping = SnapshotKeeping(store, homes, clock, data_dir / "snapshots", percent=settings.snapshot_percent)
        schedule = SnapshotSchedule(store, keeping, clock, hours=settings.snapshot_hours)
        mail = Mail(store, clock, smtp_server(settings), most_a_day=settings.mails_a_day)
        invitations = Invitations(clock, keys, mail, lambda: site.url)
        services = Services(
            clock=clock,
            keys=keys,
            admission=Admission(keys, clock),
            accounts=accounts,
            account_deletions=AccountDeletions(store, clock, keys, projects),
            rosters=Rosters(accounts, keys),
            sessions=sessions,
            creation=creation,
            clones=Clones(store, homes, creation),
            templates=templates,
            shares=shares,
            shared_files=SharedFiles(shares, workplaces),
            exports=Exports(store, workplaces, creation),
            projects=projects,
            collaborators=Collaborators(clock, keys),
            invitations=invitations,
            courses=Courses(store),
            copies=copies,
            queries=Queries(Tools(store=store, clock=clock, projects=projects, licenses=licenses)),
            calls=calls,
            jobs=jobs,
            files=Files(workplaces),
            sync=Sync(store, workplaces),
            archives=Archives(workplaces),
            trash=trash,
            snapshots=Snapshots(store, workplaces, keeping),
            uploads=uploads,
            jupyter=Jupyter(store, clock, calls, commands),
            jupyter_sessions=JupyterSessions(calls, cells),
            licenses=licenses,
            project_quotas=ProjectQuotas(store, clock, quotas, lifecycle),
            organizations=Organizations(store, clock, keys, accounts, creation, passwords, messages, sign_in, site),
            messages=messages,
            sign_in=sign_in,
            audit=audit,
            site=site,
            figures=Figures(store, clock),
            readiness=Readiness(store, engine),
        )
        admin_key, is_new = await _first_admin(settings, store, accounts, keys)
        app, background = make_app(services, settings.metrics)
        help = "Wishes of projects that are under way or wait for their turn."
        services.figures.queue("wishes_waiting", help, lambda: lifecycle.waiting)
        hub = RunningHub(app, isolation, Network.HOST, admin_key, is_new, site, stop_projects)
        await creation.open()
        await copies.open()  # before anybody sees the files
        stack.push_async_callback(copies.close)
        await lifecycle.open()
        stack.push_async_callback(lambda: lifecycle.close(stop_projects=hub.stop_projects))
        hub.network = _network(quotas, engine)  # what it offers is known now
        swept = (
            trash.sweep,
            uploads.sweep,
            mail.sweep,
            invitations.sweep,
            sign_in.sweep,
            audit.sweep,
            histories.sweep,
            copies.sweep,
            schedule.sweep,
        )
        housekeeping = Housekeeping(
            store, clock, keys, projects, lifecycle, idle, jobs, commands, cells, swept, log_kept=_log_kept(settings)
        )
        stack.push_async_callback(schedule.close)
        housekeeping.open()
        stack.callback(jobs.close)
        stack.push_async_callback(housekeeping.close)
        histories.open()
        stack.push_async_callback(histories.close)
        mail.open()
        stack.push_async_callback(mail.close)
        stack.push_async_callback(background.close)
        stack.push_async_callback(services.readiness.close)
        services.readiness.is_open = True
        yield hub


@contextmanager
def own_data_dir(data_dir: Path) -> Iterator[None]:
    """Make a data directory if it is missing, and keep hubs away from it meanwhile.

    Raises:
        Conflict: A hub has it.
    """
    _make_private(data_dir)
    lock = _lock(data_dir)
    try:
        yield
    finally:
        os.close(lock)


def uids_of(settings: Settings) -> range | None:
    """The user ids that a hub of these settings gives to its projects; None: all homes belong to its own user.

    Raises:
        StartFailed: Such a hub could not start.
    """
    return _uids(settings) if _isolation(settings) is Isolation.FULL else None


def _isolation(settings: Settings) -> Isolation:
    if settings.isolation == "none":
        return Isolation.NONE
    best = best_isolation()
    if best is Isolation.NONE and settings.isolation == "required":
        raise StartFailed(
            "this machine offers no isolation and PROJECTHUB_ISOLATION is 'required'; run 'projecthub doctor' for "
            "what is missing, or set it to 'auto'"
        )
    return best


def quota_defaults(settings: Settings) -> QuotaDefaults:
    """What every project has, as the operator set it."""
    return QuotaDefaults(
        memory_mb=settings.memory_mb,
        cpus=settings.cpus,
        processes=settings.processes,
        disk_mb=settings.disk_mb,
        idle_timeout_s=settings.idle_timeout_s,
        network=settings.network,
    )


def _log_kept(settings: Settings) -> timedelta | None:
    """For how long entries of projects' logs are kept; None: for ever."""
    return timedelta(days=settings.log_days) if settings.log_days else None


def smtp_server(settings: Settings) -> SmtpServer | None:
    """The operator's mail server; None: no mail is sent."""
    if settings.smtp_host is None or settings.mail_from is None:
        return None
    return SmtpServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=settings.smtp_security,
        sender=settings.mail_from,
        user=settings.smtp_user,
        password=settings.smtp_password.get_secret_value() if settings.smtp_password else None,
    )


def _network(quotas: Quotas, engine: LocalEngine) -> Network:
    """What projects reach unless they are given more.

    Raises:
        StartFailed: The operator asks for what this machine does not offer.
    """
    network = quotas.network(None, None, engine.networks)
    if network not in engine.networks:
        raise StartFailed(
            f"this machine does not offer network '{network}' to projects; run 'projecthub doctor' for what is "
            "missing, or set PROJECTHUB_NETWORK to 'auto'"
        )
    return network


def _usual_network(settings: Settings, isolation: Isolation) -> Network:
    """What most projects will reach, for the engine to prepare their starts."""
    if settings.network != "auto":
        return Network(settings.network)
    return Network.HOST if isolation is Isolation.NONE else Network.NONE


def _uids(settings: Settings) -> range:
    """The user ids to give to projects: as set, or, unless they are set, others if those do not exist here.

    In a user namespace, as containers have, only the ids that are mapped into it exist.

    Raises:
        StartFailed: The ids that are set do not exist here, or none do.
    """
    wanted = range(settings.uid_base, settings.uid_base + settings.uid_count)
    extents = [
        range(int(first), int(first) + int(count))
        for first, _, count in (line.split() for line in Path("/proc/self/uid_map").read_text().splitlines())
    ]
    if any(wanted.start in extent and wanted.stop - 1 in extent for extent in extents):
        return wanted
    largest = max(extents, key=len, default=range(0))
    usable = range(max(largest.start, LEAST_SPARE_UID), min(largest.stop, NOBODY))
    if {"uid_base", "uid_count"} & settings.model_fields_set or len(usable) < 1:
        raise StartFailed(
            f"user ids {wanted.start} to {wanted.stop - 1} do not exist in this user namespace; give others with "
            "PROJECTHUB_UID_BASE and PROJECTHUB_UID_COUNT (/proc/self/uid_map tells which exist)"
        )
    return usable


def _make_private(data_dir: Path) -> None:
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    data_dir.chmod(0o700)


def _lock(data_dir: Path) -> int:
    """One hub a data directory: the lock ends with the process, however that ends."""
    lock = os.open(data_dir / "hub.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
        os.close(lock)
        raise Conflict(
            f"another hub (process {holder or 'unknown'}) uses this data directory; stop it, or give another one "
            "with --data-dir"
        ) from None
    with contextlib.suppress(OSError):  # on a full disk nobody is told which process it is
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


async def _first_admin(settings: Settings, store: Store, accounts: Accounts, keys: Keys) -> tuple[str | None, bool]:
    """Make sure there is an admin with a key; tells the key that the data directory keeps, and whether it is new.

    Raises:
        Conflict: The key that the operator gave is somebody else's.
    """
    given = settings.admin_key.get_secret_value() if settings.admin_key else None
    file = settings.data_dir / ADMIN_KEY_FILE
    async with store.read() as tx:
        admin = await tx.accounts.any_admin()
        owner = await tx.keys.find(digest(given)) if given else None
    if admin is not None and given is None:
        return (file.read_text().strip() if file.exists() else None), False
    if given is not None and owner is not None:
        if admin is None or owner.key.account_id != admin.account_id or owner.key.expires_at is not None:
            raise Conflict("PROJECTHUB_ADMIN_KEY is a key of another account, or one that expires; give another")
        _write_private(file, given)
        return given, False
    async with keys.changing() as tx:
        if admin is None:
            admin = accounts.new(email_address=None, first_name="Admin", is_admin=True)
            await tx.accounts.create(admin)
        for key in await tx.keys.of_account(admin.account_id):
            if key.name == ADMIN_KEY_NAME:  # the operator gave another: it is to be exactly this
                await tx.keys.delete(key.id)
        _, secret = await keys.make(tx, admin.account_id, None, ADMIN_KEY_NAME, secret=given)
        # Written before the transaction ends: a key that nobody has would be worse than a file without its key.
        _write_private(file, secret)
    return secret, True


def _write_private(file: Path, content: str) -> None:
    partial = file.with_name(f".{file.name}.new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(content + "\n")
        out.flush()
        os.fsync(descriptor)
    partial.replace(file)
