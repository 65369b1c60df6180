"""`projecthub keys`: API keys."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from projecthub.cli import output
from projecthub.cli.references import PROJECT_HELP, ProjectFinder, find_account
from projecthub.cli.session import AsJson, Session
from projecthub.cli.times import DURATION_HELP, moment

keys = typer.Typer(help="Make, list, change and revoke API keys.", no_args_is_help=True)

AccountOption = Annotated[
    str | None, typer.Option(metavar="PERSON", help="Whose: an account's id or e-mail address. For site admins.")
]
ScopeOption = Annotated[
    list[str] | None,
    typer.Option("--scope", metavar="SCOPE", help="What it is good for: read, run, write, manage; may be repeated."),
]
LimitOption = Annotated[
    int | None, typer.Option("--calls-per-minute", min=0, help="How often it may be used; 0: any number of times.")
]
ProjectOption = Annotated[str | None, typer.Option(metavar="PROJECT", help=f"Of one project alone. {PROJECT_HELP}")]


@keys.command()
def create(
    context: typer.Context,
    account: AccountOption = None,
    project: ProjectOption = None,
    name: Annotated[str, typer.Option(help="What you call it.")] = "",
    expire: Annotated[
        str | None,
        typer.Option(parser=moment, metavar="TIME", help=f"When it ends: a date, or from now on, {DURATION_HELP}."),
    ] = None,
    scope: ScopeOption = None,
    calls_per_minute: LimitOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and print it. It is shown this once."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        project_id = ProjectFinder(hub).find(project) if project else None
        key = hub.keys.create(account, project_id, name, expire, scope or None, calls_per_minute)
    if session.as_json:
        output.print_json(key)
        return
    print(output.plain(key["secret"]))
    ends = f", and good until {output.local_time(key['expire'])}" if key.get("expire") else ""
    output.print_note(f"key {key['id']}; it is shown this once{ends}")


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
        ("NUMBER", "KEY", "NAME", "SCOPES", "CREATED", "LAST USED", "ENDS"),
        [
            (
                key["id"],
                key.get("trunc"),
                key.get("name"),
                scopes_in_words(key),
                output.local_time(key.get("created")),
                output.local_time(key.get("last_active")),
                output.local_time(key.get("expire")),
            )
            for key in found
        ],
    )


@keys.command()
def edit(
    context: typer.Context,
    number: Annotated[int, typer.Argument(help="The key's number, as keys list shows it.")],
    name: Annotated[str | None, typer.Option(help="What you call it.")] = None,
    expire: Annotated[
        str | None,
        typer.Option(
            parser=lambda text: text if text == "never" else moment(text),
            metavar="TIME",
            help=f"When it ends: a date, or from now on, {DURATION_HELP}; or never.",
        ),
    ] = None,
    scope: ScopeOption = None,
    calls_per_minute: LimitOption = None,
    as_json: AsJson = False,
) -> None:
    """Change a key; what is not given stays. It counts from now on."""
    session = Session.of(context, as_json)
    given: dict[str, Any] = {
        "name": name,
        "expire": expire,
        "scopes": scope or None,
        "calls_per_minute": calls_per_minute,
    }
    if all(value is None for value in given.values()):
        raise typer.BadParameter("there is nothing to change", ctx=context)
    with session.hub() as hub:
        key = hub.keys.update(number, **given)
    if session.as_json:
        output.print_json(key)
        return
    output.print_facts(
        [
            ("changed", key["id"]),
            ("name", key.get("name")),
            ("scopes", scopes_in_words(key)),
            ("ends", output.local_time(key.get("expire"))),
        ]
    )


def scopes_in_words(key: Any) -> str:
    """What a key is good for: ``read, run; 60 calls a minute``."""
    scopes = ", ".join(key.get("scopes") or ())
    limit = key.get("calls_per_minute")
    return scopes if limit is None else f"{scopes}; {limit} calls a minute"


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
