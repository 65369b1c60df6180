"""From the names of the methods of accounts and keys to the services that do them; a part of `handlers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from projecthub.wire import shapes

if TYPE_CHECKING:
    from projecthub.api.handlers import Call, Handler


async def _create(call: Call, request: shapes.CreateAccount) -> shapes.Account:
    return await call.services.accounts.create(call.caller, request)


async def _list(call: Call, request: shapes.ListAccounts) -> list[shapes.Account]:
    return await call.services.accounts.page(call.caller, request)


async def _get(call: Call, request: shapes.AccountOnly) -> shapes.Account:
    return await call.services.accounts.get(call.caller, request.account_id)


async def _update(call: Call, request: shapes.UpdateAccount) -> shapes.Account:
    return await call.services.accounts.update(call.caller, request)


async def _delete(call: Call, request: shapes.DeleteAccount) -> shapes.DeletedAccount:
    return await call.services.account_deletions.delete(call.caller, request)


async def _import_roster(call: Call, request: shapes.ImportRoster) -> shapes.RosterReport:
    return await call.services.rosters.bring_in(call.caller, request)


async def _set_password(call: Call, request: shapes.SetPassword) -> shapes.PasswordSet:
    return await call.services.sessions.set_password(call.caller, request, call.address)


async def _sign_in(call: Call, request: shapes.SignIn) -> shapes.SignedIn:
    return await call.services.sessions.sign_in(request, call.address)


async def _sign_out(call: Call, request: shapes.SignOut) -> shapes.SignedOut:
    return await call.services.sessions.sign_out(call.caller, everywhere=request.everywhere)


async def _create_key(call: Call, request: shapes.CreateKey) -> shapes.ApiKey:
    return await call.services.keys.create(call.caller, request)


async def _list_keys(call: Call, request: shapes.ListKeys) -> list[shapes.ApiKey]:
    return await call.services.keys.all_of(call.caller, request)


async def _update_key(call: Call, request: shapes.UpdateKey) -> shapes.ApiKey:
    return await call.services.keys.update(call.caller, request)


async def _revoke_key(call: Call, request: shapes.RevokeKey) -> shapes.Revoked:
    return await call.services.keys.revoke(call.caller, request.id)


ACCOUNT_HANDLERS: Final[dict[str, Handler]] = {
    "accounts.create": _create,
    "accounts.list": _list,
    "accounts.get": _get,
    "accounts.update": _update,
    "accounts.delete": _delete,
    "accounts.importRoster": _import_roster,
    "accounts.setPassword": _set_password,
    "accounts.signIn": _sign_in,
    "accounts.signOut": _sign_out,
    "keys.create": _create_key,
    "keys.list": _list_keys,
    "keys.update": _update_key,
    "keys.revoke": _revoke_key,
}
"""The methods of accounts and keys."""
