"""`projecthub projects`: what there is, and new ones."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from projecthub.cli import output, times
from projecthub.cli.project_making import tell_id
from projecthub.cli.references import PROJECT_HELP, ProjectFinder
from projecthub.cli.session import AsJson, Session
from projecthub.errors import NotFound
from projecthub.wire.ids import is_uuid

if TYPE_CHECKING:
    from projecthub import Hub

projects = typer.Typer(help="List, make, start, stop, copy and share projects.", no_args_is_help=True)

ProjectArgument = Annotated[str, typer.Argument(metavar="PROJECT", help=PROJECT_HELP)]

_PAGE = 100
_MAX_PAGE = 1000
_FACTS = ["project_id", "title", "description", "state", "last_edited", "created", "deleted", "users"]


@projects.command("list")
def list_projects(
    context: typer.Context,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Also those not used within six weeks.")] = False,
    state: Annotated[str | None, typer.Option(help="Only those in this state, such as running or stopped.")] = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Only deleted ones, instead of the others.")] = False,
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Only those you have hidden, instead of the others.")
    ] = False,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=0, help="How many at most.")] = None,
    all_accounts: Annotated[
        bool,
        typer.Option("--all-accounts", help="Everybody's, deleted and hidden ones too; 100 unless --limit says more."),
    ] = False,
    after: Annotated[
        str | None, typer.Option(metavar="NEXT", help="With --all-accounts: where the list before this one ended.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the projects you are on, most recently used first; for site admins also everybody's."""
    session = Session.of(context, as_json)
    if all_accounts:
        if all_ or state or deleted or hidden:
            raise typer.BadParameter("--all-accounts lists all; leave --all, --state, --deleted, --hidden out")
        _list_everybodys(session, _PAGE if limit is None else limit, after)
        return
    if after is not None:
        raise typer.BadParameter("--after goes with --all-accounts")
    with session.hub() as hub, output.working("Asking for projects"):
        rows = hub.projects.get(
            all=all_,
            state=state,
            deleted=deleted,
            hidden=hidden,
            limit=limit,
            account_id_for_hidden=hub.system.test()["account_id"],
        )
    if session.as_json:
        output.print_json(rows)
        return
    output.print_table(
        ("ID", "TITLE", "STATE", "LAST USED"),
        [
            (row.get("project_id"), row.get("title"), _state_word(row), output.local_time(row.get("last_edited")))
            for row in rows
        ],
    )


def _list_everybodys(session: Session, limit: int, after: str | None) -> None:
    rows: list[Any] = []
    with session.hub() as hub, output.working("Asking for projects"):
        while len(rows) < limit:
            page: Any = hub.projects.list_all(min(limit - len(rows), _MAX_PAGE), after)
            rows += page["projects"]
            after = page["next"]
            if after is None:
                break
        owners = {} if session.as_json else _owners(hub, rows)
    if session.as_json:
        output.print_json({"projects": rows, "next": after})
        return
    output.print_table(
        ("ID", "TITLE", "STATE", "LAST USED", "OWNERS"),
        [
            (
                row["project_id"],
                row.get("title"),
                "deleted" if row.get("deleted") else _state_word(row),
                output.local_time(row.get("last_edited")),
                ", ".join(owners[each] for each in _owner_ids(row)),
            )
            for row in rows
        ],
    )
    if after is not None:
        output.print_note(f"there are more: --after {after}")


def _owner_ids(row: Any) -> list[str]:
    return [each for each, member in (row.get("users") or {}).items() if member.get("group") == "owner"]


def _owners(hub: Hub, rows: list[Any]) -> dict[str, str]:
    """The names of those who own projects, by their ids."""
    ids = sorted({each for row in rows for each in _owner_ids(row)})
    names: Any = hub.system.get_names(ids) if ids else {}
    return {each: _person(names, each) for each in ids}


