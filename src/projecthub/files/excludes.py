"""Patterns of what a copy leaves out, as rsync's ``--exclude`` knows them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from projecthub.errors import InvalidArgument

MAX_CHARACTERS = 64 * 1024
"""Of all patterns of a copy together."""
MAX_PATTERN_CHARACTERS = 1024


class Excludes:
    """What a copy leaves out.

    - A pattern that begins with ``/`` is matched from the root of the copy, any other one against the last
      components of a path: as many as it has itself.
    - A pattern that ends with ``/`` matches directories only. What is in an excluded directory is excluded with it.
    - ``*`` stands for any characters but ``/``, ``**`` for any characters, ``?`` for one that is not ``/``,
      ``[a-z]`` and ``[!a-z]`` for one of a set, and a backslash takes the meaning from the character after it.
      ``directory/***`` is the directory and all that is in it.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Make ready to match.

        Raises:
            InvalidArgument: A pattern, or all of them together, are too long.
        """
        total = sum(map(len, patterns))
        if total > MAX_CHARACTERS:
            raise InvalidArgument(f"exclude holds {total} characters: at most {MAX_CHARACTERS}")
        for pattern in patterns:
            if len(pattern) > MAX_PATTERN_CHARACTERS:
                raise InvalidArgument(
                    f"exclude pattern '{pattern[:20]}...' has {len(pattern)} characters: "
                    f"at most {MAX_PATTERN_CHARACTERS}"
                )
        self._rules = [_Rule(pattern) for pattern in patterns if pattern.strip("/")]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def match(self, path: str, *, is_directory: bool) -> bool:
        """Whether ``path``, relative to the root of the copy, is left out."""
        return any(rule.match(path, is_directory=is_directory) for rule in self._rules)


class _Rule:
    """One pattern. Its time is bounded by the square of the lengths, whatever it says.

    What stands before a ``**`` is searched once, leftmost first, and never again (atomic groups): whatever fits
    further right fits after the leftmost place as well. What stands after the last ``**`` has a known number of
    slashes, and so a known component of the path to begin in.
    """

    def __init__(self, pattern: str) -> None:
        body = pattern.rstrip("/").removesuffix("/***")
        self._directories_only = body != pattern
        self._is_anchored = body.startswith("/")
        *before, last = _segments(body.lstrip("/"))
        self._head: re.Pattern[str] | None = None
        if before:
            start = "" if self._is_anchored else "(?:.*?/)??"
            searched = [start + before[0].regex(), *(".*?" + segment.regex() for segment in before[1:])]
            self._head = re.compile("".join(f"(?>{text})" for text in searched), re.DOTALL)
        self._tail = re.compile(("[^/]*?" if before else "") + last.regex(to_the_end=True), re.DOTALL)
        self._slashes = last.slashes

    def match(self, path: str, *, is_directory: bool) -> bool:
        if self._directories_only and not is_directory:
            return False
        above = path.rsplit("/", self._slashes + 1)
        if len(above) <= self._slashes:
            return False
        begin = len(above[0]) + 1 if len(above) > self._slashes + 1 else 0
        if self._head is not None:
            head = self._head.match(path)
            return head is not None and self._tail.match(path, max(begin, head.end())) is not None
        return not (begin and self._is_anchored) and self._tail.match(path, begin) is not None


class _Segment:
    """What stands between two ``**`` of a pattern: regular expressions of fixed length with a ``*`` between each."""

    def __init__(self) -> None:
        self.pieces = [""]
        self.slashes = 0

    def regex(self, *, to_the_end: bool = False) -> str:
        first, *more = self.pieces
        if not to_the_end:
            return first + "".join(f"(?>[^/]*?{piece})" for piece in more)
        if not more:
            return first + r"\Z"
        *middle, last = more
        return first + "".join(f"(?>[^/]*?{piece})" for piece in middle) + f"[^/]*{last}\\Z"


def _segments(pattern: str) -> list[_Segment]:
    segments = [_Segment()]
    at = 0
    while at < len(pattern):
        segment = segments[-1]
        char = pattern[at]
        at += 1
        if char == "*":
            if pattern.startswith("*", at):
                at = len(pattern) - len(pattern[at:].lstrip("*"))
                segments.append(_Segment())
            else:
                segment.pieces.append("")
            continue
        if char == "[" and (close := _class_end(pattern, at)):
            piece, at = _class(pattern[at:close]), close + 1
        elif char == "?":
            piece = "[^/]"
        else:
            if char == "\\" and at < len(pattern):
                char, at = pattern[at], at + 1
            piece = re.escape(char)
            segment.slashes += char == "/"
        segment.pieces[-1] += piece
    return segments


def _class_end(pattern: str, at: int) -> int:
    """Where the set that begins at ``at`` is closed; 0 if it is not. A bracket that comes first is a member."""
    first = at + 1 if pattern[at : at + 1] in ("!", "^") else at
    return max(pattern.find("]", first + 1), 0)


def _class(body: str) -> str:
    negated = body[:1] in ("!", "^")
    body = body[1:] if negated else body
    members = ""
    at = 0
    while at < len(body):
        low = high = body[at]
        if body[at + 1 : at + 2] == "-" and at + 2 < len(body):
            high = body[at + 2]
            at += 2
        at += 1
        if low <= high:
            members += f"{re.escape(low)}-{re.escape(high)}"
    if not members:
        return "[^/]" if negated else "(?!)"
    return f"(?!/)[{'^' if negated else ''}{members}]"
