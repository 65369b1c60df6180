"""Opens a hub: joins the rooms, brings to its end what was cut short, and closes all in the opposite order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from projecthub import __version__
from projecthub.api import Services, make_app
from projecthub.app.data_dir import own_data_dir
from projecthub.app.defaults import log_kept, quota_defaults, smtp_server
from projecthub.app.first_admin import first_admin
from projecthub.app.machine import isolation_of, network_of, project_uids, usual_network
from projecthub.engines.local.engine import LocalEngine
from projecthub.engines.port import Isolation, Network
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
from projecthub.hub.disk_limits import DiskLimits
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
from projecthub.hub.keys import Keys
from projecthub.hub.licenses import Licenses
from projecthub.hub.lifecycle import Lifecycle
from projecthub.hub.mail import Mail
from projecthub.hub.messages import Messages
from projecthub.hub.organizations import Organizations
from projecthub.hub.passwords import Passwords
from projecthub.hub.project_quotas import ProjectQuotas
from projecthub.hub.projects import Projects
from projecthub.hub.queries import Queries
from projecthub.hub.quotas import Quotas
from projecthub.hub.readiness import Readiness
from projecthub.hub.rosters import Rosters
from projecthub.hub.sessions import Sessions
from projecthub.hub.shared_files import SharedFiles
from projecthub.hub.shares import Shares
from projecthub.hub.sign_in import SignIn
from projecthub.hub.site import Site
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What all services stand on: it is opened before them, and closed after them."""

    settings: Settings
    isolation: Isolation
    clock: SystemClock
    store: Store
    audit: Audit
    quotas: Quotas
    homes: ProjectHomes
    engine: LocalEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class _Core:
    """What acts on projects, for people and by itself."""

    keys: Keys
    lifecycle: Lifecycle
    calls: ProjectCalls
    commands: CommandLog
    workplaces: Workplaces
    cells: CellLog
    jobs: Jobs
    idle: Idle
    projects: Projects
    copies: Copies
    templates: Templates
    shares: Shares
    creation: Creation
    keeping: SnapshotKeeping
    schedule: SnapshotSchedule


@dataclass(frozen=True, slots=True, kw_only=True)
class _People:
    """What has to do with people: their accounts, how they sign in, and what they are told."""

    accounts: Accounts
    passwords: Passwords
    licenses: Licenses
    messages: Messages
    sessions: Sessions
    sign_in: SignIn
    site: Site
    mail: Mail
    invitations: Invitations


@asynccontextmanager
async def open_hub(settings: Settings, *, stop_projects: bool = False) -> AsyncIterator[RunningHub]:
    """Open a hub, and close it at the end, its parts in the opposite order.

    Args:
        settings: What the operator set.
        stop_projects: See `RunningHub`; can be changed while it runs.

    Raises:
        Conflict: Another hub has this data directory.
        StartFailed: No isolation although it is required, or the engine cannot run.
    """
    isolation = isolation_of(settings)
    async with AsyncExitStack() as stack:
        stack.enter_context(own_data_dir(settings.data_dir))
        ground = await _open_ground(stack, settings, isolation)
        core = _core(ground)
        people = _people(stack, ground, core.keys)
        services = _services(ground, core, people)
        admin_key, is_new = await first_admin(settings, ground.store, people.accounts, core.keys)
        app, background = make_app(services, settings.metrics)
        help = "Wishes of projects that are under way or wait for their turn."
        services.figures.queue("wishes_waiting", help, lambda: core.lifecycle.waiting)
        hub = RunningHub(app, isolation, Network.HOST, admin_key, is_new, people.site, stop_projects)
        await _open_projects(stack, hub, core)
        hub.network = network_of(ground.quotas, ground.engine)  # what it offers is known now
        _open_chores(stack, ground, core, services, people.mail)
        stack.push_async_callback(background.close)
        stack.push_async_callback(services.readiness.close)
        services.readiness.is_open = True
        yield hub


async def _open_ground(stack: AsyncExitStack, settings: Settings, isolation: Isolation) -> _Ground:
    """Open the store, which is upgraded by that, and what else all stand on."""
    clock = SystemClock()
    store = await open_store(settings.url_of_store, clock=clock)
    stack.push_async_callback(store.close)
    await store.claim()
    audit = Audit(store, clock, kept_days=settings.audit_days)
    await audit.open()
    stack.push_async_callback(audit.close)
    uids = project_uids(settings) if isolation is Isolation.FULL else None
    quotas = Quotas(quota_defaults(settings), clock)
    bare = isolation is Isolation.NONE
    directories = Homes(settings.data_dir / "projects")
    directories.open()
    homes = ProjectHomes(directories, uids, quotas.disk_quota_bytes, bare=bare)
    stack.callback(homes.close)
    engine = LocalEngine(
        runtime_dir=settings.data_dir / "run",
        isolation=isolation,
        hidden=[settings.data_dir],
        network=usual_network(settings, isolation),
    )
    return _Ground(
        settings=settings,
        isolation=isolation,
        clock=clock,
        store=store,
        audit=audit,
        quotas=quotas,
        homes=homes,
        engine=engine,
    )


