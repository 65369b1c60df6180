"""`projecthub projects collaborators` and the like: who is on a project, and as what."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from projecthub.cli import output
from projecthub.cli.projects import ProjectArgument
from projecthub.cli.references import PERSON_HELP, ProjectFinder, find_account
from projecthub.cli.session import AsJson, Session
from projecthub.errors import NotFound

PersonArgument = Annotated[str, typer.Argument(metavar="PERSON", help=PERSON_HELP)]
ViewerOption = Annotated[bool, typer.Option("--viewer", help="As viewers: they read, and do nothing else.")]


def collaborators(context: typer.Context, project: ProjectArgument, as_json: AsJson = False) -> None:
    """List the people on a project: owners, collaborators, viewers."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for the people"):
        project_id = ProjectFinder(hub).find(project)
        rows: list[Any] = list(hub.projects.get(fields=["project_id", "users"], project_id=project_id))
        if not rows:
            raise NotFound(f"you are on no project {project!r}")
        users = rows[0].get("users") or {}
        names: Any = hub.system.get_names(list(users)) if users else {}
    if session.as_json:
        output.print_json([{"account_id": each, **member, **names.get(each, {})} for each, member in users.items()])
        return
    people = [
        (each, " ".join(filter(None, (names[each].get("first_name"), names[each].get("last_name")))), member["group"])
        for each, member in users.items()
    ]
    output.print_table(("ID", "PERSON", "GROUP"), people)


def add_collaborator(
    context: typer.Context,
    project: ProjectArgument,
    people: Annotated[
        list[str], typer.Argument(metavar="PERSON...", help=f"{PERSON_HELP} Several are fine: all are added, or none.")
    ],
    viewer: ViewerOption = False,
    as_json: AsJson = False,
) -> None:
    """Let people into a project."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Adding"):
        project_id = ProjectFinder(hub).find(project)
        account_ids = [find_account(hub, person) for person in people]
        group = "viewer" if viewer else None
        reply = hub.projects.add_collaborator([project_id] * len(account_ids), account_ids, group=group)
    if session.as_json:
        output.print_json({**reply, "account_id": account_ids})
    else:
        rows = [(account_id, person, project) for account_id, person in zip(account_ids, people, strict=True)]
        output.print_table(("ID", "PERSON", "PROJECT"), rows)


def remove_collaborator(
    context: typer.Context, project: ProjectArgument, person: PersonArgument, as_json: AsJson = False
) -> None:
    """Take somebody off a project."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Removing"):
        project_id = ProjectFinder(hub).find(project)
        reply = hub.projects.remove_collaborator(project_id, find_account(hub, person))
    if session.as_json:
        output.print_json(reply)
    else:
        output.print_facts([("removed", person), ("from", project)])


def leave(context: typer.Context, project: ProjectArgument, as_json: AsJson = False) -> None:
    """Leave a project yourself."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Leaving"):
        reply = hub.projects.leave(ProjectFinder(hub).find(project))
    if session.as_json:
        output.print_json(reply)
    else:
        output.print_facts([("left", project)])


def change_group(
    context: typer.Context,
    project: ProjectArgument,
    person: PersonArgument,
    group: Annotated[str, typer.Argument(metavar="GROUP", help="owner, collaborator or viewer.")],
    as_json: AsJson = False,
) -> None:
    """Say what somebody on a project is to it. For its owners."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Changing"):
        project_id = ProjectFinder(hub).find(project)
        account_id = find_account(hub, person)
        hub.projects.change_user_type(project_id, account_id, group)
    if session.as_json:
        output.print_json({"project_id": project_id, "account_id": account_id, "group": group})
    else:
        output.print_facts([("person", person), ("is now", group), ("of", project)])


def hand_over(
    context: typer.Context,
    project: ProjectArgument,
    person: PersonArgument,
    viewer: Annotated[bool, typer.Option("--viewer", help="Stay as a viewer, not as a collaborator.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make somebody on a project its owner in your place."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Handing over"):
        project_id = ProjectFinder(hub).find(project)
        group = "viewer" if viewer else "collaborator"
        reply = hub.projects.hand_over(project_id, find_account(hub, person), new_group=group)
    if session.as_json:
        output.print_json(reply)
    else:
        output.print_facts([("owner", person), ("of", project), ("you are now", reply["group"])])


def hide(
    context: typer.Context,
    project: ProjectArgument,
    show: Annotated[bool, typer.Option("--show", help="Show it again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Leave a project out of your `projects list`; others see it as before."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Changing"):
        project_id = ProjectFinder(hub).find(project)
        hub.projects.hide(project_id, not show)
    if session.as_json:
        output.print_json({"project_id": project_id, "hide": not show})
    else:
        output.print_facts([("shown" if show else "hidden", project)])


def owners_only(
    context: typer.Context,
    project: ProjectArgument,
    off: Annotated[bool, typer.Option("--off", help="Collaborators may, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Leave it to the owners of a project to add and remove people, and to delete it."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Changing"):
        project_id = ProjectFinder(hub).find(project)
        hub.projects.manage_users_owner_only(project_id, not off)
    if session.as_json:
        output.print_json({"project_id": project_id, "manage_users_owner_only": not off})
    else:
        output.print_facts([("project", project), ("people managed by", "collaborators too" if off else "owners only")])
