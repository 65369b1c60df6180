from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from projecthub.errors import Conflict, HubError, InvalidArgument, NotFound
from projecthub.files import SEEN_HOME, Home, uploads
from projecthub.files.changes import Check
from projecthub.files.uploads import UploadPlan


@pytest.fixture
def home(tmp_path: Path) -> Home:
    path = tmp_path / "project" / "home"
    path.mkdir(parents=True)
    return Home(path, None, (SEEN_HOME,))


def anything(before: os.stat_result | None) -> bool:
    return False


def unchecked(upload: uploads.Upload) -> Check:
    return anything


def complete(home: Home, plan: UploadPlan) -> str:
    """An upload of which all is there, and that was not finished."""
    upload_id = uploads.begin(home, plan)
    with uploads.adding(home, upload_id, 0) as (_, fd):
        os.write(fd, b"abc")
    return upload_id


def finish(home: Home, upload_id: str) -> None:
    with uploads.adding(home, upload_id, 3) as (upload, fd):
        uploads.finish(home, upload, fd, anything)


def test_what_was_uploaded_outlives_a_failure_to_place_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = complete(home, UploadPlan(path="f", length=3, mode=0o400, mtime_ns=10**18))

    def failing(*_args: object, **_options: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch, pytest.raises(HubError):
        patch.setattr(os, "rename", failing)
        finish(home, upload_id)
    assert uploads.expire(home, datetime.now(UTC) + timedelta(hours=23)) == 0
    finish(home, upload_id)
    assert (home.path / "f").read_bytes() == b"abc"
    assert (home.path / "f").stat().st_mtime_ns == 10**18
    assert list(home.path.with_name("uploads").iterdir()) == []


def test_an_upload_waits_for_a_directory_in_its_place_to_go(home: Home) -> None:
    (home.path / "f").mkdir()
    upload_id = complete(home, UploadPlan(path="f", length=3))
    with pytest.raises(Conflict):
        finish(home, upload_id)
    (home.path / "f").rmdir()
    finish(home, upload_id)
    assert (home.path / "f").read_bytes() == b"abc"


def test_an_upload_that_can_never_be_finished_is_over(home: Home) -> None:
    upload_id = complete(home, UploadPlan(path="f", length=3, sha256="0" * 64))
    with pytest.raises(InvalidArgument):
        finish(home, upload_id)
    with pytest.raises(NotFound):
        uploads.find(home, upload_id)


def test_what_a_killed_hub_did_not_finish_is_finished(home: Home) -> None:
    complete(home, UploadPlan(path="f", length=3))
    refused = complete(home, UploadPlan(path="g", length=3, sha256="0" * 64))
    partial = uploads.begin(home, UploadPlan(path="h", length=3))
    held = complete(home, UploadPlan(path="i", length=3))
    with uploads.adding(home, held, 3):
        assert uploads.finish_complete(home, unchecked) == 1
    assert [path.name for path in home.path.iterdir()] == ["f"]
    left = {path.name for path in home.path.with_name("uploads").iterdir()}
    assert left == {partial, held}
    assert refused not in left


def test_an_upload_that_is_being_finished_does_not_expire(home: Home) -> None:
    upload_id = complete(home, UploadPlan(path="f", length=3))
    with uploads.adding(home, upload_id, 3) as (_, fd):
        os.utime(fd, (0, 0))
        assert uploads.expire(home, datetime.now(UTC)) == 0
    assert uploads.expire(home, datetime.now(UTC)) == 1
