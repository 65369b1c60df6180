"""Unix sockets as the launcher uses them."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from projecthub.engines.local.records import SOCKET_FILE

_BACKLOG = 128
_CREDENTIALS = struct.Struct("3i")


def listen(directory: Path) -> socket.socket:
    """A listening socket in a directory whose path may be longer than an address can be."""
    listener = socket.socket(socket.AF_UNIX)
    directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{directory_fd}/{SOCKET_FILE}")
        listener.listen(_BACKLOG)
    finally:
        os.close(directory_fd)
    return listener


def receive_with_sender(control: socket.socket) -> tuple[bytes, int]:
    """A message and the sender's process id as we see it, whatever it is called inside its namespace.

    Raises:
        BlockingIOError: There is none now.
    """
    try:
        message, extra, _, _ = control.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
    except ConnectionResetError:  # it ended with something unread
        return b"", 0
    for _, kind, data in extra:
        if kind == socket.SCM_CREDENTIALS:
            return message, _CREDENTIALS.unpack(data)[0]
    return b"", 0
