# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx2

from projecthub.client import replies
from projecthub.client._sync.connection import Connection
from projecthub.client.requests import of_method
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.HUB]
_Accounts = list[shapes.Account]


class Accounts:
    """Accounts: your own, and, for site admins, everybody's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self, email_address: str, first_name: str = "", last_name: str = "", admin: bool = False
    ) -> shapes.Account:
        """Make an account.

        Args:
            email_address: Its address; no other account may have it.
            first_name: First name.
            last_name: Last name.
            admin: Whether it is a site admin.

        Returns:
            The new account.

        Raises:
            Conflict: Another account has the address.
            PermissionDenied: You are not a site admin.

        Example:
            ```python
            account = hub.accounts.create("ada@example.org", "Ada", "Lovelace")
            ```
        """
        arguments = shapes.CreateAccount(
            email_address=email_address, first_name=first_name, last_name=last_name, admin=admin
        )
        reply: shapes.Account = self._call("accounts.create", arguments)
        return reply

    def list(self, query: str | None = None, limit: int = 100, after: str | None = None) -> _Accounts:
        """Accounts, newest first.

        Args:
            query: Only those whose name or address holds this text; None: all.
            limit: How many at most, from 1.
            after: The last `account_id` of the page before; None: the first page.

        Raises:
            PermissionDenied: You are not a site admin.

        Example:
            ```python
            for account in hub.accounts.list(query="example.org"):
                print(account["email_address"])
            ```
        """
        reply: _Accounts = self._call("accounts.list", shapes.ListAccounts(query=query, limit=limit, after=after))
        return reply

    def get(self, account_id: str | None = None) -> shapes.Account:
        """An account.

        Args:
            account_id: Whose, as an account's id or e-mail address (for site admins). Default: yours.

        Raises:
            PermissionDenied: It is another's, and you are not a site admin.
            NotFound: There is no such account.

        Example:
            ```python
            print(hub.accounts.get()["email_address"])
            ```
        """
        reply: shapes.Account = self._call("accounts.get", shapes.AccountOnly(account_id=account_id))
        return reply

    def update(
        self,
        account_id: str | None = None,
        *,
        email_address: str | None = None,
        first_name: str | None = None,
        last_name: str | None = None,
        admin: bool | None = None,
        disabled: bool | None = None,
    ) -> shapes.Account:
        """Change an account; what is not given stays.

        Args:
            account_id: Whose, as an account's id or e-mail address (for site admins). Default: yours.
            email_address: A new address; no other account may have it.
            first_name: First name.
            last_name: Last name.
            admin: Whether it is a site admin (for site admins).
            disabled: Whether it is shut out, with all its keys and sessions, until it is enabled again (for site
                admins).

        Returns:
            The account as it is now.

        Raises:
            Conflict: Another account has the address, or no site admin would be left.
            PermissionDenied: It is not yours to change.

        Example:
            ```python
            hub.accounts.update("ada@example.org", disabled=True)
            ```
        """
        arguments = shapes.UpdateAccount(
            account_id=account_id,
            email_address=email_address,
            first_name=first_name,
            last_name=last_name,
            admin=admin,
            disabled=disabled,
        )
        reply: shapes.Account = self._call("accounts.update", arguments)
        return reply

    def delete(self, account_id: str, projects: str = "refuse") -> shapes.DeletedAccount:
        """Delete an account for good, with its keys, sessions and memberships.

        Args:
            account_id: Whose, as an account's id or e-mail address; others than yours are for site admins.
            projects: What becomes of the projects that it is the last owner of: ``refuse`` to delete the account,
                ``delete`` them too, or the id or e-mail address of an account that gets them.

        Returns:
            What became of those projects, by their ids.

        Raises:
            Conflict: There are such projects, which the message names; or no site admin would be left.
            PermissionDenied: It is not yours to delete.
            NotFound: There is no such account.

        Example:
            ```python
            hub.accounts.delete("ada@example.org", projects="bob@example.org")
            ```
        """
        arguments = shapes.DeleteAccount(account_id=account_id, projects=projects)
        reply: shapes.DeletedAccount = self._call("accounts.delete", arguments)
        return reply

    def import_roster(self, rows: Sequence[Mapping[str, Any]], *, dry_run: bool = False) -> shapes.RosterReport:
        """Make and change many accounts as a list says: all of it, or nothing. For site admins.

        Args:
            rows: For each account its ``email_address``, and perhaps ``first_name``, ``last_name``, ``role`` (``user``
                or ``admin``), ``disabled``, and ``line``, by which refusals name the row. What a row does not say
                stays. At most 5000.
            dry_run: Only tell what would change.

        Returns:
            How many accounts were made, changed, and were as they should be already; and what changed of each.

        Raises:
            InvalidArgument: Rows are wrong; the message names them.
            PermissionDenied: You are not a site admin.

        Example:
            ```python
            hub.accounts.import_roster([{"email_address": "ada@example.org", "first_name": "Ada"}], dry_run=True)
            ```
        """
        arguments = shapes.ImportRoster(rows=[dict(row) for row in rows], dry_run=dry_run)
        reply: shapes.RosterReport = self._call("accounts.importRoster", arguments)
        return reply

    def set_password(
        self, password: str, account_id: str | None = None, *, current_password: str | None = None
    ) -> shapes.PasswordSet:
        """Set the password of an account; its other sessions end.

        Args:
            password: The new one, 8 to 256 characters.
            account_id: Whose, as an account's id or e-mail address (for site admins). Default: yours.
            current_password: The one before, if you have one and change your own.

        Raises:
            PermissionDenied: The current password is wrong, or the account is another's and you are not a site admin.
            RateLimited: The current password was wrong too often.

        Example:
            ```python
            hub.accounts.set_password("correct horse battery staple")
            ```
        """
        arguments = shapes.SetPassword(password=password, account_id=account_id, current_password=current_password)
        reply: shapes.PasswordSet = self._call("accounts.setPassword", arguments)
        return reply

    def reset_password(self, link: str, password: str) -> shapes.PasswordSet:
        """Set a password by a link that was made for that, once; the key of this hub object does not matter.

        Args:
            link: What `system.admin_reset_password_link` tells, with or without an address before it.
            password: The new password, 8 to 256 characters.

        Raises:
            NotSignedIn: The link is unknown, was used, or is older than a day.
            InvalidArgument: The password is too short or too long; the link can be used again.

        Example:
            ```python
            hub.accounts.reset_password(reset_link, "correct horse battery staple")
            ```
        """
        name, host = "accounts.reset_password", self._connection.target.host
        token = quote(link.rstrip("/").rpartition("/")[2], safe="")
        try:
            response = self._connection.client.post(
                f"{host}/auth/password-reset/{token}", json={"password": password}, follow_redirects=False
            )
        except httpx2.RequestError as error:
            raise replies.no_answer(error, host=host, name=name) from error
        if not response.is_success:
            raise replies.problem(response, host=host, name=name)
        reply: shapes.PasswordSet = response.json()
        return reply

    def sign_in(self, email_address: str, password: str) -> shapes.SignedIn:
        """Begin a session; the key of this hub object does not matter.

        Args:
            email_address: Of the account.
            password: Its password.

        Returns:
            `secret`, which is used like an API key until `expire`, and the `account_id`.

        Raises:
            NotSignedIn: The address or the password is wrong.
            RateLimited: There were too many attempts; `retry_after_s` says when to try again.

        Example:
            ```python
            ada = hub.with_key(hub.accounts.sign_in("ada@example.org", password)["secret"])
            ```
        """
        arguments = shapes.SignIn(email_address=email_address, password=password)
        reply: shapes.SignedIn = self._call("accounts.signIn", arguments)
        return reply

    def sign_out(self, *, everywhere: bool = False) -> shapes.SignedOut:
        """End the session that this hub object uses as its key.

        Args:
            everywhere: End all sessions of the account instead; API keys stay.

        Raises:
            Conflict: It uses an API key, and ``everywhere`` is not given.

        Example:
            ```python
            ada.accounts.sign_out()
            ```
        """
        reply: shapes.SignedOut = self._call("accounts.signOut", shapes.SignOut(everywhere=everywhere))
        return reply

    def _call(self, name: str, arguments: Any) -> Any:
        return self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments))
