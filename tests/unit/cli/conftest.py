from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest
from named_replies import ADA, NamedReplies, Outcome, answer_query

from projecthub.cli.commands import run as run_command


@pytest.fixture
def hub() -> NamedReplies:
    replies = NamedReplies()
    replies.by_name["db.userQuery"] = answer_query
    replies.by_name["system.test"] = {"account_id": ADA, "server_time": 0}
    return replies


@pytest.fixture
def run(
    hub: NamedReplies, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    for variable in ("PROJECTHUB_URL", "COCALC_HOST", "COCALC_API_KEY", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PROJECTHUB_API_KEY", "sk-test")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("TZ", "UTC")
    transport = httpx2.MockTransport(hub.handle)

    def command(*arguments: str) -> Outcome:
        code = run_command(list(arguments), transport=transport, async_transport=transport)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return command
