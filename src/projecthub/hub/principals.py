"""Who is calling."""

from __future__ import annotations

from dataclasses import dataclass

from projecthub.wire.ids import AccountId, ProjectId


@dataclass(frozen=True, slots=True)
class Principal:
    """The account a key belongs to, and what the key is good for.

    Attributes:
        account_id: Whose key it is.
        is_admin: Whether that account is a site admin.
        key_id: Number of the key.
        project_id: The one project of a project key; None: an account key.
    """

    account_id: AccountId
    is_admin: bool
    key_id: int
    project_id: ProjectId | None = None
