"""What the hub and a process that works for it say to each other: lines of JSON over a socket.

====================  ============================================================================================
hub to worker         ``{"job": ...}``, and while it is done ``{"cancel": true}`` and the answers to ``take``
worker to hub         ``{"ready": true}`` when it has started; of a job ``{"progress": [[files, bytes], ...]}``,
                      ``{"take": [number, bytes]}``, and in the end one of ``result``, ``error``, ``cancelled``,
                      ``mistake``
====================  ============================================================================================
"""

from __future__ import annotations

import json
import os
import select
import socket
from typing import Any, Final

from projecthub.errors import HubError
from projecthub.wire.errors import BY_CODE

_PIECE_BYTES: Final = 64 * 1024


class LineClosedError(Exception):
    """The other side has ended."""


class Line:
    """One end. Not for several threads at once."""

    def __init__(self, end: socket.socket) -> None:
        """Take over a socket."""
        self._socket = end
        self._read = b""

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def send(self, message: dict[str, Any]) -> None:
        """Say something. Blocks while the other side does not read.

        Raises:
            LineClosedError: It has ended.
        """
        try:
            self._socket.sendall(json.dumps(message).encode("ascii") + b"\n")
        except OSError as error:
            raise LineClosedError from error

    def receive(self, wait_s: float | None) -> dict[str, Any] | None:
        """What the other side says next; None: nothing within ``wait_s`` seconds (None: waits for ever).

        Raises:
            LineClosedError: It has ended.
        """
        while True:
            line, newline, rest = self._read.partition(b"\n")
            if newline:
                self._read = rest
                message: dict[str, Any] = json.loads(line)
                return message
            try:
                poll = select.poll()
                poll.register(self._socket, select.POLLIN)
                if not poll.poll(None if wait_s is None else wait_s * 1000):
                    return None
                piece = self._socket.recv(_PIECE_BYTES)
            except OSError as error:
                raise LineClosedError from error
            if not piece:
                raise LineClosedError
            self._read += piece


def error_json(error: HubError) -> dict[str, Any]:
    """An error, to be raised on the other side."""
    cause = error.__cause__.errno if isinstance(error.__cause__, OSError) else None
    return {"code": error.code, "message": error.message, "details": error.details, "errno": cause}


def error_of(told: dict[str, Any]) -> HubError:
    """The error that the other side has told of."""
    error = BY_CODE.get(told["code"], HubError)(told["message"], **told["details"])
    if told["errno"] is not None:
        error.__cause__ = OSError(told["errno"], os.strerror(told["errno"]))
    return error
