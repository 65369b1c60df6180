"""What a cell has put out, in the wire's shape and within bounds.

Source: Wire contract 5.7.
"""

from __future__ import annotations

import json
from typing import Any

from projecthub.projectserver.jupyter.kernels import Message

_KINDS = ("stream", "display_data", "execute_result", "error")
_LEFT_OUT = ("execution_count", "execution_state")
MAX_ITEMS = 1000
_MAX_OUTCOME = 100


def to_json(value: Any) -> str:
    """A value of a kernel's message as JSON on one line; numbers that JSON has not, such as NaN, are null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(json.loads(json.dumps(value), parse_constant=lambda _: None))


class Outputs:
    """Collects outputs until they are too many; what comes after that is dropped.

    Attributes:
        items: So far.
        outcome: ``ok``, or the name of the error that came last.
    """

    def __init__(self, max_bytes: int) -> None:
        """Make an empty one that keeps up to ``max_bytes`` bytes of JSON."""
        self.items: list[dict[str, Any]] = []
        self.outcome = "ok"
        self._max_bytes = self._room = max_bytes
        self._is_full = False

    def take(self, message: Message) -> None:
        """Take what a kernel has published."""
        if message["msg_type"] == "error":
            self.outcome = str(message["content"].get("ename"))[:_MAX_OUTCOME]
        if message["msg_type"] not in _KINDS or self._is_full:
            return
        item = {k: v for k, v in message["content"].items() if k not in _LEFT_OUT and v not in ({}, None)}
        self._room -= len(to_json(item))
        if self._room < 0 or len(self.items) >= MAX_ITEMS:
            self._is_full = True
            text = [f"Output truncated: it is larger than {self._max_bytes} bytes or {MAX_ITEMS} items.\n"]
            self.items.append({"output_type": "stream", "name": "stderr", "text": text})
        elif not self._continues(item):
            self.items.append(item)

    def say(self, text: str) -> None:
        """Add a line of ours, as of standard error."""
        self.items.append({"name": "stderr", "text": text})

    def fail(self, name: str, why: str) -> None:
        """Add an error that is not the code's own."""
        self.outcome = name
        self.items.append({"ename": name, "evalue": why, "traceback": [f"{name}: {why}"]})

    def _continues(self, item: dict[str, Any]) -> bool:
        """Add text to the last item, if it is of the same stream: kernels send it in pieces of any size."""
        last = self.items[-1] if self.items else {}
        if item.keys() != {"name", "text"} or last.keys() != item.keys() or last["name"] != item["name"]:
            return False
        last["text"] += item["text"]
        return True
