"""`projecthub stop --all`: nothing runs any more, whether the hub does or not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from projecthub.cli import output
from projecthub.cli.session import AsJson, Session
from projecthub.client.settings import data_dir, named_data_dir
from projecthub.errors import HubError, TransportError

if TYPE_CHECKING:
    from projecthub.wire import shapes


def stop(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Really all projects, of everybody.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop every project of the hub; for its operator. Their files stay.

    If the hub of this machine does not run, the projects that it has left running are found and stopped; where
    PROJECTHUB_URL or --url names a hub, only those of a data directory that is named as well (PROJECTHUB_DATA_DIR, or
    --config).
    """
    session = Session.of(context, as_json)
    if not every:
        raise typer.BadParameter("say --all; to stop some: projecthub projects stop PROJECT...", ctx=context)
    with output.working("Stopping all projects"):
        reply = _stop_all(session)
    if session.as_json:
        output.print_json(reply)
    else:
        output.print_facts([("stopped", str(reply["stopped"]))])
    if reply["failed"]:
        for project_id, why in reply["failed"].items() if not session.as_json else ():
            output.print_error(f"{project_id}: {why}")
        raise HubError(f"{len(reply['failed'])} projects could not be stopped")


def _stop_all(session: Session) -> shapes.StoppedAll:
    from projecthub import Hub

    try:
        with session.hub() as hub:
            return hub.projects.stop_all()
    except TransportError:
        directory = data_dir(os.environ)
        is_meant = session.url is None or named_data_dir(os.environ) is not None
        if not is_meant or not (directory / "hub.lock").exists():
            raise
        with Hub.embedded(directory) as hub:
            return hub.projects.stop_all()
