"""`projecthub org`: for the admins of organizations, and site admins."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from projecthub.cli import output, times
from projecthub.cli.session import AsJson, Session

organizations = typer.Typer(
    help="Organizations and the people in them. For their admins; what makes and fills them, for site admins.",
    no_args_is_help=True,
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="An organization's name.")]
UserArgument = Annotated[str, typer.Argument(metavar="PERSON", help="An account's id, or an e-mail address.")]


@organizations.command("list")
def list_organizations(context: typer.Context, as_json: AsJson = False) -> None:
    """List all organizations. For site admins."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for organizations"):
        found: list[Any] = list(hub.org.get_all())
    if session.as_json:
        output.print_json(found)
        return
    rows = [(one["name"], one.get("title"), ", ".join(one["admin_account_ids"])) for one in found]
    output.print_table(("NAME", "TITLE", "ADMINS"), rows)


@organizations.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 39 letters, digits or hyphens, for good.")],
    as_json: AsJson = False,
) -> None:
    """Make an organization. For site admins."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        organization_id = hub.org.create(name)
    _tell(session, [("id", organization_id), ("name", name)])


@organizations.command()
def show(context: typer.Context, name: NameArgument, as_json: AsJson = False) -> None:
    """Show what is said of an organization, and who its admins are."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        found: dict[str, Any] = {**hub.org.get(name)}
    if session.as_json:
        output.print_json(found)
    else:
        output.print_facts(
            [(key, ", ".join(value) if isinstance(value, list) else value) for key, value in found.items()]
        )


@organizations.command("set")
def set_organization(
    context: typer.Context,
    name: NameArgument,
    title: Annotated[str | None, typer.Option("--title", "-t", help="What people call it.")] = None,
    description: Annotated[str | None, typer.Option("--description", "-d", help="What it is.")] = None,
    email_address: Annotated[str | None, typer.Option("--email-address", help="Where it is reached.")] = None,
    link: Annotated[str | None, typer.Option("--link", help="Its web site.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change what is said of an organization; an empty text takes it away."""
    session = Session.of(context, as_json)
    given = {"title": title, "description": description, "email_address": email_address, "link": link}
    with session.hub() as hub:
        hub.org.set(name, **given)
    _tell(session, [("name", name), *((key, value) for key, value in given.items() if value is not None)])


@organizations.command()
def users(context: typer.Context, name: NameArgument, as_json: AsJson = False) -> None:
    """List the members of an organization."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for members"):
        found: list[Any] = list(hub.org.get_users(name))
    if session.as_json:
        output.print_json(found)
        return
    rows = [
        (
            one["account_id"],
            one.get("email_address"),
            " ".join(filter(None, (one.get("first_name"), one.get("last_name")))),
            output.local_time(one.get("last_active")),
        )
        for one in found
    ]
    output.print_table(("ID", "E-MAIL", "NAME", "LAST ACTIVE"), rows)


@organizations.command("add-admin")
def add_admin(context: typer.Context, name: NameArgument, user: UserArgument, as_json: AsJson = False) -> None:
    """Make somebody an admin of an organization. For site admins."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        hub.org.add_admin(name, user)
    _tell(session, [("admin", user), ("of", name)])


@organizations.command("remove-admin")
def remove_admin(context: typer.Context, name: NameArgument, user: UserArgument, as_json: AsJson = False) -> None:
    """Make an admin a mere member. The tokens that he has made end."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        hub.org.remove_admin(name, user)
    _tell(session, [("member", user), ("of", name)])


@organizations.command("add-user")
def add_user(context: typer.Context, name: NameArgument, user: UserArgument, as_json: AsJson = False) -> None:
    """Make somebody a member of an organization: its admins can then sign in as him. For site admins."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        hub.org.add_user(name, user)
    _tell(session, [("member", user), ("of", name)])


@organizations.command("remove-user")
def remove_user(context: typer.Context, name: NameArgument, user: UserArgument, as_json: AsJson = False) -> None:
    """Take a member out of an organization. The account stays."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        hub.org.remove_user(name, user)
    _tell(session, [("removed", user), ("from", name)])


@organizations.command("create-user")
def create_user(
    context: typer.Context,
    name: NameArgument,
    email_address: Annotated[str, typer.Argument(metavar="E-MAIL", help="The account's e-mail address.")],
    first_name: Annotated[str | None, typer.Option(help="First name.")] = None,
    last_name: Annotated[str | None, typer.Option(help="Last name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an account that is a member of an organization. `projecthub org token E-MAIL` then lets its owner in."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        account_id = hub.org.create_user(name, email_address, first_name, last_name)
    _tell(session, [("account_id", account_id), ("email_address", email_address)])


@organizations.command()
def token(
    context: typer.Context,
    user: UserArgument,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expire",
            parser=times.moment,
            metavar="TIME",
            help=f"Until when: 2027-01-31, or in {times.DURATION_HELP}.",
            show_default="in a day",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token that signs in as a member of an organization, and print the address to open."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        made = hub.org.create_token(user, expires)
    if session.as_json:
        output.print_json(made)
    else:
        print(output.plain(made["url"]))


@organizations.command("expire-token")
def expire_token(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The token.")],
    as_json: AsJson = False,
) -> None:
    """End a token, and the API keys that were got for it."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        hub.org.expire_token(token)
    _tell(session, [("expired", True)])


@organizations.command()
def message(
    context: typer.Context,
    name: NameArgument,
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="What it is about.")],
    body: Annotated[str, typer.Argument(metavar="BODY", help="The message, in Markdown.")],
    as_json: AsJson = False,
) -> None:
    """Send one message to all members of an organization."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        hub.org.message(name, subject, body)
    _tell(session, [("sent to", name), ("subject", subject)])


def _tell(session: Session, facts: list[tuple[str, Any]]) -> None:
    if session.as_json:
        output.print_json({name.replace(" ", "_"): value for name, value in facts})
    else:
        output.print_facts(facts)
