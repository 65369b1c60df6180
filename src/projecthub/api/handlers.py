"""From the name of a hub method to the service that does it.

Source: `projecthub.wire.methods`; a test holds this table to that one.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from projecthub.api import organization_handlers as organizations
from projecthub.api import sharing_handlers as sharing
from projecthub.api.account_handlers import ACCOUNT_HANDLERS
from projecthub.api.copy_handlers import COPY_HANDLERS
from projecthub.api.replies import Encoded
from projecthub.api.snapshot_handlers import SNAPSHOT_HANDLERS
from projecthub.errors import InvalidArgument
from projecthub.wire import shapes
from projecthub.wire.units import to_ms

if TYPE_CHECKING:
    from projecthub.api.services import Services
    from projecthub.hub.principals import Principal
    from projecthub.wire import audit, courses, histories, messages


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as its handler sees it.

    Attributes:
        services: The hub's services.
        caller: Who calls; of a method for anyone, nobody.
        idempotency_key: What makes it the same call as another.
        address: Where it comes from; None: nobody knows.
    """

    services: Services
    caller: Principal
    idempotency_key: str | None
    address: str | None = None


Handler = Callable[[Call, Any], Coroutine[Any, Any, Any]]


async def _ping(call: Call, request: shapes.NoArguments) -> shapes.Ping:
    return {"now": to_ms(call.services.clock.now())}


async def _test(call: Call, request: shapes.NoArguments) -> shapes.Test:
    return {"account_id": call.caller.account_id, "server_time": to_ms(call.services.clock.now())}


async def _get_names(call: Call, request: shapes.Names) -> dict[str, shapes.UserName]:
    return await call.services.accounts.names(request.account_ids)


async def _user_search(call: Call, request: shapes.UserSearch) -> list[shapes.User]:
    return await call.services.accounts.search(call.caller, request)


async def _manage_api_keys(call: Call, request: shapes.ManageApiKeys) -> list[shapes.ApiKey | None] | None:
    keys = call.services.keys
    match request.action:
        case "get" if request.id is not None:
            return [await keys.get(call.caller, request.id, request.project_id)]
        case "get":
            return [*await keys.all_of(call.caller, shapes.ListKeys(project_id=request.project_id))]
        case "create":
            wanted = shapes.CreateKey(project_id=request.project_id, name=request.name or "", expire=request.expire)
            return [await keys.create(call.caller, wanted)]
        case "edit":
            await keys.edit(call.caller, request)
            return None
        case "delete":
            await keys.delete(call.caller, request.id, request.project_id)
            return None
    raise InvalidArgument(
        f"action '{request.action[:100]}' of system.manageApiKeys is unknown; give get, create, edit or delete"
    )


async def _get_customize(call: Call, request: shapes.Customize) -> dict[str, Any]:
    return call.services.site.customize(request.fields)


async def _send_message(call: Call, request: messages.SendMessage) -> int | None:
    return await call.services.messages.send(call.caller, request)


async def _get_messages(call: Call, request: messages.GetMessages) -> list[messages.Message]:
    return await call.services.messages.page(call.caller, request)


async def _user_query(call: Call, request: shapes.UserQuery) -> Encoded:
    return Encoded(await call.services.queries.run(call.caller, request.query, request.options))


async def _create_project(call: Call, request: shapes.CreateProject) -> str:
    return await call.services.creation.create(call.caller, request, idempotency_key=call.idempotency_key)


async def _copy(call: Call, request: shapes.CopyPath) -> shapes.CopySummary:
    return await call.services.copies.copy(call.caller, request)


async def _add_collaborator(call: Call, request: shapes.AddCollaborator) -> shapes.AddedCollaborators:
    return await call.services.collaborators.add(call.caller, request)


async def _remove_collaborator(call: Call, request: shapes.RemoveCollaborator) -> shapes.RemovedCollaborator:
    return await call.services.collaborators.remove(call.caller, request)


