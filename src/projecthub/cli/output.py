"""What people and programs get to see. Rich is loaded only when somebody watches a terminal.

Titles and messages come from other people: before they are shown, whatever could steer a terminal is taken out.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO, Any, Final

_STYLES: Final = {
    "running": "green",
    "error": "red",
    "starting": "yellow",
    "stopping": "yellow",
    "restarting": "yellow",
    "done": "green",
    "failed": "red",
    "refused": "red",
}
"""Colours of the words of a column `STATE`."""

_FOLDED: Final = {
    "PATH", "BESIDE", "FROM", "TO",
    "TITLE", "NAME", "PERSON", "PROJECT", "E-MAIL", "QUOTA", "WHAT WAS FOUND", "WHAT TO DO", "DETAILS",
}  # fmt: skip
"""Columns that give way on a narrow terminal. The others, ids above all, could not be copied in pieces."""


_LEAST_FOLDED: Final = 12
"""Characters that a column keeps when it gives way."""


def print_json(value: Any) -> None:
    """Print a value for programs: only ASCII, so that it is the same everywhere and steers no terminal."""
    print(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under their headings: in colour and folded to a terminal, plainly aligned elsewhere.

    Args:
        columns: Headings, in capitals.
        rows: A value for each column; None is shown as nothing.
    """
    texts = [["" if value is None else _in_cell(str(value)) for value in row] for row in rows]
    if sys.stdout.isatty():
        _print_coloured(columns, texts)
        return
    lines = [list(columns), *texts]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def print_facts(facts: Sequence[tuple[str, Any]]) -> None:
    """Print names and values, one a line; those that are None are left out."""
    shown = [(name, plain(str(value))) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, text in shown:
        print(f"{name.ljust(width)}  {text}")


def print_error(text: str, hint: str | None = None) -> None:
    """Print one line about what went wrong, and perhaps one about what to do."""
    print(f"{_coloured('error:', 31)} {plain(text)}", file=sys.stderr)
    if hint:
        print(f"{_coloured('hint:', 36)} {plain(hint)}", file=sys.stderr)


def print_failure(text: str, code: str, hint: str | None = None, *, as_json: bool = False) -> None:
    """Print what a command ends with: for programs a line of JSON, ``{"error": {"code", "message", "hint"?}}``."""
    if not as_json:
        print_error(text, hint)
        return
    told = {"code": code, "message": text, **({"hint": hint} if hint else {})}
    print(json.dumps({"error": told}), file=sys.stderr)


def print_note(text: str) -> None:
    """Print a line beside the output proper."""
    print(plain(text), file=sys.stderr)


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show, on a terminal, that something takes its time."""
    if not _is_lively(sys.stderr):
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(plain(text)):
        yield


@contextmanager
def counting(text: str, total: int) -> Iterator[Any]:
    """Show, on a terminal, how much of ``total`` is done; yields what to call after each."""
    if not _is_lively(sys.stderr):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(plain(text), total=total)
        yield lambda: progress.advance(task)


@contextmanager
def advancing(text: str) -> Iterator[Any]:
    """Show, on a terminal, how far work of several kinds is; yields what to call with its name, and how much of all."""
    if not _is_lively(sys.stderr):
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(plain(text), total=None)
        yield lambda what, done, total: progress.update(task, description=plain(what), completed=done, total=total)


@contextmanager
def transferring(text: str) -> Iterator[Any]:
    """Show, on a terminal, how far a file has come; yields what to call with bytes done and all of them, or None."""
    if not _is_lively(sys.stderr):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(plain(text), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def copying(text: str) -> Iterator[Any]:
    """Show, on a terminal, how far copies are; yields what to call with the operation, or None."""
    if not _is_lively(sys.stderr):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[targets]} targets, {task.fields[files]} files"),
        DownloadColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(plain(text), total=None, targets="0", files=0, rate="")

        def follow(operation: Any) -> None:
            now = operation["progress"]
            rate = f"{now['bytes_per_s'] / 1e6:.1f} MB/s" if "bytes_per_s" in now else ""
            total = max(operation["totals"]["bytes"], now["bytes"]) or None
            targets = f"{now['targets_done']} of {now['targets']}"
            progress.update(task, completed=now["bytes"], total=total, targets=targets, files=now["files"], rate=rate)

        yield follow


def confirmed(question: str) -> bool:
    """Whether somebody at the terminal says yes; only y and yes are."""
    print(f"{plain(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def plain(text: str) -> str:
    """The text on one line, without anything that could steer a terminal or turn the direction of writing."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else " " if char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def _in_cell(text: str) -> str:
    r"""The same, where a name with a newline is not to look like one with a space: as ``\n``."""
    return plain(text.replace("\n", "\\n").replace("\t", "\\t"))


def local_time(value: Any) -> str | None:
    """An ISO time, or milliseconds since the epoch, as this machine's clock shows it: ``2025-11-21 14:55``."""
    try:
        at = datetime.fromtimestamp(value / 1000) if isinstance(value, int) else datetime.fromisoformat(value)
        return f"{at.astimezone():%Y-%m-%d %H:%M}"
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _print_coloured(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    needed = -2
    for place, column in enumerate(columns):
        longest = max(len(line[place]) for line in (columns, *rows))
        least = min(longest, _LEAST_FOLDED) if column in _FOLDED else longest
        table.add_column(column, overflow="fold", no_wrap=column not in _FOLDED, min_width=least)
        needed += least + 2
    for row in rows:
        styles = (_STYLES.get(text, "") if column == "STATE" else "" for column, text in zip(columns, row, strict=True))
        table.add_row(*(Text(text, style=style) for text, style in zip(row, styles, strict=True)))
    console = Console()
    console.width = max(console.width, needed)  # a terminal that is too narrow breaks lines, but nothing is lost
    console.print(table)


def _is_lively(stream: IO[str]) -> bool:
    """Whether a stream may be painted on: a capable terminal, whose owner has not asked for calm."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _coloured(word: str, code: int) -> str:
    return f"\x1b[1;{code}m{word}\x1b[0m" if _is_lively(sys.stderr) else word
