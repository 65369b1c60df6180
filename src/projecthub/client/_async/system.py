from __future__ import annotations

from typing import Any

from projecthub.client._async.connection import AsyncConnection
from projecthub.client.requests import of_method
from projecthub.client.times import Time, on_the_wire
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint
from projecthub.wire.organizations import AdminResetPasswordLink, GenerateUserAuthToken, RevokeUserAuthToken

_METHODS = METHODS[Endpoint.HUB]


class AsyncHubSystem:
    """Who the key is, and other people."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def ping(self) -> shapes.Ping:
        """Ask the hub for a sign of life.

        Returns:
            `now`: the hub's time in milliseconds since the epoch.

        Raises:
            NotSignedIn: The key is not valid here.

        Example:
            ```python
            await hub.system.ping()  # {'now': 1764252000000}
            ```
        """
        reply: shapes.Ping = await self._call("system.ping", shapes.NoArguments())
        return reply

    async def test(self) -> shapes.Test:
        """Whose key this is.

        Returns:
            `account_id`, and `server_time` in milliseconds since the epoch.

        Raises:
            NotSignedIn: The key is not valid here; a project's own key is valid only in its project.

        Example:
            ```python
            me = (await hub.system.test())["account_id"]
            ```
        """
        reply: shapes.Test = await self._call("system.test", shapes.NoArguments())
        return reply

    async def get_names(self, account_ids: list[str]) -> dict[str, shapes.UserName]:
        """The names of accounts.

        Args:
            account_ids: Ids of accounts.

        Returns:
            Names by account id; every id asked for is a key.

        Raises:
            InvalidArgument: An id is not a uuid.

        Example:
            ```python
            names = await hub.system.get_names([account_id])
            print(names[account_id]["first_name"])
            ```
        """
        reply: dict[str, shapes.UserName] = await self._call("system.getNames", shapes.Names(account_ids=account_ids))
        return reply

    async def user_search(
        self, query: str, *, limit: int = 20, admin: bool = False, only_email: bool = False
    ) -> list[shapes.User]:
        """Find people by name, e-mail address or account id.

        Args:
            query: Words that must all be in the name; or whole e-mail addresses, which match exactly; or an account
                id. Several, parted by commas, find the people of each.
            limit: How many at most, from 1 to 50 (site admins: 2500).
            admin: Search as a site admin: parts of e-mail addresses match too.
            only_email: Match e-mail addresses alone.

        Returns:
            People, most recently active first; times in milliseconds since the epoch.

        Raises:
            PermissionDenied: ``admin`` without being a site admin.

        Example:
            ```python
            (ada,) = await hub.system.user_search("ada@example.org")
            ```
        """
        arguments = shapes.UserSearch(query=query, limit=limit, admin=admin, only_email=only_email)
        reply: list[shapes.User] = await self._call("system.userSearch", arguments)
        return reply

    async def get_customize(self, fields: list[str] | None = None) -> dict[str, Any]:
        """What the hub tells of itself: its name, its address, whom to ask for help.

        Args:
            fields: Only these; unknown ones are left out. None: all.

        Returns:
            `siteName`, `siteURL`, `dns`, `helpEmail`, `version`, `jupyterApiEnabled`.

        Example:
            ```python
            print((await hub.system.get_customize(["siteName"]))["siteName"])
            ```
        """
        reply: dict[str, Any] = await self._call("system.getCustomize", shapes.Customize(fields=fields))
        return reply

    async def generate_user_auth_token(self, user_account_id: str, password: str | None = None) -> str:
        """Make a token that signs in as somebody for 24 hours, at the hub's `/auth/impersonate?auth_token=`.

        Args:
            user_account_id: Whom.
            password: His password; site admins need none.

        Raises:
            PermissionDenied: The password is wrong, or missing and you are no site admin; or your key is limited.
            LimitError: There were too many wrong passwords.
            NotFound: There is no such account.

        Example:
            ```python
            token = await hub.system.generate_user_auth_token(account_id)
            ```
        """
        arguments = GenerateUserAuthToken(user_account_id=user_account_id, password=password)
        reply: str = await self._call("system.generateUserAuthToken", arguments)
        return reply

    async def admin_reset_password_link(self, user_account_id: str) -> str:
        """Make a link for setting a password, once, within 24 hours. For site admins.

        Args:
            user_account_id: Whose.

        Returns:
            What comes after the hub's address. ``{"password": "..."}`` is POSTed there.

        Raises:
            PermissionDenied: You are no site admin, or your key is limited.
            NotFound: There is no such account.

        Example:
            ```python
            print(hub.host + await hub.system.admin_reset_password_link(account_id))
            ```
        """
        arguments = AdminResetPasswordLink(user_account_id=user_account_id)
        reply: str = await self._call("system.adminResetPasswordLink", arguments)
        return reply

    async def revoke_user_auth_token(self, token: str) -> None:
        """End a sign-in token, and the API keys that were got for it. For whoever knows it. Idempotent.

        Args:
            token: The token.

        Example:
            ```python
            await hub.system.revoke_user_auth_token(token)
            ```
        """
        await self._call("system.revokeUserAuthToken", RevokeUserAuthToken(token=token))

    async def manage_api_keys(
        self,
        action: str = "get",
        project_id: str | None = None,
        name: str | None = None,
        expire: Time | None = None,
        id: int | None = None,
    ) -> list[shapes.ApiKey] | None:
        """List, make, change or delete keys of your own, or of a project; `Hub.keys` is the more convenient way.

        Args:
            action: ``get``, ``create``, ``edit`` or ``delete``.
            project_id: About the keys of this project; None: your account's.
            name: Name, for ``create`` and ``edit``.
            expire: End, for ``create`` and ``edit``: an aware datetime, an ISO time, or milliseconds since the epoch.
            id: Number of the key, for ``edit`` and ``delete``, and to ``get`` one.

        Returns:
            For ``get`` and ``create`` a list of keys, else None. A new one holds its `secret`, this once.

        Raises:
            NotFound: There is no key of that number.
            PermissionDenied: You are not on the project.

        Example:
            ```python
            await hub.system.manage_api_keys("create", name="laptop")
            ```
        """
        method = _METHODS["system.manageApiKeys"]
        arguments = shapes.ManageApiKeys(
            action=action, project_id=project_id, name=name, expire=on_the_wire(expire, "expire"), id=id
        )
        request = of_method(method, arguments, repeatable=action == "get")
        reply: list[shapes.ApiKey] | None = await self._connection.call(method, request)
        return reply

    async def _call(self, name: str, arguments: Any) -> Any:
        return await self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments))
