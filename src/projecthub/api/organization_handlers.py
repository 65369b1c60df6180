"""Handlers of `org.*`, and of the sign-in tokens of `system.*`; see `handlers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projecthub.wire import organizations as shapes

if TYPE_CHECKING:
    from projecthub.api.handlers import Call
    from projecthub.wire.shapes import NoArguments


async def get_all(call: Call, request: NoArguments) -> list[shapes.OrganizationRow]:
    """`org.getAll`."""
    return await call.services.organizations.all(call.caller)


async def create(call: Call, request: shapes.OrganizationOnly) -> str:
    """`org.create`."""
    return await call.services.organizations.create(call.caller, request.name)


async def get(call: Call, request: shapes.OrganizationOnly) -> shapes.Organization:
    """`org.get`."""
    return await call.services.organizations.get(call.caller, request.name)


async def set(call: Call, request: shapes.SetOrganization) -> None:
    """`org.set`."""
    await call.services.organizations.set(call.caller, request)


async def add_admin(call: Call, request: shapes.OrganizationUser) -> None:
    """`org.addAdmin`."""
    await call.services.organizations.add_admin(call.caller, request.name, request.user)


async def add_user(call: Call, request: shapes.OrganizationUser) -> None:
    """`org.addUser`."""
    await call.services.organizations.add_user(call.caller, request.name, request.user)


async def create_user(call: Call, request: shapes.CreateOrganizationUser) -> str:
    """`org.createUser`."""
    return await call.services.organizations.create_user(call.caller, request)


async def get_users(call: Call, request: shapes.OrganizationOnly) -> list[shapes.Member]:
    """`org.getUsers`."""
    return await call.services.organizations.users(call.caller, request.name)


async def remove_user(call: Call, request: shapes.OrganizationUser) -> None:
    """`org.removeUser`."""
    await call.services.organizations.remove_user(call.caller, request.name, request.user)


async def remove_admin(call: Call, request: shapes.OrganizationUser) -> None:
    """`org.removeAdmin`."""
    await call.services.organizations.remove_admin(call.caller, request.name, request.user)


async def create_token(call: Call, request: shapes.CreateToken) -> shapes.Token:
    """`org.createToken`."""
    return await call.services.organizations.create_token(call.caller, request)


async def expire_token(call: Call, request: shapes.ExpireToken) -> None:
    """`org.expireToken`."""
    await call.services.sign_in.end(request.token)


async def message(call: Call, request: shapes.OrganizationMessage) -> None:
    """`org.message`."""
    await call.services.organizations.message(call.caller, request)


async def revoke_user_auth_token(call: Call, request: shapes.RevokeUserAuthToken) -> None:
    """`system.revokeUserAuthToken`."""
    await call.services.sign_in.end(request.token)


async def generate_user_auth_token(call: Call, request: shapes.GenerateUserAuthToken) -> str:
    """`system.generateUserAuthToken`."""
    return await call.services.sign_in.create_for(call.caller, request, call.address)


async def admin_reset_password_link(call: Call, request: shapes.AdminResetPasswordLink) -> str:
    """`system.adminResetPasswordLink`."""
    return await call.services.sign_in.reset_link(call.caller, request.user_account_id)