def _core(ground: _Ground) -> _Core:
    settings, clock, store, homes, engine = ground.settings, ground.clock, ground.store, ground.homes, ground.engine
    lifecycle = Lifecycle(store, engine, homes, ground.quotas, clock)
    calls = ProjectCalls(store, clock, lifecycle, engine)
    commands = CommandLog(store, clock)
    workplaces = Workplaces(store, homes, calls, clock)
    histories = workplaces.histories
    idle = Idle(store, engine, lifecycle, calls, ground.quotas, clock)
    copies = Copies(store, homes, clock, histories)
    templates, shares = Templates(store, clock), Shares(store, workplaces, copies)
    keeping = SnapshotKeeping(store, homes, clock, settings.data_dir / "snapshots", percent=settings.snapshot_percent)
    return _Core(
        keys=Keys(store, clock),
        lifecycle=lifecycle,
        calls=calls,
        commands=commands,
        workplaces=workplaces,
        cells=CellLog(store, clock, calls, commands),
        jobs=Jobs(calls, lifecycle, homes, commands, histories),
        idle=idle,
        projects=Projects(store, clock, lifecycle, engine, homes, ground.quotas, idle),
        copies=copies,
        templates=templates,
        shares=shares,
        creation=Creation(store, clock, lifecycle, homes, shares, templates, histories),
        keeping=keeping,
        schedule=SnapshotSchedule(store, keeping, clock, hours=settings.snapshot_hours),
    )


def _people(stack: AsyncExitStack, ground: _Ground, keys: Keys) -> _People:
    settings, clock, store = ground.settings, ground.clock, ground.store
    passwords = Passwords()
    stack.callback(passwords.close)
    sessions = Sessions(store, clock, keys, passwords)
    site = Site(name=settings.site_name, url=settings.public_url, help_email=settings.help_email, version=__version__)
    mail = Mail(store, clock, smtp_server(settings), most_a_day=settings.mails_a_day)
    return _People(
        accounts=Accounts(store, clock, keys),
        passwords=passwords,
        licenses=Licenses(store, clock),
        messages=Messages(store, clock),
        sessions=sessions,
        sign_in=SignIn(store, clock, keys, sessions, passwords),
        site=site,
        mail=mail,
        invitations=Invitations(clock, keys, mail, lambda: site.url),
    )


def _services(ground: _Ground, core: _Core, people: _People) -> Services:
    store, clock, keys, workplaces, calls = ground.store, ground.clock, core.keys, core.workplaces, core.calls
    return Services(
        clock=clock,
        keys=keys,
        admission=Admission(keys, clock),
        accounts=people.accounts,
        account_deletions=AccountDeletions(store, clock, keys, core.projects),
        rosters=Rosters(people.accounts, keys),
        sessions=people.sessions,
        creation=core.creation,
        clones=Clones(store, ground.homes, core.creation),
        templates=core.templates,
        shares=core.shares,
        shared_files=SharedFiles(core.shares, workplaces),
        exports=Exports(store, workplaces, core.creation),
        projects=core.projects,
        collaborators=Collaborators(clock, keys),
        invitations=people.invitations,
        courses=Courses(store),
        copies=core.copies,
        queries=Queries(Tools(store=store, clock=clock, projects=core.projects, licenses=people.licenses)),
        calls=calls,
        jobs=core.jobs,
        files=Files(workplaces),
        sync=Sync(store, workplaces),
        archives=Archives(workplaces),
        trash=Trash(workplaces),
        snapshots=Snapshots(store, workplaces, core.keeping),
        uploads=Uploads(workplaces),
        jupyter=Jupyter(store, clock, calls, core.commands),
        jupyter_sessions=JupyterSessions(calls, core.cells),
        licenses=people.licenses,
        project_quotas=ProjectQuotas(store, clock, ground.quotas, core.lifecycle),
        organizations=_organizations(ground, core, people),
        messages=people.messages,
        sign_in=people.sign_in,
        audit=ground.audit,
        site=people.site,
        figures=Figures(store, clock),
        readiness=Readiness(store, ground.engine),
    )


def _organizations(ground: _Ground, core: _Core, people: _People) -> Organizations:
    return Organizations(
        ground.store,
        ground.clock,
        core.keys,
        people.accounts,
        core.creation,
        people.passwords,
        people.messages,
        people.sign_in,
        people.site,
    )


async def _open_projects(stack: AsyncExitStack, hub: RunningHub, core: _Core) -> None:
    """Bring to its end what was cut short, and find again what runs."""
    await core.creation.open()
    await core.copies.open()  # before anybody sees the files
    stack.push_async_callback(core.copies.close)
    await core.lifecycle.open()
    stack.push_async_callback(lambda: core.lifecycle.close(stop_projects=hub.stop_projects))


def _open_chores(stack: AsyncExitStack, ground: _Ground, core: _Core, services: Services, mail: Mail) -> None:
    """Begin what the hub does by itself, again and again."""
    histories = core.workplaces.histories
    swept = (
        services.trash.sweep,
        services.uploads.sweep,
        mail.sweep,
        services.invitations.sweep,
        services.sign_in.sweep,
        ground.audit.sweep,
        histories.sweep,
        core.copies.sweep,
        DiskLimits(ground.store, ground.homes).sweep,
        core.schedule.sweep,
    )
    housekeeping = Housekeeping(
        ground.store,
        ground.clock,
        core.keys,
        core.projects,
        core.lifecycle,
        core.idle,
        core.jobs,
        core.commands,
        core.cells,
        swept,
        log_kept=log_kept(ground.settings),
    )
    stack.push_async_callback(core.schedule.close)
    housekeeping.open()
    stack.callback(core.jobs.close)
    stack.push_async_callback(housekeeping.close)
    histories.open()
    stack.push_async_callback(histories.close)
    mail.open()
    stack.push_async_callback(mail.close)
