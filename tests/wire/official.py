"""People who use the official client of the public service."""

from __future__ import annotations

from cocalc_api import Hub, Project

from tests.hubs import HubProcess


class Person:
    """An account with a client of its own."""

    def __init__(self, hub: HubProcess, name: str) -> None:
        self.account_id, self.key = hub.person(name)
        self.hub = Hub(api_key=self.key, host=hub.url)
        self.host = hub.url

    def project(self, project_id: str) -> Project:
        return Project(api_key=self.key, host=self.host, project_id=project_id)

    def project_key(self, project_id: str) -> str:
        """A new key of a project's own."""
        [key] = self.hub.call("system.manageApiKeys", [{"action": "create", "name": "k", "project_id": project_id}])
        return str(key["secret"])
