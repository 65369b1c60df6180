"""What becomes of one file, given what is known of it on both sides and of what was handed out before. Pure."""

from __future__ import annotations

from enum import Enum, StrEnum, auto

from projecthub.files.plans import CopyOptions, Policy


class Status(StrEnum):
    """How a file of the source and what is in its place in the target are to each other."""

    NEW = "new"
    """The target has nothing there."""
    SAME = "same"
    """They are the same."""
    CHANGED_BY_US = "changed_by_us"
    """The source has changed, the target has not."""
    CHANGED_BY_THEM = "changed_by_them"
    """The target has changed, the source has not; or the target alone has it, and it is surely or perhaps theirs."""
    CONFLICT = "conflict"
    """Both have changed, each in its own way."""
    DELETED_BY_THEM = "deleted_by_them"
    """It was handed out, and the target has it no more."""
    WOULD_BE_DELETED = "would_be_deleted"
    """The source does not have it, and it goes."""


class Action(StrEnum):
    """What a plan does about a file."""

    WRITE = "write"
    """Make it, or replace what is in its place."""
    MODE = "mode"
    """The contents are the same; the mode is not, and is set."""
    KEEP = "keep"
    """Leave the target as it is."""
    BESIDE = "beside"
    """Put the new version beside theirs, under a name of its own."""
    DELETE = "delete"
    """Take it out of the target."""
    BLOCKED = "blocked"
    """It cannot get its place: the plan cannot be applied."""


class Since(Enum):
    """What became in the target of what was handed out before."""

    UNKNOWN = auto()
    """It is not known what was."""
    NEVER = auto()
    """This file was not among it."""
    UNTOUCHED = auto()
    """It is still there, as it was."""
    TOUCHED = auto()
    """It is another one by now, or may be, or is gone."""


def status_of(*, source: bool, target: bool, same: bool, newer: bool, since: Since, moved: bool) -> Status:
    """How source and target are to each other.

    Args:
        source: Whether the source has it.
        target: Whether the target has it; one of both has.
        same: Whether they are the same, if both have it.
        newer: Whether that of the target is newer.
        since: What became of what was handed out.
        moved: Whether the source has changed since then; nothing where that is unknown.
    """
    if not source:
        return Status.WOULD_BE_DELETED
    if not target:
        return Status.DELETED_BY_THEM if since in (Since.UNTOUCHED, Since.TOUCHED) else Status.NEW
    if same:
        return Status.SAME
    match since:
        case Since.UNKNOWN:
            return Status.CHANGED_BY_THEM if newer else Status.CHANGED_BY_US
        case Since.NEVER:
            return Status.CONFLICT
        case Since.UNTOUCHED:
            return Status.CHANGED_BY_US
        case Since.TOUCHED:
            return Status.CONFLICT if moved else Status.CHANGED_BY_THEM


def decide(
    options: CopyOptions, *, source: bool, target: bool, same: bool, newer: bool, since: Since, moved: bool
) -> tuple[Status, Action]:
    """What is to be done about one file, by the policy and the options of a copy.

    Args:
        options: Of the copy.
        source: As `status_of` has them, all of these.
        target: The same.
        same: The same.
        newer: The same.
        since: The same.
        moved: The same.
    """
    status = status_of(source=source, target=target, same=same, newer=newer, since=since, moved=moved)
    merges = options.policy is Policy.MERGE
    if status is Status.SAME:
        return status, Action.KEEP
    if status is Status.NEW:
        return status, Action.WRITE
    if status is Status.DELETED_BY_THEM:
        return status, Action.KEEP if merges and not moved else Action.WRITE
    if options.policy is Policy.OVERWRITE:
        return status, Action.DELETE if status is Status.WOULD_BE_DELETED else Action.WRITE
    if options.policy is Policy.UPDATE:
        if status is Status.WOULD_BE_DELETED:
            return status, Action.DELETE
        return status, Action.KEEP if newer and not options.overwrite_newer else Action.WRITE
    if status is Status.WOULD_BE_DELETED:
        is_ours = since is Since.UNTOUCHED
        return (status, Action.DELETE) if is_ours else (Status.CHANGED_BY_THEM, Action.KEEP)
    if since is Since.UNKNOWN:  # it may be theirs, whatever the times say
        return (Status.CONFLICT, Action.BESIDE) if merges else (status, Action.KEEP)
    if status is Status.CHANGED_BY_US:
        return status, Action.WRITE
    return status, Action.BESIDE if merges and status is Status.CONFLICT else Action.KEEP
