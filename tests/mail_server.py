"""A real SMTP server on loopback that keeps the mail it gets."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import warnings
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, Self, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "projecthub", "a password: never to be seen"


class MailServer:
    """Keeps ``messages``; refuses recipients and texts as it is told."""

    def __init__(self, *, sign_in: bool = False, tls: Path | None = None) -> None:
        self.messages: list[EmailMessage] = []
        self.refused: dict[str, str] = {}
        """Answers to recipients that are not taken, by address."""
        self.answer = "250 OK"
        """To a text."""
        self._options: dict[str, Any] = {"hostname": "mail.test"}
        if sign_in:
            self._options |= {"authenticator": self._check, "auth_required": True, "auth_require_tls": False}
        if tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls / "cert.pem", tls / "key.pem")
            self._options |= {"tls_context": context, "require_starttls": True}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(self._protocol, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *details: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    def _protocol(self) -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it advises against what this test is about: to sign in without TLS
            return SMTP(self, **self._options, loop=asyncio.get_running_loop())

    def _check(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=good)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.answer.startswith("250"):
            message = cast(EmailMessage, message_from_bytes(cast(bytes, envelope.content), policy=default))
            assert envelope.rcpt_tos == [message["To"]]
            self.messages.append(message)
        return self.answer


def make_certificate(directory: Path) -> Path:
    """A certificate for localhost and its key, in a directory."""
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    request = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext {names}".split()
    command = ["openssl", *request, "-keyout", directory / "key.pem", "-out", directory / "cert.pem"]
    subprocess.run(command, check=True, capture_output=True)
    return directory
