"""What executions in a session have put out, kept within bounds for whoever asks, now or later."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

from projecthub.projectserver.jupyter.kernels import Message
from projecthub.projectserver.jupyter.outputs import to_json
from projecthub.wire.jupyter import ENDED_STATES, ExecutionState

MAX_KEPT_BYTES = 16 * 1024 * 1024
"""JSON that a session keeps; the oldest goes first."""

MAX_EXECUTIONS = 200
"""Executions that a session remembers, those that wait for their turn among them."""

_MAX_OUTPUT_BYTES = 6 * 1024 * 1024  # in a line of the project server's reply each byte of it takes two at most
_MAX_TEXT = 256 * 1024
_OVERHEAD_BYTES = 200
_KINDS = {
    "stream": ("name", "text"),
    "display_data": ("data", "metadata", "transient"),
    "update_display_data": ("data", "metadata", "transient"),
    "execute_result": ("data", "metadata", "execution_count"),
    "error": ("ename", "evalue", "traceback"),
    "clear_output": ("wait",),
}


class Execution:
    """Code that was given to a session.

    Attributes:
        id: A uuid, chosen by whoever gave it.
        code: The code.
        state: How it stands with it.
        heard: Set when the kernel has said that it runs this.
        bytes: JSON that it has put out, kept or not.
    """

    def __init__(self, id: str, code: str, kept: KeptOutputs) -> None:
        """Note some code that waits for its turn."""
        self.id = id
        self.code = code
        self.state = ExecutionState.WAITING
        self.heard = asyncio.Event()
        self.bytes = 0
        self._kept = kept
        self._count: int | None = None
        self._created_at = _now_ms()
        self._started_at: int | None = None
        self._ended_at: int | None = None
        self._first = self._next = 0
        self._outputs: dict[int, str] = {}
        self._news = asyncio.Event()

    @property
    def seconds(self) -> float:
        """How long it ran, or has run; 0 before its turn."""
        if self._started_at is None:
            return 0.0
        return round(((self._ended_at or _now_ms()) - self._started_at) / 1000, 3)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in ENDED_STATES

    def view(self) -> dict[str, object]:
        """It, as it is told."""
        return {
            "id": self.id,
            "code": self.code,
            "state": self.state,
            "execution_count": self._count,
            "created_at": self._created_at,
            "started_at": self._started_at,
            "ended_at": self._ended_at,
            "first_output": self._first,
            "outputs": self._next,
        }

    def begin(self) -> None:
        """Its turn has come."""
        self.state = ExecutionState.RUNNING
        self._started_at = _now_ms()

    def end(self, state: ExecutionState, count: int | None = None) -> None:
        """It has ended; a second end changes nothing."""
        if not self.has_ended:
            self.state, self._count, self._ended_at = state, count, _now_ms()
            self._kept.on_end(self)
            self._tell()

    def take(self, message: Message) -> None:
        """Keep what the kernel has published about it."""
        if message["msg_type"] == "execute_input":
            self.heard.set()
        if (fields := _KINDS.get(message["msg_type"])) is None or self.has_ended:
            return
        content = message["content"]
        output = {"output_type": message["msg_type"], **{name: content[name] for name in fields if name in content}}
        for part in _parts(output):
            self.add(part)

    def add(self, output: dict[str, Any]) -> None:
        """Keep an output."""
        text = to_json(output)
        if len(text) > _MAX_OUTPUT_BYTES:
            said = f"An output of {len(text)} bytes was left out: more than {_MAX_OUTPUT_BYTES} are not kept.\n"
            text = json.dumps({"output_type": "stream", "name": "stderr", "text": said})
        self._outputs[self._next] = text
        self._next += 1
        self.bytes += len(text)
        self._kept.grow(len(text) + _OVERHEAD_BYTES)
        self._tell()

    def drop_oldest(self) -> int:
        """Forget the oldest output; how many bytes that gives back, 0 if there is none."""
        if not self._outputs:
            return 0
        size = len(self._outputs.pop(self._first)) + _OVERHEAD_BYTES
        self._first += 1
        return size

    async def follow(self, index: int) -> AsyncGenerator[object, None]:
        """Itself, ``{"execution"}``, its outputs from one on, ``{"index", "output": JSON}``, and at last itself again.

        What is not kept any more is left out; the indices tell.
        """
        yield {"execution": self.view()}
        while True:
            news = self._news
            while (index := max(index, self._first)) < self._next:
                yield {"index": index, "output": self._outputs[index]}
                index += 1
            if self.has_ended:
                break
            await news.wait()
        yield {"execution": self.view()}

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class KeptOutputs:
    """The executions of a session, and what is kept of them.

    Attributes:
        on_end: Gets each execution when it has ended.
    """

    def __init__(self, on_end: Callable[[Execution], None]) -> None:
        """Make it empty."""
        self.on_end = on_end
        self._executions: dict[str, Execution] = {}
        self._bytes = 0

    def __iter__(self) -> Iterator[Execution]:
        """All that are remembered, oldest first."""
        return iter([*self._executions.values()])

    def get(self, id: str) -> Execution | None:
        """One that is remembered."""
        return self._executions.get(id)

    def has_room(self) -> bool:
        """Whether another one can be remembered: those that have not ended are few, and their code is not much."""
        unended = sum(not each.has_ended for each in self)
        return unended < MAX_EXECUTIONS and self._bytes <= MAX_KEPT_BYTES

    def add(self, id: str, code: str) -> Execution:
        """Remember another one; the oldest that has ended is forgotten if they are too many."""
        if len(self._executions) >= MAX_EXECUTIONS:
            self._forget(next(each for each in self if each.has_ended))
        execution = self._executions[id] = Execution(id, code, self)
        self.grow(len(code) + _OVERHEAD_BYTES)
        return execution

    def grow(self, size: int) -> None:
        """Count some more bytes, and let the oldest outputs go for them if need be."""
        self._bytes += size
        if self._bytes <= MAX_KEPT_BYTES:
            return
        for execution in self:
            while self._bytes > MAX_KEPT_BYTES and (given_back := execution.drop_oldest()):
                self._bytes -= given_back
            if self._bytes <= MAX_KEPT_BYTES:
                return
            if execution.has_ended:  # its code is all that is left of it
                self._forget(execution)

    def _forget(self, execution: Execution) -> None:
        while given_back := execution.drop_oldest():
            self._bytes -= given_back
        if self._executions.pop(execution.id, None) is not None:
            self._bytes -= len(execution.code) + _OVERHEAD_BYTES


def _parts(output: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An output, or, if it is much text, several of them."""
    text = output.get("text")
    if not isinstance(text, str) or len(text) <= _MAX_TEXT:
        yield output
        return
    for begin in range(0, len(text), _MAX_TEXT):
        yield {**output, "text": text[begin : begin + _MAX_TEXT]}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
