"""The versions of a text file: how states become rows, and rows states again. No I/O.

A version is kept as the patch from the one before, or, every so often, as a whole, a *snapshot*: so no state is far
from a whole one, and the oldest can be forgotten up to the next snapshot.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from projecthub.store.histories import History, Version
from projecthub.wire import patches
from projecthub.wire.ids import AccountId, ProjectId

SNAPSHOT_EVERY: Final = 32
"""So many versions follow one another from one whole one to the next."""
MAX_VERSIONS: Final = 256
"""Of a file, at most so many are kept, and at least so many less those up to the next snapshot."""
MAX_TEXT_BYTES: Final = 16_000_000
"""Of a file, so much is kept if it were not compressed: a reply holds all of it."""
_TICK: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Seen:
    """A state of a file that was seen.

    Attributes:
        text: Its text.
        at: When.
        account_id: Who made it; None: nobody knows.
        event: What was done.
        mark: What it was taken from; of one source a later state has a greater one. Empty: it is taken once.
    """

    text: str
    at: datetime
    account_id: AccountId | None
    event: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Which file."""

    id: str
    project_id: ProjectId
    path: str


def digest_of(text: str) -> str:
    """What tells one text from another."""
    return hashlib.sha256(text.encode()).hexdigest()


def news(before: History | None, states: Sequence[Seen]) -> list[Seen]:
    """Of states in their order, those that are no longer the newest version, and were not taken before."""
    digest, mark = (before.digest, before.mark) if before is not None else ("", "")
    source = mark.rpartition("/")[0]
    new = []
    for state in states:
        was_taken = bool(state.mark) and state.mark.rpartition("/")[0] == source and state.mark <= mark
        if not was_taken and (found := digest_of(state.text)) != digest:
            new.append(state)
            digest = found
    return new


def extended(
    place: Place, before: History | None, kept: Sequence[Version], states: Sequence[Seen]
) -> tuple[History, list[Version]]:
    """A history with more versions.

    Args:
        place: Which file.
        before: Its history; None: there is none yet.
        kept: Its versions, from its newest snapshot on.
        states: What is `news` of it, one at least.
    """
    text, history, made = "", before, list[Version]()
    for text in texts_of(kept):  # noqa: B007 - the last one is wanted
        pass
    for state in states:
        version = _version(place, history, text, state)
        made.append(version)
        history = _with(place, history, version, state)
        text = state.text
    assert history is not None
    return history, made


def _version(place: Place, history: History | None, before: str, state: Seen) -> Version:
    seq, at, is_snapshot = 1, state.at, True
    content = whole = state.text.encode()
    if history is not None:
        seq, at = history.last_seq + 1, max(state.at, history.last_at + _TICK)
        if seq - history.snapshot_seq < SNAPSHOT_EVERY:
            content = patches.to_json(patches.make_patch(before, state.text)).encode()
            is_snapshot = len(content) >= len(whole)
            content = whole if is_snapshot else content
    return Version(
        history_id=place.id,
        seq=seq,
        at=at,
        account_id=state.account_id,
        event=state.event,
        is_snapshot=is_snapshot,
        data=zlib.compress(content),
        text_bytes=len(content),
    )


def _with(place: Place, history: History | None, version: Version, state: Seen) -> History:
    if history is None:
        history = History(
            id=place.id,
            project_id=place.project_id,
            path=place.path,
            first_seq=version.seq,
            snapshot_seq=version.seq,
            last_seq=version.seq,
            first_at=version.at,
            last_at=version.at,
            digest="",
            mark="",
            stored_bytes=0,
            text_bytes=0,
        )
    return replace(
        history,
        snapshot_seq=version.seq if version.is_snapshot else history.snapshot_seq,
        last_seq=version.seq,
        last_at=version.at,
        digest=digest_of(state.text),
        mark=state.mark,
        stored_bytes=history.stored_bytes + len(version.data),
        text_bytes=history.text_bytes + version.text_bytes,
    )


def texts_of(versions: Iterable[Version]) -> Iterator[str]:
    """The text at each of versions that follow one another; the first is a snapshot."""
    for text, _ in steps_of(versions):
        yield text


def steps_of(versions: Iterable[Version]) -> Iterator[tuple[str, str | None]]:
    """As `texts_of`, with the JSON of the patch from the one before where that is what is kept."""
    text = ""
    for version in versions:
        content = zlib.decompress(version.data).decode()
        text = content if version.is_snapshot else patches.apply_patch(text, json.loads(content))
        yield text, None if version.is_snapshot else content


def is_too_long(history: History) -> bool:
    """Whether the oldest versions of a file have to go."""
    count = history.last_seq - history.first_seq + 1
    return (count > MAX_VERSIONS or history.text_bytes > MAX_TEXT_BYTES) and count > 1


def shortened(history: History, versions: Sequence[Version]) -> tuple[History, Version | None]:
    """A history without its versions up to the next snapshot; or, where there is none, without all but the newest.

    Args:
        history: It, with two versions or more.
        versions: All that it has.

    Returns:
        What it is then, and the newest version as a snapshot if it was none.
    """
    first = next((number for number, version in enumerate(versions) if number and version.is_snapshot), None)
    snapshot = None
    if first is None:
        first = len(versions) - 1
        *_, text = texts_of(versions)
        content = text.encode()
        snapshot = replace(versions[first], is_snapshot=True, data=zlib.compress(content), text_bytes=len(content))
    rest = [snapshot] if snapshot is not None else versions[first:]
    after = replace(
        history,
        first_seq=rest[0].seq,
        first_at=rest[0].at,
        snapshot_seq=max(version.seq for version in rest if version.is_snapshot),
        stored_bytes=sum(len(version.data) for version in rest),
        text_bytes=sum(version.text_bytes for version in rest),
    )
    return after, snapshot
