"""From errors to texts and back, with the code of the header and without."""

from __future__ import annotations

import pytest

from projecthub import errors as e
from projecthub.wire.errors import BY_CODE, from_text, to_text

KINDS = sorted(BY_CODE.values(), key=lambda kind: kind.__name__)


def test_every_kind_of_error_has_a_code_of_its_own() -> None:
    def below(kind: type[e.HubError]) -> set[type[e.HubError]]:
        ours = [child for child in kind.__subclasses__() if child.__module__ == e.__name__]  # rooms may refine them
        return {kind}.union(*(below(child) for child in ours))

    assert set(KINDS) == below(e.HubError)
    assert all(kind.code == code for code, kind in BY_CODE.items())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("message", ["what was wrong; what to do", "FATAL: x", "Ünïcode\nlines", ""])
def test_an_error_comes_back_by_its_code(kind: type[e.HubError], message: str) -> None:
    error = from_text(to_text(kind(message)), kind.code)
    assert type(error) is kind
    assert error.message == message


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_text_without_a_code_is_still_an_error_with_that_text(kind: type[e.HubError]) -> None:
    error = from_text(to_text(kind("xyzzy")))
    assert error.message == "xyzzy"


@pytest.mark.parametrize("code", ["", "no such code", "InvalidArgument"])
def test_a_code_that_is_none_is_as_no_code(code: str) -> None:
    assert type(from_text("Error: unknown function 'x.y'", code)) is e.UnknownMethod


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("You must provide authentication via an API key.", e.NotSignedIn),
        ("Unknown authorization type 'Digest'", e.NotSignedIn),
        ("must be signed in and MUST provide an api key (cookies are not allowed)", e.NotSignedIn),
        ("must sign in as project or account", e.NotSignedIn),
        ("Error: unknown function 'x.y'", e.UnknownMethod),
        ("timeout - callHub: subject='hub.account.x.api', name='projects.start', code='408' ", e.CallTimeout),
        ("OwnershipError: Project not found", e.NotFound),
        ("OwnershipError: Cannot remove an owner. Demote to collaborator first.", e.OwnershipDenied),
        ("Error: must be collaborator on project to start it", e.PermissionDenied),
        ("Error: must be an owner to delete a project", e.PermissionDenied),
        ("user must be a collaborator on the project", e.PermissionDenied),
        ("FATAL: you do not have read access to this project -- account_id=x, project_id_=undefined",
         e.PermissionDenied),
        ("FATAL: unknown project_id 'x'", e.NotFound),
        ("Error: ENOENT: no such file or directory, stat 'x'", e.NotFound),
        ("FATAL: get queries not allowed for table 'x'", e.QueryRefused),
        ("ERROR -- invalid characters in order_by='x'", e.QueryRefused),
        ("command 'false' exited with nonzero code 1 -- stderr=''", e.ExecFailed),
        ("killed command 'sleep 9'", e.ExecFailed),
        ("Error: invalid account_id or project_id -- all must be valid uuid's", e.InvalidArgument),
        ("Error: path must be specified", e.InvalidArgument),
        ("something else entirely", e.RemoteError),
    ],
)  # fmt: skip
def test_texts_of_the_wire_without_a_code(text: str, kind: type[e.HubError]) -> None:
    assert type(from_text(text)) is kind


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_first_line_of_the_docstring_is_the_default_message(kind: type[e.HubError]) -> None:
    assert kind().message == (kind.__doc__ or "").splitlines()[0]
    assert kind("x", id=5).details == {"id": 5}
    assert str(kind("x")) == "x"
