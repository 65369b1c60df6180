"""The tree of commands, what applies to all of them, and how they end."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from projecthub import __version__
from projecthub.cli import output
from projecthub.cli.accounts import accounts
from projecthub.cli.audit import audit
from projecthub.cli.backups import backup, restore
from projecthub.cli.classes import classes
from projecthub.cli.collaborators import (
    add_collaborator,
    change_group,
    collaborators,
    hand_over,
    hide,
    leave,
    owners_only,
    remove_collaborator,
)
from projecthub.cli.copies import copies, copy
from projecthub.cli.doctor import doctor
from projecthub.cli.exec import exec
from projecthub.cli.files import files
from projecthub.cli.histories import checkpoint, history, restore_version, show_version, use_times
from projecthub.cli.invitations import create_invite_token, invite, invite_tokens, join, revoke_invite_token
from projecthub.cli.jobs import jobs
from projecthub.cli.jupyter import jupyter
from projecthub.cli.keys import keys
from projecthub.cli.licenses import licenses
from projecthub.cli.lifecycle import delete, restart, start, stop, touch, undelete
from projecthub.cli.messages import messages
from projecthub.cli.organizations import organizations
from projecthub.cli.project_making import clone, export, import_, set_template, templates
from projecthub.cli.project_quotas import add_license, remove_license, set_quotas
from projecthub.cli.projects import projects
from projecthub.cli.serve import WITHOUT_FLAGS, serve
from projecthub.cli.session import Session
from projecthub.cli.shares import shares
from projecthub.cli.sign_in import (
    password_link,
    reset_password,
    revoke_sign_in_token,
    sign_in,
    sign_in_token,
    sign_out,
)
from projecthub.cli.snapshots import snapshots
from projecthub.cli.stop import stop as stop_all
from projecthub.cli.system import query, system
from projecthub.errors import (
    HubError,
    NotFound,
    NotSignedIn,
    PermissionDenied,
    ProtocolError,
    TransportError,
)

if TYPE_CHECKING:
    import httpx2

REFUSED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
_USAGE_CODE: Final = "usage"
_INTERRUPTED_CODE: Final = "interrupted"

EXIT_CODES: Final[tuple[tuple[type[HubError], int], ...]] = (
    (NotFound, 3),
    (PermissionDenied, 4),
    (NotSignedIn, 4),
    (TransportError, 5),
    (ProtocolError, 5),
    (HubError, REFUSED),
)
"""Exit codes of errors; the first line that fits counts."""

_HINTS: Final[dict[type[HubError], str]] = {
    NotSignedIn: "set PROJECTHUB_API_KEY, or give --api-key; `projecthub keys create` makes another",
    PermissionDenied: "`projecthub system test` tells whose key it is; `projecthub projects list` shows its projects",
}

_EPILOG: Final = (
    "Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 no such thing; 4 not permitted or not signed in; "
    "5 no answer from the hub; 130 interrupted. Of exec and jobs wait: the command's own. With --json the last line on "
    'stderr of a command that failed is {"error": {"code", "message", "hint"?}}.'
)

_FORMER: Final = {"expires": "expire"}
"""Options by former names, which are understood and stand in no help."""

app = typer.Typer(
    name="projecthub",
    help="Projects: persistent, isolated workspaces that people and programs share.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: _FORMER.get(name, name),
    },
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"projecthub {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar=["PROJECTHUB_API_KEY", "COCALC_API_KEY"],
            help="API key. For a hub on this machine that you started it is found by itself.",
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(envvar=["PROJECTHUB_URL", "COCALC_HOST"], help="Address of the hub.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            envvar="PROJECTHUB_CONFIG",
            help="Settings file of a hub on this machine, for its address and its admin's key.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs; also after a command.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What applies to every command."""
    session = context.ensure_object(Session)
    if config is not None:
        os.environ["PROJECTHUB_CONFIG"] = str(config)
    session.api_key, session.url, session.as_json = api_key, url, as_json


for _command in (
    start,
    stop,
    restart,
    touch,
    delete,
    undelete,
    copy,
    clone,
    export,
    set_template,
    templates,
    collaborators,
    add_collaborator,
    remove_collaborator,
    change_group,
    hand_over,
    owners_only,
    leave,
    hide,
    invite,
    join,
    create_invite_token,
    invite_tokens,
    revoke_invite_token,
    add_license,
    remove_license,
    set_quotas,
):
    projects.command()(_command)
projects.command("import")(import_)
for _way in (sign_in, sign_out, password_link, reset_password, sign_in_token, revoke_sign_in_token):
    accounts.command()(_way)
for _file_command in (history, show_version, restore_version, checkpoint, use_times):
    files.command()(_file_command)
app.add_typer(projects, name="projects")
app.add_typer(classes, name="class")
app.add_typer(accounts, name="accounts")
app.add_typer(shares, name="shares")
app.add_typer(keys, name="keys")
app.add_typer(licenses, name="licenses")
app.add_typer(organizations, name="org")
app.add_typer(messages, name="messages")
app.add_typer(copies, name="copies")
app.add_typer(jobs, name="jobs")
app.add_typer(jupyter, name="jupyter")
app.command()(exec)
app.add_typer(files, name="files")
app.add_typer(snapshots, name="snapshots")
app.add_typer(system, name="system")
app.command()(query)
app.command(epilog=WITHOUT_FLAGS)(serve)
app.command()(backup)
app.command()(restore)
app.command()(audit)
app.command()(stop_all)
app.command()(doctor)


def run(
    arguments: Sequence[str] | None = None,
    *,
    transport: httpx2.BaseTransport | None = None,
    async_transport: httpx2.AsyncBaseTransport | None = None,
) -> int:
    """Run one command, and print its error if it has one.

    Args:
        arguments: Words after the program's name. Default: the process's own.
        transport: Carries the calls instead of the network.
        async_transport: The same for commands that make several calls at a time.

    Returns:
        The exit code; the end of ``projecthub --help`` says what each means.
    """
    session = Session(transport=transport, async_transport=async_transport)
    words = sys.argv[1:] if arguments is None else arguments

    def fail(text: str, code: str, hint: str | None = None) -> None:
        output.print_failure(text, code, hint, as_json=session.as_json or _asks_for_json(words))

    try:
        code = app(args=words, prog_name="projecthub", standalone_mode=False, obj=session)
        sys.stdout.flush()
    except typer.TyperException as error:
        context: Any = getattr(error, "ctx", None)
        if text := error.format_message():
            fail(text, _USAGE_CODE, f"{context.command_path} --help" if context else None)
        return error.exit_code
    except HubError as error:
        fail(error.message, error.code, _hint(error))
        return exit_code(error)
    except typer.Abort:
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has left. Python would complain once more when it flushes at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    if code == INTERRUPTED:
        fail("interrupted; what was asked of the hub may still go on there", _INTERRUPTED_CODE)
    return int(code or 0)


def exit_code(error: HubError) -> int:
    """The exit code that stands for an error."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def _hint(error: HubError) -> str | None:
    if "text" not in error.details:
        return None  # the client's own errors say themselves what to do
    return next((hint for kind, hint in _HINTS.items() if isinstance(error, kind)), None)


def _asks_for_json(words: Sequence[str]) -> bool:
    """Whether a command was to print JSON, even if it was not understood; what stands after ``--`` is not its own."""
    return "--json" in itertools.takewhile(lambda word: word != "--", words)
