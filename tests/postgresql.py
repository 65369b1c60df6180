"""A PostgreSQL server for tests, and a clock that stands still."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from projecthub.store import open_store


class FakeClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def advance(self, **duration: float) -> datetime:
        self.at += timedelta(**duration)
        return self.at


class PostgresqlServer:
    """A PostgreSQL server of our own, on a unix socket in a temporary directory.

    PostgreSQL refuses to run as root; then it runs as the user ``postgres``, whom its packages bring along.
    """

    def __init__(self, binaries: Path, *, buffers_mb: int = 32) -> None:
        """Make one; ``buffers_mb`` is its memory for pages, in MB: PostgreSQL's own default is 128."""
        self._binaries = binaries
        self._buffers_mb = buffers_mb
        self._directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path must be short
        self._user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        if os.geteuid() == 0:
            os.chown(self._directory, self._user.pw_uid, self._user.pw_gid)
        self._databases = 0
        self._template: str | None = None

    def start(self) -> None:
        data = str(self._directory / "data")
        self._run("initdb", "-D", data, "-A", "trust", "-U", "test", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        settings = (
            f"-c listen_addresses='' -c unix_socket_directories={self._directory} "
            f"-c fsync=off -c full_page_writes=off -c shared_buffers={self._buffers_mb}MB -c max_connections=60"
        )
        log = str(self._directory / "log")
        self._run("pg_ctl", "start", "-w", "-D", data, "-l", log, "-o", settings)

    def stop(self) -> None:
        data = self._directory / "data"
        if (data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(data))
        shutil.rmtree(self._directory)

    def url(self, database: str) -> str:
        return f"postgresql://test@/{database}?host={self._directory}"

    async def create(self, template: str = "template1") -> str:
        """Make a database and return its name."""
        self._databases += 1
        name = f"test_{self._databases}"
        await self._administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    async def drop(self, name: str) -> None:
        await self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    async def template(self) -> str:
        """The name of a database with an empty store, to be copied."""
        if self._template is None:
            name = await self.create()
            store = await open_store(self.url(name), clock=FakeClock())
            await store.close()
            self._template = name
        return self._template

    async def _administer(self, statement: str) -> None:
        connection = await asyncpg.connect(host=str(self._directory), user="test", database="postgres")
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _run(self, program: str, *arguments: str) -> None:
        # No pipes: a started server would keep them open.
        with tempfile.TemporaryFile() as output:
            ran = subprocess.run(
                [self._binaries / program, *arguments],
                user=self._user.pw_uid if os.geteuid() == 0 else None,
                group=self._user.pw_gid if os.geteuid() == 0 else None,
                extra_groups=[] if os.geteuid() == 0 else None,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            output.seek(0)
            assert ran.returncode == 0, f"{program} failed: {output.read().decode()}"


def postgresql_binaries() -> Path | None:
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    if found := shutil.which("initdb"):
        candidates.append(Path(found).resolve())
    return candidates[0].parent if candidates else None