async def _change_user_type(call: Call, request: shapes.ChangeUserType) -> None:
    await call.services.collaborators.change_type(call.caller, request)


async def _hand_over(call: Call, request: shapes.HandOver) -> shapes.HandedOver:
    return await call.services.collaborators.hand_over(call.caller, request)


async def _invite_collaborator(call: Call, request: shapes.InviteCollaborator) -> shapes.Invited:
    return await call.services.invitations.invite(call.caller, request)


async def _invite_without_account(call: Call, request: shapes.InviteWithoutAccount) -> shapes.Invited:
    return await call.services.invitations.invite_without_account(call.caller, request)


async def _of_course(call: Call, request: courses.CourseOnly) -> list[courses.CourseProject]:
    return await call.services.courses.projects(call.caller, request)


async def _start(call: Call, request: shapes.ProjectOnly) -> shapes.ProjectState:
    return await call.services.projects.start(call.caller, request.project_id)


async def _stop(call: Call, request: shapes.ProjectOnly) -> shapes.ProjectState:
    return await call.services.projects.stop(call.caller, request.project_id)


async def _restart(call: Call, request: shapes.ProjectOnly) -> shapes.ProjectState:
    return await call.services.projects.restart(call.caller, request.project_id)


async def _list_all(call: Call, request: shapes.ListAllProjects) -> shapes.ProjectPage:
    return await call.services.projects.page(call.caller, request)


async def _stop_all(call: Call, request: shapes.NoArguments) -> shapes.StoppedAll:
    return await call.services.projects.stop_all(call.caller)


async def _delete(call: Call, request: shapes.ProjectOnly) -> shapes.Deleted:
    return await call.services.projects.delete(call.caller, request.project_id)


async def _state(call: Call, request: shapes.ProjectOnly) -> shapes.ProjectState:
    return await call.services.projects.state(call.caller, request.project_id)


async def _status(call: Call, request: shapes.ProjectOnly) -> shapes.ProjectStatus:
    return await call.services.projects.status(call.caller, request.project_id)


async def _idle(call: Call, request: shapes.ProjectOnly) -> shapes.Idle:
    return await call.services.projects.idle(call.caller, request.project_id)


async def _touch(call: Call, request: shapes.ProjectOnly) -> shapes.ProjectState:
    return await call.services.projects.touch(call.caller, request.project_id)


async def _set_quotas(call: Call, request: shapes.SetQuotas) -> None:
    await call.services.project_quotas.set(call.caller, request)


async def _add_license(call: Call, request: shapes.ProjectLicense) -> shapes.LicenseChange:
    return await call.services.licenses.attach(call.caller, request)


async def _remove_license(call: Call, request: shapes.ProjectLicense) -> shapes.LicenseChange:
    return await call.services.licenses.detach(call.caller, request)


async def _create_license(call: Call, request: shapes.CreateLicense) -> shapes.License:
    return await call.services.licenses.create(call.caller, request)


async def _list_licenses(call: Call, request: shapes.ListLicenses) -> list[shapes.License]:
    return await call.services.licenses.page(call.caller, request)


async def _get_license(call: Call, request: shapes.LicenseOnly) -> shapes.License:
    return await call.services.licenses.get(call.caller, request)


async def _update_license(call: Call, request: shapes.UpdateLicense) -> shapes.License:
    return await call.services.licenses.update(call.caller, request)


async def _end_license(call: Call, request: shapes.LicenseOnly) -> shapes.License:
    return await call.services.licenses.end(call.caller, request)


async def _list_audit(call: Call, request: audit.ListAudit) -> audit.AuditPage:
    return await call.services.audit.page(call.caller, request)


async def _jupyter_kernels(call: Call, request: shapes.JupyterSpecs) -> list[shapes.JupyterKernelSpec]:
    return await call.services.jupyter.kernels(call.caller, request.project_id)


