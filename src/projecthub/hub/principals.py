"""Who is calling."""

from __future__ import annotations

from dataclasses import dataclass

from projecthub.wire.ids import AccountId, ProjectId
from projecthub.wire.methods import ALL_ABILITIES, Ability


@dataclass(frozen=True, slots=True)
class Principal:
    """The account a key belongs to, and what the key is good for.

    Attributes:
        account_id: Whose key it is.
        is_admin: Whether that account is a site admin.
        key_id: Number of the key.
        project_id: The one project of a project key; None: an account key.
        scopes: What may be done with the key, as far as its account may.
        calls_per_minute: How often it may be used; None: any number of times.
        is_session: Whether the key is what somebody got who signed in.
    """

    account_id: AccountId
    is_admin: bool
    key_id: int
    project_id: ProjectId | None = None
    scopes: frozenset[Ability] = ALL_ABILITIES
    calls_per_minute: int | None = None
    is_session: bool = False


NOBODY = Principal(AccountId(""), is_admin=False, key_id=0, scopes=frozenset())
"""Who calls a method that is for anyone: no account has this id, and it may do nothing."""
