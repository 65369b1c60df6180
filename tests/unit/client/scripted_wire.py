"""The other end of the wire: answers that a test prepares, and the requests that came."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import httpx2

from projecthub.wire.errors import CODE_HEADER

HOST = "http://hub.test:8000"
KEY = "sk-0123456789abcdef000001"


class Wire:
    """Gives each prepared answer once, in order; the last one again and again."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []
        self._latest: httpx2.Response | Exception
        self._answers: deque[httpx2.Response | Exception] = deque()

    def answers(self, value: Any, *, code: str | None = None, status: int = 200) -> None:
        headers = {} if code is None else {CODE_HEADER: code}
        self._answers.append(httpx2.Response(status, content=json.dumps(value), headers=headers))

    def answers_with(self, response: httpx2.Response) -> None:
        self._answers.append(response)

    def fails(self, error: type[httpx2.RequestError]) -> None:
        self._answers.append(error("as prepared"))

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if self._answers:
            self._latest = self._answers.popleft()
        answer = self._latest
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer.status_code, content=answer.content, headers=answer.headers)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]
