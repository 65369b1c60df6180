"""How a hub logs: lines to stderr, for people or as JSON. Never the values of variables, which may be secrets."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Literal, TextIO, cast

import structlog


class LossyStream:
    """Lets go of lines that cannot be written: a log on a full disk must not fail the work that it tells of."""

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, or not."""
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush, or not."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def set_up_logs(level: str, form: Literal["console", "json"]) -> None:
    """Configure logging for this process.

    Args:
        level: Least level that is logged: debug, info, warning or error.
        form: ``console`` for people (in colour on a terminal unless NO_COLOR is set), ``json`` for programs.
    """
    least = getattr(logging, level.upper())
    logging.basicConfig(
        level=max(least, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, LossyStream(sys.stderr))),
        cache_logger_on_first_use=True,
    )
