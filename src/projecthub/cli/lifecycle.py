"""`projecthub projects start` and the like: several projects at a time."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from projecthub.cli import output
from projecthub.cli.projects import ProjectArgument
from projecthub.cli.references import PROJECT_HELP, ProjectFinder
from projecthub.cli.session import AsJson, Session
from projecthub.errors import HubError

if TYPE_CHECKING:
    from projecthub import AsyncHub

_AT_A_TIME: Final = 16

ProjectArguments = Annotated[list[str], typer.Argument(metavar="PROJECT...", help=f"{PROJECT_HELP} Several are fine.")]


@dataclass(frozen=True, slots=True)
class _Outcome:
    project: str
    project_id: str
    reply: Any = None
    error: HubError | None = None


def start(context: typer.Context, project: ProjectArguments, as_json: AsJson = False) -> None:
    """Start projects, and wait until they run."""
    _each(Session.of(context, as_json), project, "Starting", lambda hub, project_id: hub.projects.start(project_id))


def stop(context: typer.Context, project: ProjectArguments, as_json: AsJson = False) -> None:
    """Stop projects, and wait until nothing of them runs. Their files stay."""
    _each(Session.of(context, as_json), project, "Stopping", lambda hub, project_id: hub.projects.stop(project_id))


def restart(context: typer.Context, project: ProjectArguments, as_json: AsJson = False) -> None:
    """Stop projects that run, start them all, and wait until they run."""
    _each(Session.of(context, as_json), project, "Restarting", lambda hub, project_id: hub.projects.restart(project_id))


def touch(context: typer.Context, project: ProjectArguments, as_json: AsJson = False) -> None:
    """Say that projects are in use, and start those that do not run."""
    _each(Session.of(context, as_json), project, "Touching", lambda hub, project_id: hub.projects.touch(project_id))


def delete(
    context: typer.Context,
    project: ProjectArguments,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop projects and mark them as deleted. Their files stay; undelete brings them back."""
    session = Session.of(context, as_json)
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody is there to be asked; say --yes", ctx=context)
        if not output.confirmed(f"Delete {', '.join(project)}?"):
            output.print_note("nothing is deleted")
            raise typer.Exit(1)
    _each(session, project, "Deleting", lambda hub, project_id: hub.projects.delete(project_id))


def undelete(context: typer.Context, project: ProjectArgument, as_json: AsJson = False) -> None:
    """Bring a deleted project back. It is not started."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Bringing it back"):
        project_id = ProjectFinder(hub).find(project, deleted=True)
        hub.projects.undelete(project_id)
    if session.as_json:
        output.print_json({"project_id": project_id, "deleted": False})
    else:
        output.print_table(("ID", "PROJECT", "STATE"), [(project_id, project, "not deleted")])


def _each(session: Session, texts: list[str], doing: str, act: Callable[[AsyncHub, str], Awaitable[Any]]) -> None:
    """Do the same to several projects at a time; every one is tried, whatever happens to the others."""
    import asyncio

    with session.hub() as hub, output.working("Looking for projects"):
        finder = ProjectFinder(hub)
        found: dict[str, str] = {}
        for text in texts:
            found.setdefault(finder.find(text), text)
    outcomes = asyncio.run(_all_of(session, found, doing, act))
    if session.as_json:
        output.print_json([_as_json(outcome) for outcome in outcomes])
    elif done := [outcome for outcome in outcomes if outcome.error is None]:
        output.print_table(
            ("ID", "PROJECT", "STATE"), [(one.project_id, one.project, _result_word(one.reply)) for one in done]
        )
    _end(outcomes, is_told=session.as_json)


async def _all_of(
    session: Session, found: dict[str, str], doing: str, act: Callable[[AsyncHub, str], Awaitable[Any]]
) -> list[_Outcome]:
    import asyncio

    places = asyncio.Semaphore(_AT_A_TIME)

    async def one(hub: AsyncHub, project_id: str, text: str, advance: Callable[[], None]) -> _Outcome:
        async with places:
            try:
                return _Outcome(text, project_id, reply=await act(hub, project_id))
            except HubError as error:
                return _Outcome(text, project_id, error=error)
            finally:
                advance()

    what = next(iter(found.values())) if len(found) == 1 else f"{len(found)} projects"
    async with session.async_hub() as hub:
        with output.counting(f"{doing} {what}", len(found)) as advance:
            return await asyncio.gather(*(one(hub, project_id, text, advance) for project_id, text in found.items()))


def _result_word(reply: Any) -> str:
    return "deleted" if reply.get("deleted") else str(reply.get("state"))


def _as_json(outcome: _Outcome) -> dict[str, Any]:
    if outcome.error is None:
        return {"project_id": outcome.project_id, **outcome.reply}
    return {"project_id": outcome.project_id, "error": outcome.error.message, "code": outcome.error.code}


def _end(outcomes: list[_Outcome], *, is_told: bool) -> None:
    """Raise if something failed: the only error itself, or one about how many. ``is_told``: each was printed."""
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if len(failed) == 1 and failed[0].error is not None:
        raise failed[0].error
    if not failed:
        return
    for outcome in failed if not is_told else ():
        assert outcome.error is not None
        output.print_error(f"{outcome.project}: {outcome.error.message}")
    raise _common_kind(failed)(f"{len(failed)} of {len(outcomes)} projects failed")


def _common_kind(failed: list[_Outcome]) -> type[HubError]:
    kinds = {type(outcome.error) for outcome in failed if outcome.error is not None}
    return kinds.pop() if len(kinds) == 1 else HubError
