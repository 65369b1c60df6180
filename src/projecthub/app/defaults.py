"""What the operator set, as the rooms want it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from projecthub.hub.quotas import QuotaDefaults
from projecthub.hub.smtp import SmtpServer

if TYPE_CHECKING:
    from projecthub.settings import Settings


def quota_defaults(settings: Settings) -> QuotaDefaults:
    """What every project has, as the operator set it."""
    return QuotaDefaults(
        memory_mb=settings.memory_mb,
        cpus=settings.cpus,
        processes=settings.processes,
        disk_mb=settings.disk_mb,
        idle_timeout_s=settings.idle_timeout_s,
        network=settings.network,
    )


def log_kept(settings: Settings) -> timedelta | None:
    """For how long entries of projects' logs are kept; None: for ever."""
    return timedelta(days=settings.log_days) if settings.log_days else None


def smtp_server(settings: Settings) -> SmtpServer | None:
    """The operator's mail server; None: no mail is sent."""
    if settings.smtp_host is None or settings.mail_from is None:
        return None
    return SmtpServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=settings.smtp_security,
        sender=settings.mail_from,
        user=settings.smtp_user,
        password=settings.smtp_password.get_secret_value() if settings.smtp_password else None,
    )
