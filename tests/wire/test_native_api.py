"""The native API: its document, and how it tells of what goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx2

from tests.hubs import HubProcess

SETTINGS = """
hooks = "hooks.py"

[parameters]
"path.project_id" = {project_id}

# A condition that does not hold, or a protocol of another version, is neither good nor bad.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 412, 416]
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 411, 412, 413, 415, 416, 422]

# What its header holds is in base64, of which no pattern can tell.
[[operations]]
include-name = "POST /projects/{{project_id}}/uploads"
[operations.checks.positive_data_acceptance]
enabled = false
# Hardly any bytes are an archive.
[[operations]]
include-name = "PUT /projects/{{project_id}}/files/archive"
[operations.checks.positive_data_acceptance]
enabled = false
[[operations]]
include-name = "POST /projects/import"
[operations.checks.positive_data_acceptance]
enabled = false
# Hardly any text is the id of a license, a share or a template; a title is any text that a database takes.
[[operations]]
include-name = "POST /projects"
[operations.checks.positive_data_acceptance]
enabled = false
[[operations]]
include-name = "POST /projects/{{project_id}}/clone"
[operations.checks.positive_data_acceptance]
enabled = false
"""

HOOKS = """
import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
"""


def test_the_document_tells_how_to_sign_in(hub_process: HubProcess) -> None:
    document = httpx2.get(f"{hub_process.url}/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": "/api/v1"}]
    assert document["security"] == [{"bearer": []}, {"basic": []}]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "basic"}


def test_what_is_not_there_is_a_problem(hub_process: HubProcess) -> None:
    reply = httpx2.get(f"{hub_process.url}/api/v1/no/such")
    assert reply.status_code == 404
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json() == {
        "type": "urn:projecthub:error:not_found",
        "title": "There is no such thing",
        "status": 404,
        "detail": "there is nothing at /api/v1/no/such; see /api/v1/openapi.json",
        "code": "not_found",
    }
    assert reply.headers["x-projecthub-error"] == "not_found"


def test_a_title_that_no_database_takes_is_refused(hub_process: HubProcess) -> None:
    _, key = hub_process.person("titles")
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{hub_process.url}/api/v1/projects"
    for path, body in (("", {"title": "a\0b"}), ("", {"description": "\0"}), ("/import?title=a%00b", {})):
        reply = httpx2.post(f"{url}{path}", json=body, headers=headers)
        assert (reply.status_code, reply.headers["x-projecthub-error"]) == (422, "invalid_argument"), reply.text
    with hub_process.hub(key) as hub:
        assert hub.projects.get() == []


def test_other_methods_are_told_so(hub_process: HubProcess) -> None:
    reply = httpx2.post(f"{hub_process.url}/api/v1/openapi.json")
    assert (reply.status_code, reply.json()["code"]) == (405, "invalid_argument")
    assert "GET" in reply.headers["allow"]


def test_no_body_is_read_of_whom_nobody_knows_nor_more_than_a_limit_of_others(hub_process: HubProcess) -> None:
    with hub_process.hub() as admin:
        project_id = admin.projects.create_project(title="for large bodies")
    url = f"{hub_process.url}/api/v1/projects/{project_id}/jobs"
    large = b'{"command": "' + b" " * 3_000_000 + b'"}'
    headers = {"content-type": "application/json"}
    assert httpx2.post(url, content=large, headers=headers).status_code == 401
    headers["authorization"] = f"Bearer {hub_process.admin_key}"
    refused = httpx2.post(url, content=large, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (413, "invalid_argument")
    assert httpx2.post(url, content=iter([large]), headers=headers).status_code == 413


def test_every_route_does_what_the_document_says(hub_process: HubProcess, tmp_path: Path) -> None:
    with hub_process.hub() as admin:
        project_id = admin.projects.create_project(title="for every route")
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(SETTINGS.format(project_id=json.dumps(project_id)))
    (tmp_path / "hooks.py").write_text(HOOKS)
    program = Path(sys.executable).with_name("schemathesis")
    document = f"{hub_process.url}/api/v1/openapi.json"
    options = ("--phases=examples,coverage,fuzzing", "--max-examples=20", "--seed=1", "--request-timeout=30")
    key = ("--header", f"Authorization: Bearer {hub_process.admin_key}")
    ran = subprocess.run(
        [
            program,
            "--no-color",
            "--config-file",
            settings,
            "run",
            document,
            *options,
            *key,
            "--suppress-health-check=all",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
