"""`projecthub system`, and `projecthub query`: the hub itself, who the key is, other people, any table."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from projecthub.cli import output
from projecthub.cli.session import AsJson, Session

system = typer.Typer(help="The hub itself, whose the key is, and other people.", no_args_is_help=True)


@system.command()
def ping(context: typer.Context, as_json: AsJson = False) -> None:
    """Ask the hub for a sign of life, and its time."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        reply = hub.system.ping()
    _print(session, reply, [("now", output.local_time(reply["now"]))])


@system.command()
def test(context: typer.Context, as_json: AsJson = False) -> None:
    """Tell whose the key is."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        reply = hub.system.test()
    _print(session, reply, [("account", reply.get("account_id")), ("now", output.local_time(reply["server_time"]))])


@system.command()
def customize(
    context: typer.Context,
    fields: Annotated[list[str] | None, typer.Argument(metavar="FIELD...", help="Only these. Default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the hub tells of itself: its name, its address, whom to ask for help."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        reply = hub.system.get_customize(fields or None)
    _print(session, reply, list(reply.items()))


@system.command()
def names(
    context: typer.Context,
    accounts: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of accounts.")],
    as_json: AsJson = False,
) -> None:
    """Show the names of accounts."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        reply = hub.system.get_names(accounts)
    if session.as_json:
        output.print_json(reply)
        return
    rows = [(who, " ".join(filter(None, (name["first_name"], name["last_name"])))) for who, name in reply.items()]
    output.print_table(("ID", "NAME"), rows)


@system.command()
def search(
    context: typer.Context,
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="Words of a name, whole e-mail addresses, or an account's id.")
    ],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 20,
    admin: Annotated[bool, typer.Option("--admin", help="Parts of addresses match too. For site admins.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find people, those who were active last first."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        found = hub.system.user_search(query, limit=limit, admin=admin)
    if session.as_json:
        output.print_json(found)
        return
    rows = [
        (
            person["account_id"],
            " ".join(filter(None, (person.get("first_name"), person.get("last_name")))),
            person.get("email_address"),
            output.local_time(person.get("last_active")),
        )
        for person in found
    ]
    output.print_table(("ID", "NAME", "E-MAIL", "LAST ACTIVE"), rows)


def query(
    context: typer.Context,
    query: Annotated[
        str,
        typer.Argument(
            metavar="JSON",
            help='The query, such as \'{"accounts": {"first_name": null}}\': null asks for a field. Without a null '
            "it changes the row.",
        ),
    ],
    options: Annotated[
        str | None, typer.Option("--options", metavar="JSON", help="Such as '[{\"limit\": 10}]'.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read or change rows of a table (db.userQuery), and print the reply as JSON."""
    session = Session.of(context, as_json)
    asked, chosen = _parsed(context, "the query", query), _parsed(context, "--options", options or "null")
    with session.hub() as hub:
        output.print_json(hub.db.query(asked, chosen))


def _parsed(context: typer.Context, name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{name} is no JSON: {error}", ctx=context) from None


def _print(session: Session, reply: Any, facts: list[tuple[str, Any]]) -> None:
    if session.as_json:
        output.print_json(reply)
    else:
        output.print_facts(facts)
