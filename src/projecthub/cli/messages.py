"""`projecthub messages`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from projecthub.cli import output
from projecthub.cli.session import AsJson, Session
from projecthub.errors import NotFound

messages = typer.Typer(help="Messages between people.", no_args_is_help=True)


@messages.command("list")
def list_messages(
    context: typer.Context,
    type: Annotated[
        Literal["received", "sent", "new", "starred", "liked"], typer.Option("--type", "-t", help="Which.")
    ] = "received",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="How many at most.")] = 100,
    offset: Annotated[int, typer.Option(min=0, help="How many of the newest to leave out.")] = 0,
    as_json: AsJson = False,
) -> None:
    """List your messages, newest first."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for messages"):
        found: list[Any] = list(hub.messages.get(limit, offset, type))
        names = {} if session.as_json else _names(hub, found)
    if session.as_json:
        output.print_json(found)
        return
    rows = [
        (
            str(one["id"]),
            output.local_time(one.get("sent")),
            names.get(one["from_id"]),
            one.get("subject"),
            " ".join(flag for flag in ("read", "saved", "starred", "liked", "deleted") if one.get(flag)),
        )
        for one in found
    ]
    output.print_table(("ID", "SENT", "FROM", "SUBJECT", "IS"), rows)


@messages.command()
def send(
    context: typer.Context,
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="What it is about.")],
    body: Annotated[str, typer.Argument(metavar="BODY", help="The message, in Markdown.")],
    to: Annotated[list[str], typer.Argument(metavar="PERSON...", help="Account ids, or e-mail addresses.")],
    reply: Annotated[int | None, typer.Option("--reply", metavar="ID", help="The message that this answers.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send a message. Addresses that nobody has are left out."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        message_id = hub.messages.send(subject, body, to, reply)
    if message_id is None:
        raise NotFound(f"nobody has the address {', '.join(to)}; nothing was sent")
    if session.as_json:
        output.print_json({"id": message_id})
    else:
        output.print_facts([("sent", message_id)])


@messages.command()
def mark(
    context: typer.Context,
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="Numbers, as messages list shows them.")],
    read: Annotated[bool | None, typer.Option(help="Read.", show_default=False)] = None,
    saved: Annotated[bool | None, typer.Option(help="Put away.", show_default=False)] = None,
    starred: Annotated[bool | None, typer.Option(help="With a star.", show_default=False)] = None,
    liked: Annotated[bool | None, typer.Option(help="Liked.", show_default=False)] = None,
    deleted: Annotated[bool | None, typer.Option(help="In the trash.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Say something of your own copies of messages."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        for one in ids:
            hub.messages.mark(one, read=read, saved=saved, starred=starred, liked=liked, deleted=deleted)
    if session.as_json:
        output.print_json({"id": ids})
    else:
        output.print_facts([("marked", ", ".join(map(str, ids)))])


def _names(hub: Any, found: list[Any]) -> dict[str, str]:
    """Who wrote the messages, for people."""
    names = hub.system.get_names(list(dict.fromkeys(one["from_id"] for one in found)))
    return {who: " ".join(filter(None, (name["first_name"], name["last_name"]))) for who, name in names.items()}
