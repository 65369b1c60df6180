"""How a hub logs: lines to stderr, for people or as JSON. Never the values of variables, which may be secrets.

As JSON every line is one object, whoever writes it: this program, the libraries it uses, Python's warnings, and what
ends the process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Final, Literal, TextIO, cast

import structlog

if TYPE_CHECKING:
    from types import TracebackType

    from structlog.typing import Processor

_COMMON: Final[tuple[Processor, ...]] = (
    structlog.contextvars.merge_contextvars,  # the id of the request that a line is because of
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


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
    render: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    structlog.configure(
        processors=[*_COMMON, structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, LossyStream(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _json_formatter() if form == "json" else logging.Formatter("%(levelname)s %(name)s %(message)s")
    )
    logging.basicConfig(level=max(least, logging.WARNING), handlers=[handler])
    if form == "json":
        logging.captureWarnings(True)
        sys.excepthook = _log_end
        threading.excepthook = _log_thread


def _json_formatter() -> logging.Formatter:
    """Lines of libraries, which use the standard library's logging, in the form of ours."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_COMMON, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )


def _log_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What ends the process."""
    structlog.get_logger().critical("hub.ended", exc_info=(kind, error, trace))


def _log_thread(ended: threading.ExceptHookArgs) -> None:
    """What ends a thread."""
    if ended.exc_value is not None:
        info = (ended.exc_type, ended.exc_value, ended.exc_traceback)
        structlog.get_logger().error("thread.failed", exc_info=info)
