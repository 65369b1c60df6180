from __future__ import annotations

import secrets
from typing import Any

from projecthub.client._async.connection import AsyncConnection
from projecthub.client.requests import of_method
from projecthub.client.times import Time, on_the_wire
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.HUB]
_TOKEN_FIELDS = ("token", "created", "expires", "usage_limit", "counter", "account_id", "group", "email_address")


class AsyncProjectInvitations:
    """How people are let onto projects: the part of `projects` about invitations."""

    _connection: AsyncConnection

    async def invite_collaborator(
        self,
        project_id: str,
        account_id: str,
        *,
        group: str | None = None,
        email: str | None = None,
        subject: str | None = None,
    ) -> shapes.Invited:
        """Let somebody with an account onto a project, and tell them by mail.

        Args:
            project_id: The project.
            account_id: Their account.
            group: ``collaborator`` (the default) or ``viewer``.
            email: The text of the mail, up to 20,000 characters; None: no mail. Of HTML the text is sent.
            subject: Its subject. Default: one that names you and the project.

        Returns:
            `invited`, with the one person: `state` is ``added`` or ``member``; `mail` is ``queued``, ``recent`` (they
            had one about this project within a day) or ``none``; and a `link` to pass on.

        Raises:
            NotFound: There is no such account.
            Conflict: It is disabled.
            PermissionDenied: You may not add people.
            LimitError: You have caused too much mail today. Nobody was added.

        Example:
            ```python
            await hub.projects.invite_collaborator(project_id, account_id, email="Have a look at my data.")
            ```

        Source: Wire contract 5.2.
        """
        arguments = shapes.InviteCollaborator(
            project_id=project_id, account_id=account_id, group=group, email=email, subject=subject
        )
        reply: shapes.Invited = await self._call_of_invitations("projects.inviteCollaborator", arguments)
        return reply

    async def invite_collaborator_without_account(
        self,
        project_id: str,
        to: str,
        *,
        group: str | None = None,
        email: str | None = None,
        subject: str | None = None,
    ) -> shapes.Invited:
        """Invite people by their e-mail addresses.

        Who has an account is on the project at once. Others are as soon as an account is made for their address within
        14 days, or when they accept with the link that they get by mail.

        Args:
            project_id: The project.
            to: Addresses, parted by commas, semicolons or blanks; up to 1024 characters.
            group: ``collaborator`` (the default) or ``viewer``.
            email: A text that goes with the invitation. Of HTML the text is sent.
            subject: The subject of the mail.

        Returns:
            `invited`: for each address what became of it, as of `invite_collaborator`; ``invited``: without an account.
            Where `mail` is ``none``, this hub sends none: pass the `link` on yourself.

        Raises:
            InvalidArgument: Something is no address. Nobody was invited.
            Conflict: Somebody's account is disabled. Nobody was invited.
            PermissionDenied: You may not add people.
            LimitError: Too much mail, or too many invitations. Nobody was invited.

        Example:
            ```python
            reply = await hub.projects.invite_collaborator_without_account(project_id, "ada@example.org")
            print(reply["invited"][0]["link"])
            ```

        Source: Wire contract 5.2.
        """
        arguments = shapes.InviteWithoutAccount(project_id=project_id, to=to, group=group, email=email, subject=subject)
        reply: shapes.Invited = await self._call_of_invitations("projects.inviteCollaboratorWithoutAccount", arguments)
        return reply

    async def join(self, token: str) -> str:
        """Accept an invitation: come onto the project of a token.

        Args:
            token: The token, or a link that ends in it. If you are on the project, nothing is used up.

        Returns:
            The project's id.

        Raises:
            NotFound: There is no such token.
            PermissionDenied: It has expired, is used up, or was made by somebody who may no longer add people.

        Example:
            ```python
            project_id = await hub.projects.join(link)  # "https://hub.example.org/invite/5f1c..."
            ```

        Source: Wire contract 2.4.
        """
        arguments = shapes.AddCollaborator(token_id=token.rstrip("/").rpartition("/")[2])
        reply: Any = await self._call_of_invitations("projects.addCollaborator", arguments)
        return str(reply["project_id"])

    async def create_invite_token(
        self,
        project_id: str,
        *,
        usage_limit: int | None = 1,
        expires: Time | None = None,
        group: str | None = None,
    ) -> str:
        """Make a token that lets whoever has it onto a project (`join`), as long as you may add people to it yourself.

        Args:
            project_id: The project.
            usage_limit: How many people it lets in; None: any number.
            expires: Until when: an aware datetime, an ISO time, or milliseconds since the epoch; None: for good.
            group: What they become: ``collaborator`` (the default) or ``viewer``.

        Returns:
            The token. Whoever may add people can read it again with `invite_tokens`.

        Raises:
            QueryRefused: You may not add people, or a value is out of range.

        Example:
            ```python
            token = await hub.projects.create_invite_token(project_id, usage_limit=30, expires="2027-01-31")
            ```

        Source: Wire contract 3.10.
        """
        token = secrets.token_hex(32)
        given = {"usage_limit": usage_limit, "expires": on_the_wire(expires, "expires"), "group": group}
        shape = {"token": token, "project_id": project_id} | {k: v for k, v in given.items() if v is not None}
        await self._query({"project_invite_tokens": shape})
        return token

    async def invite_tokens(self, project_id: str) -> list[shapes.InviteToken]:
        """The tokens of a project, newest first, invitations by mail among them.

        Args:
            project_id: The project.

        Raises:
            QueryRefused: You may not add people.

        Example:
            ```python
            for token in await hub.projects.invite_tokens(project_id):
                print(token["created"], token["counter"], token.get("usage_limit"))
            ```

        Source: Wire contract 3.10.
        """
        wanted = {"project_id": project_id, **dict.fromkeys(_TOKEN_FIELDS)}
        reply = await self._query({"project_invite_tokens": [wanted]}, repeatable=True)
        tokens: list[shapes.InviteToken] = reply["project_invite_tokens"]
        return tokens

    async def revoke_invite_token(self, project_id: str, token: str) -> None:
        """Take a token away; whoever came by it stays. One that is not there is no error.

        Args:
            project_id: The project.
            token: The token.

        Raises:
            QueryRefused: You may not add people.

        Example:
            ```python
            await hub.projects.revoke_invite_token(project_id, token)
            ```

        Source: docs/wire-extensions.md.
        """
        shape = {"token": token, "project_id": project_id}
        await self._query({"project_invite_tokens": shape}, [{"delete": True}], repeatable=True)

    async def _query(self, query: Any, options: Any = None, *, repeatable: bool = False) -> Any:
        arguments = shapes.UserQuery(query=query, options=options)
        return await self._call_of_invitations("db.userQuery", arguments, repeatable=repeatable)

    async def _call_of_invitations(self, name: str, arguments: Any, **options: Any) -> Any:
        return await self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments, **options))
