"""`projecthub licenses`, and licenses and quotas of projects."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from named_replies import ADA, ANALYSIS, BACKUP, NamedReplies, Outcome

from projecthub.cli import times
from projecthub.cli.licenses import quota_in_words
from projecthub.errors import NotFound, PermissionDenied

Run = Callable[..., Outcome]
ID = "e55e0000-0000-4000-8000-000000000006"
LICENSE: dict[str, Any] = {
    "id": ID,
    "title": "Course",
    "description": "",
    "quota": {"cpu": 2, "ram": 4, "idle_timeout": 7200, "always_running": False, "network": True},
    "run_limit": 30,
    "activates": None,
    "expires": "2027-01-31T11:00:00.000Z",
    "created": "2025-11-21T14:55:21.253Z",
    "status": "active",
    "running": 3,
}


# -- times -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("90", 90), ("90s", 90), ("90m", 5400), ("2h", 7200), ("1d", 86_400), ("2w", 1_209_600)],
)  # fmt: skip
def test_durations(text: str, expected: int) -> None:
    assert times.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "h", "-1h", "1.5h", "2 h", "2y", "1h30m", "٣h", "9" * 10])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        times.seconds(text)
    assert f"{text!r} is no duration" in refused.value.message


def test_moments() -> None:
    before = datetime.now(UTC)
    assert before <= datetime.fromisoformat(times.moment("30d")) - timedelta(days=30) <= datetime.now(UTC)
    assert times.moment("2027-01-31T12:00+02:00") == "2027-01-31T10:00:00+00:00"
    assert times.moment("20270131T120000Z") == "2027-01-31T12:00:00+00:00"
    local = datetime(2027, 1, 31).astimezone(UTC).isoformat()
    assert times.moment("2027-01-31") == times.moment("20270131") == local
    for text in ("", "soon", "2027-13-01", "999999999w", "5"):
        with pytest.raises(typer.BadParameter, match="is no time"):
            times.moment(text)


@given(st.integers(1, 10_000), st.sampled_from("mhd"))
def test_durations_are_shown_as_they_may_be_typed(number: int, unit: str) -> None:
    duration_s = times.seconds(f"{number}{unit}")
    value, name = times.shown(duration_s).split()
    assert times.seconds(value + name[0]) == duration_s


def test_quotas_in_words() -> None:
    assert quota_in_words(LICENSE["quota"]) == "2 cores, 4 GB memory, idle 2 h, no always running, network"
    assert quota_in_words({"idle_timeout": "day", "disk": 0.5, "cpu": 0}) == "0.5 GB disk, idle day"
    assert quota_in_words({"idle_timeout": 90}) == "idle 90 s"


# -- licenses --------------------------------------------------------------------------------------


def test_create(run: Run, hub: NamedReplies) -> None:
    hub.by_name["licenses.create"] = LICENSE
    options = ("--cpu", "2", "--ram-gb", "4", "--disk-gb", "0.5", "--idle-timeout", "2h", "--no-always-running")
    limits = ("--network", "--run-limit", "30", "--expire", "2027-01-31T11:00Z")
    made = run("licenses", "create", "Course", "-d", "Spring", *options, *limits)
    assert made.out == f"{ID}\n"
    assert run("licenses", "create", "--idle-timeout", "day", "--activates", "now", "--expire", "never").code == 0
    assert run("licenses", "create", "--cpu", "1", "--json").json == LICENSE
    assert hub.named("licenses.create") == [
        {
            "quota": {
                "cpu": 2, "ram": 4, "disk": 0.5, "idle_timeout": 7200, "always_running": False, "network": True,
            },
            "title": "Course",
            "description": "Spring",
            "run_limit": 30,
            "expires": "2027-01-31T11:00:00+00:00",
        },
        {"quota": {"idle_timeout": "day"}, "title": "", "description": "", "activates": "now", "expires": "never"},
        {"quota": {"cpu": 1}, "title": "", "description": ""},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [("--idle-timeout", "2 hours"), ("--expire", "soon"), ("--activates", "never"), ("--cpu", "-1"), ("--cpu", "x")],
)
def test_what_cannot_be_meant_is_not_sent(run: Run, hub: NamedReplies, options: tuple[str, str]) -> None:
    done = run("licenses", "create", *options)
    assert done.code == 2
    assert f"'{options[0]}'" in done.err
    assert hub.calls == []


def test_list(run: Run, hub: NamedReplies) -> None:
    unlimited = {**LICENSE, "title": "", "run_limit": None, "expires": None, "quota": {"disk": 9}, "status": "future"}
    hub.by_name["licenses.list"] = [LICENSE, unlimited]
    done = run("licenses", "list", "-n", "5", "--after", ADA)
    heading, first, second = [line.split() for line in done.out.splitlines()]
    assert heading == ["ID", "TITLE", "STATUS", "RUNNING", "QUOTA", "EXPIRES"]
    assert first[:6] == [ID, "Course", "active", "3", "of", "30"]
    assert first[-2:] == ["2027-01-31", "11:00"]
    assert second == [ID, "future", "3", "9", "GB", "disk"]
    assert hub.named("licenses.list") == [{"limit": 5, "after": ADA}]
    assert run("licenses", "list", "--json").json == [LICENSE, unlimited]


def test_show(run: Run, hub: NamedReplies) -> None:
    hub.by_name["licenses.get"] = {**LICENSE, "projects": [ANALYSIS, BACKUP]}
    lines = run("licenses", "show", ID).out.splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines] == [
        "id", "title", "status", "quota", "running", "expires", "created", "used", "used",
    ]  # fmt: skip
    assert [line.split()[-1] for line in lines[-2:]] == [ANALYSIS, BACKUP]
    assert run("licenses", "show", ID, "--json").json["projects"] == [ANALYSIS, BACKUP]
    hub.by_name["licenses.get"] = NotFound("there is no license with id 'x'")
    assert run("licenses", "show", "x").code == 3


def test_update_and_end(run: Run, hub: NamedReplies) -> None:
    hub.by_name |= {"licenses.update": LICENSE, "licenses.end": {**LICENSE, "status": "expired"}}
    assert "active" in run("licenses", "update", ID, "--cpu", "0", "--without", "ram", "--no-member").out
    run("licenses", "update", ID, "-t", "New", "--run-limit", "0", "--expire", "never")
    assert hub.named("licenses.update") == [
        {"id": ID, "quota": {"cpu": 0, "ram": None, "member": False}},
        {"id": ID, "title": "New", "run_limit": 0, "expires": "never"},
    ]
    assert "expired" in run("licenses", "end", ID).out
    assert hub.named("licenses.end") == [{"id": ID}]


# -- of projects -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "method"), [("add-license", "addLicense"), ("remove-license", "removeLicense")])
def test_licenses_of_projects(run: Run, hub: NamedReplies, command: str, method: str) -> None:
    reply = {"project_id": ANALYSIS, "license_id": ID, "attached": True, "changed": True, "needs_restart": True}
    hub.by_name[f"projects.{method}"] = reply
    done = run("projects", command, "Analysis", ID)
    assert ID in done.out
    assert "next start" in done.err
    assert hub.named(f"projects.{method}") == [{"project_id": ANALYSIS, "license_id": ID}]
    assert run("projects", command, "Analysis", ID, "--json").json == reply
    hub.by_name[f"projects.{method}"] = {**reply, "needs_restart": False}
    assert run("projects", command, "Analysis", ID).err == ""
    hub.by_name[f"projects.{method}"] = {**reply, "changed": False, "needs_restart": False}
    done = run("projects", command, "Analysis", ID)
    assert "nothing was changed" in done.err
    assert done.out.startswith("license")


def test_set_quotas(run: Run, hub: NamedReplies) -> None:
    hub.by_name["projects.setQuotas"] = None
    options = ("--memory-mb", "2000", "--cores", "1.5", "--idle-timeout", "1d", "--network", "--no-always-running")
    sent = {"memory": 2000, "cores": 1.5, "mintime": 86_400, "network": True, "always_running": False}
    assert "memory          2000" in run("projects", "set-quotas", "Analysis", *options).out
    assert run("projects", "set-quotas", ANALYSIS, *options, "--json").json == {"project_id": ANALYSIS, **sent}
    assert hub.named("projects.setQuotas") == [{"project_id": ANALYSIS, **sent}] * 2
    assert run("projects", "set-quotas", "Analysis").code == 2
    for option, value in (("--disable-internet", True), ("--allow-internet", False)):
        assert run("projects", "set-quotas", ANALYSIS, option).code == 0
        assert hub.named("projects.setQuotas")[-1] == {"project_id": ANALYSIS, "disableInternet": value}
    hub.by_name["projects.setQuotas"] = PermissionDenied("Must be an admin to do admin search.")
    assert run("projects", "set-quotas", ANALYSIS, "--cores", "2").code == 4
