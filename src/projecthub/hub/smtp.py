"""How mail leaves the hub: over the operator's SMTP server."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Final, Literal

import aiosmtplib

TIMEOUT_S: Final = 30.0
"""For every step of a conversation with the server."""

_MAX_ERROR: Final = 300

Security = Literal["starttls", "tls", "none"]
"""``starttls``: encrypted after a greeting in clear; ``tls``: encrypted from the first byte."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt.

    Attributes:
        error: Why it was not sent; None: it was.
        for_good: Whether another attempt would be in vain: the server wants neither this recipient nor this text.
        reached: Whether the server was reached: if not, other mail need not be tried now either.
    """

    error: str | None = None
    for_good: bool = False
    reached: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """The operator's mail server.

    Attributes:
        host: Its name or address.
        port: Its port.
        security: How the connection is protected.
        sender: The address that mail comes from, such as ``projecthub <hub@example.org>``.
        user: To sign in with; None: without.
        password: To sign in with.
    """

    host: str
    port: int
    security: Security
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    async def send(self, message: EmailMessage, to_address: str) -> Outcome:
        """Hand a message over to the server. Never raises for what the server or the network does."""
        try:
            await aiosmtplib.send(
                message,
                recipients=[to_address],
                hostname=self.host,
                port=self.port,
                use_tls=self.security == "tls",
                start_tls=self.security == "starttls",
                username=self.user,
                password=self.password,
                timeout=TIMEOUT_S,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [refusal.code for refusal in error.recipients]
            text = "; ".join(f"{refusal.code} {refusal.message}" for refusal in error.recipients)
            return Outcome(_shortened(text), for_good=all(_is_final(code) for code in codes))
        except aiosmtplib.SMTPDataError as error:
            return Outcome(_shortened(f"{error.code} {error.message}"), for_good=_is_final(error.code))
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            # Whom to connect to, how to sign in, whom mail comes from: the operator's matter, and soon mended.
            return Outcome(_shortened(str(error) or type(error).__name__), reached=False)
        return Outcome()


def _is_final(code: int) -> bool:
    return 500 <= code < 600


def _shortened(text: str) -> str:
    return " ".join(text.split())[:_MAX_ERROR]
