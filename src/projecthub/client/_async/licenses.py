from __future__ import annotations

from typing import Any

from projecthub.client._async.connection import AsyncConnection
from projecthub.client.requests import of_method
from projecthub.client.times import Time, on_the_wire
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.HUB]
_Licenses = list[shapes.License]


class AsyncLicenses:
    """The hub's licenses: named sets of quotas. For site admins.

    Who is on a project attaches them to it: `projects.add_license`.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(
        self,
        quota: dict[str, Any],
        title: str = "",
        description: str = "",
        run_limit: int | None = None,
        activates: Time | None = None,
        expires: Time | None = None,
    ) -> shapes.License:
        """Make a license. Who knows its id may attach it to their projects.

        Args:
            quota: What it grants: some of `cpu` and `dedicated_cpu` in cores, `ram`, `dedicated_ram` and `disk` in
                GB, `idle_timeout` as ``short``, ``medium``, ``day`` or in seconds, `member`, `always_running` and
                `network` as True or False. A way to the internet comes with it unless `network` is False.
            title: What people call it, up to 254 characters.
            description: What it is for, up to 10,000 characters.
            run_limit: Projects at most that may run with it at a time; None or 0: any number.
            activates: Since when it is in force: an aware datetime, an ISO time, or milliseconds since the epoch; None:
                at once.
            expires: Until when, likewise; None: for good.

        Returns:
            The new license.

        Raises:
            InvalidArgument: The quota is none, or a value is out of range.
            PermissionDenied: You are not a site admin.

        Example:
            ```python
            license = await hub.licenses.create({"cpu": 2, "ram": 4}, "Course", run_limit=30, expires="2027-01-31")
            await hub.projects.add_license(project_id, license["id"])
            ```
        """
        arguments = shapes.CreateLicense(
            quota=quota,
            title=title,
            description=description,
            run_limit=run_limit,
            activates=on_the_wire(activates, "activates"),
            expires=on_the_wire(expires, "expires"),
        )
        reply: shapes.License = await self._call("licenses.create", arguments)
        return reply

    async def list(self, limit: int = 100, after: str | None = None) -> _Licenses:
        """Licenses, newest first.

        Args:
            limit: How many at most, from 1 to 1000.
            after: The last `id` of the page before; None: the first page.

        Raises:
            PermissionDenied: You are not a site admin.

        Example:
            ```python
            for license in await hub.licenses.list():
                print(license["id"], license["status"], license["running"])
            ```
        """
        reply: _Licenses = await self._call("licenses.list", shapes.ListLicenses(limit=limit, after=after))
        return reply

    async def get(self, id: str) -> shapes.License:
        """A license, with the projects that run with it now.

        Args:
            id: The license.

        Raises:
            NotFound: There is no such license.
            PermissionDenied: You are not a site admin.

        Example:
            ```python
            print((await hub.licenses.get(license_id))["projects"])
            ```
        """
        reply: shapes.License = await self._call("licenses.get", shapes.LicenseOnly(id=id))
        return reply

    async def update(
        self,
        id: str,
        quota: dict[str, Any] | None = None,
        title: str | None = None,
        description: str | None = None,
        run_limit: int | None = None,
        activates: Time | None = None,
        expires: Time | None = None,
    ) -> shapes.License:
        """Change a license; what is None stays. Projects see it at their next start.

        Args:
            id: The license.
            quota: Keys to change; a None in it takes its key away.
            title: As in `create`.
            description: As in `create`.
            run_limit: As in `create`; 0: any number.
            activates: As in `create`; ``now``: from the beginning.
            expires: As in `create`; ``never``: for good.

        Returns:
            The license as it is now.

        Raises:
            NotFound: There is no such license.
            InvalidArgument: The quota would be none, or a value is out of range.
            PermissionDenied: You are not a site admin.

        Example:
            ```python
            await hub.licenses.update(license_id, {"ram": 8}, expires="never")
            ```
        """
        arguments = shapes.UpdateLicense(
            id=id,
            quota=quota,
            title=title,
            description=description,
            run_limit=run_limit,
            activates=on_the_wire(activates, "activates"),
            expires=on_the_wire(expires, "expires"),
        )
        reply: shapes.License = await self._call("licenses.update", arguments)
        return reply

    async def end(self, id: str) -> shapes.License:
        """Have a license expire now. Projects that run with it run on; it gives nothing at their next start.

        Args:
            id: The license.

        Raises:
            NotFound: There is no such license.
            PermissionDenied: You are not a site admin.

        Example:
            ```python
            await hub.licenses.end(license_id)
            ```
        """
        reply: shapes.License = await self._call("licenses.end", shapes.LicenseOnly(id=id))
        return reply

    async def _call(self, name: str, arguments: Any) -> Any:
        return await self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments))
