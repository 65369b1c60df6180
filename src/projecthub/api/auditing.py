"""Which calls stand in the audit log: those that change something, and those that were denied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from projecthub.api.audit_targets import bounded, target_of
from projecthub.api.request_ids import SCOPE_KEY
from projecthub.api.requests import address_of, read_key
from projecthub.errors import HubError, NotSignedIn
from projecthub.hub.audited_calls import AuditedCall, is_denial
from projecthub.hub.query_forms import changes_something

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import HTTPConnection
    from starlette.types import Scope

    from projecthub.api.requests import RpcRequest
    from projecthub.api.services import Services
    from projecthub.hub.principals import Principal
    from projecthub.wire.methods import Method

UNKNOWN_METHOD: Final = "unknown"
"""Instead of the name of a method that there is not, which may be any text."""
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""HTTP methods that change nothing, whatever who may use the route is able to do."""

WRITES_FIRST: Final = frozenset(
    {
        "projects.createProject", "projects.start", "projects.stop", "projects.restart", "projects.touch",
        "projects.deleteProject", "projects.addCollaborator", "projects.removeCollaborator", "projects.changeUserType",
        "projects.handOver", "projects.setQuotas", "projects.addLicense", "projects.removeLicense",
        "db.touch", "messages.send",
    }
)  # fmt: skip
"""Methods that change nothing, in the store, in homes or among processes, before they have written to the store.

But for a stop, which cancels a start under way: that comes again if the stop gets no further.
"""


def is_change(method: Method, arguments: Any) -> bool:
    """Whether a call would change something; ``arguments`` are none if they have not the form of any."""
    if method.name == "db.userQuery":
        return arguments is not None and changes_something(arguments.query, arguments.options)
    if method.name == "system.exec" and isinstance(arguments, dict) and arguments.get("async_get"):
        return False  # it looks at what was started before
    return method.is_mutating


def ends_with_hub(method: Method, arguments: Any) -> bool:
    """Whether a call is a blocking command: its project ends it when its caller goes away, as a killed hub does."""
    return method.name == "system.exec" and isinstance(arguments, dict) and not arguments.get("async_call")


def audited_call(
    services: Services, scope: Scope, method: str, caller: Principal | None, target: Mapping[str, Any]
) -> AuditedCall:
    """A call, as it is to stand in the log."""
    return AuditedCall(
        method=method,
        began_at=services.clock.now(),
        request_id=scope.get(SCOPE_KEY),
        address=address_of(scope),
        caller=caller,
        target=bounded(target),
    )


def audited(
    services: Services, scope: Scope, method: Method, caller: Principal, arguments: Any, project_id: str | None = None
) -> AuditedCall:
    """A call of a method of the wire."""
    target = {} if project_id is None else {"project_id": project_id}
    call = audited_call(services, scope, method.name, caller, target | target_of(method, arguments))
    call.writes_first = method.name in WRITES_FIRST
    call.ends_with_hub = ends_with_hub(method, arguments)
    return call


async def note_refusal(
    services: Services, request: RpcRequest | HTTPConnection, call: AuditedCall, error: HubError, *, is_change: bool
) -> None:
    """Note a call that was refused before it began, if it is one of those that stand in the log.

    Of a key that is not good any more its number and its account are noted, if the hub knows them.
    """
    if not is_change and not is_denial(error):
        return
    if call.caller is None:
        known: Any = error.details.get("caller")
        call.caller = known or (await _whose(services, request) if isinstance(error, NotSignedIn) else None)
    services.audit.refused(call, error)


async def _whose(services: Services, request: RpcRequest | HTTPConnection) -> Principal | None:
    try:
        return await services.keys.whose(read_key(request))
    except HubError:  # there is none, or the store cannot be read
        return None
