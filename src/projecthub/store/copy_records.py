"""Rows of copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from projecthub.wire.ids import AccountId, ProjectId


class CopyState(StrEnum):
    """How far an operation is."""

    PLANNING = "planning"
    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNDONE = "undone"


class TargetState(StrEnum):
    """How far one target of an operation is."""

    PLANNING = "planning"
    PLANNED = "planned"
    STAGING = "staging"
    """Never in the store: what is staged counts only from `COMMITTING` on."""
    COMMITTING = "committing"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    MISSING = "missing"
    """There is no such source, which is no failure of this operation."""
    UNDOING = "undoing"
    UNDONE = "undone"


OPEN_STATES = (CopyState.PLANNING, CopyState.RUNNING)
"""The hub is at work on it, or will be when it is there again."""
LEFT_OVER = (TargetState.FAILED, TargetState.REFUSED, TargetState.CANCELLED)
"""What another attempt is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOperation:
    """Copies that are planned and applied together.

    Attributes:
        id: A lower-case uuid.
        account_id: Who made it.
        state: How far it is.
        policy: What happens to what people have changed.
        options: As the wire names them.
        applies: Whether it is to be applied as soon as it is planned, or was; else it is a plan and no more.
        created_at: When it was made.
        updated_at: When something of it changed last.
        finished_at: When it ended; None: it has not.
        expires_at: When it is forgotten.
        undo_until: Until when what it did can be undone; None: it cannot.
        totals: Counts over all targets.
    """

    id: str
    account_id: AccountId
    state: CopyState
    policy: str
    options: Mapping[str, Any]
    applies: bool
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None
    expires_at: datetime
    undo_until: datetime | None = None
    totals: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyTarget:
    """One source and one target of an operation.

    Attributes:
        operation_id: Of which operation.
        number: Its place in it, from 0 on.
        source_project_id: Where it comes from.
        source_path: What is copied, relative to the home.
        target_project_id: Where it goes.
        target_path: As what, relative to the home.
        state: How far it is.
        manifest: Names the list of what the source held.
        base: Names the list of what was copied to this place before.
        summary: Counts, for people and programs.
        error: What went wrong.
        error_code: Its code.
        kept_bytes: What is kept on disk to undo it; None: it cannot be undone.
    """

    operation_id: str
    number: int
    source_project_id: ProjectId
    source_path: str
    target_project_id: ProjectId
    target_path: str
    state: TargetState = TargetState.PLANNING
    manifest: str | None = None
    base: str | None = None
    summary: Mapping[str, Any] | None = None
    error: str | None = None
    error_code: str | None = None
    kept_bytes: int | None = None