async def _jupyter_execute(call: Call, request: shapes.JupyterRun) -> Encoded | None:
    result = await call.services.jupyter.execute(call.caller, request)
    if result is None:
        return None
    return Encoded(b'{"output":%s,"created":%s}' % (result.output.encode(), to_json(result.created)))


async def _history(call: Call, request: histories.GetHistory) -> Encoded:
    return Encoded(await call.services.sync.history(call.caller, request))


async def _checkpoint(call: Call, request: histories.MakeCheckpoint) -> histories.Checkpoint:
    return await call.services.sync.checkpoint(call.caller, request)


async def _db_touch(call: Call, request: histories.Touch) -> None:
    await call.services.sync.touch(call.caller, request)


async def _file_use_times(call: Call, request: histories.FileUseTimes) -> histories.UseTimes:
    return await call.services.sync.use_times(call.caller, request)


async def _balance(call: Call, request: shapes.NoArguments) -> int:
    return 0  # nothing is sold here


HANDLERS: Final[dict[str, Handler]] = {
    "system.ping": _ping,
    "system.test": _test,
    "system.getNames": _get_names,
    "system.userSearch": _user_search,
    "system.manageApiKeys": _manage_api_keys,
    "system.getCustomize": _get_customize,
    "system.generateUserAuthToken": organizations.generate_user_auth_token,
    "system.adminResetPasswordLink": organizations.admin_reset_password_link,
    "system.revokeUserAuthToken": organizations.revoke_user_auth_token,
    "db.userQuery": _user_query,
    "projects.createProject": _create_project,
    "projects.clone": sharing.clone,
    "projects.setTemplate": sharing.set_template,
    "projects.templates": sharing.templates,
    "shares.list": sharing.list_shares,
    "shares.get": sharing.get_share,
    "shares.copy": sharing.copy_share,
    "projects.copyPathBetweenProjects": _copy,
    "projects.addCollaborator": _add_collaborator,
    "projects.removeCollaborator": _remove_collaborator,
    "projects.changeUserType": _change_user_type,
    "projects.handOver": _hand_over,
    "projects.inviteCollaborator": _invite_collaborator,
    "projects.inviteCollaboratorWithoutAccount": _invite_without_account,
    "projects.ofCourse": _of_course,
    "projects.start": _start,
    "projects.stop": _stop,
    "projects.restart": _restart,
    "projects.listAll": _list_all,
    "projects.stopAll": _stop_all,
    "projects.deleteProject": _delete,
    "projects.state": _state,
    "projects.status": _status,
    "projects.idle": _idle,
    "projects.touch": _touch,
    "projects.setQuotas": _set_quotas,
    "projects.addLicense": _add_license,
    "projects.removeLicense": _remove_license,
    "licenses.create": _create_license,
    "licenses.list": _list_licenses,
    "licenses.get": _get_license,
    "licenses.update": _update_license,
    "licenses.end": _end_license,
    **ACCOUNT_HANDLERS,
    "audit.list": _list_audit,
    **COPY_HANDLERS,
    "jupyter.kernels": _jupyter_kernels,
    "jupyter.execute": _jupyter_execute,
    "sync.history": _history,
    "sync.checkpoint": _checkpoint,
    "db.touch": _db_touch,
    "db.fileUseTimes": _file_use_times,
    "purchases.getBalance": _balance,
    "purchases.getMinBalance": _balance,
    "messages.send": _send_message,
    "messages.get": _get_messages,
    **SNAPSHOT_HANDLERS,
    "org.getAll": organizations.get_all,
    "org.create": organizations.create,
    "org.get": organizations.get,
    "org.set": organizations.set,
    "org.addAdmin": organizations.add_admin,
    "org.addUser": organizations.add_user,
    "org.createUser": organizations.create_user,
    "org.getUsers": organizations.get_users,
    "org.removeUser": organizations.remove_user,
    "org.removeAdmin": organizations.remove_admin,
    "org.createToken": organizations.create_token,
    "org.expireToken": organizations.expire_token,
    "org.message": organizations.message,
}
"""Every method of the hub endpoint."""
