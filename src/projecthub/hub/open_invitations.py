"""What a project tells of its open invitations by mail, in its field ``invite``: ``{address: {"time", "error"?}}``.

Source: Wire contract 3.7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from projecthub.store.records import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from projecthub.store import Transaction
    from projecthub.wire.ids import ProjectId

_INVITE: Final = Selection(columns=("invite",))


async def note_invitation(
    tx: Transaction,
    project_id: ProjectId,
    address: str,
    note: Mapping[str, str] | None,
    *,
    only_known: bool = False,
) -> None:
    """Write down what is to be told of an invitation.

    Args:
        tx: The transaction that changes it.
        project_id: The project.
        address: Who is invited.
        note: What is told; None: it is open no longer.
        only_known: Change nothing unless the invitation is open still.
    """
    await tx.projects.get(project_id, lock=True)  # what is written is made of what was read
    rows = await tx.projects.select(_INVITE, member=None, project_id=project_id)
    before: Mapping[str, Any] = (rows[0]["invite"] if rows else None) or {}
    if address not in before and (note is None or only_known):
        return
    after = {other: told for other, told in before.items() if other != address}
    if note is not None:
        after[address] = dict(note)
    await tx.projects.update(project_id, {"invite": after or None})
