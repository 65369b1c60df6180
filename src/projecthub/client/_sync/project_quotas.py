# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

from typing import Any

from projecthub.client._sync.connection import Connection
from projecthub.client.requests import of_method
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.HUB]


class ProjectQuotas:
    """What projects may use: the part of `projects` about licenses and quotas."""

    _connection: Connection

    def add_license(self, project_id: str, license_id: str) -> shapes.LicenseChange:
        """Attach a license to a project. One that is attached already stays.

        It counts from the project's next start on. What it gave then: ``get(fields=["site_license", "run_quota"])``.

        Args:
            project_id: The project.
            license_id: The license; to know its id is enough.

        Returns:
            `needs_restart`: whether the project runs, without this change; and what was given.

        Raises:
            NotFound: There is no such license.
            PermissionDenied: You are not on the project.
            Conflict: The project is deleted.

        Example:
            ```python
            if hub.projects.add_license(project_id, license_id)["needs_restart"]:
                hub.projects.stop(project_id)
                hub.projects.start(project_id)
            ```
        """
        arguments = shapes.ProjectLicense(project_id=project_id, license_id=license_id)
        reply: shapes.LicenseChange = self._change("projects.addLicense", arguments)
        return reply

    def remove_license(self, project_id: str, license_id: str) -> shapes.LicenseChange:
        """Take a license off a project. One that is not attached is no error. It counts until the next start.

        Args:
            project_id: The project.
            license_id: The license.

        Returns:
            `needs_restart`: whether the project runs, without this change; and what was given.

        Raises:
            NotFound: There is no such license.
            PermissionDenied: You are not on the project.
            Conflict: The project is deleted.

        Example:
            ```python
            hub.projects.remove_license(project_id, license_id)
            ```
        """
        arguments = shapes.ProjectLicense(project_id=project_id, license_id=license_id)
        reply: shapes.LicenseChange = self._change("projects.removeLicense", arguments)
        return reply

    def set_quotas(
        self,
        project_id: str,
        *,
        memory: float | None = None,
        memory_request: float | None = None,
        cpu_shares: float | None = None,
        cores: float | None = None,
        disk_quota: float | None = None,
        mintime: float | None = None,
        network: bool | int | None = None,
        member_host: bool | int | None = None,
        always_running: bool | int | None = None,
        disable_internet: bool | None = None,
    ) -> None:
        """Give a project more than others, or take the internet from it; what is None stays. For site admins.

        A running project that gets another quota by it is restarted in the background.

        Args:
            project_id: The project.
            memory: Memory in MB.
            memory_request: Memory in MB that is kept for it.
            cpu_shares: Processor time that is kept for it, in 1/1024 of a core.
            cores: Processor cores.
            disk_quota: Disk space in MB.
            mintime: Seconds without use after which it is stopped.
            network: Whether it reaches the internet.
            member_host: Whether it is a member's.
            always_running: Whether it runs all the time.
            disable_internet: Whether it is kept from the internet, whatever its quotas and licenses give it.

        Raises:
            PermissionDenied: You are not a site admin.
            NotFound: There is no such project.
            InvalidArgument: A value is out of range.

        Example:
            ```python
            hub.projects.set_quotas(project_id, memory=4000, cores=2, network=True)
            ```

        Source: Wire contract 5.2.
        """
        arguments = shapes.SetQuotas(
            project_id=project_id,
            memory=memory,
            memory_request=memory_request,
            cpu_shares=cpu_shares,
            cores=cores,
            disk_quota=disk_quota,
            mintime=mintime,
            network=network,
            member_host=member_host,
            always_running=always_running,
            disableInternet=disable_internet,
        )
        self._change("projects.setQuotas", arguments)

    def _change(self, name: str, arguments: Any) -> Any:
        return self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments))
