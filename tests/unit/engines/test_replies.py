"""Replies of project servers come from where anything may run: each is proper, or the server counts as lost."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projecthub.engines.calls import _PLAIN_BYTES, _holds_many_values, parse_reply, take_result
from projecthub.errors import ExecFailed, HubError, InvalidArgument, ProjectError, ServerLost, UnknownMethod


@pytest.mark.parametrize("value", [None, 0, "", [], {"a": [1, "é", "\U0001f600"]}])
def test_results_are_taken(value: object) -> None:
    assert take_result(parse_reply(json.dumps({"ok": value}).encode())) == value


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("unknown_method", UnknownMethod),
        ("invalid_argument", InvalidArgument),
        ("exec_failed", ExecFailed),
        ("internal", ProjectError),
        ("ownership_denied", ProjectError),
        ("made up", ProjectError),
    ],
)
def test_errors_are_raised_in_their_kinds(code: str, kind: type[HubError]) -> None:
    with pytest.raises(kind, match=r"^why$") as caught:
        take_result({"error": "why", "code": code})
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "reply",
    [
        *(None, [], "ok", {}, {"error": "x"}, {"code": "internal"}),
        *({"error": 1, "code": "internal"}, {"error": "x", "code": ["internal"]}),
    ],
)
def test_neither_a_result_nor_an_error(reply: object) -> None:
    with pytest.raises(ServerLost):
        take_result(reply)


NOT_JSON = (
    *(b"", b"{", b"\xff", b"[" * 50_000),
    *(b'{"ok": NaN}', b'{"ok": -Infinity}', b'{"ok": 1e999}', b'{"ok": 1' + b"0" * 9999 + b"}"),
)


@pytest.mark.parametrize("body", NOT_JSON)
def test_what_is_not_json(body: bytes) -> None:
    with pytest.raises(ServerLost, match="not JSON"):
        parse_reply(body)


@pytest.mark.parametrize("values", [b"[" * 100_000, b'{"ok": [' + b"[]," * 50_000 + b"1]}", b'["",' + b'"",' * 90_000])
def test_many_values_are_refused_before_they_are_read(values: bytes) -> None:
    with pytest.raises(ServerLost, match="too many values"):
        parse_reply(values)


def test_long_texts_are_read_whatever_is_in_them() -> None:
    text = '[1,{"a":2}],"\\\n' * 20_000
    assert parse_reply(json.dumps({"ok": {"stdout": text}}).encode()) == {"ok": {"stdout": text}}


def test_halves_of_surrogate_pairs_are_replaced() -> None:
    assert parse_reply(b'{"ok": "a\\ud800b \\ud83d\\ude00"}') == {"ok": "a?b \U0001f600"}


@given(st.binary(max_size=200))
def test_every_reply_is_taken_or_the_server_is_lost(body: bytes) -> None:
    try:
        value = take_result(parse_reply(body))
    except (ServerLost, ProjectError):
        return
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


TEXTS = st.text(st.sampled_from('\\"ab[]{},:\n\u00e9'), max_size=20)
VALUES = st.recursive(TEXTS | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner))


@given(VALUES)
def test_what_stands_beside_strings_is_measured_whatever_is_in_them(value: object) -> None:
    body = json.dumps(value).encode()
    beside = re.sub(rb'"[^"\\]*(?:\\.[^"\\]*)*"', b"", body, flags=re.DOTALL)
    padding = b" " * (_PLAIN_BYTES - len(beside))
    assert not _holds_many_values(body + padding)
    assert _holds_many_values(body + padding + b" ")
