"""Recorded calls, and the world in which they are played.

A recording is a file of ``recorded/``: a list of exchanges that are played in their order, with accounts and projects
of its own. An exchange has these keys:

==============  =================================================================================================
``title``       what it shows; unique in its file
``as``          whose key is sent: ``admin``, ``alice``, ``bob``, ``carol``, a name saved before, ``bad key``, or
                ``nobody`` for no Authorization header at all; default: ``alice``
``scheme``      ``Basic`` (default) or ``Bearer``
``endpoint``    ``hub`` (default), ``project``, or a path
``method``      HTTP method; default: POST
``headers``     more headers of the request
``call``        the body, as JSON; or ``body``: its text; or ``size``: a ping whose body has that many bytes
``reply``       the expected reply, as `matching` says; or ``error``: the expected text of an error (HTTP 200); or
                ``status`` and ``text`` of an answer that is not JSON
``code``        expected value of the header that carries an error's code
``location``    expected value of that header
``save``        names for values of the reply: ``{"name": [key, ...]}``
``source``      section of the wire contract
==============  =================================================================================================
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx2

from projecthub.wire.errors import CODE_HEADER
from projecthub.wire.methods import Endpoint
from tests.hubs import HubProcess
from tests.wire.matching import LEAKS, fill, mismatch

FOLDER = Path(__file__).parent / "recorded"
# The wire's own placeholders in user queries: they are sent as they are.
_WIRE_NAMES = ("account_id", "project_id", "now")
_PEOPLE = ("alice", "bob", "carol")
_PROJECTS = {"p1": "One", "p2": "Two", "p3": "Three"}

Exchange = dict[str, Any]


def load(recording: str) -> list[Exchange]:
    """The exchanges of a recording."""
    exchanges: list[Exchange] = json.loads((FOLDER / f"{recording}.json").read_text())
    return exchanges


def names_of_recordings() -> list[str]:
    """All recordings."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


class World:
    """The people and projects of one recording: alice owns p1, p2 and p3; bob and carol are strangers.

    ``{P1}`` is the id of p1 in upper case, ``{alice_email}`` and ``{alice_key}`` are what they say, ``{missing}`` is a
    uuid that exists nowhere.
    """

    def __init__(self, hub: HubProcess, recording: str) -> None:
        self._hub = hub
        self._client = httpx2.Client(timeout=60)
        self._exchanges = load(recording)
        self._problems: list[str | None] = []
        self.keys = {"admin": hub.admin_key, "bad key": "sk-" + "0" * 49}
        self.names = {"missing": "ffffffff-ffff-4fff-8fff-ffffffffffff", "data": str(hub.data_dir)}
        self.names["admin"] = self._post("admin", {"name": "system.test"})["account_id"]
        for person in _PEOPLE:
            self._add_person(person, f"{person}.{recording}@example.org")
        for name, title in _PROJECTS.items():
            project_id = self._post("alice", {"name": "projects.createProject", "args": [{"title": title}]})
            self.names |= {name: project_id, name.upper(): project_id.upper()}

    def _add_person(self, person: str, email: str) -> None:
        request = {"email_address": email, "first_name": person.capitalize(), "last_name": "Able"}
        account = self._post("admin", {"name": "accounts.create", "args": [request]})
        request = {"account_id": account["account_id"], "name": "test"}
        key = self._post("admin", {"name": "keys.create", "args": [request]})
        self.keys[person] = key["secret"]
        self.names |= {person: account["account_id"], f"{person}_email": email, f"{person}_key": key["secret"]}

    def _post(self, caller: str, call: Any) -> Any:
        response = self._send({"as": caller, "call": call})
        value = response.json()
        assert not (isinstance(value, dict) and "error" in value), value
        return value

    def close(self) -> None:
        self._client.close()

    def problem(self, index: int) -> str | None:
        """What is wrong with an exchange; all before it are played first, if they were not yet."""
        while len(self._problems) <= index:
            self._problems.append(self._play(self._exchanges[len(self._problems)]))
        return self._problems[index]

    def _play(self, exchange: Exchange) -> str | None:
        try:
            return self._judge(exchange, self._send(exchange))
        except KeyError as error:
            return f"{error} is no name of this recording: an exchange before this one did not save it"

    def _send(self, exchange: Exchange) -> httpx2.Response:
        endpoint = exchange.get("endpoint", "hub")
        path = fill(endpoint, self.names) if endpoint.startswith("/") else Endpoint[endpoint.upper()].value
        headers = {"content-type": "application/json"} | self._authorization(exchange)
        headers |= fill(exchange.get("headers", {}), self.names)
        headers = {name: value for name, value in headers.items() if value is not None}
        return self._client.request(
            exchange.get("method", "POST"), self._hub.url + path, headers=headers, content=self._body(exchange)
        )

    def _authorization(self, exchange: Exchange) -> dict[str, str]:
        caller = exchange.get("as", "alice")
        if caller == "nobody":
            return {}
        key = self.keys.get(caller) or self.names[caller]
        if exchange.get("scheme") == "Bearer":
            return {"authorization": f"Bearer {key}"}
        return {"authorization": f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"}

    def _body(self, exchange: Exchange) -> bytes:
        if "body" in exchange:
            return str(fill(exchange["body"], self.names)).encode()
        if "size" in exchange:
            frame = '{"name": "system.ping", "args": ["%s"]}'
            return (frame % ("x" * (exchange["size"] - len(frame) + 2))).encode()
        if "call" in exchange:
            return json.dumps(fill(exchange["call"], self.names, _WIRE_NAMES)).encode()
        return b""

    def _judge(self, exchange: Exchange, response: httpx2.Response) -> str | None:
        status = exchange.get("status", 200)
        if response.status_code != status:
            return f"status {response.status_code}, expected {status}: {response.text[:300]}"
        code = response.headers.get(CODE_HEADER)
        if "code" in exchange and code != exchange["code"]:
            return f"code {code}, expected {exchange['code']}: {response.text[:300]}"
        if "location" in exchange and response.headers.get("location") != exchange["location"]:
            return f"location {response.headers.get('location')}, expected {exchange['location']}"
        if "text" in exchange:
            return mismatch(exchange["text"], response.text, self.names, "text")
        if response.headers["content-type"] != "application/json":
            return f"content type {response.headers['content-type']}"
        return self._judge_json(exchange, response.json(), code)

    def _judge_json(self, exchange: Exchange, reply: Any, code: str | None) -> str | None:
        is_error = isinstance(reply, dict) and "error" in reply
        if is_error != (code is not None):
            return f"code {code} with {reply!r}"
        if is_error and (leak := LEAKS.search(reply["error"]) or self.names["data"] in reply["error"]):
            return f"{reply!r} shows {leak}"
        expected = {"error": exchange["error"]} if "error" in exchange else exchange["reply"]
        if problem := mismatch(expected, reply, self.names):
            return problem
        for name, keys in exchange.get("save", {}).items():
            value = reply
            for key in keys:
                value = value[key]
            self.names[name] = str(value)
        return None
