"""A crowd: hundreds of projects that are started at once, and then all stopped."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from campaign.clients import Pool
from campaign.hub import TormentedHub
from campaign.plan import Op
from campaign.promises import Fate, fate_of
from projecthub import Hub
from projecthub.errors import HubError

_AT_A_TIME: Final = 100


def run_crowd(size: int, pool: Pool, tormented: TormentedHub) -> str:
    """Make projects, start all of them at once, and stop all with one call; tells how that went.

    Whatever is refused must be refused in words that are expected; what is answered counts as promised.
    """
    with tormented.client() as hub, ThreadPoolExecutor(_AT_A_TIME) as threads:
        ids = list(threads.map(lambda number: _create(hub, f"crowd {number}", pool), range(size)))
        began = time.monotonic()
        fates = list(threads.map(lambda project_id: _start(hub, project_id, pool), ids))
        started_s = time.monotonic() - began
        at = time.time()
        reply = hub.projects.stop_all()
        for project_id in ids:
            pool.of(project_id).called(Op.STOP, at, time.time(), None)
    for project_id, why in reply["failed"].items():
        pool.failures.append(f"{project_id} could not be stopped with all others: {why}")
    stopped_s = time.time() - at
    running = fates.count(Fate.ANSWERED)
    return f"crowd: {running} of {size} started at once in {started_s:.1f} s, all stopped in {stopped_s:.1f} s"


def _create(hub: Hub, title: str, pool: Pool) -> str:
    at = time.time()
    project_id = hub.projects.create_project(title)
    pool.titles[title] = project_id
    pool.of(project_id).called(Op.CREATE, at, time.time(), project_id)
    return project_id


def _start(hub: Hub, project_id: str, pool: Pool) -> Fate:
    at = time.time()
    try:
        outcome: object = hub.projects.start(project_id)
    except HubError as error:
        outcome = error
    pool.of(project_id).called(Op.START, at, time.time(), outcome)
    pool.end(Op.START, outcome, project_id)
    return fate_of(outcome)