@projects.command()
def get(
    context: typer.Context,
    project: ProjectArgument,
    fields: Annotated[
        list[str] | None, typer.Option("--field", "-f", help="Tell this field instead, such as env; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell about one project."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for the project"):
        project_id = ProjectFinder(hub).find(project)
        rows: list[Any] = list(hub.projects.get(fields=fields or _FACTS, project_id=project_id))
        if not rows:
            raise NotFound(f"you are on no project {project!r}")
        names = {} if fields or session.as_json else hub.system.get_names(list(rows[0].get("users") or {}))
    if session.as_json:
        output.print_json(rows[0])
    elif fields:
        output.print_facts([(field, rows[0].get(field)) for field in fields])
    else:
        output.print_facts(_facts(rows[0], names))


@projects.command()
def create(
    context: typer.Context,
    title: Annotated[str | None, typer.Argument(help="What people call it.")] = None,
    description: Annotated[str | None, typer.Option("--description", "-d", help="What it is for.")] = None,
    license: Annotated[str | None, typer.Option(help="A license's id, or several parted by commas.")] = None,
    share: Annotated[str | None, typer.Option(help="Id of a share, with whose files it begins.")] = None,
    template: Annotated[
        str | None, typer.Option(help="Id of a template, as which it begins; see `projects templates`.")
    ] = None,
    image: Annotated[str | None, typer.Option(help="Name of the software image.")] = None,
    start: Annotated[bool, typer.Option("--start", help="Start it in the background.")] = False,
    ephemeral: Annotated[
        int | None,
        typer.Option(
            parser=times.seconds, metavar="DURATION", help=f"Delete it after that time, {times.DURATION_HELP}."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a project, and print its id."""
    session = Session.of(context, as_json)
    with session.hub() as hub, _watching(share or template) as progress:
        project_id = hub.projects.create_project(
            title,
            description,
            license,
            share,
            template_id=template,
            image=image,
            start=start,
            ephemeral=None if ephemeral is None else ephemeral * 1000,
            progress=progress,
        )
    tell_id(session, project_id)


def _watching(source: str | None) -> AbstractContextManager[Any]:
    """Show how far what a project begins with has come, if it begins with anything."""
    text = "Making the project"
    return output.working(text) if source is None else output.transferring(text)


@projects.command()
def state(context: typer.Context, project: ProjectArgument, as_json: AsJson = False) -> None:
    """Tell whether a project runs. Never starts it."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for the state"):
        reply: Any = hub.projects.state(ProjectFinder(hub).find(project))
    if session.as_json:
        output.print_json(reply)
    else:
        output.print_facts([*_without_time(reply), ("since", output.local_time(reply.get("time")))])


@projects.command()
def status(context: typer.Context, project: ProjectArgument, as_json: AsJson = False) -> None:
    """Tell what a project uses: disk and memory in MB, processor time in seconds. Never starts it."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for the status"):
        reply: Any = hub.projects.status(ProjectFinder(hub).find(project))
    if session.as_json:
        output.print_json(reply)
    else:
        output.print_facts(_flat(reply))


@projects.command()
def log(
    context: typer.Context,
    project: ProjectArgument,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="How many entries at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Tell what happened in a project, newest first."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for the log"):
        entries: list[Any] = list(hub.projects.log(ProjectFinder(hub).find(project), limit=limit))
        people = sorted({person for entry in entries for person in _people(entry)})
        names: Any = {} if session.as_json or not people else hub.system.get_names(people)
    if session.as_json:
        output.print_json(entries)
        return
    output.print_table(
        ("TIME", "PERSON", "WHAT", "DETAILS"),
        [
            (
                output.local_time(entry.get("time")),
                _person(names, entry["account_id"]) if "account_id" in entry else "(the hub)",
                str(entry["event"].get("event", "")).replace("_", " "),
                _details(entry["event"], names),
            )
            for entry in entries
        ],
    )


def _person(names: Any, account_id: str) -> str:
    name = names.get(account_id, {})
    return " ".join(filter(None, (name.get("first_name"), name.get("last_name")))) or account_id


def _people(entry: Any) -> list[str]:
    """The accounts that an entry of a log names, as far as they can be looked up: people write such entries, too."""
    named = [value for name, value in entry["event"].items() if name.endswith("account_id")]
    return [value for value in (entry.get("account_id"), *named) if isinstance(value, str) and is_uuid(value)]


def _details(event: Any, names: Any) -> str:
    """What an event holds beside its kind: ``path=data files=3``; accounts by the names that they have, or had then."""
    texts: dict[str, str] = {}
    for name, value in event.items():
        who = name.removesuffix("_account_id")
        if who != name and isinstance(value, str):
            texts[f"{who}_name"] = str(event.get(f"{who}_name") or _person(names, value))
        elif name != "event":
            texts[name] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return " ".join(f"{name}={text}" for name, text in texts.items())


@projects.command()
def idle(context: typer.Context, project: ProjectArgument, as_json: AsJson = False) -> None:
    """Tell why a project goes on running, or when it would be stopped for want of use."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking"):
        reply = hub.projects.idle(ProjectFinder(hub).find(project))
    if session.as_json:
        output.print_json(reply)
        return
    timeout_s = reply["idle_timeout_s"]
    output.print_facts(
        [
            ("last sign of use", reply["because"]),
            ("not used for", f"{reply['idle_for_s'] / 60:.0f} min"),
            ("may be so for", None if timeout_s is None else f"{timeout_s / 60:.0f} min"),
            ("will be stopped", output.local_time(reply["would_stop_at"]) or "no"),
            ("because", "; ".join(reply["blocked_by"]) or None),
        ]
    )


def _state_word(row: Any) -> str:
    """The state in the words of `projects state`: a row says ``opened`` for stopped."""
    word = (row.get("state") or {}).get("state", "")
    return "stopped" if word == "opened" else word


def _facts(row: Any, names: Any) -> list[tuple[str, Any]]:
    users = row.get("users") or {}
    facts = [
        ("id", row.get("project_id")),
        ("title", row.get("title")),
        ("description", row.get("description") or None),
        ("state", _state_word(row)),
        ("error", (row.get("state") or {}).get("error")),
        ("last used", output.local_time(row.get("last_edited"))),
        ("created", output.local_time(row.get("created"))),
        ("deleted", "yes" if row.get("deleted") else None),
    ]
    for account_id, member in users.items():
        name = names.get(account_id, {})
        person = " ".join(filter(None, (name.get("first_name"), name.get("last_name"))))
        facts.append((member.get("group", "member"), f"{person} ({account_id})".strip()))
    return facts


def _without_time(reply: Any) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in reply.items() if name != "time"]


def _flat(reply: Any) -> list[tuple[str, Any]]:
    """Names and values, those inside an object as ``outer.inner``; times as the clock shows them."""
    facts: dict[str, Any] = {}
    for name, value in reply.items():
        if isinstance(value, dict):
            facts |= {f"{name}.{inner}": part for inner, part in value.items()}
        elif name in ("start_ts", "would_stop_at"):
            facts[name] = output.local_time(value)
        else:
            facts[name] = value
    return list(facts.items())
