from __future__ import annotations

from pathlib import Path

import pytest

from projecthub.client.settings import DEFAULT_HOST, check_host, data_dir, is_loopback, resolve
from projecthub.errors import InvalidArgument, NotSignedIn


def test_what_the_caller_gives_wins() -> None:
    environ = {"PROJECTHUB_API_KEY": "sk-env", "PROJECTHUB_URL": "http://env.test"}
    target = resolve("sk-mine", "https://mine.test/", environ)
    assert (target.host, target.api_key) == ("https://mine.test", "sk-mine")


def test_own_variables_win_over_the_older_ones() -> None:
    older = {"COCALC_API_KEY": "sk-older", "COCALC_HOST": "https://older.test"}
    assert resolve(None, None, older).api_key == "sk-older"
    assert resolve(None, None, older).host == "https://older.test"
    own = older | {"PROJECTHUB_API_KEY": "sk-own", "PROJECTHUB_URL": "https://own.test"}
    assert resolve(None, None, own).api_key == "sk-own"
    assert resolve(None, None, own).host == "https://own.test"


def test_an_empty_variable_counts_as_unset() -> None:
    target = resolve(None, None, {"PROJECTHUB_API_KEY": "", "COCALC_API_KEY": "sk-older", "PROJECTHUB_URL": ""})
    assert (target.host, target.api_key) == (DEFAULT_HOST, "sk-older")


@pytest.mark.parametrize(
    ("variable", "folder"),
    [("PROJECTHUB_DATA_DIR", "."), ("XDG_DATA_HOME", "projecthub"), ("HOME", ".local/share/projecthub")],
)
def test_the_key_of_a_hub_on_this_machine_is_found(tmp_path: Path, variable: str, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "admin-key").write_text("sk-admin\n")
    assert resolve(None, None, {variable: str(tmp_path)}).api_key == "sk-admin"


def test_the_settings_file_of_a_hub_on_this_machine_leads_to_it(tmp_path: Path) -> None:
    for name in ("of-file", "of-variable"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "admin-key").write_text(f"sk-{name}")
        (tmp_path / name / "url").write_text("http://127.0.0.1:7777\n")
    file = tmp_path / "hub.toml"
    file.write_text(f"data_dir = '{tmp_path}/of-file'\nno_such_key = 7\n")
    environ = {"PROJECTHUB_CONFIG": str(file), "HOME": str(tmp_path)}
    target = resolve(None, None, environ)
    assert (target.host, target.api_key) == ("http://127.0.0.1:7777", "sk-of-file")
    environ["PROJECTHUB_DATA_DIR"] = str(tmp_path / "of-variable")
    assert resolve(None, None, environ).api_key == "sk-of-variable"
    file.write_text("bind = '127.0.0.1:8000'\n")
    del environ["PROJECTHUB_DATA_DIR"]
    assert data_dir(environ) == tmp_path / ".local/share/projecthub"


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), (b"data_dir = ", "no TOML"), (b"\xff", "no TOML")]
)
def test_a_settings_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, why: str) -> None:
    file = tmp_path / "hub.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidArgument, match=rf"{file} cannot be read: .*{why}"):
        resolve(None, None, {"PROJECTHUB_CONFIG": str(file)})
    environ = {"PROJECTHUB_CONFIG": str(file), "PROJECTHUB_URL": "http://hub.test", "PROJECTHUB_API_KEY": "sk-1"}
    assert resolve(None, None, environ).api_key == "sk-1"


def test_the_admin_key_is_never_sent_to_another_machine(tmp_path: Path) -> None:
    (tmp_path / "admin-key").write_text("sk-admin")
    with pytest.raises(NotSignedIn, match=r"https://hub\.test.*PROJECTHUB_API_KEY"):
        resolve(None, "https://hub.test", {"PROJECTHUB_DATA_DIR": str(tmp_path)})


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", None])
def test_without_a_usable_key_the_error_says_what_to_do(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "admin-key").write_bytes(content)
    with pytest.raises(NotSignedIn, match="projecthub serve"):
        resolve(None, None, {"PROJECTHUB_DATA_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    "host",
    ["hub.test", "127.0.0.1:8000", "ftp://hub.test", "http://", "http://me@hub.test", "http://hub.test:99999",
     "http://hub.test?x=1", "http://hub.test#x", "http://[::1", " "],
)  # fmt: skip
def test_a_malformed_address_is_refused_by_name(host: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_host(host)
    assert repr(host) in caught.value.message


@pytest.mark.parametrize("key", ["sk one", "sk\nx-other: 1", "sk-ä", "\x00"])
def test_a_malformed_key_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        resolve(key, "http://hub.test", {})
    assert key not in str(caught.value)


def test_the_key_is_not_in_the_representation() -> None:
    assert "sk-secret" not in repr(resolve("sk-secret", "http://hub.test", {}))


@pytest.mark.parametrize(
    ("host", "expected"),
    [("http://127.0.0.1:8000", True), ("http://localhost", True), ("http://[::1]:80", True), ("http://127.9.9.9", True),
     ("http://localhost.test", False), ("http://10.0.0.1", False), ("https://hub.test", False)],
)  # fmt: skip
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
