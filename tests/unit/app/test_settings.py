"""Settings: where they come from, which of them wins, and what is refused."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from projecthub.app import smtp_server
from projecthub.cli.commands import run
from projecthub.cli.serve import WITHOUT_FLAGS, serve
from projecthub.settings import Settings, default_data_dir


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("PROJECTHUB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "hub.toml"
    file.write_text('bind = "127.0.0.1:1111"\nlog_level = "debug"\nuid_count = 7\n')
    monkeypatch.setenv("PROJECTHUB_CONFIG", str(file))
    return file


def test_what_holds_without_any_setting(tmp_path: Path) -> None:
    settings = Settings()
    assert settings.data_dir == tmp_path / "share" / "projecthub"
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.url_of_store == f"sqlite:///{tmp_path}/share/projecthub/hub.sqlite3"
    assert settings.admin_key is None


def test_the_home_holds_the_data_where_nothing_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    assert default_data_dir() == Path("/home/ada/.local/share/projecthub")


def test_flags_win_over_the_environment_and_that_over_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJECTHUB_BIND", "127.0.0.1:2222")
    monkeypatch.setenv("PROJECTHUB_LOG_LEVEL", "warning")
    settings = Settings(bind="127.0.0.1:3333")
    assert settings.port == 3333
    assert settings.log_level == "warning"
    assert settings.uid_count == 7
    assert Settings().port == 2222
    monkeypatch.delenv("PROJECTHUB_BIND")
    assert Settings().port == 1111


@pytest.mark.parametrize("url", ["hub.example.org", "https://", "https://hub.example.org?x", "ftp://x", "https://a b"])
def test_what_is_no_address_of_a_hub(url: str) -> None:
    with pytest.raises(ValidationError, match="no address of a hub"):
        Settings(public_url=url)
    assert Settings(public_url="https://hub.example.org/hub/").public_url == "https://hub.example.org/hub"


def test_a_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROJECTHUB_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(FileNotFoundError, match=r"none\.toml is not there"):
        Settings()


def test_a_file_that_is_no_toml(config: Path) -> None:
    config.write_text("bind = [")
    with pytest.raises(ValueError, match="Invalid value"):
        Settings()


@pytest.mark.parametrize(
    ("bind", "host", "port"),
    [("127.0.0.1:0", "127.0.0.1", 0), ("[::1]:8000", "::1", 8000), ("hub.example.org:65535", "hub.example.org", 65535)],
)
def test_addresses(bind: str, host: str, port: int) -> None:
    settings = Settings(bind=bind)
    assert (settings.host, settings.port) == (host, port)


@pytest.mark.parametrize(
    "fields",
    [
        {"bind": "8000"},
        {"bind": ":8000"},
        {"bind": "127.0.0.1"},
        {"bind": "127.0.0.1:"},
        {"bind": "127.0.0.1:70000"},
        {"bind": "127.0.0.1:-1"},
        {"bind": "127.0.0.1:²"},
        {"isolation": "some"},
        {"log_level": "loud"},
        {"log_format": "xml"},
        {"uid_base": 999},
        {"uid_count": 0},
        {"uid_base": "x"},
        {"admin_key": "too-short"},
        {"admin_key": "sk-short"},
        {"admin_key": "no-sk-" + "x" * 40},
    ],
)
def test_values_that_are_none(fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (name, value) = next(iter(fields.items()))
    with pytest.raises(ValidationError) as refused:
        Settings(**fields)
    assert refused.value.errors()[0]["loc"] == (name,)
    monkeypatch.setenv(f"PROJECTHUB_{name.upper()}", str(value))
    with pytest.raises(ValidationError):
        Settings()


def test_a_secret_is_not_shown() -> None:
    settings = Settings(admin_key="sk-" + "z" * 40)
    assert "zzz" not in repr(settings)
    assert "zzz" not in str(settings.model_dump())


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().bind = "127.0.0.1:1"  # type: ignore[misc]


def test_directories_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    assert Settings(data_dir="data").data_dir == tmp_path / "data"
    assert Settings(data_dir="~/data").data_dir == Path("/home/ada/data")


MAIL = {"smtp_host": "mail.example.org", "mail_from": "projecthub <hub@example.org>"}


def test_the_help_of_serve_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--help"]) == 0
    told = capsys.readouterr().out
    for name in Settings.model_fields:
        assert f"PROJECTHUB_{name.upper()}" in told
    named = re.findall(r"PROJECTHUB_([A-Z_]+)(?:: .*\(default: (\w+))?", WITHOUT_FLAGS.partition("\n")[2])
    flags = inspect.signature(serve).parameters
    assert {name.lower() for name, _ in named} == Settings.model_fields.keys() - flags
    for name, default in named:
        assert default in ("", "no", str(Settings.model_fields[name.lower()].default))


def test_mail_is_off_unless_there_is_a_server() -> None:
    assert smtp_server(Settings()) is None
    server = smtp_server(Settings(**MAIL, smtp_user="hub", smtp_password="never told"))
    assert server is not None
    assert (server.host, server.port, server.security) == ("mail.example.org", 587, "starttls")
    assert server.password == "never told"
    assert "never told" not in repr(server) + repr(Settings(**MAIL, smtp_user="hub", smtp_password="never told"))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"smtp_host": "mail.example.org"}, "mail_from must be an address"),
        (MAIL | {"mail_from": "nobody"}, "mail_from must be an address"),
        (MAIL | {"mail_from": "x\r\nBcc: y <a@b.de>"}, "mail_from"),
        (MAIL | {"smtp_user": "hub"}, "give both"),
        (MAIL | {"smtp_user": "hub", "smtp_password": "x", "smtp_security": "none"}, "in clear"),
        (MAIL | {"smtp_security": "ssl"}, "starttls"),
        ({"public_url": "hub.example.org"}, "no address of a hub"),
        ({"public_url": "https://hub.example.org/?a=b"}, "no address of a hub"),
    ],
)
def test_mail_that_could_not_be_sent_or_would_tell_the_password(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Settings(**given)
    here = {"smtp_host": "localhost", "smtp_security": "none", "smtp_user": "hub", "smtp_password": "x"}
    assert smtp_server(Settings(**MAIL | here)) is not None


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("MEMORY_MB", "5", "setting memory_mb: '5' does not do: it should be greater than or equal to 100"),
        ("SNAPSHOT_HOURS", "9000", "setting snapshot_hours: '9000' does not do"),
        ("NETWORK", "both", "setting network: 'both' does not do: it should be 'auto', 'none'"),
        ("CPUS", "many", "setting cpus: 'many' does not do"),
        ("BIND", "here", "setting bind: 'here' is no address"),
        ("ADMIN_KEY", "hunter2", "setting admin_key: an API key starts with"),
    ],
)
def test_a_refused_setting_is_told_with_its_value(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"PROJECTHUB_{name}", value)
    assert run(["backup", "/nowhere/backup"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "hunter2" not in error
