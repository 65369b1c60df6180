"""Invitations by mail, from a real hub over a real mail server."""

from __future__ import annotations

import asyncio
import re

import httpx2
import pytest

from projecthub.errors import LimitError, PermissionDenied
from tests.hubs import HubProcess
from tests.mail_server import MailServer


async def test_an_invitation_comes_by_mail_and_is_accepted() -> None:
    async with MailServer() as server:
        environment = {
            "PROJECTHUB_SMTP_HOST": "127.0.0.1",
            "PROJECTHUB_SMTP_PORT": str(server.port),
            "PROJECTHUB_SMTP_SECURITY": "none",
            "PROJECTHUB_MAIL_FROM": "hub@example.org",
            "PROJECTHUB_MAILS_A_DAY": "2",
        }
        hub = await asyncio.to_thread(lambda: HubProcess(**environment))
        try:
            link = await asyncio.to_thread(invite, hub)
            async with asyncio.timeout(20):
                while not server.messages:
                    await asyncio.sleep(0.02)
            text = server.messages[0].get_content()
            assert re.findall(r"http\S+/invite/\S+", text) == [link]
            await asyncio.to_thread(accept, hub, link)
        finally:
            await asyncio.to_thread(hub.close)


def invite(hub: HubProcess) -> str:
    _, key = hub.person("ann")
    with hub.hub(key) as ann:
        project_id = ann.projects.create_project("Shared")
        reply = ann.projects.invite_collaborator_without_account(project_id, "ada@work.org", email="Come!")
        [invited] = reply["invited"]
        assert (invited["state"], invited["mail"]) == ("invited", "queued")
        ann.projects.invite_collaborator_without_account(project_id, "later@work.org")
        with pytest.raises(LimitError):
            ann.projects.invite_collaborator_without_account(project_id, "third@work.org")
    return invited["link"]


def accept(hub: HubProcess, link: str) -> None:
    page = httpx2.get(link)
    assert page.status_code == 200
    assert page.headers["referrer-policy"] == "no-referrer"
    assert link.rpartition("/")[2] not in page.text
    with hub.hub() as admin:
        project_id = admin.projects.create_project()
    for is_one in (project_id, "00000000-0000-4000-8000-000000000000"):
        page = httpx2.get(f"{hub.url}/projects/{is_one}")  # a link in mail to people who are on it
        assert page.status_code == 200
        assert f"projecthub projects get {is_one}" in page.text
    assert httpx2.get(f"{hub.url}/projects/nonsense").status_code == 404
    _, key = hub.person("ada")
    _, other = hub.person("eve")
    with hub.hub() as admin:
        later = admin.accounts.create("Later@work.org")["account_id"]
    with hub.hub(key) as ada, hub.hub(other) as eve:
        project_id = ada.projects.join(link)
        assert ada.projects.get(project_id=project_id)[0]["title"] == "Shared"
        assert ada.projects.join(link) == project_id
        with pytest.raises(PermissionDenied):
            eve.projects.join(link)
        events = [entry["event"]["event"] for entry in ada.projects.log(project_id)]
        assert events == ["invite_user", "invite_user", "invite_nonuser", "invite_nonuser", "project_created"]
        assert ada.projects.get(project_id=project_id)[0]["users"][later] == {"group": "collaborator"}
