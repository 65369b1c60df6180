"""Real hubs for tests: a process of its own each, on a free loopback port, with a data directory of its own."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import httpx2

from projecthub import Hub

START_S = 30.0


class HubProcess:
    """`projecthub serve` as a child process.

    ``within`` is a command that runs the rest of its arguments in its own place, such as ``unshare --mount``.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        isolation: str = "auto",
        within: Sequence[str] = (),
        **environment: str,
    ) -> None:
        self._within = within
        self._own_dir = data_dir is None
        self.data_dir = data_dir or Path(tempfile.mkdtemp(prefix="projecthub-test-"))
        # What the hub does by itself once a minute would get into what tests look at.
        self._environment = {"PROJECTHUB_ISOLATION": isolation, "PROJECTHUB_SNAPSHOT_HOURS": "0", **environment}
        self.url = ""
        self.output = ""
        self.process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PROJECTHUB_", "COCALC_"))}
        with (self.data_dir / "stderr.log").open("ab") as errors:
            self._errors_before = len(self.errors())
            command = [sys.executable, "-m", "projecthub", "serve", "--bind=127.0.0.1:0", f"--data-dir={self.data_dir}"]
            process = subprocess.Popen(
                [*self._within, *command],
                stdout=subprocess.PIPE,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                env={**kept, **self._environment},
                start_new_session=True,
            )
        try:
            self._await_start(process)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        return process

    def _await_start(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        deadline = time.monotonic() + START_S
        while "projects list\n" not in self.output:
            if self._environment.get("PROJECTHUB_LOG_FORMAT") == "json" and '"hub.serving"' in self._new_errors():
                self.url = (self.data_dir / "url").read_text().strip()
                return
            ready, _, _ = select.select([process.stdout], [], [], 0.05)
            chunk = os.read(process.stdout.fileno(), 65536).decode() if ready else ""
            if (ready and not chunk) or time.monotonic() > deadline:
                raise AssertionError(f"the hub did not start:\n{self.output}\n{self.errors()}")
            self.output += chunk
        self.url = self.output.split()[2]

    def _new_errors(self) -> str:
        """What it wrote to stderr since it was started last."""
        return self.errors()[self._errors_before :]

    def errors(self) -> str:
        """What it wrote to stderr."""
        return (self.data_dir / "stderr.log").read_text()

    @property
    def admin_key(self) -> str:
        """The first admin's key."""
        return (self.data_dir / "admin-key").read_text().strip()

    def hub(self, api_key: str | None = None, **options: Any) -> Hub:
        """A client, the admin's unless a key is given."""
        return Hub(api_key=api_key or self.admin_key, host=self.url, **options)

    def person(self, name: str) -> tuple[str, str]:
        """A new account: its id and a key of it."""
        with self.hub() as admin:
            account = admin.accounts.create(f"{name}@example.org", first_name=name.capitalize())
            key = admin.keys.create(account_id=account["account_id"], name="test")
        return account["account_id"], key["secret"]

    def post(self, body: Any, *, key: str | None = None, endpoint: str = "hub", **options: Any) -> httpx2.Response:
        """One raw call."""
        headers = {"Authorization": f"Bearer {key or self.admin_key}"}
        return httpx2.post(f"{self.url}/api/conat/{endpoint}", json=body, headers=headers, timeout=60, **options)

    def __enter__(self) -> Self:
        """The hub."""
        return self

    def __exit__(self, *details: object) -> None:
        """Stop everything."""
        self.close()

    def kill(self) -> None:
        """SIGKILL, as by an accident."""
        self.process.kill()
        self.process.wait()

    def restart(self, **environment: str) -> None:
        """Start again on the same data directory, at another port; with other settings, if some are given."""
        self._environment |= environment
        self._close_output()
        self.output = ""
        self.process = self._spawn()

    def _close_output(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()

    def terminate(self) -> int:
        """SIGTERM: projects run on."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def interrupt(self) -> int:
        """SIGINT, as by Ctrl-C: projects are stopped."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)

    def close(self) -> None:
        """Stop everything and remove the data directory."""
        if self.process.poll() is not None:
            # Whatever was left running is found by a hub on the same data, and stopped with it.
            self.restart()
        self.interrupt()
        self._close_output()
        if self._own_dir:
            shutil.rmtree(self.data_dir, ignore_errors=True)
