"""`projecthub licenses`: for site admins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from projecthub.cli import output, times
from projecthub.cli.session import AsJson, Session

licenses = typer.Typer(help="Make, list, change and end licenses. For site admins.", no_args_is_help=True)


def _idle_timeout(text: str) -> str | int:
    return text if text.isalpha() else times.seconds(text)


def _activates(text: str) -> str:
    return text if text == "now" else times.moment(text)


def _expires(text: str) -> str:
    return text if text == "never" else times.moment(text)


LicenseArgument = Annotated[str, typer.Argument(metavar="LICENSE", help="A license's id, as licenses list shows it.")]
TitleOption = Annotated[str | None, typer.Option("--title", "-t", help="What people call it.")]
DescriptionOption = Annotated[str | None, typer.Option("--description", "-d", help="What it is for.")]
CpuOption = Annotated[float | None, typer.Option(min=0, help="Processor cores.")]
RamOption = Annotated[float | None, typer.Option(min=0, help="Memory in GB.")]
DiskOption = Annotated[float | None, typer.Option(min=0, help="Disk space in GB.")]
IdleTimeoutOption = Annotated[
    Any,  # a word or seconds: a union has no parser
    typer.Option(
        parser=_idle_timeout,
        metavar="DURATION",
        help=f"How long a project goes on unused: short (30 min), medium (2 h), day, or a time {times.DURATION_HELP}.",
    ),
]
AlwaysRunningOption = Annotated[bool | None, typer.Option(help="Never stop a project that is not used.")]
MemberOption = Annotated[bool | None, typer.Option(help="Make projects members'.")]
NetworkOption = Annotated[
    bool | None, typer.Option(help="Let projects reach the internet.", show_default="with whatever else is granted")
]
RunLimitOption = Annotated[
    int | None, typer.Option(min=0, help="Projects at most that run with it at a time; 0: any number.")
]
ActivatesOption = Annotated[
    str | None,
    typer.Option(parser=_activates, metavar="TIME", help=f"Since when: 2027-01-31, now, or in {times.DURATION_HELP}."),
]
ExpiresOption = Annotated[
    str | None,
    typer.Option(
        "--expire",
        parser=_expires,
        metavar="TIME",
        help=f"Until when: 2027-01-31, never, or in {times.DURATION_HELP}.",
    ),
]

_UNITS: Final = {
    "cpu": "cores",
    "dedicated_cpu": "dedicated cores",
    "ram": "GB memory",
    "dedicated_ram": "GB dedicated memory",
    "disk": "GB disk",
}
_WORDS: Final = {"always_running": "always running", "member": "member", "network": "network"}


@licenses.command()
def create(
    context: typer.Context,
    title: Annotated[str, typer.Argument(help="What people call it.")] = "",
    description: DescriptionOption = None,
    cpu: CpuOption = None,
    ram_gb: RamOption = None,
    disk_gb: DiskOption = None,
    idle_timeout: IdleTimeoutOption = None,
    always_running: AlwaysRunningOption = None,
    member: MemberOption = None,
    network: NetworkOption = None,
    run_limit: RunLimitOption = None,
    activates: ActivatesOption = None,
    expires: ExpiresOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a license, and print its id. Who knows the id may attach it: `projecthub projects add-license`."""
    session = Session.of(context, as_json)
    quota = _quota(cpu, ram_gb, disk_gb, idle_timeout, always_running, member, network)
    with session.hub() as hub:
        license = hub.licenses.create(quota, title, description or "", run_limit, activates, expires)
    if session.as_json:
        output.print_json(license)
    else:
        print(output.plain(license["id"]))


@licenses.command("list")
def list_licenses(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 100,
    after: Annotated[str | None, typer.Option(metavar="ID", help="The last id of the page before.")] = None,
    as_json: AsJson = False,
) -> None:
    """List licenses, newest first."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for licenses"):
        found: list[Any] = list(hub.licenses.list(limit, after))
    if session.as_json:
        output.print_json(found)
        return
    output.print_table(
        ("ID", "TITLE", "STATUS", "RUNNING", "QUOTA", "EXPIRES"),
        [
            (
                license["id"],
                license.get("title"),
                license.get("status"),
                _places(license),
                quota_in_words(license.get("quota") or {}),
                output.local_time(license.get("expires")),
            )
            for license in found
        ],
    )


@licenses.command()
def show(context: typer.Context, license: LicenseArgument, as_json: AsJson = False) -> None:
    """Tell about one license, and which projects run with it."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for the license"):
        _print(session, hub.licenses.get(license))


@licenses.command()
def update(
    context: typer.Context,
    license: LicenseArgument,
    title: TitleOption = None,
    description: DescriptionOption = None,
    cpu: CpuOption = None,
    ram_gb: RamOption = None,
    disk_gb: DiskOption = None,
    idle_timeout: IdleTimeoutOption = None,
    always_running: AlwaysRunningOption = None,
    member: MemberOption = None,
    network: NetworkOption = None,
    without: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Take this away from the quota, such as ram; repeatable.")
    ] = None,
    run_limit: RunLimitOption = None,
    activates: ActivatesOption = None,
    expires: ExpiresOption = None,
    as_json: AsJson = False,
) -> None:
    """Change a license; what is not given stays. Projects see it at their next start."""
    session = Session.of(context, as_json)
    quota = _quota(cpu, ram_gb, disk_gb, idle_timeout, always_running, member, network)
    quota |= dict.fromkeys(without or ())
    with session.hub() as hub:
        _print(session, hub.licenses.update(license, quota or None, title, description, run_limit, activates, expires))


@licenses.command()
def end(context: typer.Context, license: LicenseArgument, as_json: AsJson = False) -> None:
    """Have a license expire now. Projects that run with it run on."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        _print(session, hub.licenses.end(license))


def quota_in_words(quota: Mapping[str, Any]) -> str:
    """What a license grants, for people: ``2 cores, 4 GB memory, idle 2 h``."""
    parts = [f"{quota[key]:g} {unit}" for key, unit in _UNITS.items() if quota.get(key)]
    idle = quota.get("idle_timeout")
    if idle is not None:
        parts.append(f"idle {times.shown(idle) if isinstance(idle, int) else idle}")
    parts += [word if quota[key] else f"no {word}" for key, word in _WORDS.items() if key in quota]
    return ", ".join(parts)


def _quota(
    cpu: float | None,
    ram_gb: float | None,
    disk_gb: float | None,
    idle_timeout: str | int | None,
    always_running: bool | None,
    member: bool | None,
    network: bool | None,
) -> dict[str, Any]:
    given = {
        "cpu": cpu,
        "ram": ram_gb,
        "disk": disk_gb,
        "idle_timeout": idle_timeout,
        "always_running": always_running,
        "member": member,
        "network": network,
    }
    return {key: value for key, value in given.items() if value is not None}


def _places(license: Any) -> str:
    limit = license.get("run_limit")
    return f"{license.get('running', 0)}" + (f" of {limit}" if limit else "")


def _print(session: Session, license: Any) -> None:
    if session.as_json:
        output.print_json(license)
        return
    output.print_facts(
        [
            ("id", license["id"]),
            ("title", license.get("title") or None),
            ("description", license.get("description") or None),
            ("status", license.get("status")),
            ("quota", quota_in_words(license.get("quota") or {})),
            ("running", _places(license)),
            ("activates", output.local_time(license.get("activates"))),
            ("expires", output.local_time(license.get("expires"))),
            ("created", output.local_time(license.get("created"))),
            *(("used by", project_id) for project_id in license.get("projects", ())),
        ]
    )
