"""`projecthub projects invite`, `join`, and the tokens between them."""

from __future__ import annotations

from typing import Annotated

import typer

from projecthub.cli import output
from projecthub.cli.collaborators import ViewerOption
from projecthub.cli.projects import ProjectArgument
from projecthub.cli.references import ProjectFinder
from projecthub.cli.session import AsJson, Session
from projecthub.cli.times import DURATION_HELP, moment


def invite(
    context: typer.Context,
    project: ProjectArgument,
    people: Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="E-mail addresses.")],
    message: Annotated[str | None, typer.Option("--message", "-m", help="A text that goes with it.")] = None,
    subject: Annotated[str | None, typer.Option(help="The subject of the mail.")] = None,
    viewer: ViewerOption = False,
    as_json: AsJson = False,
) -> None:
    """Invite people to a project by mail, also those without an account. Prints the links of their invitations."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Inviting"):
        reply = hub.projects.invite_collaborator_without_account(
            ProjectFinder(hub).find(project),
            ",".join(people),
            group="viewer" if viewer else None,
            email=message,
            subject=subject,
        )
    if session.as_json:
        output.print_json(reply)
        return
    rows = [(one.get("email_address"), one["state"], one["mail"], one["link"]) for one in reply["invited"]]
    output.print_table(("E-MAIL", "STATE", "MAIL", "LINK"), rows)
    if any(one["state"] == "invited" and one["mail"] == "none" for one in reply["invited"]):
        output.print_note("this hub sends no mail: pass the links on yourself")


def join(
    context: typer.Context,
    invitation: Annotated[str, typer.Argument(metavar="LINK", help="The link of an invitation, or its token.")],
    as_json: AsJson = False,
) -> None:
    """Accept an invitation, and print the project's id."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Joining"):
        project_id = hub.projects.join(invitation)
    if session.as_json:
        output.print_json({"project_id": project_id})
    else:
        print(output.plain(project_id))


def create_invite_token(
    context: typer.Context,
    project: ProjectArgument,
    uses: Annotated[int | None, typer.Option(min=0, help="How many people it lets in; 0: any number.")] = 1,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expire",
            parser=moment,
            metavar="TIME",
            help=f"When it ends: a date, or from now on, {DURATION_HELP}.",
        ),
    ] = None,
    viewer: ViewerOption = False,
    as_json: AsJson = False,
) -> None:
    """Make a token that lets whoever has it onto a project, and print it."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Making the token"):
        project_id = ProjectFinder(hub).find(project)
        token = hub.projects.create_invite_token(
            project_id, usage_limit=uses or None, expires=expires, group="viewer" if viewer else None
        )
    if session.as_json:
        output.print_json({"project_id": project_id, "token": token})
    else:
        print(output.plain(token))


def invite_tokens(context: typer.Context, project: ProjectArgument, as_json: AsJson = False) -> None:
    """List the tokens of a project, invitations by mail among them."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for tokens"):
        found = hub.projects.invite_tokens(ProjectFinder(hub).find(project))
    if session.as_json:
        output.print_json(found)
        return
    output.print_table(
        ("TOKEN", "GROUP", "USED", "OF", "ENDS", "E-MAIL"),
        [
            (
                each["token"],
                each["group"],
                each["counter"],
                each.get("usage_limit"),
                output.local_time(each.get("expires")),
                each.get("email_address"),
            )
            for each in found
        ],
    )


def revoke_invite_token(
    context: typer.Context,
    project: ProjectArgument,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The token.")],
    as_json: AsJson = False,
) -> None:
    """Take a token away. Whoever came by it stays."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Revoking"):
        project_id = ProjectFinder(hub).find(project)
        hub.projects.revoke_invite_token(project_id, token)
    if session.as_json:
        output.print_json({"project_id": project_id, "revoked": True})
    else:
        output.print_facts([("revoked", token), ("of", project)])
