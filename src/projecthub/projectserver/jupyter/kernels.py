"""One kernel: its process, its sockets, and code that is run in it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient

from projecthub.errors import KernelDied

Message = dict[str, Any]
_log = logging.getLogger(__name__)
_ASK_AGAIN_S = 0.2
# What a kernel has said before it answers arrives soon after the answer, or never: its queue was full.
_LATE_S = 1.0


@dataclass(slots=True)
class Request:
    """Something asked of a kernel, under way.

    Attributes:
        on_message: Gets each message that the kernel publishes about it.
        reply: The content of the answer.
        idle: Set when the kernel has published all about it.
    """

    on_message: Callable[[Message], None]
    reply: asyncio.Future[Message]
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class Kernel:
    """A running kernel.

    Attributes:
        name: Of its specification.
        pid: Its process id, which is its process group too.
        connection_file: Where its sockets and its key stand.
        died: Set when its process has ended.
    """

    def __init__(
        self, name: str, pid: int, pidfd: int, connection_file: Path, *, interrupted_by_message: bool = False
    ) -> None:
        """Watch a process, whose pidfd is ours from now on."""
        self._interrupted_by_message = interrupted_by_message
        self.name = name
        self.pid = pid
        self.connection_file = connection_file
        self.died = asyncio.Event()
        self._pidfd = pidfd
        self._requests: dict[str, Request] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._client: Any = None
        asyncio.get_running_loop().add_reader(pidfd, self._note_death)

    async def connect(self, context: zmq.asyncio.Context) -> None:
        """Connect to it and wait until it answers and is heard.

        Raises:
            KernelDied: It has ended instead.
        """
        self._client = AsyncKernelClient(context=context)
        self._client.load_connection_file(str(self.connection_file))
        self._client.start_channels(stdin=False, hb=False, control=False)
        heard = asyncio.Event()
        for channel in (self._client.shell_channel, self._client.iopub_channel):
            self._tasks.append(asyncio.create_task(self._listen(channel, heard)))
        answered = False
        while not (answered and heard.is_set()):
            request = self._expect(self._client.kernel_info())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ASK_AGAIN_S if answered else None):
                    await self._answer(request)
                    answered = True
                async with asyncio.timeout(_ASK_AGAIN_S):
                    await heard.wait()

    async def _listen(self, channel: Any, heard: asyncio.Event) -> None:
        while True:
            try:
                message = await channel.get_msg(timeout=None)
                if channel is self._client.iopub_channel:
                    heard.set()
                self._take(message)
            except zmq.ZMQError:  # its socket is closed
                return
            except Exception:  # not signed with the key, no message at all, or none as Jupyter has them
                _log.debug("a message of the kernel '%s' was dropped", self.name, exc_info=True)
            await asyncio.sleep(0)  # a kernel that prints for ever must not keep all others waiting

    def _take(self, message: Message) -> None:
        request = self._requests.get(message["parent_header"].get("msg_id", ""))
        if request is None:
            return
        if message["msg_type"].endswith("_reply"):
            if not request.reply.done():
                request.reply.set_result(message["content"])
        elif message["msg_type"] == "status":
            if message["content"].get("execution_state") == "idle":
                request.idle.set()
        else:
            request.on_message(message)

    def _expect(self, message_id: str, on_message: Callable[[Message], None] = lambda _: None) -> Request:
        request = Request(on_message, asyncio.get_running_loop().create_future())
        self._requests[message_id] = request
        request.reply.add_done_callback(lambda _: None)
        return request

    async def _answer(self, request: Request) -> Message:
        """The reply to a request; fails when the kernel dies first.

        An interrupt just before or after the code has a kernel drop the request without a reply.
        """
        ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(e.wait()) for e in (self.died, request.idle)]
        try:
            await asyncio.wait({request.reply, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if not (request.reply.done() or self.died.is_set()):
                await asyncio.wait({request.reply, ends[0]}, timeout=_LATE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        if not request.reply.done() and not self.died.is_set():
            return {"status": "aborted"}
        if not request.reply.done():
            raise KernelDied(f"the kernel '{self.name}' died: it crashed, was killed, or its memory ran out")
        return request.reply.result()

    async def execute(
        self, code: str, on_message: Callable[[Message], None] = lambda _: None, *, silent: bool = False
    ) -> Message:
        """Run code and wait for its end and for all that it has published.

        Args:
            code: In the kernel's language.
            on_message: Gets each message that the kernel publishes about it; and one about a lack of memory that only
                the reply tells, for want of memory. Other errors that kernels do not show are not to be seen.
            silent: Run it without counting it.

        Returns:
            The content of the kernel's reply.

        Raises:
            KernelDied: The kernel has ended.
        """
        has_told = False

        def note(message: Message) -> None:
            nonlocal has_told
            has_told |= message["msg_type"] == "error"
            on_message(message)

        message_id = self._client.execute(code, silent=silent, allow_stdin=False, stop_on_error=False)
        request = self._expect(message_id, note)
        try:
            reply = await self._answer(request)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LATE_S):
                    await request.idle.wait()
            if reply.get("ename") == "MemoryError" and not (has_told or silent):
                on_message({"msg_type": "error", "content": _error_of(reply)})
            return reply
        finally:
            self._requests.pop(message_id, None)

    async def complete(self, code: str, cursor: int) -> Message:
        """What may stand where the cursor is, after all that was asked before.

        Args:
            code: In the kernel's language.
            cursor: A place in it, in characters.

        Returns:
            The content of the kernel's reply.

        Raises:
            KernelDied: The kernel has ended.
        """
        message_id = self._client.complete(code, cursor)
        try:
            return await self._answer(self._expect(message_id))
        finally:
            self._requests.pop(message_id, None)

    def interrupt(self) -> None:
        """Interrupt what it runs, in the way that its specification asks for."""
        if self._interrupted_by_message:
            self._client.control_channel.send(self._client.session.msg("interrupt_request", {}))
        elif not self.died.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """End it, and all that it has started in its process group, at once."""
        if not self.died.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        if self._client is not None:
            self._client.stop_channels()
            self._client = None
        sockets = self.connection_file.parent.glob(f"{self.connection_file.stem}-*")
        for path in (self.connection_file, *sockets):
            path.unlink(missing_ok=True)

    def _note_death(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.died.set()


def _error_of(reply: Message) -> Message:
    why = str(reply.get("evalue", ""))
    return {"ename": "MemoryError", "evalue": why, "traceback": reply.get("traceback") or [f"MemoryError: {why}"]}
