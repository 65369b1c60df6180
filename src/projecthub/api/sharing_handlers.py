"""From the names of methods about shares, templates and clones to the services that do them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projecthub.wire import shapes, sharing

if TYPE_CHECKING:
    from projecthub.api.handlers import Call


async def clone(call: Call, request: sharing.CloneProject) -> str:
    """`projects.clone`."""
    return await call.services.clones.clone(call.caller, request, idempotency_key=call.idempotency_key)


async def set_template(call: Call, request: sharing.SetTemplate) -> sharing.TemplateSet:
    """`projects.setTemplate`."""
    return await call.services.templates.set(call.caller, request)


async def templates(call: Call, request: shapes.NoArguments) -> list[sharing.Template]:
    """`projects.templates`."""
    return await call.services.templates.list(call.caller)


async def list_shares(call: Call, request: sharing.ListShares) -> list[sharing.Share]:
    """`shares.list`."""
    return await call.services.shares.list(call.caller, request)


async def get_share(call: Call, request: sharing.ShareOnly) -> sharing.Share:
    """`shares.get`."""
    return await call.services.shares.get(call.caller, request.id)


async def copy_share(call: Call, request: sharing.CopyShare) -> shapes.CopySummary:
    """`shares.copy`."""
    return await call.services.shares.copy(call.caller, request)
