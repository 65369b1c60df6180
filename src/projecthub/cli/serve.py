"""`projecthub serve`: the hub in the foreground."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from projecthub.settings import Settings

_SECRET = ("admin_key", "smtp_password", "store_url")
_SERVER_PACKAGES = ("uvicorn", "starlette", "sqlalchemy", "pydantic_settings")

WITHOUT_FLAGS = """\
Settings without a flag, in the environment, or in the file without PROJECTHUB_ and in small letters:

PROJECTHUB_SMTP_HOST: the server that mail of invitations is sent by (default: no mail is sent)
PROJECTHUB_SMTP_PORT: its port (default: 587)
PROJECTHUB_SMTP_SECURITY: starttls, tls or none (default: starttls)
PROJECTHUB_SMTP_USER, PROJECTHUB_SMTP_PASSWORD: to sign in to it with
PROJECTHUB_MAIL_FROM: where mail comes from, such as 'projecthub <hub@example.org>'; needed with a server
PROJECTHUB_MAILS_A_DAY: mails that one account may cause (default: 100)

PROJECTHUB_SNAPSHOT_HOURS: after which a project that was used gets one; 0: never (default: 24)
PROJECTHUB_SNAPSHOT_PERCENT: of its disk space, what a project's may take beside it (default: 50)
PROJECTHUB_LOG_DAYS: that entries of projects' logs are kept; 0: for ever (default: 730)
PROJECTHUB_AUDIT_DAYS: the same of the audit log (default: 0)
"""
"""The settings that are no flags, for the end of the command's help; made of `Settings` they would load much."""


_Bind = Annotated[
    str | None,
    typer.Option(envvar="PROJECTHUB_BIND", help="Address and port to listen on.", show_default="127.0.0.1:8000"),
]
_DataDir = Annotated[
    Path | None,
    typer.Option(
        envvar="PROJECTHUB_DATA_DIR",
        help="Where everything is kept; made if missing, for its owner only.",
        show_default="~/.local/share/projecthub",
    ),
]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        envvar="PROJECTHUB_STORE_URL",
        help="sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME.",
        show_default="a SQLite file in the data directory",
    ),
]
_Isolation = Annotated[
    str | None,
    typer.Option(
        envvar="PROJECTHUB_ISOLATION",
        help="auto: the best this machine offers; required: refuse to start without any; none: plain processes.",
        show_default="auto",
    ),
]
_AdminKey = Annotated[
    str | None,
    typer.Option(
        envvar="PROJECTHUB_ADMIN_KEY",
        help="The first admin's API key is exactly this; must start with 'sk-'.",
        show_default="made at the first start",
    ),
]
_UidBase = Annotated[
    int | None,
    typer.Option(envvar="PROJECTHUB_UID_BASE", help="As root: first user id for projects.", show_default="1900000000"),
]
_UidCount = Annotated[
    int | None,
    typer.Option(
        envvar="PROJECTHUB_UID_COUNT", help="As root: how many user ids, one a project.", show_default="100000000"
    ),
]
_Network = Annotated[
    str | None,
    typer.Option(
        envvar="PROJECTHUB_NETWORK",
        help="What projects reach unless a license says otherwise: none, internet, host; auto: none, or host where "
        "this machine has no network namespaces.",
        show_default="auto",
    ),
]
_MemoryMb = Annotated[
    int | None,
    typer.Option(envvar="PROJECTHUB_MEMORY_MB", help="Memory of a project in MB.", show_default="1000"),
]
_Cpus = Annotated[
    float | None, typer.Option(envvar="PROJECTHUB_CPUS", help="Processor cores of a project.", show_default="1")
]
_Processes = Annotated[
    int | None,
    typer.Option(
        envvar="PROJECTHUB_PROCESSES", help="Processes and threads of a project at most.", show_default="1024"
    ),
]
_DiskMb = Annotated[
    int | None,
    typer.Option(envvar="PROJECTHUB_DISK_MB", help="Disk space of a project in MB.", show_default="3000"),
]
_IdleTimeoutS = Annotated[
    int | None,
    typer.Option(
        envvar="PROJECTHUB_IDLE_TIMEOUT_S",
        help="Seconds without use after which a project is stopped; 0: never.",
        show_default="1800",
    ),
]
_SiteName = Annotated[
    str | None,
    typer.Option(envvar="PROJECTHUB_SITE_NAME", help="What people call the hub.", show_default="projecthub"),
]
_PublicUrl = Annotated[
    str | None,
    typer.Option(
        envvar="PROJECTHUB_PUBLIC_URL",
        help="Where people reach the hub, such as https://hub.example.org: links to it begin so.",
        show_default="where it listens",
    ),
]
_HelpEmail = Annotated[str | None, typer.Option(envvar="PROJECTHUB_HELP_EMAIL", help="Whom people may ask for help.")]
_Metrics = Annotated[
    str | None,
    typer.Option(
        envvar="PROJECTHUB_METRICS",
        help="Who may read /metrics: loopback (requests of this machine, and site admins), admins, or everybody.",
        show_default="loopback",
    ),
]
_LogLevel = Annotated[
    str | None,
    typer.Option(envvar="PROJECTHUB_LOG_LEVEL", help="debug, info, warning or error.", show_default="info"),
]
_LogFormat = Annotated[
    str | None, typer.Option(envvar="PROJECTHUB_LOG_FORMAT", help="console or json.", show_default="console")
]
_Config = Annotated[
    Path | None,
    typer.Option(envvar="PROJECTHUB_CONFIG", help="A TOML file with these settings: bind = '...', and so on."),
]


