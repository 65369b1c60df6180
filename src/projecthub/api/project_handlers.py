"""From the name of a project method to the service of the hub that does it; what is not here the project server does.

Source: Wire contract 5.5.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from projecthub.api.replies import Encoded, encoded_list
from projecthub.errors import Conflict
from projecthub.files.views import MAX_LISTED
from projecthub.hub.trash import companions
from projecthub.wire import shapes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from projecthub.api.services import Services
    from projecthub.files.views import Entry
    from projecthub.hub.principals import Principal
    from projecthub.store.records import Project


@dataclass(frozen=True, slots=True)
class ProjectCall:
    """One call, as its handler sees it; the caller may make it, and the project runs."""

    services: Services
    caller: Principal
    project: Project


Handler = Callable[[ProjectCall, Any], Coroutine[Any, Any, Any]]


async def _listing(call: ProjectCall, request: shapes.Listing) -> Encoded:
    def made(entries: Iterator[Entry]) -> bytes:
        return encoded_list(entries, _shape)

    files = call.services.files
    hidden, most = request.hidden, MAX_LISTED
    return Encoded(await files.listing(call.caller, call.project, request.path, made, hidden=hidden, most=most))


def _shape(entry: Entry) -> shapes.FileEntry:
    shape: shapes.FileEntry = {"name": entry.name, "size": entry.size, "mtime": entry.mtime}
    if entry.isdir:
        shape["isdir"] = True
    if entry.kind == "symlink":
        shape["issymlink"] = True
    if entry.link_target is not None:
        shape["link_target"] = entry.link_target
    if entry.error is not None:
        shape["error"] = entry.error
    return shape


async def _read_text(call: ProjectCall, request: shapes.ReadTextFile) -> str:
    return await call.services.files.read_text(call.caller, call.project, request.path)


async def _write_text(call: ProjectCall, request: shapes.WriteTextFile) -> None:
    content = request.content.encode("utf-8", "surrogatepass")
    await call.services.files.write(call.caller, call.project, request.path, _once(content), length=len(content))


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _delete(call: ProjectCall, request: shapes.DeleteFiles) -> None:
    hidden = [name for path in request.paths for name in companions(path)]
    await call.services.trash.delete(call.caller, call.project, request.paths, also=hidden)


async def _move(call: ProjectCall, request: shapes.MoveFiles) -> None:
    with _in_words_of_the_wire():
        await call.services.files.move(call.caller, call.project, request.paths, request.dest)


async def _rename(call: ProjectCall, request: shapes.RenameFile) -> None:
    with _in_words_of_the_wire():
        await call.services.files.rename(call.caller, call.project, request.src, request.dest)


@contextmanager
def _in_words_of_the_wire() -> Iterator[None]:
    try:
        yield
    except Conflict as error:
        if error.details.get("exists"):
            raise Conflict("dest already exists.") from error
        raise


async def _real_path(call: ProjectCall, request: shapes.RealPath) -> str:
    return await call.services.files.real_path(call.caller, call.project, request.path)


async def _canonical_paths(call: ProjectCall, request: shapes.CanonicalPaths) -> list[str]:
    return await call.services.files.canonical_paths(call.caller, call.project, request.paths)


PROJECT_HANDLERS: Final[dict[str, Handler]] = {
    "system.listing": _listing,
    "system.readTextFileFromProject": _read_text,
    "system.writeTextFileToProject": _write_text,
    "system.deleteFiles": _delete,
    "system.moveFiles": _move,
    "system.renameFile": _rename,
    "system.realpath": _real_path,
    "system.canonicalPaths": _canonical_paths,
}
"""The methods of the project endpoint that the hub does itself."""
