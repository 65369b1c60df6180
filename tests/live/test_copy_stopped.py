"""A copy that its time has ended has changed nothing; one that came to its end belongs to the project."""

from __future__ import annotations

import os

import pytest

from projecthub.errors import CallTimeout
from tests.hubs import HubProcess


def test_all_of_it_belongs_to_the_project(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub:
        source, target = hub.projects.create_project(), hub.projects.create_project()
        script = "for d in $(seq 40); do mkdir -p many/$d/e; for f in $(seq 50); do echo $f > many/$d/e/$f; done; done"
        hub.project(source).system.exec(script, bash=True)
        for number, timeout in enumerate((0.01, 0.02, 0.03, 0.05, 0.08)):
            try:
                hub.projects.copy_path_between_projects(source, "many", target, f"{number}/new", timeout=timeout)
            except CallTimeout as error:
                assert "nothing was changed" in error.message
                home = hub_process.data_dir / "projects" / target / "home"
                assert not (home / str(number)).exists()
        home = hub_process.data_dir / "projects" / target / "home"
        owner = home.stat().st_uid
        found = [os.path.join(top, name) for top, dirs, files in os.walk(home) for name in dirs + files]
        assert found
        assert [path for path in found if os.lstat(path).st_uid != owner] == []
        again = hub.projects.copy_path_between_projects(source, "many", target, "0/new")
        assert again["files"] + again["unchanged"] == 2000
        assert hub.project(target).system.exec("rm -rf 0 1 2 3 4 && ls", bash=True)["stdout"] == ""


def test_a_timeout_must_be_positive(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub:
        project_id = hub.projects.create_project()
        with pytest.raises(Exception, match="timeout 0 is not a positive"):
            hub.projects.copy_path_between_projects(project_id, "a", target_path="b", timeout=0)
