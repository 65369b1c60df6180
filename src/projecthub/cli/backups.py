"""`projecthub backup` and `projecthub restore`: for the operator, on the hub's machine."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from projecthub.cli import output
from projecthub.cli.serve import StoreUrl, read_settings, require_server
from projecthub.cli.session import AsJson, Session
from projecthub.errors import InternalError

if TYPE_CHECKING:
    from projecthub.hub.backups import Summary

_SHOWN_NOTES: Final = 20

Config = Annotated[Path | None, typer.Option(envvar="PROJECTHUB_CONFIG", help="The hub's settings file.")]


def backup(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(help="The directory to make; nothing of that name may be there.")],
    data_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="PROJECTHUB_DATA_DIR", help="The hub's data directory.", show_default="~/.local/share/projecthub"
        ),
    ] = None,
    store_url: StoreUrl = None,
    config: Config = None,
    compress: Annotated[
        bool | None,
        typer.Option("--compress/--no-compress", help="Compress by zstd.", show_default="if it is installed"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Back up store and homes of a hub on this machine, while it runs or not. Run it as the hub's user.

    Whoever has a backup has all that is in the projects, and the first admin's key.
    """
    session = Session.of(context, as_json)
    require_server()
    from projecthub.hub.backups import back_up
    from projecthub.hub.clock import SystemClock

    settings = read_settings(_given(data_dir=data_dir, store_url=store_url), config)
    work = back_up(
        settings.data_dir,
        settings.url_of_store,
        target.expanduser().absolute(),
        clock=SystemClock(),
        compress=compress,
        watch=output.counting,
    )
    _tell(session, asyncio.run(work), "backup", target)


def restore(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="The backup.")],
    data_dir: Annotated[Path, typer.Option(help="The new data directory: empty, or made if missing.")],
    store_url: StoreUrl = None,
    config: Config = None,
    uid_base: Annotated[
        int | None, typer.Option(envvar="PROJECTHUB_UID_BASE", help="As root: first user id for projects.")
    ] = None,
    uid_count: Annotated[
        int | None, typer.Option(envvar="PROJECTHUB_UID_COUNT", help="As root: how many user ids, one a project.")
    ] = None,
    isolation: Annotated[
        str | None, typer.Option(envvar="PROJECTHUB_ISOLATION", help="As for serve; none: no user ids for projects.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a new data directory of a backup. Run it as the new hub's user, with the new hub's settings.

    Everything is checked before anything is written. Projects that ran when the backup was taken do not run.
    """
    session = Session.of(context, as_json)
    require_server()
    from projecthub.app import own_data_dir, quota_defaults, uids_of
    from projecthub.files import Homes
    from projecthub.hub.backups import restore as restore_backup
    from projecthub.hub.clock import SystemClock
    from projecthub.hub.homes import ProjectHomes
    from projecthub.hub.quotas import Quotas

    flags = _given(data_dir=data_dir, store_url=store_url, uid_base=uid_base, uid_count=uid_count, isolation=isolation)
    settings = read_settings(flags, config)
    quotas = Quotas(quota_defaults(settings), SystemClock())
    homes = ProjectHomes(Homes(settings.data_dir / "projects"), uids_of(settings), quotas.disk_quota_bytes)
    try:
        with own_data_dir(settings.data_dir):
            work = restore_backup(
                source.expanduser().absolute(),
                settings.data_dir,
                settings.url_of_store,
                uid_of=homes.uid,
                watch=output.counting,
            )
            summary = asyncio.run(work)
    except OSError as error:
        raise InternalError(f"cannot use the data directory {data_dir}: {error.strerror}") from error
    _tell(session, summary, "restored to", settings.data_dir)


def _given(**flags: Any) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}


def _tell(session: Session, summary: Summary, what: str, where: Path) -> None:
    if session.as_json:
        output.print_json(asdict(summary))
        return
    output.print_facts(
        [
            (what, where),
            ("projects", summary.projects),
            ("homes", summary.homes),
            ("bytes", summary.bytes),
            ("seconds", summary.seconds),
            ("troubles", summary.troubles or None),
        ]
    )
    output.print_note(f"not in backups: {', '.join(summary.left_out)}")
    for note in summary.notes[:_SHOWN_NOTES]:
        output.print_note(note)
