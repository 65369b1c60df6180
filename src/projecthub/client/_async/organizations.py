from __future__ import annotations

from typing import Any

from projecthub.client._async.connection import AsyncConnection
from projecthub.client.requests import of_method
from projecthub.client.times import Time, on_the_wire
from projecthub.wire import organizations as shapes
from projecthub.wire.methods import METHODS, Endpoint
from projecthub.wire.shapes import NoArguments

_METHODS = METHODS[Endpoint.HUB]


class AsyncOrganizations:
    """Organizations. What is not for site admins alone is for the organization's own admins, too.

    Whoever is neither is refused with `PermissionDenied` by every method.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get_all(self) -> list[shapes.OrganizationRow]:
        """Every organization, by name. For site admins.

        Example:
            ```python
            names = [organization["name"] for organization in await hub.org.get_all()]
            ```
        """
        reply: list[shapes.OrganizationRow] = await self._call("org.getAll", NoArguments())
        return reply

    async def create(self, name: str) -> str:
        """Make an organization without members. For site admins.

        Args:
            name: 1 to 39 letters, digits or single hyphens. It can never be changed.

        Returns:
            Its id.

        Raises:
            Conflict: An organization or an account has the name.
            InvalidArgument: That is no name.

        Example:
            ```python
            await hub.org.create("physics")
            ```
        """
        reply: str = await self._call("org.create", shapes.OrganizationOnly(name=name))
        return reply

    async def get(self, name: str) -> shapes.Organization:
        """What is said of an organization, and who its admins are.

        Args:
            name: Its name, in whatever case.

        Raises:
            NotFound: There is none of that name.

        Example:
            ```python
            print((await hub.org.get("physics"))["title"])
            ```
        """
        reply: shapes.Organization = await self._call("org.get", shapes.OrganizationOnly(name=name))
        return reply

    async def set(
        self,
        name: str,
        title: str | None = None,
        description: str | None = None,
        email_address: str | None = None,
        link: str | None = None,
    ) -> None:
        """Change what is said of an organization; what is None stays, an empty text is taken away.

        Args:
            name: Which.
            title: Up to 1000 characters.
            description: Up to 100,000 characters.
            email_address: Where the organization is reached; no account's address.
            link: Its web site.

        Raises:
            InvalidArgument: Nothing is given, or a value that is none.

        Example:
            ```python
            await hub.org.set("physics", title="Department of Physics")
            ```
        """
        arguments = shapes.SetOrganization(
            name=name, title=title, description=description, email_address=email_address, link=link
        )
        await self._call("org.set", arguments)

    async def add_admin(self, name: str, user: str) -> None:
        """Make somebody an admin of an organization, and so a member. For site admins.

        Args:
            name: Which organization.
            user: An account's id or e-mail address.

        Raises:
            NotFound: There is no such account.
            Conflict: The account is disabled, or in another organization.

        Example:
            ```python
            await hub.org.add_admin("physics", "lise@example.org")
            ```
        """
        await self._call("org.addAdmin", shapes.OrganizationUser(name=name, user=user))

    async def add_user(self, name: str, user: str) -> None:
        """Make somebody a member of an organization, out of another one if he is in one. For site admins.

        Its admins can then sign in as him.

        Args:
            name: Which organization.
            user: An account's id or e-mail address.

        Raises:
            NotFound: There is no such account.
            Conflict: He is disabled, or an admin of another organization.

        Example:
            ```python
            await hub.org.add_user("physics", "otto@example.org")
            ```
        """
        await self._call("org.addUser", shapes.OrganizationUser(name=name, user=user))

    async def create_user(
        self,
        name: str,
        email: str,
        firstName: str | None = None,  # noqa: N803, the wire's own name
        lastName: str | None = None,  # noqa: N803
        password: str | None = None,
    ) -> str:
        """Make an account that is a member of an organization, with a first project.

        Args:
            name: Which organization.
            email: The account's e-mail address.
            firstName: First name. Default: what is before the ``@``.
            lastName: Last name.
            password: What to sign in with; None: nothing, `create_token` lets its owner in.

        Returns:
            The new account's id.

        Raises:
            Conflict: Another account has the address.
            InvalidArgument: That is no address, or no password.

        Example:
            ```python
            account_id = await hub.org.create_user("physics", "fritz@example.org", "Fritz")
            ```
        """
        arguments = shapes.CreateOrganizationUser(
            name=name, email=email, firstName=firstName, lastName=lastName, password=password
        )
        reply: str = await self._call("org.createUser", arguments)
        return reply

    async def create_token(self, user: str, expire: Time | None = None) -> shapes.Token:
        """Make a token that signs in as a member of an organization, as often as one likes until it expires.

        Args:
            user: An account's id or e-mail address.
            expire: Its end: an aware datetime, an ISO time, or milliseconds since the epoch. Default: in 24 hours.

        Returns:
            `token`, which `expire_token` ends, and `url`: who opens it gets an API key of the account.

        Raises:
            Conflict: The account is in no organization.

        Example:
            ```python
            print((await hub.org.create_token("fritz@example.org"))["url"])
            ```
        """
        reply: shapes.Token = await self._call(
            "org.createToken", shapes.CreateToken(user=user, expire=on_the_wire(expire, "expire"))
        )
        return reply

    async def expire_token(self, token: str) -> None:
        """End a token, and the API keys that were got for it. For whoever knows it. Idempotent.

        Args:
            token: The token.

        Example:
            ```python
            await hub.org.expire_token(token)
            ```
        """
        await self._call("org.expireToken", shapes.ExpireToken(token=token))

    async def get_users(self, name: str) -> list[shapes.Member]:
        """The members of an organization, its admins included.

        Args:
            name: Which organization.

        Example:
            ```python
            addresses = [user["email_address"] for user in await hub.org.get_users("physics")]
            ```
        """
        reply: list[shapes.Member] = await self._call("org.getUsers", shapes.OrganizationOnly(name=name))
        return reply

    async def remove_user(self, name: str, user: str) -> None:
        """Take a member out of an organization. The account stays; tokens that sign in as it end.

        Args:
            name: Which organization.
            user: An account's id or e-mail address.

        Raises:
            NotFound: The organization has no such member.
            Conflict: He is an admin; see `remove_admin`.

        Example:
            ```python
            await hub.org.remove_user("physics", "otto@example.org")
            ```
        """
        await self._call("org.removeUser", shapes.OrganizationUser(name=name, user=user))

    async def remove_admin(self, name: str, user: str) -> None:
        """Make an admin a mere member. The tokens that he has made end.

        Args:
            name: Which organization.
            user: An account's id or e-mail address.

        Raises:
            NotFound: The organization has no such member.

        Example:
            ```python
            await hub.org.remove_admin("physics", "lise@example.org")
            ```
        """
        await self._call("org.removeAdmin", shapes.OrganizationUser(name=name, user=user))

    async def message(self, name: str, subject: str, body: str) -> None:
        """Send one message to all who are members of an organization now.

        Args:
            name: Which organization.
            subject: Plain text, up to 1000 characters.
            body: Markdown, up to 50,000 characters.

        Raises:
            InvalidArgument: Too long a text.

        Example:
            ```python
            await hub.org.message("physics", "Seminar", "Today at five.")
            ```
        """
        await self._call("org.message", shapes.OrganizationMessage(name=name, subject=subject, body=body))

    async def _call(self, name: str, arguments: Any) -> Any:
        return await self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments))
