"""`projecthub accounts`: for site admins."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from projecthub.cli import output
from projecthub.cli.session import AsJson, Session

accounts = typer.Typer(help="Make and list accounts. For site admins.", no_args_is_help=True)


@accounts.command()
def create(
    context: typer.Context,
    email_address: Annotated[str, typer.Argument(metavar="E-MAIL", help="The account's e-mail address.")],
    first_name: Annotated[str, typer.Option(help="First name.")] = "",
    last_name: Annotated[str, typer.Option(help="Last name.")] = "",
    admin: Annotated[bool, typer.Option("--admin", help="Make it a site admin.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make an account. `projecthub keys create --account E-MAIL` then gives it a key."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        account = hub.accounts.create(email_address, first_name, last_name, admin)
    if session.as_json:
        output.print_json(account)
    else:
        _print_table([account])


@accounts.command("list")
def list_accounts(
    context: typer.Context,
    query: Annotated[str | None, typer.Argument(help="Only those whose name or address holds this.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 100,
    after: Annotated[str | None, typer.Option(metavar="ID", help="The last id of the page before.")] = None,
    as_json: AsJson = False,
) -> None:
    """List accounts, newest first."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for accounts"):
        found = hub.accounts.list(query, limit, after)
    if session.as_json:
        output.print_json(found)
    else:
        _print_table(found)


def _print_table(found: list[Any]) -> None:
    output.print_table(
        ("ID", "E-MAIL", "NAME", "ADMIN", "CREATED"),
        [
            (
                account["account_id"],
                account.get("email_address"),
                " ".join(filter(None, (account.get("first_name"), account.get("last_name")))),
                "yes" if account.get("admin") else None,
                output.local_time(account.get("created")),
            )
            for account in found
        ],
    )
