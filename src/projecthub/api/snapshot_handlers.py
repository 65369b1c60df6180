"""From the names of the methods of snapshots to their service, as `handlers` for all else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from projecthub.api.handlers import Call, Handler
    from projecthub.wire import snapshots


async def _create(call: Call, request: snapshots.CreateSnapshot) -> Any:
    return await call.services.snapshots.create(call.caller, request)


async def _list(call: Call, request: snapshots.ListSnapshots) -> Any:
    return await call.services.snapshots.list(call.caller, request)


async def _diff(call: Call, request: snapshots.DiffSnapshot) -> Any:
    return await call.services.snapshots.diff(call.caller, request)


async def _restore(call: Call, request: snapshots.RestoreSnapshot) -> Any:
    return await call.services.snapshots.restore(call.caller, request)


async def _delete(call: Call, request: snapshots.DeleteSnapshot) -> Any:
    return await call.services.snapshots.delete(call.caller, request)


SNAPSHOT_HANDLERS: Final[dict[str, Handler]] = {
    "snapshots.create": _create,
    "snapshots.list": _list,
    "snapshots.diff": _diff,
    "snapshots.restore": _restore,
    "snapshots.delete": _delete,
}
