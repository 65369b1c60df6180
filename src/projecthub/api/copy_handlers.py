"""From the names of the methods of copies to the service that does them; a part of `handlers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from projecthub.api.handlers import Call, Handler
    from projecthub.wire import copies as shapes


async def _copy_paths(call: Call, request: shapes.CopyPaths) -> shapes.CopyOperation:
    return await call.services.copies.copy_paths(call.caller, request)


async def _plan(call: Call, request: shapes.PlanCopies) -> shapes.CopyOperation:
    return await call.services.copies.plan(call.caller, request)


async def _files(call: Call, request: shapes.CopyFiles) -> shapes.PlannedFiles:
    return await call.services.copies.files(call.caller, request)


async def _apply(call: Call, request: shapes.ApplyCopies) -> shapes.CopyOperation:
    return await call.services.copies.apply(call.caller, request)


async def _get(call: Call, request: shapes.GetCopies) -> shapes.CopyOperation:
    return await call.services.copies.get(call.caller, request)


async def _list(call: Call, request: shapes.ListCopies) -> list[shapes.CopyOperation]:
    return await call.services.copies.page(call.caller, request)


async def _cancel(call: Call, request: shapes.CancelCopies) -> shapes.CopyOperation:
    return await call.services.copies.cancel(call.caller, request)


async def _retry(call: Call, request: shapes.RetryCopies) -> shapes.CopyOperation:
    return await call.services.copies.retry(call.caller, request)


async def _undo(call: Call, request: shapes.UndoCopies) -> shapes.CopyOperation:
    return await call.services.copies.undo(call.caller, request)


async def _forget(call: Call, request: shapes.ForgetCopies) -> shapes.ForgottenCopies:
    return await call.services.copies.forget(call.caller, request)


COPY_HANDLERS: Final[dict[str, Handler]] = {
    "projects.copyPaths": _copy_paths,
    "copies.plan": _plan,
    "copies.files": _files,
    "copies.apply": _apply,
    "copies.get": _get,
    "copies.list": _list,
    "copies.cancel": _cancel,
    "copies.retry": _retry,
    "copies.undo": _undo,
    "copies.forget": _forget,
}
