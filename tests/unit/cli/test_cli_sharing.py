"""`projecthub projects`: people, roles, invitations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from named_replies import ADA, ANALYSIS, NamedReplies, Outcome, answer_query

from projecthub.errors import OwnershipDenied, PermissionDenied

Run = Callable[..., Outcome]
LINK = "https://hub.example.org/invite/" + "a" * 64
ME = "e55e0000-0000-4000-8000-000000000009"


@pytest.fixture(autouse=True)
def _rows(hub: NamedReplies) -> None:
    tokens: list[dict[str, Any]] = [
        {"token": "t" * 16, "group": "viewer", "counter": 1, "usage_limit": 3, "email_address": "ada@example.org"}
    ]

    def query(args: Any) -> Any:
        table, shape = next(iter(args["query"].items()))
        if table == "project_invite_tokens":
            return {table: tokens} if isinstance(shape, list) else {}
        return answer_query(args) if isinstance(shape, list) else {}

    hub.by_name["db.userQuery"] = query
    hub.by_name["system.getNames"] = {ADA: {"first_name": "Ada", "last_name": "Lovelace"}}
    hub.by_name["system.test"] = {"account_id": ME, "server_time": 0}


def test_the_people_of_a_project(run: Run) -> None:
    told = run("projects", "collaborators", "Analysis")
    assert (told.code, told.out.splitlines()[1].split()) == (0, [ADA, "Ada", "Lovelace", "owner"])
    assert run("projects", "collaborators", "Analysis", "--json").json == [
        {"account_id": ADA, "group": "owner", "first_name": "Ada", "last_name": "Lovelace"}
    ]


def test_viewers_are_added(run: Run, hub: NamedReplies) -> None:
    hub.by_name["projects.addCollaborator"] = {"project_id": [ANALYSIS]}
    assert run("projects", "add-collaborator", "Analysis", ADA, "--viewer").code == 0
    assert hub.named("projects.addCollaborator") == [
        {"opts": {"project_id": [ANALYSIS], "account_id": [ADA], "group": "viewer"}}
    ]


def test_groups_are_changed_and_a_project_is_handed_over(run: Run, hub: NamedReplies) -> None:
    hub.by_name["projects.changeUserType"] = None
    assert run("projects", "change-group", "Analysis", ADA, "viewer", "--json").json["group"] == "viewer"
    assert hub.named("projects.changeUserType") == [
        {"opts": {"project_id": ANALYSIS, "target_account_id": ADA, "new_group": "viewer"}}
    ]
    hub.by_name["projects.handOver"] = {"project_id": ANALYSIS, "owner": ADA, "group": "viewer"}
    told = run("projects", "hand-over", "Analysis", ADA, "--viewer")
    assert "you are now  viewer" in told.out
    assert hub.named("projects.handOver") == [{"project_id": ANALYSIS, "account_id": ADA, "new_group": "viewer"}]
    hub.by_name["projects.changeUserType"] = OwnershipDenied("Only project owners can change user types")
    refused = run("projects", "change-group", "Analysis", ADA, "owner")
    assert (refused.code, "Only project owners" in refused.err) == (4, True)


def test_leaving_and_hiding(run: Run, hub: NamedReplies) -> None:
    hub.by_name["projects.removeCollaborator"] = {"project_id": ANALYSIS, "account_id": ME}
    assert run("projects", "leave", "Analysis").code == 0
    assert hub.named("projects.removeCollaborator") == [{"opts": {"project_id": ANALYSIS, "account_id": ME}}]
    assert run("projects", "hide", "Analysis", "--show", "--json").json == {"project_id": ANALYSIS, "hide": False}
    assert run("projects", "owners-only", "Analysis").code == 0
    assert hub.named("db.userQuery")[-1]["query"]["projects"]["manage_users_owner_only"] is True


def test_people_are_invited_and_their_links_shown(run: Run, hub: NamedReplies) -> None:
    person = {"email_address": "ada@example.org", "state": "invited", "mail": "none", "link": LINK}
    hub.by_name["projects.inviteCollaboratorWithoutAccount"] = {"project_id": ANALYSIS, "invited": [person]}
    told = run("projects", "invite", "Analysis", "ada@example.org", "bob@example.org", "-m", "Come!")
    assert told.code == 0
    assert LINK in told.out
    assert "sends no mail" in told.err
    assert hub.named("projects.inviteCollaboratorWithoutAccount") == [
        {"opts": {"project_id": ANALYSIS, "to": "ada@example.org,bob@example.org", "email": "Come!"}}
    ]


def test_an_invitation_is_accepted(run: Run, hub: NamedReplies) -> None:
    hub.by_name["projects.addCollaborator"] = {"project_id": ANALYSIS}
    assert run("projects", "join", LINK).out.strip() == ANALYSIS
    assert hub.named("projects.addCollaborator") == [{"opts": {"token_id": "a" * 64}}]
    hub.by_name["projects.addCollaborator"] = PermissionDenied("Project invite token is not valid")
    assert run("projects", "join", LINK).code == 4


def test_tokens(run: Run, hub: NamedReplies) -> None:
    made = run("projects", "create-invite-token", "Analysis", "--uses", "0", "--expire", "2100-01-01T00:00Z")
    (query,) = [args["query"] for args in hub.named("db.userQuery") if "project_invite_tokens" in args["query"]]
    assert query["project_invite_tokens"] == {
        "token": made.out.strip(),
        "project_id": ANALYSIS,
        "expires": "2100-01-01T00:00:00+00:00",
    }
    listed = run("projects", "invite-tokens", "Analysis").out.splitlines()[1].split()
    assert listed == ["t" * 16, "viewer", "1", "3", "ada@example.org"]
    assert run("projects", "revoke-invite-token", "Analysis", "t" * 16).code == 0
    assert hub.named("db.userQuery")[-1]["options"] == [{"delete": True}]
