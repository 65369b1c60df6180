"""The first real job: a class of thirty. The README shows the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.hubs import HubProcess

STUDENTS = 30


def test_a_class_of_thirty(hub_process: HubProcess) -> None:
    teacher_id, teacher_key = hub_process.person("teacher")
    people = [hub_process.person(f"student{number}") for number in range(STUDENTS)]
    with hub_process.hub(teacher_key) as hub, ThreadPoolExecutor(8) as pool:
        course = hub.projects.create_project(title="Course")
        hub.project(course).system.exec(
            "mkdir -p hw1/data && echo 'print(6 * 7)' > hw1/task.py && seq 1000 > hw1/data/numbers", bash=True
        )
        projects = list(pool.map(lambda n: hub.projects.create_project(title=f"Student {n}"), range(STUDENTS)))
        added = hub.projects.add_collaborator(projects, [account_id for account_id, _ in people])
        assert added == {"project_id": projects}
        for summary in pool.map(lambda p: hub.projects.copy_path_between_projects(course, "hw1", p), projects):
            assert summary["files"] == 2
        assert {s["state"] for s in pool.map(hub.projects.start, projects)} == {"running"}

        def solve(number: int) -> str:
            # Each student works with a key of his own.
            with hub_process.hub(people[number][1]) as own:
                result = own.project(projects[number]).system.exec(
                    f"cd hw1 && python3 task.py > answer && echo {number} >> answer && cat answer", bash=True
                )
                return result["stdout"]

        assert list(pool.map(solve, range(STUDENTS))) == [f"42\n{number}\n" for number in range(STUDENTS)]
        list(
            pool.map(
                lambda n: hub.projects.copy_path_between_projects(
                    projects[n], "hw1/answer", course, f"collected/{n}/answer"
                ),
                range(STUDENTS),
            )
        )
        collected = hub.project(course).system.exec("cat $(ls -d collected/*/answer | sort -V)", bash=True)["stdout"]
        assert collected == "".join(f"42\n{number}\n" for number in range(STUDENTS))
        assert {s["state"] for s in pool.map(hub.projects.stop, projects)} == {"stopped"}
        for project_id in projects:
            hub.projects.delete(project_id)
        mine = hub.projects.get(all=True, deleted=True)
        assert {row["project_id"] for row in mine} >= set(projects)
        assert mine[0]["users"][teacher_id]["group"] == "owner"
        hub.projects.delete(course)
