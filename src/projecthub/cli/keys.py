"""`projecthub keys`: API keys."""

from __future__ import annotations

from typing import Annotated

import typer

from projecthub.cli import output
from projecthub.cli.references import PROJECT_HELP, ProjectFinder, find_account
from projecthub.cli.session import AsJson, Session

keys = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)

AccountOption = Annotated[
    str | None, typer.Option(metavar="PERSON", help="Whose: an account's id or e-mail address. For site admins.")
]
ProjectOption = Annotated[str | None, typer.Option(metavar="PROJECT", help=f"Of one project alone. {PROJECT_HELP}")]


@keys.command()
def create(
    context: typer.Context,
    account: AccountOption = None,
    project: ProjectOption = None,
    name: Annotated[str, typer.Option(help="What you call it.")] = "",
    expire: Annotated[str | None, typer.Option(metavar="TIME", help="When it ends, as 2026-01-31T12:00:00Z.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and print it. It is shown this once."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        project_id = ProjectFinder(hub).find(project) if project else None
        key = hub.keys.create(account, project_id, name, expire)
    if session.as_json:
        output.print_json(key)
        return
    print(output.plain(key["secret"]))
    output.print_note(f"key {key['id']}; it is shown this once")


@keys.command("list")
def list_keys(
    context: typer.Context, account: AccountOption = None, project: ProjectOption = None, as_json: AsJson = False
) -> None:
    """List keys, without their secrets."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        account_id = find_account(hub, account) if account else None
        project_id = ProjectFinder(hub).find(project) if project else None
        found = hub.keys.list(account_id, project_id)
    if session.as_json:
        output.print_json(found)
        return
    output.print_table(
        ("NUMBER", "KEY", "NAME", "CREATED", "LAST USED", "ENDS"),
        [
            (
                key["id"],
                key.get("trunc"),
                key.get("name"),
                output.local_time(key.get("created")),
                output.local_time(key.get("last_active")),
                output.local_time(key.get("expire")),
            )
            for key in found
        ],
    )


@keys.command()
def revoke(
    context: typer.Context,
    number: Annotated[int, typer.Argument(help="The key's number, as keys list shows it.")],
    as_json: AsJson = False,
) -> None:
    """End a key. Calls with it fail from now on."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        reply = hub.keys.revoke(number)
    if session.as_json:
        output.print_json(reply)
    else:
        output.print_facts([("revoked", reply["id"])])
