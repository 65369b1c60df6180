"""`projecthub projects add-collaborator` and `remove-collaborator`."""

from __future__ import annotations

from typing import Annotated

import typer

from projecthub.cli import output
from projecthub.cli.projects import ProjectArgument
from projecthub.cli.references import PERSON_HELP, ProjectFinder, find_account
from projecthub.cli.session import AsJson, Session


def add_collaborator(
    context: typer.Context,
    project: ProjectArgument,
    people: Annotated[
        list[str], typer.Argument(metavar="PERSON...", help=f"{PERSON_HELP} Several are fine: all are added, or none.")
    ],
    as_json: AsJson = False,
) -> None:
    """Let people into a project."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Adding"):
        project_id = ProjectFinder(hub).find(project)
        account_ids = [find_account(hub, person) for person in people]
        reply = hub.projects.add_collaborator([project_id] * len(account_ids), account_ids)
    if session.as_json:
        output.print_json({**reply, "account_id": account_ids})
    else:
        rows = [(account_id, person, project) for account_id, person in zip(account_ids, people, strict=True)]
        output.print_table(("ID", "PERSON", "PROJECT"), rows)


def remove_collaborator(
    context: typer.Context,
    project: ProjectArgument,
    person: Annotated[str, typer.Argument(metavar="PERSON", help=PERSON_HELP)],
    as_json: AsJson = False,
) -> None:
    """Take somebody off a project, or leave it yourself."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Removing"):
        project_id = ProjectFinder(hub).find(project)
        reply = hub.projects.remove_collaborator(project_id, find_account(hub, person))
    if session.as_json:
        output.print_json(reply)
    else:
        output.print_facts([("removed", person), ("from", project)])
