"""The pieces that a hub is opened with: its lock, its directories, its first admin."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from projecthub.app import ADMIN_KEY_FILE
from projecthub.app.data_dir import make_private, take_lock
from projecthub.app.first_admin import first_admin
from projecthub.app.machine import isolation_of
from projecthub.engines.port import Isolation
from projecthub.errors import Conflict
from projecthub.hub.accounts import Accounts
from projecthub.hub.clock import SystemClock
from projecthub.hub.keys import Keys
from projecthub.settings import Settings
from projecthub.store import Store, open_store

GIVEN = "sk-" + "g" * 40


@dataclass
class Opened:
    """What `first_admin` works on."""

    data_dir: Path
    store: Store
    keys: Keys
    accounts: Accounts

    async def first_admin(self, key: str | None = None) -> tuple[str | None, bool]:
        settings = Settings(data_dir=self.data_dir, admin_key=key)
        return await first_admin(settings, self.store, self.accounts, self.keys)

    @property
    def file(self) -> Path:
        return self.data_dir / ADMIN_KEY_FILE

    async def admins(self) -> int:
        async with self.store.read() as tx:
            return sum(account.is_admin for account in await tx.accounts.list(limit=100, after=None, query=None))


@pytest.fixture
async def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opened]:
    for name in [name for name in os.environ if name.startswith("PROJECTHUB_")]:
        monkeypatch.delenv(name)
    clock = SystemClock()
    store = await open_store(f"sqlite:///{tmp_path}/hub.sqlite3", clock=clock)
    keys = Keys(store, clock)
    yield Opened(tmp_path, store, keys, Accounts(store, clock, keys))
    await store.close()


def test_a_data_directory_has_one_hub(tmp_path: Path) -> None:
    lock = take_lock(tmp_path)
    with pytest.raises(Conflict, match=f"another hub \\(process {os.getpid()}\\)") as refused:
        take_lock(tmp_path)
    assert str(tmp_path) not in refused.value.message
    os.close(lock)
    os.close(take_lock(tmp_path))
    assert stat.S_IMODE((tmp_path / "hub.lock").stat().st_mode) == 0o600


def test_a_refused_lock_leaves_no_file_open(tmp_path: Path) -> None:
    lock = take_lock(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Conflict):
        take_lock(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(lock)


def test_a_data_directory_is_for_its_owner(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    for _ in range(2):
        make_private(directory)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        directory.chmod(0o755)


def test_isolation_can_be_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert isolation_of(Settings(data_dir=tmp_path, isolation="none")) is Isolation.NONE


async def test_the_first_admins_key_is_kept(opened: Opened) -> None:
    key, is_new = await opened.first_admin()
    assert key is not None
    assert is_new
    caller = await opened.keys.check(key)
    assert caller is not None
    assert caller.is_admin
    assert opened.file.read_text() == f"{key}\n"
    assert stat.S_IMODE(opened.file.stat().st_mode) == 0o600
    assert await opened.first_admin() == (key, False)
    assert await opened.admins() == 1


async def test_a_key_that_is_lost_is_not_replaced_by_itself(opened: Opened) -> None:
    await opened.first_admin()
    opened.file.unlink()
    assert await opened.first_admin() == (None, False)
    assert await opened.admins() == 1


async def test_a_given_key_is_the_admins(opened: Opened) -> None:
    assert await opened.first_admin(GIVEN) == (GIVEN, True)
    caller = await opened.keys.check(GIVEN)
    assert caller is not None
    assert caller.is_admin
    assert await opened.first_admin(GIVEN) == (GIVEN, False)
    assert opened.file.read_text() == f"{GIVEN}\n"
    assert await opened.admins() == 1


async def test_a_key_that_is_given_later_takes_the_place_of_the_first(opened: Opened) -> None:
    first, _ = await opened.first_admin()
    assert first is not None
    before = await opened.keys.check(first)
    assert before is not None
    assert await opened.first_admin(GIVEN) == (GIVEN, True)
    after = await opened.keys.check(GIVEN)
    assert after is not None
    assert before.account_id == after.account_id
    assert await opened.keys.check(first) is None
    assert opened.file.read_text() == f"{GIVEN}\n"
    assert await opened.admins() == 1


async def test_a_key_of_another_account_is_refused(opened: Opened) -> None:
    await opened.first_admin()
    other = opened.accounts.new(email_address=None, first_name="Other")
    async with opened.store.write() as tx:
        await tx.accounts.create(other)
        await opened.keys.make(tx, other.account_id, None, "own", secret=GIVEN)
    with pytest.raises(Conflict, match="PROJECTHUB_ADMIN_KEY"):
        await opened.first_admin(GIVEN)


async def test_a_key_file_is_not_written_through_a_link(opened: Opened) -> None:
    victim = opened.data_dir / "victim"
    victim.write_text("mine")
    (opened.data_dir / f".{ADMIN_KEY_FILE}.new").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        await opened.first_admin()
    assert victim.read_text() == "mine"
    assert await opened.admins() == 0