def serve(
    bind: _Bind = None,
    data_dir: _DataDir = None,
    store_url: StoreUrl = None,
    isolation: _Isolation = None,
    admin_key: _AdminKey = None,
    uid_base: _UidBase = None,
    uid_count: _UidCount = None,
    network: _Network = None,
    memory_mb: _MemoryMb = None,
    cpus: _Cpus = None,
    processes: _Processes = None,
    disk_mb: _DiskMb = None,
    idle_timeout_s: _IdleTimeoutS = None,
    site_name: _SiteName = None,
    public_url: _PublicUrl = None,
    help_email: _HelpEmail = None,
    metrics: _Metrics = None,
    log_level: _LogLevel = None,
    log_format: _LogFormat = None,
    config: _Config = None,
) -> None:
    """Run a hub. Flags win over the environment, the environment over the file.

    Ctrl-C stops all projects and then the hub; a second one does not wait. SIGTERM leaves the projects running, and the
    next start finds them again.
    """
    options = locals()
    require_server()
    flags = {name: value for name, value in options.items() if name != "config" and value is not None}
    settings = read_settings(flags, config)

    # Only now: these load most of the house.
    import uvloop

    from projecthub.cli._serving import Refused, run

    try:
        uvloop.run(run(settings))
    except Refused as error:
        _fail(str(error))


def require_server() -> None:
    """End the command if the packages that a hub needs are not installed."""
    missing = [name for name in _SERVER_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        _fail(f"a hub needs more packages ({', '.join(missing)}): pip install 'projecthub[server]'")


def read_settings(flags: dict[str, Any], config: Path | None) -> Settings:
    """The settings, from flags, the environment and a file. What is wrong with them ends the command."""
    from pydantic import ValidationError

    from projecthub.settings import Settings

    if config is not None:
        os.environ["PROJECTHUB_CONFIG"] = str(config)
    try:
        return Settings(**flags)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        if problem["type"] == "extra_forbidden":
            _fail(f"the settings file has an unknown key '{name}'; `projecthub serve --help` lists them", code=2)
        _fail(f"setting {name}: {_what_is_wrong(problem, name)}", code=2)
    except OSError as error:
        _fail(str(error), code=2)
    except ValueError as error:
        _fail(f"the settings file {os.environ.get('PROJECTHUB_CONFIG')} is no TOML: {error}", code=2)


def _what_is_wrong(problem: ErrorDetails, name: str) -> str:
    """What is to be changed, with the value that was given; of secrets without."""
    told = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if problem["type"] == "value_error" or name in _SECRET:
        return told
    return f"{problem['input']!r:.100} does not do: it {told}"


def _fail(text: str, *, code: int = 1) -> NoReturn:
    print(f"error: {text}", file=sys.stderr)
    raise typer.Exit(code)
