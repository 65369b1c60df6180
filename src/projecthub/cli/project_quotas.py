"""`projecthub projects add-license`, `remove-license` and `set-quotas`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from projecthub.cli import output, times
from projecthub.cli.licenses import LicenseArgument
from projecthub.cli.projects import ProjectArgument
from projecthub.cli.references import ProjectFinder
from projecthub.cli.session import AsJson, Session


def add_license(
    context: typer.Context, project: ProjectArgument, license: LicenseArgument, as_json: AsJson = False
) -> None:
    """Attach a license to a project. It counts from the project's next start on."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        _print(session, "added", project, hub.projects.add_license(ProjectFinder(hub).find(project), license))


def remove_license(
    context: typer.Context, project: ProjectArgument, license: LicenseArgument, as_json: AsJson = False
) -> None:
    """Take a license off a project. It counts until the project's next start."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        _print(session, "removed", project, hub.projects.remove_license(ProjectFinder(hub).find(project), license))


def set_quotas(
    context: typer.Context,
    project: ProjectArgument,
    memory_mb: Annotated[float | None, typer.Option(min=0, help="Memory in MB.")] = None,
    memory_request_mb: Annotated[float | None, typer.Option(min=0, help="Memory in MB that is kept for it.")] = None,
    cores: Annotated[float | None, typer.Option(min=0, help="Processor cores.")] = None,
    cpu_shares: Annotated[
        float | None, typer.Option(min=0, help="Processor time that is kept for it, in 1/1024 of a core.")
    ] = None,
    disk_mb: Annotated[float | None, typer.Option(min=0, help="Disk space in MB.")] = None,
    idle_timeout: Annotated[
        int | None,
        typer.Option(
            parser=times.seconds, metavar="DURATION", help=f"How long it goes on unused, {times.DURATION_HELP}."
        ),
    ] = None,
    network: Annotated[bool | None, typer.Option(help="Let it reach the internet.")] = None,
    member_host: Annotated[bool | None, typer.Option(help="Make it a member's.")] = None,
    always_running: Annotated[bool | None, typer.Option(help="Have it run all the time.")] = None,
    disable_internet: Annotated[
        bool | None,
        typer.Option(
            "--disable-internet/--allow-internet", help="Keep it from the internet, whatever else lets it reach it."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give a project more than others have, or take the internet from it. For site admins.

    One that runs is restarted if that changes it.
    """
    session = Session.of(context, as_json)
    given: dict[str, Any] = {
        "memory": memory_mb,
        "memory_request": memory_request_mb,
        "cores": cores,
        "cpu_shares": cpu_shares,
        "disk_quota": disk_mb,
        "mintime": idle_timeout,
        "network": network,
        "member_host": member_host,
        "always_running": always_running,
        "disable_internet": disable_internet,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        raise typer.BadParameter("there is nothing to set", ctx=context)
    with session.hub() as hub, output.working("Setting quotas"):
        project_id = ProjectFinder(hub).find(project)
        hub.projects.set_quotas(project_id, **given)
    if session.as_json:
        output.print_json({"project_id": project_id, **given})
    else:
        output.print_facts([("project", project), *given.items()])


def _print(session: Session, done: str, project: str, reply: Any) -> None:
    if session.as_json:
        output.print_json(reply)
        return
    if not reply["changed"]:
        output.print_note(f"nothing was changed: the license {'was there' if done == 'added' else 'is not there'}")
    output.print_facts([(done if reply["changed"] else "license", reply["license_id"]), ("project", project)])
    if reply.get("needs_restart"):
        output.print_note("the project runs: it counts from the next start on")
