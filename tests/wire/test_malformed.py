"""Ten thousand requests as no client makes them: the hub answers each, and is the same afterwards."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2

from projecthub.wire.errors import CODE_HEADER
from tests.hubs import HubProcess
from tests.wire.hostile import Hostile, Request
from tests.wire.matching import LEAKS

REQUESTS = 10_000
AT_ONCE = 24
SEED = 1
STATUSES = {200, 308, 400, 404, 413}


class Victims:
    """What the hostile caller may know the ids of, and must not change: alice's account and projects."""

    def __init__(self, hub: HubProcess) -> None:
        self._hub = hub
        self.account_id, self.key = hub.person("victim")
        with hub.hub(self.key) as client:
            self.projects = [
                client.projects.create_project(title=f"Victim {n}", description="as made") for n in range(3)
            ]
            client.project(self.projects[0]).system.exec("echo kept > file", bash=True)
            client.projects.stop(self.projects[0])

    def seen(self) -> Any:
        """Everything about them that another account could try to change."""
        fields = dict.fromkeys(
            ("project_id", "title", "description", "users", "deleted", "env", "name", "state", "last_edited", "created",
             "settings", "site_license", "manage_users_owner_only", "color", "last_active")
        )  # fmt: skip
        account = dict.fromkeys(
            ("account_id", "first_name", "last_name", "email_address", "groups", "profile", "unlisted")
        )
        rows = self._query({"projects_all": [fields]})["projects_all"]
        keys = self._hub.post({"name": "keys.list", "args": [{}]}, key=self.key).json()
        return (
            # Whoever is added to projects of others has more rows; that is allowed.
            sorted((row for row in rows if row["project_id"] in self.projects), key=lambda row: row["project_id"]),
            self._query({"accounts": account}),
            [{**key, "last_active": None} for key in keys],
        )

    def _query(self, query: Any) -> Any:
        return self._hub.post({"name": "db.userQuery", "args": [{"query": query}]}, key=self.key).json()


def problem(request: Request, response: httpx2.Response, secrets: list[str]) -> str | None:
    """What is wrong with an answer."""
    if response.status_code not in STATUSES or (request.sound and response.status_code != 200):
        return f"status {response.status_code}"
    text = response.text
    if (leak := LEAKS.search(text)) or any(secret in text for secret in secrets):
        return f"shows {leak}"
    if response.headers.get(CODE_HEADER) == "internal":
        return "an internal error"
    if response.status_code != 200 or request.method == "HEAD":
        return None
    value = json.loads(text)
    is_error = isinstance(value, dict) and "error" in value
    if is_error != (CODE_HEADER in response.headers):
        return "the header of the code does not fit the body"
    if is_error and not (isinstance(value["error"], str) and value["error"]):
        return "an error without a text"
    return None


async def attack(url: str, requests: Iterator[Request], secrets: list[str]) -> tuple[Counter[int], list[str]]:
    """Send all requests, some at once; tells how many got which status, and what was wrong."""
    statuses: Counter[int] = Counter()
    problems: list[str] = []

    async def send_some(client: httpx2.AsyncClient) -> None:
        for request in requests:
            response = await client.request(
                request.method, url + request.path, headers=list(request.headers), content=request.body
            )
            statuses[response.status_code] += 1
            if found := problem(request, response, secrets):
                problems.append(f"{found}: {response.text[:300]!r} to {request.path} {request.body[:500]!r}")

    async with httpx2.AsyncClient(timeout=30) as client:
        await asyncio.gather(*(send_some(client) for _ in range(AT_ONCE)))
    return statuses, problems


async def test_malformed_requests_change_nothing(hub_process: HubProcess) -> None:
    victims = Victims(hub_process)
    mallory_id, mallory_key = hub_process.person("mallory")
    with hub_process.hub(mallory_key) as mallory:
        own = [mallory.projects.create_project(title="Mallory's") for _ in range(2)]
    before = victims.seen()
    projects = [*own, *own, *own, *victims.projects]
    hostile = Hostile(SEED, mallory_key, projects, [mallory_id, victims.account_id])
    requests = (hostile.request() for _ in range(REQUESTS))
    statuses, problems = await attack(hub_process.url, requests, [str(hub_process.data_dir), victims.key])
    assert problems == []
    assert statuses.total() == REQUESTS
    assert statuses[200] > REQUESTS * 0.8
    assert {400, 404, 413, 308} <= statuses.keys()
    assert "mistake" not in hub_process.errors()
    assert victims.seen() == before
    with hub_process.hub(victims.key) as client:
        assert client.system.ping()["now"] > 0
        assert client.project(victims.projects[0]).system.exec("cat file")["stdout"] == "kept\n"
    assert hub_process.process.poll() is None
