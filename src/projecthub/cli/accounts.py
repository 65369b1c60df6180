"""`projecthub accounts`: one's own, and, for site admins, everybody's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from projecthub.cli import output
from projecthub.cli.references import PERSON_HELP
from projecthub.cli.rosters import read_roster
from projecthub.cli.session import AsJson, Session

accounts = typer.Typer(
    help="Make, list, change and delete accounts; those of others: for site admins.", no_args_is_help=True
)

PersonArgument = Annotated[str, typer.Argument(metavar="PERSON", help=PERSON_HELP)]


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


@accounts.command()
def show(
    context: typer.Context,
    person: Annotated[
        str | None, typer.Argument(metavar="PERSON", help=f"{PERSON_HELP} Default: yourself.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show an account."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        account = hub.accounts.get(person)
    _print_one(session, account)


@accounts.command()
def edit(
    context: typer.Context,
    person: PersonArgument,
    email_address: Annotated[str | None, typer.Option("--email", help="A new e-mail address.")] = None,
    first_name: Annotated[str | None, typer.Option(help="First name.")] = None,
    last_name: Annotated[str | None, typer.Option(help="Last name.")] = None,
    admin: Annotated[bool | None, typer.Option(help="Make it a site admin, or not one any more.")] = None,
    disabled: Annotated[
        bool | None,
        typer.Option("--disabled/--enabled", help="Shut it out with all its keys, or let it in again."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change an account; what is not given stays."""
    session = Session.of(context, as_json)
    given: dict[str, Any] = {
        "email_address": email_address,
        "first_name": first_name,
        "last_name": last_name,
        "admin": admin,
        "disabled": disabled,
    }
    if all(value is None for value in given.values()):
        raise typer.BadParameter("there is nothing to change", ctx=context)
    with session.hub() as hub:
        account = hub.accounts.update(person, **given)
    _print_one(session, account)


@accounts.command()
def delete(
    context: typer.Context,
    person: PersonArgument,
    projects: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="What becomes of projects without another owner: refuse (then nothing is done), delete, or the "
            "account's id or e-mail address of who gets them.",
        ),
    ] = "refuse",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete an account for good, with its keys and memberships."""
    session = Session.of(context, as_json)
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody is there to be asked; say --yes", ctx=context)
        if not output.confirmed(f"Delete the account {person} for good?"):
            output.print_note("nothing is deleted")
            raise typer.Exit(1)
    with session.hub() as hub, output.working("Deleting"):
        reply = hub.accounts.delete(person, projects)
    if session.as_json:
        output.print_json(reply)
        return
    facts = [("deleted", reply["account_id"])]
    facts += [("project deleted", project_id) for project_id in reply["projects_deleted"]]
    facts += [("project handed over", project_id) for project_id in reply["projects_handed_over"]]
    output.print_facts(facts)


@accounts.command("set-password")
def set_password(
    context: typer.Context,
    person: Annotated[
        str | None, typer.Argument(metavar="PERSON", help=f"{PERSON_HELP} Default: yourself.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set a password: asked for at a terminal, else the first line of the input, and the current one the second."""
    session = Session.of(context, as_json)
    if sys.stdin.isatty():
        password = typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
        question = "Current password (empty: there is none, or it is not needed)"
        current = typer.prompt(question, hide_input=True, default="", show_default=False, err=True)
    else:
        password, current = (sys.stdin.readline().rstrip("\r\n") for _ in range(2))
    with session.hub() as hub:
        reply = hub.accounts.set_password(password, person, current_password=current or None)
    if session.as_json:
        output.print_json(reply)
    else:
        output.print_facts([("password set", reply["account_id"])])


@accounts.command("import")
def import_roster(
    context: typer.Context,
    roster: Annotated[
        Path, typer.Argument(metavar="CSV", exists=True, dir_okay=False, help="The file; its first line names columns.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make and change accounts as a list says: all of it, or nothing. It may be repeated.

    Columns: email, and perhaps first name, last name, role (user or admin), disabled (yes or no). What is empty stays.
    """
    session = Session.of(context, as_json)
    rows, unused = read_roster(roster.read_bytes())
    if unused:
        output.print_note(f"columns that are not used: {', '.join(unused)}")
    with session.hub() as hub, output.working("Bringing accounts in"):
        report = hub.accounts.import_roster(rows, dry_run=dry_run)
    if session.as_json:
        output.print_json(report)
        return
    if report["rows"]:
        output.print_table(
            ("LINE", "E-MAIL", "ACTION", "DETAILS"),
            [(row["line"], row["email_address"], row["action"], _in_words(row["changes"])) for row in report["rows"]],
        )
    would = "would be " if dry_run else ""
    output.print_note(
        f"{report['created']} {would}created, {report['changed']} {would}changed, {report['unchanged']} as they were"
    )


def _in_words(changes: dict[str, list[Any]]) -> str:
    """Changes for people; what is made anew shows no value from before."""
    return ", ".join(
        f"{name} {after!r}" if before is None else f"{name} {before!r} -> {after!r}"
        for name, (before, after) in changes.items()
        if before is not None or after
    )


def _print_one(session: Session, account: Any) -> None:
    if session.as_json:
        output.print_json(account)
        return
    output.print_facts(
        [
            ("account", account["account_id"]),
            ("e-mail", account.get("email_address")),
            ("first name", account.get("first_name")),
            ("last name", account.get("last_name")),
            ("site admin", "yes" if account.get("admin") else None),
            ("disabled", "yes" if account.get("disabled") else None),
            ("created", output.local_time(account.get("created"))),
            ("last active", output.local_time(account.get("last_active"))),
        ]
    )


def _print_table(found: list[Any]) -> None:
    output.print_table(
        ("ID", "E-MAIL", "NAME", "ADMIN", "STATUS", "CREATED"),
        [
            (
                account["account_id"],
                account.get("email_address"),
                " ".join(filter(None, (account.get("first_name"), account.get("last_name")))),
                "yes" if account.get("admin") else None,
                "deleted" if account.get("deleted") else "disabled" if account.get("disabled") else None,
                output.local_time(account.get("created")),
            )
            for account in found
        ],
    )
