from __future__ import annotations

import os
from pathlib import Path

from two_homes import make_deep, tree, write

from projecthub.files.staging import StagingRun, is_empty


def test_a_run_leaves_nothing(tmp_path: Path) -> None:
    staging = tmp_path / "staging"
    run = StagingRun(staging)
    assert staging.stat().st_mode & 0o777 == 0o700
    assert not is_empty(staging)
    name = run.make_directory()
    write(staging / os.listdir(staging)[0] / name / "deep/er/f")
    write(staging / os.listdir(staging)[0] / run.fresh_name())
    run.close()
    assert is_empty(staging)


def test_nothing_is_staged_where_there_is_no_staging(tmp_path: Path) -> None:
    assert is_empty(tmp_path / "staging")


def test_a_killed_run_goes_with_the_next_one_and_a_living_one_stays(tmp_path: Path) -> None:
    staging = tmp_path / "staging"
    living = StagingRun(staging)
    name = living.make_directory()
    write(staging / "killed/1/deep/f", mode=0o000)
    (staging / "killed/1/deep").chmod(0o000)
    StagingRun(staging).close()
    assert [path.rpartition("/")[2] for path in tree(staging)][1:] == [name]
    assert not (staging / "killed").exists()
    living.close()
    assert is_empty(staging)


def test_discard_takes_a_directory_of_any_depth(tmp_path: Path) -> None:
    (tmp_path / "home/doomed").mkdir(parents=True)
    make_deep(tmp_path / "home/doomed", 3000)
    write(tmp_path / "home/doomed/wide/f")
    (tmp_path / "home/doomed/link").symlink_to("/etc")
    run = StagingRun(tmp_path / "staging")
    fd = os.open(tmp_path / "home", os.O_PATH)
    assert run.discard(fd, "doomed") == 3004
    os.close(fd)
    run.close()
    assert os.listdir(tmp_path / "home") == []
    assert Path("/etc/passwd").exists()
