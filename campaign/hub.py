"""The hub that is tormented: killed and started again while clients use it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.hubs import HubProcess

from projecthub import Hub

NOTICED_AFTER_S = 1.0
"""How long after its end, or after the hub is up, the end of a project server may stay unnoticed."""


class TormentedHub:
    """One data directory, and the hub processes that serve it one after the other."""

    def __init__(self, data_dir: Path, *, isolation: str, store_url: str | None) -> None:
        settings = {} if store_url is None else {"PROJECTHUB_STORE_URL": store_url}
        self.data_dir = data_dir
        self.store_url = store_url or f"sqlite:///{data_dir}/hub.sqlite3"
        self._process = HubProcess(data_dir, isolation=isolation, **settings)
        self.admin_key = self._process.admin_key
        self._up = threading.Event()
        self._up.set()
        self.lives: list[list[float]] = [[time.time(), float("inf")]]

    @property
    def pid(self) -> int:
        """Of the process that serves now, or has served last."""
        return self._process.process.pid

    @property
    def url(self) -> str:
        """Where it listens; another address after every start."""
        self._up.wait()
        return self._process.url

    def client(self) -> Hub:
        """A client that sends everything once."""
        return Hub(api_key=self.admin_key, host=self.url, retries=0)

    def errors(self) -> str:
        """What all of its processes have logged."""
        return self._process.errors()

    def down(self, *, gently: bool) -> None:
        """End the hub, by SIGKILL or by SIGTERM."""
        self._up.clear()
        self.lives[-1][1] = time.time()
        if gently:
            self._process.terminate()
        else:
            self._process.kill()

    def up(self) -> None:
        """Start it again."""
        self._process.restart()
        self.lives.append([time.time(), float("inf")])
        self._up.set()

    def noticed_by(self, at: float, within_s: float = NOTICED_AFTER_S) -> float:
        """By when a hub must have noticed what happened at a moment: one that has been up for long enough since."""
        for began, ended in self.lives:
            due = max(at, began) + within_s
            if due <= ended:
                return due
        return float("inf")

    def stop_all(self) -> None:
        """Stop all projects and the hub, as Ctrl-C does."""
        self._up.clear()
        self._process.interrupt()

    def close(self) -> None:
        """Whatever has happened: leave nothing running."""
        self._process.close()
