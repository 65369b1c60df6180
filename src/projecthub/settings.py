"""The settings of a hub: one frozen object, from flags, environment and a TOML file, in this order of precedence."""

from __future__ import annotations

import os
import re
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource


def default_data_dir() -> Path:
    """``$XDG_DATA_HOME/projecthub``, or ``~/.local/share/projecthub``."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "projecthub"


def _is_here(host: str | None) -> bool:
    return host in ("localhost", "127.0.0.1", "::1")


class Settings(BaseSettings):
    """What an operator can set. Each field is the variable ``PROJECTHUB_<FIELD>`` and a key of the TOML file."""

    model_config = SettingsConfigDict(env_prefix="PROJECTHUB_", frozen=True, extra="forbid", validate_default=True)

    bind: Annotated[str, Field(description="Address and port to listen on.")] = "127.0.0.1:8000"
    data_dir: Annotated[Path, Field(description="Where everything is kept; made if missing, for the owner only.")] = (
        Field(default_factory=default_data_dir)
    )
    store_url: Annotated[
        str | None,
        Field(
            description="sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME; default: a file in the data directory."
        ),
    ] = None
    isolation: Annotated[
        Literal["auto", "required", "none"],
        Field(description="auto: the best there is; required: refuse to start without any; none: plain processes."),
    ] = "auto"
    admin_key: Annotated[
        SecretStr | None, Field(description="The first admin's API key is exactly this; must start with 'sk-'.")
    ] = None
    uid_base: Annotated[int, Field(ge=1000, le=2**31, description="First user id for projects, when run as root.")] = (
        1_900_000_000
    )
    uid_count: Annotated[int, Field(ge=1, description="How many user ids projects may use.")] = 100_000_000
    network: Annotated[
        Literal["auto", "none", "internet", "host"],
        Field(
            description="What projects reach unless a license or their settings say otherwise; auto: none, or host "
            "where the machine offers no network namespaces."
        ),
    ] = "auto"
    memory_mb: Annotated[int, Field(ge=100, description="Memory of a project in MB, unless it is given more.")] = 1000
    cpus: Annotated[float, Field(gt=0, description="Processor cores of a project, unless it is given more.")] = 1.0
    processes: Annotated[int, Field(ge=20, description="Processes and threads of a project at most.")] = 1024
    disk_mb: Annotated[int, Field(ge=1, description="Disk space of a project in MB, unless it is given more.")] = 3000
    idle_timeout_s: Annotated[
        int, Field(ge=0, description="Seconds without use after which a project is stopped; 0: never.")
    ] = 1800
    snapshot_hours: Annotated[
        int, Field(ge=0, le=8760, description="Hours after which a project that was used gets a snapshot; 0: never.")
    ] = 24
    snapshot_percent: Annotated[
        int, Field(ge=0, le=1000, description="Of its disk space, what a project's snapshots may take beside it.")
    ] = 50
    log_days: Annotated[
        int, Field(ge=0, le=36500, description="Days that entries of projects' logs are kept; 0: for ever.")
    ] = 730
    public_url: Annotated[
        str | None,
        Field(description="Where people reach the hub, such as https://hub.example.org; for links to it."),
    ] = None
    smtp_host: Annotated[
        str | None, Field(description="The mail server that invitations are sent by; default: no mail is sent.")
    ] = None
    smtp_port: Annotated[int, Field(ge=1, le=65535, description="Its port.")] = 587
    smtp_security: Annotated[
        Literal["starttls", "tls", "none"],
        Field(description="starttls: encrypted after a greeting; tls: from the first byte; none: in clear."),
    ] = "starttls"
    smtp_user: Annotated[str | None, Field(description="Name to sign in to the mail server with.")] = None
    smtp_password: Annotated[SecretStr | None, Field(description="Password to sign in with.")] = None
    mail_from: Annotated[
        str | None, Field(description="Where mail comes from, such as 'projecthub <hub@example.org>'.")
    ] = None
    mails_a_day: Annotated[int, Field(ge=0, description="Mails that one account may cause in 24 hours.")] = 100
    audit_days: Annotated[
        int, Field(ge=0, le=36_500, description="Days that entries of the audit log are kept; 0: for ever.")
    ] = 0
    site_name: Annotated[str, Field(description="What people call the hub.")] = "projecthub"
    help_email: Annotated[str | None, Field(description="Whom people may ask for help.")] = None
    metrics: Annotated[
        Literal["loopback", "admins", "everybody"],
        Field(
            description="Who may read /metrics: requests of this machine (behind a proxy: none) and site admins; "
            "site admins; everybody."
        ),
    ] = "loopback"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="Least level that is logged.")
    ] = "info"
    log_format: Annotated[Literal["console", "json"], Field(description="Form of the log lines.")] = "console"

    @field_validator("bind")
    @classmethod
    def _has_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or not 0 <= int(port) <= 65535:
            raise ValueError(f"{value!r} is no address and port; give one such as 127.0.0.1:8000 or [::1]:8000")
        return value

    @field_validator("admin_key")
    @classmethod
    def _is_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and (not value.get_secret_value().startswith("sk-") or len(value) < 16):
            raise ValueError("an API key starts with 'sk-' and has at least 16 characters")
        return value

    @field_validator("public_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", value):
            raise ValueError(f"{value!r} is no address of a hub; give one such as https://hub.example.org")
        return None if value is None else value.rstrip("/")

    @model_validator(mode="after")
    def _mail_has_a_sender(self) -> Self:
        address = parseaddr(self.mail_from or "")[1]
        if self.smtp_host is not None and not re.fullmatch(r"[^\s@<>]+@[^\s@<>]+", address):
            raise ValueError("with smtp_host, mail_from must be an address, such as 'projecthub <hub@example.org>'")
        if self.mail_from is not None and not self.mail_from.isprintable():
            raise ValueError("mail_from holds a line break or another control character")
        if (self.smtp_user is None) != (self.smtp_password is None):
            raise ValueError("give both smtp_user and smtp_password, or neither")
        if self.smtp_password is not None and self.smtp_security == "none" and not _is_here(self.smtp_host):
            raise ValueError("smtp_security 'none' would send the password in clear; give starttls or tls")
        return self

    @model_validator(mode="after")
    def _uids_fit(self) -> Self:
        if self.uid_base + self.uid_count > 2**32 - 1:
            raise ValueError("uid_base and uid_count reach beyond the last user id, 4294967294; lower one of them")
        return self

    @field_validator("data_dir")
    @classmethod
    def _is_absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @property
    def host(self) -> str:
        """The address part of `bind`."""
        return self.bind.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port part of `bind`; 0: any free one."""
        return int(self.bind.rpartition(":")[2])

    @property
    def url_of_store(self) -> str:
        """`store_url`, or the SQLite file in the data directory."""
        return self.store_url or f"sqlite:///{self.data_dir}/hub.sqlite3"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags win over the environment, the environment over the file that ``PROJECTHUB_CONFIG`` names."""
        config = os.environ.get("PROJECTHUB_CONFIG")
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        if config:
            if not Path(config).is_file():
                raise FileNotFoundError(f"the settings file {config} is not there")
            sources += (TomlConfigSettingsSource(settings_cls, toml_file=config),)
        return sources
