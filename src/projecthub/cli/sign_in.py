"""Ways to sign in: the part of `projecthub accounts` about sessions, and about links and tokens for others."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from projecthub.cli import output
from projecthub.cli.references import PERSON_HELP, find_account
from projecthub.cli.session import AsJson, Session
from projecthub.client.settings import is_local
from projecthub.errors import NotSignedIn

if TYPE_CHECKING:
    from projecthub import Hub

_NO_KEY: Final = "none"
"""What is sent as a key by who has none yet; it is not looked at."""


def _ask_password(question: str, *, is_new: bool = False) -> str:
    """A password: asked for at a terminal, a new one twice; else the first line of the input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password: str = typer.prompt(question, hide_input=True, confirmation_prompt=is_new, err=True)
    return password


def sign_in(
    context: typer.Context,
    email_address: Annotated[str, typer.Argument(metavar="E-MAIL", help="Of the account.")],
    as_json: AsJson = False,
) -> None:
    """Begin a session; its secret is used as a key until it ends. The password is asked for, or read from the input."""
    session = Session.of(context, as_json)
    password = _ask_password("Password")
    with replace(session, api_key=_NO_KEY).hub() as hub:
        try:
            reply = hub.accounts.sign_in(email_address, password)
        except NotSignedIn as error:  # it is about the password: what else is said of such errors is about keys
            raise NotSignedIn(f"{error}; a site admin can make a link for a new one") from error
    if session.as_json:
        output.print_json(reply)
        return
    print(reply["secret"])
    output.print_note(f"set PROJECTHUB_API_KEY to it; it is good until {output.local_time(reply['expire'])}")


def sign_out(
    context: typer.Context,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="End all sessions; API keys stay.")] = False,
    as_json: AsJson = False,
) -> None:
    """End the session whose secret is the key."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        reply = hub.accounts.sign_out(everywhere=everywhere)
    if session.as_json:
        output.print_json(reply)
    else:
        output.print_facts([("signed out", "everywhere" if everywhere else "of this session")])


PersonArgument = Annotated[str, typer.Argument(metavar="PERSON", help=PERSON_HELP)]


def password_link(context: typer.Context, person: PersonArgument, as_json: AsJson = False) -> None:
    """Make a link with which somebody sets a new password, once and within a day. For site admins."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        url = _where_people_reach(hub) + hub.system.admin_reset_password_link(find_account(hub, person))
    if session.as_json:
        output.print_json({"url": url})
    else:
        print(url)


def _where_people_reach(hub: Hub) -> str:
    """The address that links for others begin with: what the operator says; else the one that was called."""
    told = hub.system.get_customize(["siteURL"]).get("siteURL")
    return told if isinstance(told, str) and told and not is_local(told) else hub.host


def reset_password(
    context: typer.Context,
    link: Annotated[str, typer.Argument(metavar="LINK", help="What `accounts password-link` printed.")],
    as_json: AsJson = False,
) -> None:
    """Set a password by a link for that; it takes no key. The password is asked for, or read from the input."""
    session = Session.of(context, as_json)
    password = _ask_password("New password", is_new=True)
    url, has_path, _ = link.rpartition("/auth/")
    with replace(session, api_key=_NO_KEY, url=url if has_path and url else session.url).hub() as hub:
        try:
            reply = hub.accounts.reset_password(link, password)
        except NotSignedIn as error:  # it is about the link: what else is said of such errors is about keys
            raise NotSignedIn(error.message) from error
    if session.as_json:
        output.print_json(reply)
    else:
        output.print_facts([("password set", reply["account_id"])])


def sign_in_token(context: typer.Context, person: PersonArgument, as_json: AsJson = False) -> None:
    """Make a token that signs in as somebody for a day. For site admins."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        token = hub.system.generate_user_auth_token(find_account(hub, person))
    if session.as_json:
        output.print_json({"token": token})
    else:
        print(token)


def revoke_sign_in_token(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The token.")],
    as_json: AsJson = False,
) -> None:
    """End a token and whatever was signed in with it. One that is not there is no error."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        hub.system.revoke_user_auth_token(token)
    if session.as_json:
        output.print_json({"revoked": True})
    else:
        output.print_facts([("revoked", "the token")])
